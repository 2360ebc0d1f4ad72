"""A pack is found by its path or its name, nearest place first, and never outside these places."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codeprompt.backbones.load import load_backbone
from codeprompt.errors import PackError
from codeprompt.pack import available, check_backbone, find, load, lookup
from codeprompt.pack.lookup import CARD, packs_folders, previous


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A project with a git root and a folder inside, and the user's data folder."""
    project, data = tmp_path / "project", tmp_path / "data"
    inner = project / "src" / "inner"
    inner.mkdir(parents=True)
    (project / ".git").mkdir()
    monkeypatch.setenv("CODEPROMPT_DATA", str(data))
    monkeypatch.setattr(lookup, "SHIPPED", tmp_path / "shipped")
    monkeypatch.chdir(inner)
    return {
        "here": inner / ".codeprompt" / "packs",
        "project": project / ".codeprompt" / "packs",
        "above": tmp_path / ".codeprompt" / "packs",
        "user": data / "packs",
    }


def put(folder: Path, name: str) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / CARD).write_text("{}")
    return folder / name


def test_the_nearest_place_wins(places: dict[str, Path]) -> None:
    """Working directory, parents up to the git root, user's data folder; nothing above the root."""
    put(places["above"], "a")
    with pytest.raises(PackError, match="No pack is called 'a'"):
        find("a")
    for place in ("user", "project", "here"):
        expected = put(places[place], "a")
        assert find("a") == expected
    assert available() == [("a", places["here"] / "a", "project")]


def test_without_a_git_root_only_the_working_directory_counts(
    places: dict[str, Path], tmp_path: Path
) -> None:
    """A folder that others may write to, such as a shared parent, brings no packs along."""
    (tmp_path / "project" / ".git").rmdir()
    put(places["project"], "a")
    with pytest.raises(PackError, match="No pack is called"):
        find("a")
    put(places["here"], "a")
    assert find("a") == places["here"] / "a"


def test_a_path_goes_before_a_name(places: dict[str, Path], tmp_path: Path) -> None:
    """Relative, absolute, with its card's name, or through a parent: as the user wrote it."""
    put(places["user"], "a")
    here = put(Path("."), "a")
    assert find("a") == here
    assert find("./a") == here
    assert find(Path("a") / CARD) == here
    other = put(tmp_path, "b")
    assert find(other) == other
    assert find("../../../b").resolve() == other.resolve()


def test_a_folder_without_a_card_does_not_hide_a_name(places: dict[str, Path]) -> None:
    """A folder `summarize` in the project, and a pack of that name."""
    Path("a").mkdir()
    with pytest.raises(PackError, match=f"a holds no {CARD}"):
        find("a")
    put(places["user"], "a")
    assert find("a") == places["user"] / "a"


def test_an_unknown_name_lists_places_and_the_nearest(places: dict[str, Path]) -> None:
    """So that a slip of the finger is mended at once."""
    put(places["user"], "summarize-soft")
    with pytest.raises(PackError, match=r"Did you mean 'summarize-soft'\?") as error:
        find("sumarize-soft")
    for folder, _ in packs_folders():
        assert str(folder) in str(error.value)
    with pytest.raises(PackError, match="Known packs: summarize-soft"):
        find("x")


@pytest.mark.parametrize(
    "name", ["../a", "..", ".", "", "a/../../x", "/etc", "a\0b", ".a.previous", "~nobody/a", "a/b"]
)
def test_a_name_never_leaves_its_places(places: dict[str, Path], name: str) -> None:
    """Whatever is no plain name is a path, and is not joined to the places."""
    put(places["user"].parent, "a")
    put(places["user"], ".a.previous")
    with pytest.raises(PackError):
        find(name)


def test_a_pack_that_a_crash_moved_aside_is_still_found(places: dict[str, Path]) -> None:
    """Under its own name; `load` puts it back."""
    where = put(places["user"], "a")
    shutil.move(where, previous(where))
    assert find("a") == where
    assert available() == []


def test_looking_up_needs_no_torch() -> None:
    """Names are listed by the command line, which starts without it."""
    code = (
        "import sys, codeprompt.pack as p; p.available(); p.Card; "
        "sys.exit(bool({'torch', 'safetensors'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", sorted(p.name for p in lookup.SHIPPED.iterdir() if p.is_dir()))
def test_a_pack_that_ships_is_whole_and_fits_the_built_in_backbone(name: str) -> None:
    """So that the first question is answered with nothing set up."""
    pack = load(lookup.SHIPPED / name)
    check_backbone(pack, load_backbone("builtin"))
    assert pack.card.name == name and pack.card.backbone.name.startswith("builtin-")
