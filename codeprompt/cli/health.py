"""What `doctor` looks at: versions, processor, backbones, packs, folders, and a self-test."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codeprompt import __version__
from codeprompt.cli.output import duration, size
from codeprompt.errors import CodepromptError

PACKAGES = (
    "torch",
    "tokenizers",
    "safetensors",
    "tree-sitter",
    "transformers",
    "datasets",
    "peft",
    "click",
    "rich",
    "httpx",
    "fastapi",
    "uvicorn",
    "sqlalchemy",
    "ray",
)
QUESTION = "Summarize python: def add(first, second):\n    return first + second"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is right or not. detail: what was seen, or what is wrong and what to do."""

    name: str
    ok: bool
    detail: str

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints for one check."""
        return asdict(self)


def versions() -> dict[str, str]:
    """Of codeprompt, Python and what we stand on; "-" for what is not installed."""
    found = {"codeprompt": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "-"
    return found


def processor() -> dict[str, Any]:
    """What decides which number format is fast here."""
    import psutil
    import torch

    from codeprompt.processor import has, vnni

    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "vector": torch.backends.cpu.get_cpu_capability(),
        "avx512_bf16": has("avx512_bf16"),
        "vnni": vnni(),
        "amx": has("amx_tile"),
        "cuda": torch.cuda.is_available(),
    }


def folders() -> list[dict[str, Any]]:
    """Where codeprompt and its libraries keep things, and how much."""
    import platformdirs

    from codeprompt.pack.lookup import user_data

    hub = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    places = {
        "packs and data": user_data(),
        "cache": Path(platformdirs.user_cache_dir("codeprompt")),
        "hub cache": Path(hub).expanduser(),
    }
    return [
        {"name": name, "path": short(path), "bytes": _bytes_below(path)}
        for name, path in places.items()
    ]


def checks(*, every_pack: bool = True) -> Iterator[Check]:
    """Every check, as it is done."""
    yield checked("python", _python)
    yield checked("languages", _languages)
    yield from _builtins()
    if every_pack:
        yield from _packs()
    yield checked("self-test", _self_test)


def checked(name: str, check: Callable[[], str]) -> Check:
    """Whatever goes wrong in a check is its answer, never the end of the others."""
    try:
        return Check(name, True, check())
    except CodepromptError as error:
        return Check(name, False, str(error))
    except Exception as error:
        return Check(name, False, f"{type(error).__name__}: {error}")


def short(path: Path) -> str:
    """A path without the name of the user's home."""
    try:
        return "~/" + path.relative_to(Path.home()).as_posix()
    except (ValueError, RuntimeError):
        return str(path)


def _python() -> str:
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        raise CodepromptError(
            f"This is Python {platform.python_version()}", expected="3.11, 3.12 or 3.13"
        )
    return f"Python {platform.python_version()}, torch {versions()['torch']}"


def _languages() -> str:
    from codeprompt.languages.base import languages
    from codeprompt.languages.functions import functions

    for language in languages():
        list(functions("x", language))
    return f"{len(languages())} grammars load"


def _builtins() -> Iterator[Check]:
    from codeprompt.backbones.checkpoint import builtins

    shipped = builtins()
    if not shipped:
        yield Check(
            "builtin",
            False,
            "This installation ships no backbone. Install a release, or give --backbone DIR.",
        )
    for name, folder in shipped.items():
        yield checked(name, lambda folder=folder: _weights(folder))  # type: ignore[misc]


def _weights(folder: Path) -> str:
    path = folder / "model.safetensors"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    wanted = json.loads((folder / "card.json").read_text(encoding="utf-8")).get("sha256")
    if found != wanted:
        raise CodepromptError(
            f"The weights of {folder.name} are not those that were released",
            do="Install codeprompt again",
        )
    return f"as released ({size(path.stat().st_size)}, {found[:12]})"


def _packs() -> Iterator[Check]:
    from codeprompt.pack import available, load

    for name, path, where in available():

        def check(path: Path = path, where: str = where) -> str:
            card = load(path).card
            return f"{card.task}, {card.method} on {card.backbone.name} ({where})"

        yield checked(f"pack {name}", check)


def _self_test() -> str:
    """Greedy words from the built-in backbone, twice the same."""
    import torch

    from codeprompt.answer import Prompt, Row, answer
    from codeprompt.backbones.decoding import Decoding
    from codeprompt.backbones.load import load_backbone
    from codeprompt.plan import Plan
    from codeprompt.template import parse

    backbone = load_backbone("builtin", allow_hub=False)
    plan = Plan(backbone, parse("{code}"), "generate", 128, 16)
    prompt = Prompt(plan, decoding=Decoding(max_new_tokens=16))
    started = time.monotonic()
    rows = [Row(0, {"code": QUESTION})]
    first, second = (answer(backbone, [prompt], rows)[0] for _ in range(2))
    if first != second or first.score != first.score:
        raise CodepromptError(
            f"The built-in backbone answers '{first.text}', then '{second.text}'",
            expected="the same answer twice",
            do="Try another version of torch, and report this",
        )
    seconds = (time.monotonic() - started) / 2
    return f"16 tokens in {duration(seconds)} with {torch.get_num_threads()} threads"


def _bytes_below(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place) / name
            if not path.is_symlink() and path.is_file():
                total += path.stat().st_size
    return total
