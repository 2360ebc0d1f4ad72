"""`codeprompt engine`: begun once, shown, ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner, Result

import codeprompt
from codeprompt.cli.app import APP
from codeprompt.client import Home
from codeprompt.pack.lookup import SHIPPED
from tests.living import home
from tests.tiny import tiny_t5

__all__ = ["home"]


def run(*arguments: object) -> Result:
    """The command in this process."""
    return CliRunner().invoke(APP, ["engine", *map(str, arguments)])


def told(*arguments: object) -> dict[str, Any]:
    """What it prints as JSON."""
    result = run(*arguments, "--json")
    assert result.stdout.count("\n") == 1, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("name", ["start", "status", "stop"])
def test_every_command_has_help_with_an_example(name: str) -> None:
    """As all commands have."""
    result = run(name, "--help")
    assert (
        result.exit_code == 0 and f"codeprompt engine {name}" in result.stdout.split("Example")[1]
    )


def test_without_an_engine_status_leaves_with_1(home: Home) -> None:
    """And nothing is made to find that out."""
    result = run("status")
    assert (result.exit_code, result.stdout) == (1, "No engine runs.\n")
    assert told("status")["running"] is False
    assert run("stop").stdout == "No engine ran.\n"
    assert not home.folder.exists()


def test_an_engine_is_started_shown_and_stopped(home: Home, tmp_path: Path) -> None:
    """One process, however often it is started."""
    tiny_t5(tmp_path)
    options = ("--idle-exit", 600, "--precision", "float32", "--cache", 3)
    begun = told("start", "--backbone", tmp_path, *options)
    assert begun["begun"] and begun["answers"] and begun["version"] == codeprompt.__version__
    again = told("start")
    assert not again["begun"] and again["pid"] == begun["pid"]
    words = psutil.Process(begun["pid"]).cmdline()
    assert words[words.index("--backbone") + 1] == str(tmp_path)
    assert words[words.index("--cache") + 1] == "3"
    shown = told("status")
    assert shown["running"] and shown["pid"] == begun["pid"]
    assert shown["packs"] == sum(pack.is_dir() for pack in SHIPPED.iterdir())
    page = run("status").stdout
    assert f"process {begun['pid']}, version {codeprompt.__version__}" in page
    assert str(home.socket) in page and str(home.log) in page
    assert told("stop") == {"stopped": True} and told("stop") == {"stopped": False}
    assert run("status").exit_code == 1


def test_an_engine_that_cannot_start_is_told_in_one_paragraph(home: Home) -> None:
    """With the end of its log."""
    home.folder.mkdir(parents=True)
    (home.folder / "state.db").write_bytes(b"no database" * 1000)
    result = run("start")
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr.startswith("Error: The engine ended with status 2. Its last lines: ")
    assert str(home.log) in result.stderr and result.stderr.count("\n") == 1
