"""What lies in `editors/` names every language that the server has, in each editor's own words."""

from __future__ import annotations

import json
import re
import tomllib

import pytest
import yaml

from codeprompt.cli.check import COMMAND
from codeprompt.languages.base import languages
from lsp_server.documents import language_for
from tests.real_editors import EDITORS, ROOT, SCRIPTS

EVERY = {language.name for language in languages()}
README = (ROOT / "lsp_server" / "README.md").read_text(encoding="utf-8")


def named(ids: list[str]) -> set[str]:
    """The languages that an editor's ids stand for; every id must be known."""
    found = {name: language_for(name, None) for name in ids}
    assert None not in found.values(), found
    return {language.name for language in found.values() if language is not None}


def test_neovim_attaches_to_every_language() -> None:
    """By file types, which Neovim sends as language ids."""
    text = (EDITORS / "neovim/lua/codeprompt/client.lua").read_text(encoding="utf-8")
    listed = re.search(r"FILETYPES = \{(.*?)\}", text, re.S)
    assert listed is not None
    assert named(re.findall(r"'(\w+)'", listed[1])) == EVERY


def test_emacs_serves_every_language() -> None:
    """By major modes, of which Eglot makes language ids."""
    text = (EDITORS / "emacs/codeprompt.el").read_text(encoding="utf-8")
    listed = re.search(r"codeprompt-modes\s+'\((.*?)\)", text, re.S)
    assert listed is not None
    ids = [re.sub(r"(-ts)?-mode$", "", mode) for mode in listed[1].split()]
    assert named(ids) == EVERY


def test_helix_has_a_table_for_every_language() -> None:
    """Ours behind the servers that it has, so that they keep what they did."""
    told = tomllib.loads((EDITORS / "helix/languages.toml").read_text(encoding="utf-8"))
    assert told["language-server"] == {"codeprompt": {"command": "codeprompt-lsp"}}
    for table in told["language"]:
        assert table["language-servers"][-1] == "codeprompt"
    names = {"jsx": "javascript", "tsx": "typescript"}
    ids = [names.get(table["name"], table["name"]) for table in told["language"]]
    assert named(ids) == EVERY


def test_the_template_for_jetbrains_is_as_lsp4ij_documents_it() -> None:
    """Identifier, command and mappings with language ids; settings under the server's section."""
    folder = EDITORS / "jetbrains/codeprompt"
    told = json.loads((folder / "template.json").read_text(encoding="utf-8"))
    assert set(told) == {"id", "name", "programArgs", "fileTypeMappings"}
    assert "codeprompt-lsp" in told["programArgs"]["default"]
    assert named([one["languageId"] for one in told["fileTypeMappings"]]) == EVERY
    patterns = {p for one in told["fileTypeMappings"] for p in one["fileType"]["patterns"]}
    assert {f"*{language.extensions[0]}" for language in languages()} <= patterns
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    assert list(settings) == ["codeprompt"]


@pytest.mark.parametrize("file", ["neovim/lua/codeprompt/commands.lua", "emacs/codeprompt.el"])
def test_an_editor_s_commands_are_the_server_s(file: str) -> None:
    """Each of the server's commands has one, and no other is asked for."""
    text = (EDITORS / file).read_text(encoding="utf-8")
    asked = set(re.findall(r"run\('(\w+)'|run\s+\"(\w+)\"", text))
    server = set(re.findall(r"`codeprompt\.(\w+)`", README)) & {
        "document", "documentFile", "translate", "explain", "tune", "summarizeWorkspace",
        "choosePack", "showStatus", "cancel",
    }  # fmt: skip
    assert {one or other for one, other in asked} == server
    assert len(server) == 9


def test_the_node_client_s_lock_file_names_no_registry() -> None:
    """npm takes the one that is configured; the versions are pinned by their hashes."""
    lock = json.loads((SCRIPTS / "node/package-lock.json").read_text(encoding="utf-8"))
    packages = {name: about for name, about in lock["packages"].items() if name}
    assert packages
    assert all("integrity" in about and "resolved" not in about for about in packages.values())


def test_the_pre_commit_hook_is_a_command_of_ours() -> None:
    """Its arguments are understood, and it is run on files of every language."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert hook["entry"].split() == ["codeprompt", COMMAND.name]
    given = COMMAND.make_context("check", [*hook["args"], __file__, __file__]).params
    assert given["fail_on"] == 0.9
    ids = {"c#": "csharp", "c++": "cpp", "jsx": "javascriptreact", "tsx": "typescriptreact",
           "ts": "typescript"}  # fmt: skip
    assert named([ids.get(kind, kind) for kind in hook["types_or"]]) == EVERY


def test_every_readme_of_an_editor_is_linked() -> None:
    """From `editors/README.md`."""
    text = (EDITORS / "README.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in EDITORS.glob("*/README.md")}
    assert folders == set(re.findall(r"\]\((\w+)\)", text))
