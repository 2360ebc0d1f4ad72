"""Six real editors' capabilities against a real server and the real engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from lsprotocol import types
from pygls.exceptions import JsonRpcException

from codeprompt.languages.functions import parses
from tests.edited import (
    EDITORS,
    SOURCE,
    Editor,
    World,
    applied,
    edits_of,
    project,
    world,
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]
ADD, TOTAL, PUSH = 3, 13, 21
VERBS = ("Write the documentation of", "Replace the documentation of")


@pytest.fixture(scope="module")
def engine() -> Iterator[World]:
    """One engine for all editors, as on a real machine."""
    with world() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=EDITORS)
async def editor(request: pytest.FixtureRequest, engine: World) -> AsyncIterator[Editor]:
    """An editor with a folder and a file open, its engine ready."""
    made = Editor(request.param)
    with project({"sums.py": SOURCE, ".gitignore": "ignored.py\n"}) as root:
        made.result = await made.start(engine.env, root)  # type: ignore[attr-defined]
        made.root = root  # type: ignore[attr-defined]
        made.uri = made.open(root / "sums.py", SOURCE)  # type: ignore[attr-defined]
        await made.ready()
        yield made
        await made.stop()


async def test_the_server_announces_what_this_editor_can_use(editor: Editor) -> None:
    """Encoding by its preference; pull or push, never both; our own documents where it has them."""
    told = editor.result.capabilities  # type: ignore[attr-defined]
    general = editor.capabilities.general
    encodings = (general.position_encodings if general else None) or ["utf-16"]
    assert told.position_encoding == encodings[0]
    text = editor.capabilities.text_document
    assert text is not None
    assert (told.diagnostic_provider is not None) == (text.diagnostic is not None)
    assert (told.inline_completion_provider is not None) == (text.inline_completion is not None)
    workspace = editor.capabilities.workspace
    virtual = workspace is not None and workspace.text_document_content is not None
    assert (told.workspace.text_document_content is not None) == virtual


async def test_a_hover_tells_a_summary_with_its_source(editor: Editor) -> None:
    """The first says that it computes, a later one has it; Markdown only where it is taken."""
    text = await editor.hovers(editor.uri, TOTAL, 6)  # type: ignore[attr-defined]
    assert "summarize@" in text
    assert "confidence" in text
    hover = editor.capabilities.text_document.hover  # type: ignore[union-attr]
    assert ("*Written" in text) == ("markdown" in hover.content_format)  # type: ignore


async def test_a_call_is_hovered_too_and_the_rest_of_a_body_is_not(editor: Editor) -> None:
    """`add` where it is called; a loop has nothing to say."""
    assert await editor.hovers(editor.uri, 16, 18)  # type: ignore[attr-defined]
    assert await editor.hover(editor.uri, 15, 5) is None  # type: ignore[attr-defined]
    assert await editor.hover(editor.uri, 11, 0) is None  # type: ignore[attr-defined]


async def documented(editor: Editor, line: int) -> str:
    """The file after the action that documents the function at a line."""
    uri: str = editor.uri  # type: ignore[attr-defined]
    offered = [a for a in await editor.actions(uri, line) if a.title.startswith(VERBS)]
    assert len(offered) == 1
    action = offered[0]
    support = editor.capabilities.text_document.code_action.resolve_support  # type: ignore
    if support is not None and "edit" in support.properties:
        assert action.edit is None
        assert action.command is None
        resolved = await editor.client.code_action_resolve_async(action)
        edit = resolved.edit
    else:
        await editor.command(action.command.command, *action.command.arguments)
        edit = editor.edits[-1].edit
    assert edit is not None
    versioned = editor.capabilities.workspace.workspace_edit.document_changes  # type: ignore
    assert (edit.document_changes is not None) == bool(versioned)
    return applied(SOURCE, edits_of(edit, uri))


async def test_a_docstring_is_inserted_and_the_file_still_parses(editor: Editor) -> None:
    """In the file's own style, as one edit: by resolve, or by a command that applies it."""
    text = await documented(editor, PUSH)
    assert parses(text, "python")
    before, after = SOURCE.split("        self.items.append")[0], text
    assert after.startswith(before + '        """')


async def test_a_docstring_is_replaced_and_its_sections_stay(editor: Editor) -> None:
    """Only the first paragraph is the model's."""
    text = await documented(editor, ADD)
    assert "Add two numbers." not in text
    assert "    Args:\n        first: one\n        second: another\n" in text
    assert parses(text, "python")


async def test_warnings_come_by_the_way_this_editor_has(editor: Editor) -> None:
    """Pulled where it pulls, pushed where not, with the rates; the ignore comment is honoured."""
    uri: str = editor.uri  # type: ignore[attr-defined]
    items = await warnings(editor, uri)
    assert {item.data["function"] for item in items if item.data} == {"add", "total", "Queue.push"}
    message = items[0].message
    assert "base rate 40%" in message
    assert "72% of such warnings were right on validation" in message
    assert items[0].severity == types.DiagnosticSeverity.Information


async def warnings(editor: Editor, uri: str) -> list[types.Diagnostic]:
    """The warnings of a document once all functions are answered."""
    text = editor.capabilities.text_document
    if text is None or text.diagnostic is None:
        async with asyncio.timeout(120):
            while uri not in editor.client.diagnostics:
                await editor.client.wait_for_notification("textDocument/publishDiagnostics")
        return list(editor.client.diagnostics[uri])
    assert uri not in editor.client.diagnostics
    async with asyncio.timeout(120):
        while True:
            report = await editor.client.text_document_diagnostic_async(
                types.DocumentDiagnosticParams(text_document=types.TextDocumentIdentifier(uri=uri))
            )
            assert isinstance(report, types.RelatedFullDocumentDiagnosticReport)
            if len(report.items) == 3:
                return list(report.items)
            await asyncio.sleep(0.05)


async def test_an_explained_warning_names_the_lines_it_rests_on(editor: Editor) -> None:
    """In a document of our own, or a temporary file."""
    uri: str = editor.uri  # type: ignore[attr-defined]
    found = await warnings(editor, uri)
    offered = await editor.actions(uri, TOTAL, diagnostics=found[1:2], only=["quickfix"])
    titles = [action.title for action in offered]
    assert titles == ["Explain the warning about total", "Ignore warnings about total"]
    ignored = applied(SOURCE, edits_of(offered[1].edit, uri))
    assert "# codeprompt: ignore\ndef total" in ignored
    told = await editor.command(offered[0].command.command, *offered[0].command.arguments)
    assert told["parts"]
    assert told["uri"].startswith(("codeprompt:/", "file:///"))


async def test_a_translation_opens_in_a_document_of_its_own(editor: Editor) -> None:
    """With a note whether it parses."""
    uri: str = editor.uri  # type: ignore[attr-defined]
    told = await editor.command(
        "codeprompt.translate", {"uri": uri, "function": "total", "target": "java"}
    )
    workspace = editor.capabilities.workspace
    if workspace is not None and workspace.text_document_content is not None:
        found = await editor.client.workspace_text_document_content_async(
            types.TextDocumentContentParams(uri=told["uri"])
        )
        assert told["text"] in found.text
        assert "translated from Python by a model" in found.text
    else:
        assert told["uri"].startswith("file:///")


async def test_the_whole_file_is_documented_by_one_edit(editor: Editor) -> None:
    """What lacks documentation gets it; what has it stays."""
    told = await editor.command("codeprompt.documentFile", {"uri": editor.uri})  # type: ignore
    assert told["written"] + told["unsure"] == 2
    if told["written"]:
        text = applied(SOURCE, edits_of(editor.edits[-1].edit, editor.uri))  # type: ignore
        assert parses(text, "python")
        assert "Add two numbers." in text


async def test_a_workspace_is_summarized_into_a_report(editor: Editor) -> None:
    """Every function of every file, with progress where the editor shows any."""
    told = await editor.command("codeprompt.summarizeWorkspace", {})
    assert (told["files"], told["functions"]) == (1, 3)


async def test_status_and_packs_are_told(editor: Editor) -> None:
    """The status bar knows the packs; a pack that is not there is refused with those that are."""
    await editor.command("codeprompt.summarizeWorkspace", {})  # the packs are told with answers
    told = await editor.command("codeprompt.showStatus", {})
    assert told["state"] == "ready"
    assert told["packs"]["summarize"].startswith("summarize@")
    with pytest.raises(JsonRpcException, match="there are: summarize"):
        await editor.command("codeprompt.choosePack", {"task": "summarize", "pack": "none"})
    listed = await editor.command("codeprompt.choosePack", {"task": "summarize", "list": True})
    assert "summarize" in listed["packs"]
    assert not editor.questions


async def test_a_file_that_is_left_alone_is_told_once(editor: Editor) -> None:
    """Of no language of ours: never guessed, never silent."""
    root = editor.root  # type: ignore[attr-defined]
    uri = editor.open(root / "x.zig", "fn f() void {}\n", "zig")
    assert await editor.hover(uri, 0, 4) is None
    await editor.until(lambda: uri in str(editor.statuses[-1]["skipped"]) or editor.statuses)
    lines = [m.message for m in editor.client.log_messages if "x.zig" in m.message]
    assert lines == ["x.zig is left alone: 'zig' is no supported language."]
