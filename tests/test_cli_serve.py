"""`codeprompt serve`: the engine in the foreground, its socket, its port, its token."""

from __future__ import annotations

import os
import signal
import stat
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from codeprompt.cli.app import APP
from codeprompt.cli.serve import _token
from codeprompt.client import Home, connect, state
from codeprompt.errors import UsageError
from tests.living import home, serve, wait_until
from tests.tiny import tiny_t5

__all__ = ["home"]


def mistake(*arguments: object) -> str:
    """The message of a command that a user got wrong."""
    result = CliRunner().invoke(APP, ["serve", *map(str, arguments)])
    assert result.exit_code == 2 and result.stdout == "", result.output
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_its_help_shows_how_it_is_reached() -> None:
    """Socket, port and token."""
    page = CliRunner().invoke(APP, ["serve", "--help"]).stdout
    for word in ("codeprompt serve", "--unix-socket", "--token-file", "/openapi.json", "SIGTERM"):
        assert word in page


def test_a_token_is_made_once_and_then_read(tmp_path: Path) -> None:
    """For its owner alone."""
    file = tmp_path / "token"
    token = _token(file)
    assert len(token) >= 32 and _token(file) == token
    assert os.name != "posix" or stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("x" * 40, 0o644, "can be read by others"),
        ("short", 0o600, "holds no token"),
        ("two words " * 5, 0o600, "holds no token"),
        ("", 0o600, "holds no token"),
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_a_token_that_is_none_is_refused(tmp_path: Path, text: str, mode: int, words: str) -> None:
    """Before anything listens."""
    file = tmp_path / "token"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(UsageError, match=words):
        _token(file)
    assert words in mistake("--port", 0, "--token-file", file)


def test_options_that_do_not_fit_are_told(home: Home, tmp_path: Path) -> None:
    """And no state is made."""
    assert "Give --port too" in mistake("--token-file", tmp_path / "token")
    assert "can be reached from other machines" in mistake("--host", "192.0.2.1")
    assert "Give --token-file" in mistake("--host", "192.0.2.1", "--allow-remote")
    assert not home.folder.exists()


def test_a_path_that_is_no_socket_stays(home: Home, tmp_path: Path) -> None:
    """A slip of the hand removes no file."""
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    assert "is no socket" in mistake("--uds", file)
    assert file.read_text() == "mine" and not home.alive()


@pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets")
def test_a_socket_of_ones_own_is_found_and_removed(home: Home, tmp_path: Path) -> None:
    """Clients find it by the state folder; Ctrl-C ends it."""
    tiny_t5(tmp_path / "backbone")
    path = home.folder.parent / "own.sock"
    process = serve("--uds", path, "--port", 0, "--backbone", tmp_path / "backbone")
    wait_until(lambda: state(home).health is not None, "it does not answer")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and not home.socket.exists()
    with connect(start=False) as client, connect(address=path) as other:
        assert client.address.socket == path
        assert client.health().pid == other.health().pid == process.pid
    record = home.record()
    assert record is not None and record.token
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 0 and out == "" and not path.exists()
    assert f"Listening on {path} and {record.url}" in said
    assert f"Token for {record.url}: {record.token}" in said
    assert "Traceback" not in said
