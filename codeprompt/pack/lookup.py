"""Where packs are found: a path, or a name in the project's, the user's or the package's packs."""

from __future__ import annotations

import difflib
import os
from contextlib import suppress
from pathlib import Path

from codeprompt.errors import PackError
from codeprompt.pack.card import NAME

SHIPPED = Path(__file__).resolve().parents[1] / "packs"
"""Packs that come with the package, on the built-in backbone."""
CARD = "card.json"
LOOKS = 4
"""A pack that is just being replaced is at neither place between two looks, and soon at one."""


def find(name_or_path: str | Path) -> Path:
    """The folder of a pack.

    A path with a `card.json` is taken as it is; a name is looked up in `.codeprompt/packs` of the
    working directory and its parents up to the git root, in the user's data folder, then among
    the packs that ship. Raises `PackError` that lists the places and the nearest names.
    """
    path = Path(name_or_path)
    with suppress(RuntimeError):  # a '~name' that nobody has
        path = path.expanduser()
    if path.name == CARD:
        path = path.parent
    if exists(path):
        return path
    name = str(name_or_path)
    places = [folder for folder, _ in packs_folders()]
    if NAME.fullmatch(name):
        for folder in places:
            if exists(folder / name):
                return folder / name
    if path.is_dir():
        raise PackError(
            f"{path} holds no {CARD}",
            expected="a folder that `codeprompt tune` or `codeprompt pack import-peft` wrote",
        )
    if not NAME.fullmatch(name) or path.parent != Path("."):
        raise PackError(
            f"There is no pack at {path}",
            expected=f"a folder with {CARD}, or the name of a pack",
        )
    known = [other for other, _, _ in available()]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    do = ""
    if near:
        do = "Did you mean " + " or ".join(f"'{n}'" for n in near) + "?"
    elif known:
        do = "Known packs: " + ", ".join(known)
    raise PackError(
        f"No pack is called '{name}'; looked in {', '.join(map(str, [path.absolute(), *places]))}",
        expected="the path or the name of a pack",
        do=do,
    )


def available() -> list[tuple[str, Path, str]]:
    """(name, path, where) of every pack that a name finds; where: `project`, `user`, `package`."""
    found: dict[str, tuple[str, Path, str]] = {}
    for folder, where in packs_folders():
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            continue
        for path in entries:
            if NAME.fullmatch(path.name) and path.name not in found and exists(path):
                found[path.name] = (path.name, path, where)
    return sorted(found.values())


def packs_folders() -> list[tuple[Path, str]]:
    """The folders that names are looked up in, nearest first."""
    out = [(folder / ".codeprompt" / "packs", "project") for folder in _project()]
    out.append((user_data() / "packs", "user"))
    out.append((SHIPPED, "package"))
    return out


def user_data() -> Path:
    """The user's data folder; the environment variable CODEPROMPT_DATA names another."""
    given = os.environ.get("CODEPROMPT_DATA")
    if given:
        return Path(given).expanduser()
    from platformdirs import user_data_path

    return user_data_path("codeprompt", appauthor=False)


def exists(folder: Path) -> bool:
    """Whether a pack is there, or one that a crash left moved aside (`store.load` restores it)."""
    with suppress(OSError, ValueError):
        for _ in range(LOOKS):
            if (folder / CARD).is_file():
                return True
            if not folder.exists() and (previous(folder) / CARD).is_file():
                return True
    return False


def previous(folder: Path) -> Path:
    """Where `store.save` moves a pack aside while the new one takes its place."""
    return folder.parent / f".{folder.name}.previous"


def _project() -> list[Path]:
    """The working directory and its parents up to the git root; without one, the directory alone.

    Never further: a parent that others can write to must not bring packs along.
    """
    here = Path.cwd()
    for number, folder in enumerate((here, *here.parents), 1):
        if (folder / ".git").exists():
            return [here, *here.parents][:number]
    return [here]
