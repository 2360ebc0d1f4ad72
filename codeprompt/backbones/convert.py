"""From a pickle-only checkpoint to safetensors: asked for by name, in a process of its own.

A pickle can run any code when it is read. `torch.load(weights_only=True)` reads tensors and plain
containers alone and refuses the rest; it runs in a child process, so that neither a fault in it
nor a checkpoint larger than memory takes the caller down.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import codeprompt
from codeprompt.backbones._folder import INDEX, PICKLES, SIDE_FILES, SINGLE, read_config
from codeprompt.backbones.checkpoint import hub_snapshot
from codeprompt.errors import BackboneError, CodepromptError
from codeprompt.files import sync_folder, write_error

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "pytorch_model.bin"
ALIASES = {
    "encoder.embed_tokens.weight",
    "decoder.embed_tokens.weight",
    "lm_head.weight",
    "lm_head.decoder.weight",
    "lm_head.decoder.bias",
}
"""Names under which checkpoints repeat a tied tensor; loaders tie them again."""
REFUSED = 3
"""The child's exit status where it says why, as JSON on its standard output."""


def convert(source: str, out: Path, *, allow_hub: bool = True) -> Path:
    """Write a safetensors copy of `source` (a folder or a hub id) to the folder `out`.

    `out` appears whole or not at all. Raises `BackboneError` where `out` exists, where there is
    nothing to convert, and where the pickle holds anything but tensors.
    """
    if out.exists():
        raise BackboneError(f"{out} exists already", do="Give a folder that does not exist yet")
    folder = _find(source, allow_hub)
    read_config(folder)
    pickles = _pickles(folder, source)
    temporary: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
        _in_child(pickles, temporary / SINGLE, source)
        for name in SIDE_FILES:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, temporary / name)
        os.chmod(temporary, 0o755)
        sync_folder(temporary)
        os.rename(temporary, out)
        sync_folder(out.parent)
    except OSError as error:
        raise write_error(out, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return out


def _find(source: str, allow_hub: bool) -> Path:
    path = Path(source).expanduser()
    if path.is_dir():
        return path.resolve()
    if not allow_hub or path.exists() or source.startswith((".", "/", "~")):
        raise BackboneError(f"There is no folder {source}", expected="a folder or a hub id")
    repo, _, revision = source.partition("@")
    patterns = [*SIDE_FILES, SINGLE, INDEX, "pytorch_model*.bin", "pytorch_model.bin.index.json"]
    return hub_snapshot(repo, revision or None, patterns)


def _pickles(folder: Path, source: str) -> list[Path]:
    """The pickled weights of a folder: one file or its shards."""
    if (folder / SINGLE).is_file() or (folder / INDEX).is_file():
        raise BackboneError(
            f"{source} has safetensors weights already", do=f"Use it as it is: --backbone {source}"
        )
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if shards := sorted(folder.glob("pytorch_model-*-of-*.bin")):
        return shards
    if len(others := [p for pattern in PICKLES for p in sorted(folder.glob(pattern))]) == 1:
        return others
    raise BackboneError(f"{source} has no pickled weights to convert", expected=WEIGHTS)


def _in_child(pickles: list[Path], target: Path, source: str) -> None:
    """Run this module as a process. Raises `BackboneError` with what it says."""
    package = str(Path(codeprompt.__file__).resolve().parents[1])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    # -P keeps the current folder, which may be the checkpoint's own, from being imported from.
    command = [sys.executable, "-P", "-m", __name__, str(target), *map(str, pickles)]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    if done.returncode == 0:
        return
    if done.returncode == REFUSED:
        raise BackboneError(**json.loads(done.stdout.splitlines()[-1]))
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    raise BackboneError(
        f"The conversion of {source} ended with status {done.returncode}: {last}",
        do="If the status is -9 or 137, free some memory and try again",
    )


def _child(target: Path, pickles: list[Path]) -> None:
    """Read pickles, write one safetensors file."""
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    for path in pickles:
        tensors.update(_read(path))
    try:
        save_file(_untangled(tensors), target, metadata={"format": "pt"})
        with open(target, "rb") as written:
            os.fsync(written.fileno())
    except OSError as error:
        raise write_error(target, error) from error


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of one pickle. Raises `BackboneError` where it holds anything else."""
    import pickle

    import torch

    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).replace("\n", " ")
        reason = reason[reason.find("Unsupported") :] if "Unsupported" in reason else reason
        raise BackboneError(
            f"{path} holds more than tensors and was not read: {reason[:200]}",
            expected="a state dict",
            do="Do not load this file; look for another copy of the checkpoint",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise BackboneError(
            f"{path} is cut or broken: {str(error).splitlines()[0] if str(error) else error!r}",
            do="Fetch the checkpoint again",
        ) from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    wrong = not isinstance(found, dict) or [
        k for k, v in found.items() if not (isinstance(k, str) and isinstance(v, torch.Tensor))
    ]
    if wrong or not found:
        raise BackboneError(f"{path} is not a state dict", expected="names with tensors")
    return dict(found)


def _untangled(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that share no memory, as safetensors wants: known aliases left out, others cloned."""
    out: dict[str, Tensor] = {}
    owners: dict[tuple[Any, ...], str] = {}
    for name in sorted(tensors, key=lambda name: name in ALIASES):
        tensor = tensors[name].detach()
        key = (tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype)
        if name in ALIASES and key in owners:
            continue
        owners[key] = name
        out[name] = tensor.clone().contiguous()
    return out


def main(arguments: list[str]) -> int:
    """The child's entry: TARGET PICKLE..."""
    target, *pickles = map(Path, arguments)
    try:
        _child(target, pickles)
    except CodepromptError as error:
        print(json.dumps({"found": error.found, "expected": error.expected, "do": error.do}))
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
