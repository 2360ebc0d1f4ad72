"""A real Emacs with Eglot and the configuration of `editors/emacs/README.md`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from codeprompt.languages.functions import parses
from tests.real_editors import EDITORS, MODULE, SCRIPTS, Visit, needed, snippet, visit

pytestmark = pytest.mark.slow
BEFORE = MODULE.read_text(encoding="utf-8")


def emacs() -> list[str]:
    """Emacs without a window, its packages known; skips where Eglot is not among them."""
    found = [needed("emacs", "emacs-nox elpa-eglot"), "--batch", "-f", "package-initialize"]
    if subprocess.run([*found, "--eval", "(require 'eglot)"], capture_output=True).returncode:
        pytest.skip("Emacs has no Eglot (apt-get install elpa-eglot)")
    return found


def script(made: Visit, more: str = "") -> list[str]:
    """Options that load the README's configuration."""
    setup = made.seen.with_name("init.el")
    setup.write_text(more + snippet(EDITORS / "emacs/README.md", "elisp"), encoding="utf-8")
    return ["-l", str(setup)]


@pytest.fixture(scope="module")
def seen() -> Iterator[dict[str, Any]]:
    """What a visit has seen, from opening the file to the end."""
    program = emacs()
    with visit() as made:
        opens = {"CODEPROMPT_OPEN": str(made.module)}
        yield made.run(*program, *script(made), "-l", SCRIPTS / "emacs.el", env=opens)


def test_a_hover_tells_a_summary_with_its_source(seen: dict[str, Any]) -> None:
    """As plain text: Eglot shows no Markdown without another package."""
    assert "summarize@" in seen["hover"]
    assert "confidence" in seen["hover"]


def test_a_docstring_is_inserted_by_code_action_and_taken_back_by_one_undo(
    seen: dict[str, Any],
) -> None:
    """Below the head of the function; nothing else changes."""
    head = "def rgb_to_yiq(r, g, b):\n"
    above, below = BEFORE.split(head)
    assert seen["documented"].startswith(above + head + '    """')
    assert seen["documented"].endswith('"""\n' + below)
    assert parses(seen["documented"], "python")
    assert seen["undone"] is True


def test_the_command_does_what_the_action_does(seen: dict[str, Any]) -> None:
    """`M-x codeprompt-document` by point."""
    assert seen["same"] is True


def test_a_whole_file_is_documented_and_taken_back_by_one_undo(seen: dict[str, Any]) -> None:
    """Each of its seven functions has a docstring; the count is told."""
    assert seen["told"] == "[codeprompt] 7 written, not sure about 0"
    assert seen["whole"].count('    """') >= 7
    assert parses(seen["whole"], "python")
    assert seen["whole_undone"] is True


def test_a_whole_project_is_documented_by_the_same_command(seen: dict[str, Any]) -> None:
    """With a prefix argument; here the file is all that git does not ignore."""
    assert seen["project"] == seen["whole"]


def test_translation_explanation_and_report_open_in_buffers(seen: dict[str, Any]) -> None:
    """Even where Eglot cannot be asked to show a document."""
    assert "rgb_to_yiq of colors.py, translated from Python" in seen["translation"]
    assert seen["explanation"].startswith("# rgb_to_yiq\n")
    assert "| `hsv_to_rgb` |" in seen["report"]


def test_warnings_are_those_of_flymake(seen: dict[str, Any]) -> None:
    """With the rates that weigh them."""
    assert "base rate 40%" in seen["warning"]


def test_mode_line_and_status_tell_what_the_server_does(seen: dict[str, Any]) -> None:
    """Ready, or which file is left alone and why."""
    assert seen["mode_line"] == "codeprompt"
    assert seen["ignored"] == "codeprompt: left alone, it is ignored by git"
    assert "summarize: summarize@" in seen["status"]


def test_what_the_server_refuses_is_told_in_a_sentence(seen: dict[str, Any]) -> None:
    """And nothing was said that nobody asked for."""
    assert "there are: summarize" in seen["refused"]
    assert len(seen["said"]) == 3


def test_a_server_that_is_not_installed_is_told_with_what_to_do() -> None:
    """When the configuration is loaded."""
    program = emacs()
    with visit() as made:
        told = made.output(*program, *script(made, '(setq codeprompt-command \'("nowhere"))\n'))
    assert "'nowhere' cannot be run.  Install it (pip install codeprompt)" in told
