"""A client on Microsoft's own protocol library (`tests/editors/node`), strict in what it reads."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.editing import COMMAND
from tests.real_editors import MODULE, SCRIPTS, needed, visit

pytestmark = pytest.mark.slow
CLIENT = SCRIPTS / "node"
TEXT = MODULE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def seen() -> Iterator[dict[str, Any]]:
    """What a visit has seen; the client's library is installed first, as its lock file says."""
    node, npm = needed("node", "nodejs"), needed("npm", "npm")
    if not (CLIENT / "node_modules" / "vscode-languageserver-protocol").is_dir():
        done = subprocess.run(
            [npm, "ci", "--ignore-scripts"], cwd=CLIENT, capture_output=True, text=True, timeout=300
        )
        if done.returncode:
            shutil.rmtree(CLIENT / "node_modules", ignore_errors=True)
            pytest.fail(f"npm ci in {CLIENT} failed:\n{done.stderr}")
    with visit() as made:
        done = subprocess.run(
            [node, CLIENT / "client.mjs", made.module, "--", *COMMAND],
            env=dict(made.env), capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout or "{}")
        assert done.returncode == 0, f"{found}\n{done.stderr}"
        yield found


def test_the_life_cycle_is_as_the_protocol_says(seen: dict[str, Any]) -> None:
    """-32002 before `initialize`, an answered shutdown, -32600 after it, exit code 0."""
    assert seen["early"] == -32002
    assert seen["shutdown"] is None
    assert seen["late"] == -32600
    assert seen["exit"] == 0


def test_capabilities_are_announced_once(seen: dict[str, Any]) -> None:
    """What this client has and nothing that it lacks."""
    told = seen["told"]
    assert told["positionEncoding"] == "utf-16"
    assert told["codeActionProvider"]["resolveProvider"] is True
    assert "inlineCompletionProvider" not in told
    assert told["workspace"]["textDocumentContent"]["schemes"] == ["codeprompt"]
    assert sorted(seen["methods"]) == [
        "workspace/didChangeConfiguration",
        "workspace/didChangeWatchedFiles",
    ]


def test_a_hover_has_a_summary_and_the_range_of_the_head(seen: dict[str, Any]) -> None:
    """Markdown, with its source."""
    assert seen["hover"]["contents"]["kind"] == "markdown"
    assert "summarize@" in seen["hover"]["contents"]["value"]
    line = TEXT.splitlines().index("def rgb_to_yiq(r, g, b):")
    assert seen["hover"]["range"]["start"] == {"line": line, "character": 0}


def test_a_code_action_gets_its_edit_when_it_is_resolved(seen: dict[str, Any]) -> None:
    """Versioned and annotated, as this client can; below the head."""
    write = seen["actions"][0]
    assert write["title"] == "Write the documentation of rgb_to_yiq"
    assert write.get("edit") is None
    (change,) = seen["resolved"]["documentChanges"]
    assert change["textDocument"]["version"] == 1
    (edit,) = change["edits"]
    assert edit["annotationId"] in seen["resolved"]["changeAnnotations"]
    assert '"""' in edit["newText"]


def test_the_command_asks_the_client_to_apply_the_same_edit(seen: dict[str, Any]) -> None:
    """`workspace/applyEdit`, answered by the client."""
    assert seen["applied"] == seen["resolved"]


def test_diagnostics_are_pulled_and_unchanged_the_second_time(seen: dict[str, Any]) -> None:
    """With a result id that says so."""
    assert seen["diagnostics"]["kind"] == "full"
    assert seen["diagnostics"]["items"][0]["source"] == "codeprompt"
    assert seen["again"] == "unchanged"


def test_a_translation_is_a_document_of_our_own_scheme(seen: dict[str, Any]) -> None:
    """Read by `workspace/textDocumentContent`."""
    assert "rgb_to_yiq of colors.py, translated from Python" in seen["translation"]


def test_cancelled_and_outdated_requests_have_their_codes(seen: dict[str, Any]) -> None:
    """-32800, and the next is answered; -32801 for a function that is gone."""
    assert seen["cancelled"] == -32800
    assert "summarize@" in seen["afterwards"]["contents"]["value"]
    assert seen["outdated"] == -32801
