"""`codeprompt purge`: what is kept is listed, and goes when that is said; packs are the user's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from click.testing import CliRunner, Result
from filelock import FileLock

from codeprompt.cli.app import APP
from codeprompt.client import Home, connect, state
from codeprompt.pack.lookup import user_data
from tests.living import begin, home, write_pack
from tests.tiny import tiny_t5

__all__ = ["home"]
ROWS = b'{"code": "def f(): pass", "docstring": "Does nothing."}\n' * 4


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project of its own."""
    (tmp_path / "project" / ".git").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")


def run(*arguments: object) -> Result:
    """The command in this process."""
    result = CliRunner().invoke(APP, ["purge", *map(str, arguments)])
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def items(*arguments: object) -> dict[str, dict[str, Any]]:
    """Its parts by name."""
    found = json.loads(run(*arguments, "--json").stdout)
    return {item["name"]: item for item in found["items"]}


def test_where_nothing_is_nothing_is_made(home: Home) -> None:
    """Neither by listing nor by removing."""
    assert run().stdout == "Nothing is kept here.\n"
    assert items() == items("--yes") == {}
    assert not home.folder.exists()


def test_listing_removes_nothing(home: Home) -> None:
    """It says what would go, and how."""
    cache = Path(platformdirs.user_cache_dir("codeprompt"))
    (cache / "hashes").mkdir(parents=True)
    (cache / "hashes" / "one").write_bytes(b"x" * 1000)
    page = run()
    assert "1.0 KB" in page.stdout and "codeprompt purge --yes` frees 1.0 KB" in page.stderr
    assert items()["cache"]["removed"] is False and (cache / "hashes" / "one").exists()
    assert items("--yes")["cache"]["removed"] is True and not cache.exists()


def test_checkpoints_of_a_run_that_goes_on_stay(home: Home) -> None:
    """Those of one that was interrupted go."""
    places = [
        user_data() / "packs" / ".old.tuning",
        Path.cwd() / ".codeprompt" / "packs" / ".new.tuning",
    ]
    for place in places:
        place.mkdir(parents=True)
        (place / "seed-0.safetensors").write_bytes(b"x" * 100)
    with FileLock(places[1] / "lock"):
        assert items("--yes")["checkpoints"]["paths"] == [str(places[0])]
    assert not places[0].exists() and (places[1] / "seed-0.safetensors").exists()


def test_a_running_engine_is_stopped_and_its_packs_stay(home: Home, tmp_path: Path) -> None:
    """They answer again at the next start; with --packs nothing is left."""
    tiny_t5(tmp_path / "backbone")
    mine = write_pack(user_data() / "packs", "mine")
    begin(home, "--backbone", str(tmp_path / "backbone"))
    with connect(start=False) as client:
        version = client.upload_pack(write_pack(tmp_path, "uploaded")).version
        data = client.upload(ROWS)
    listed = items()
    assert listed["engine's packs"]["kept"] and listed["user's packs"]["kept"]
    assert state(home).running
    result = json.loads(run("--yes", "--json").stdout)
    assert result["stopped"] and result["removed"] and not state(home).running
    assert not home.log.exists() and not (home.folder / "uploads").exists() and mine.exists()
    begin(home, "--backbone", str(tmp_path / "backbone"))
    with connect(start=False) as client:
        assert client.pack("uploaded").active == version
        assert client.jobs() == []
        assert client.upload(ROWS) == data
    gone = items("--yes", "--packs")
    assert gone["engine's packs"]["removed"] and gone["user's packs"]["removed"]
    assert not home.folder.exists() and not (user_data() / "packs").exists()
