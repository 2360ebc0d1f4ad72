"""A real Neovim with the configuration of `editors/neovim/README.md`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from codeprompt.languages.functions import parses
from tests.real_editors import EDITORS, MODULE, SCRIPTS, needed, snippet, visit

pytestmark = pytest.mark.slow
BEFORE = MODULE.read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def seen() -> Iterator[dict[str, Any]]:
    """What a visit has seen, from opening the file to the end."""
    nvim = needed("nvim", "neovim")
    with visit() as made:
        setup = made.seen.with_name("init.lua")
        setup.write_text(snippet(EDITORS / "neovim/README.md", "lua"), encoding="utf-8")
        script = SCRIPTS / "neovim.lua"
        yield made.run(nvim, "--headless", "-i", "NONE", "-u", setup, "-S", script, made.module)


def test_a_hover_tells_a_summary_with_its_source(seen: dict[str, Any]) -> None:
    """In Neovim's own floating window."""
    assert "summarize@" in seen["hover"]
    assert "confidence" in seen["hover"]


def test_a_docstring_is_inserted_by_code_action_and_taken_back_by_one_undo(
    seen: dict[str, Any],
) -> None:
    """Below the head of the function; nothing else changes."""
    head = BEFORE.index("def rgb_to_yiq(r, g, b):")
    after = seen["documented"]
    added = len(after) - len(BEFORE)
    assert added >= 1
    assert after[head + 1].startswith('    """')
    assert after[: head + 1] + after[head + 1 + added :] == BEFORE
    assert parses("\n".join(after), "python")
    assert seen["undone"] is True


def test_the_command_does_what_the_action_does(seen: dict[str, Any]) -> None:
    """`:CodepromptDocument` by the cursor's place."""
    assert seen["same"] is True


def test_a_whole_file_is_documented_and_taken_back_by_one_undo(seen: dict[str, Any]) -> None:
    """Each of its seven functions has a docstring; the count is told."""
    assert seen["told"] == "codeprompt: 7 written, not sure about 0"
    assert sum(line.startswith('    """') for line in seen["whole"]) >= 7
    assert parses("\n".join(seen["whole"]), "python")
    assert seen["whole_undone"] is True


def test_translation_explanation_and_report_open_in_buffers(seen: dict[str, Any]) -> None:
    """Even where Neovim cannot be asked to show a document."""
    assert "rgb_to_yiq of colors.py, translated from Python" in seen["translation"][0]
    assert seen["explanation"][0] == "# rgb_to_yiq"
    assert any("| `hsv_to_rgb` |" in line for line in seen["report"])


def test_warnings_are_neovim_s_own_diagnostics(seen: dict[str, Any]) -> None:
    """With the rates that weigh them."""
    assert "base rate 40%" in seen["warning"]


def test_status_line_and_status_tell_what_the_server_does(seen: dict[str, Any]) -> None:
    """Ready, or which file is left alone and why."""
    assert seen["statusline"] == "codeprompt"
    assert seen["ignored"] == "codeprompt: left alone, it is ignored by git"
    assert "summarize: summarize@" in seen["status"]


def test_what_the_server_refuses_is_told_in_a_sentence(seen: dict[str, Any]) -> None:
    """No error of Lua's; nothing was said that nobody asked for."""
    assert "there are: summarize" in seen["refused"]
    assert len(seen["said"]) == 3


def test_a_server_that_is_not_installed_is_told_with_what_to_do() -> None:
    """Once, when Neovim starts."""
    nvim = needed("nvim", "neovim")
    with visit() as made:
        setup = made.seen.with_name("init.lua")
        text = snippet(EDITORS / "neovim/README.md", "lua")
        setup.write_text(text.replace("{}", "{ cmd = { 'no-such-server' } }"), encoding="utf-8")
        told = made.output(nvim, "--headless", "-i", "NONE", "-u", setup, "+qall", made.module)
    assert "'no-such-server' cannot be run. Install it (pip install codeprompt)" in told
