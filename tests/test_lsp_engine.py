"""The server with the real engine: packs come and go, trust, tuning, cancelling, reviving."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException

import codeprompt.languages
from codeprompt.client import Home, state
from codeprompt.pack import load
from codeprompt.pack.lookup import SHIPPED
from lsp_server.shown import REFUSE, TRUST
from tests.edited import SECONDS, SOURCE, Editor, World, project, world, write_defect, write_packs

pytestmark = [pytest.mark.asyncio(loop_scope="function"), pytest.mark.slow]
TOTAL = 13
PATIENT = {"hover": {"budget": 60_000, "minimumConfidence": 0.0}}


@pytest.fixture(scope="module")
def engine() -> Iterator[World]:
    """One engine for the tests that leave it alone."""
    with world() as made:
        yield made


@asynccontextmanager
async def editing(
    made: World, name: str = "vscode1139", options: Any = None, **files: str
) -> AsyncIterator[tuple[Editor, Path, str]]:
    """An editor on a project with one file."""
    editor = Editor(name)
    with project({"sums.py": SOURCE, **files}) as root:
        await editor.start(made.env, root, options or PATIENT)
        uri = editor.open(root / "sums.py", SOURCE)
        try:
            yield editor, root, uri
        finally:
            await editor.stop()


async def told(editor: Editor, uri: str, word: str, line: int = TOTAL) -> str:
    """A hover once it holds a word."""
    async with asyncio.timeout(SECONDS):
        while word not in (text := await editor.hovers(uri, line, 6)):
            await asyncio.sleep(0.1)
    return text


async def test_packs_that_appear_and_vanish_are_followed() -> None:
    """A pack that was just written answers; once it is removed the one that ships does again."""
    ships = version(SHIPPED / "summarize")
    with world(fill=lambda folder: None) as made:
        async with editing(made) as (editor, root, uri):
            assert await told(editor, uri, ships)
            write_packs(made.data / "packs")
            assert version(made.data / "packs" / "summarize") != ships
            assert await told(editor, uri, version(made.data / "packs" / "summarize"))
            assert editor.statuses[-1]["missing"] == []
            shutil.rmtree(made.data / "packs" / "summarize")
            change = types.FileEvent(
                uri=(root / ".codeprompt/packs/x/card.json").as_uri(),
                type=types.FileChangeType.Deleted,
            )
            editor.client.workspace_did_change_watched_files(
                types.DidChangeWatchedFilesParams(changes=[change])
            )
            assert await told(editor, uri, ships)


def version(folder: Path) -> str:
    """How a hover names a pack and its version."""
    card = load(folder).card
    return f"{card.name}@{card.integrity[:12]}"


async def test_a_project_s_pack_is_used_once_a_person_trusts_it(engine: World) -> None:
    """Asked before it loads; refused, the engine never gets it."""
    for presses, wanted in ((REFUSE, "(summarize"), (TRUST, "ours@")):
        editor = Editor("vscode1139")
        editor.presses = presses
        with project({"sums.py": SOURCE}) as root:
            packs = root / ".codeprompt/packs"
            shutil.copytree(engine.data / "packs/summarize", packs / "ours")
            (packs / "ours/prompt.safetensors").touch()
            await editor.start(engine.env, root, PATIENT)
            uri = editor.open(root / "sums.py", SOURCE)
            try:
                questions = editor.questions
                await editor.until(lambda questions=questions: questions)  # type: ignore[misc]
                assert "brings the pack 'ours'" in editor.questions[0].message
                text = await told(editor, uri, wanted.strip("("))
                assert ("ours@" in text) == (presses == TRUST)
            finally:
                await editor.stop()


async def test_warnings_stay_off_until_the_pack_beats_never(engine: World) -> None:
    """And the status says why; 'on' shows them anyway."""
    write_defect(engine.data / "packs" / "defect", low=50.0)
    try:
        async with editing(engine) as (editor, _, uri):
            given = types.DocumentDiagnosticParams(
                text_document=types.TextDocumentIdentifier(uri=uri)
            )
            report = await editor.client.text_document_diagnostic_async(given)
            assert report.items == ()  # type: ignore[union-attr]
            await editor.until(lambda: any(s["notes"] for s in editor.statuses))
            assert "never warning would be on 60%" in editor.statuses[-1]["notes"][0]
            changed = {**PATIENT, "diagnostics": {"mode": "on"}}
            editor.client.set_configuration({"codeprompt": changed})
            editor.client.workspace_did_change_configuration(
                types.DidChangeConfigurationParams(settings=None)
            )
            async with asyncio.timeout(SECONDS):
                while not report.items:  # type: ignore[union-attr]
                    report = await editor.client.text_document_diagnostic_async(given)
                    await asyncio.sleep(0.05)
    finally:
        write_defect(engine.data / "packs" / "defect", low=80.0)


async def test_a_cancelled_hover_is_answered_so_and_the_engine_goes_on(engine: World) -> None:
    """-32800, not the summary; the next hover has it."""
    async with editing(engine) as (editor, _, uri):
        await editor.ready()
        fresh = SOURCE.replace("result = 0", "result = 0  # another")
        whole = types.TextDocumentContentChangeWholeDocument(text=fresh)
        editor.client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                text_document=types.VersionedTextDocumentIdentifier(uri=uri, version=2),
                content_changes=[whole],
            )
        )
        protocol = editor.client.protocol
        params = types.HoverParams(
            text_document=types.TextDocumentIdentifier(uri=uri),
            position=types.Position(line=TOTAL, character=6),
        )
        sending = protocol.send_request_async("textDocument/hover", params, msg_id="mine")
        asked = asyncio.ensure_future(sending)
        await asyncio.sleep(0)
        editor.client.cancel_request(types.CancelParams(id="mine"))
        with pytest.raises(JsonRpcException, match="cancelled"):
            await asked
        assert "summarize@" in await editor.hovers(uri, TOTAL, 6)


async def test_editors_share_one_engine_and_it_is_started_again_when_it_died(
    engine: World,
) -> None:
    """A killed engine costs nobody more than a wait."""
    async with (
        editing(engine, "vscode1139") as (first, _, one),
        editing(engine, "emacs30") as (second, _, two),
    ):
        await first.ready()
        await second.ready()
        await told(first, one, "summarize@")
        pid = state(Home(engine.home)).pid
        assert pid is not None
        process = psutil.Process(pid)
        process.kill()
        process.wait(20)
        assert "summarize@" in await told(second, two, "summarize@", line=3)
        assert state(Home(engine.home)).pid not in (None, pid)


async def test_an_edit_for_a_text_that_has_changed_is_refused(engine: World) -> None:
    """-32801: the function is gone; nothing is written into the wrong place."""
    async with editing(engine) as (editor, _, uri):
        await editor.ready()
        action = (await editor.actions(uri, TOTAL))[0]
        whole = types.TextDocumentContentChangeWholeDocument(text="x = 1\n")
        editor.client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                text_document=types.VersionedTextDocumentIdentifier(uri=uri, version=2),
                content_changes=[whole],
            )
        )
        with pytest.raises(JsonRpcException, match="has changed meanwhile") as found:
            await editor.client.code_action_resolve_async(action)
        assert found.value.code == -32801


async def test_a_pack_is_tuned_on_the_project_and_answers_from_then_on(engine: World) -> None:
    """The job's id at once, loss in the progress, the pack live without a restart."""
    sources = Path(codeprompt.languages.__file__).parent
    files = {path.relative_to(sources).as_posix(): path.read_text() for path in
             sources.rglob("*.py")}  # fmt: skip
    async with editing(engine, **files) as (editor, root, uri):
        before = await told(editor, uri, "summarize@")
        asked = {"folder": root.as_uri(), "shots": 8, "steps": 2}
        made = await editor.command("codeprompt.tune", asked)
        assert made["job"]
        async with asyncio.timeout(4 * SECONDS):
            while not editor.jobs:
                await asyncio.sleep(0.1)
        assert editor.jobs[-1]["status"] == "done", editor.jobs
        assert editor.jobs[-1]["message"].startswith("summarize@")
        after = await told(editor, uri, "summarize@")
        assert after.split("summarize@")[1] != before.split("summarize@")[1]
        shown = [value for reports in editor.client.progress_reports.values() for value in reports]
        assert any("loss" in str(value) for value in shown), shown
        told_status = await editor.command("codeprompt.showStatus")
        assert told_status["packs"]["summarize"].startswith("summarize@")


async def test_a_tuning_job_can_be_cancelled(engine: World) -> None:
    """By `codeprompt.cancel`; its end is told."""
    sources = Path(codeprompt.languages.__file__).parent
    files = {path.name: path.read_text() for path in sources.glob("*.py")}
    async with editing(engine, **files) as (editor, root, _):
        asked = {"folder": root.as_uri(), "shots": 8, "steps": 5000}
        made = await editor.command("codeprompt.tune", asked)
        stopped = await editor.command("codeprompt.cancel", {"job": made["job"]})
        assert stopped["cancelled"] == [made["job"]]
        async with asyncio.timeout(SECONDS):
            while not editor.jobs:
                await asyncio.sleep(0.1)
        assert editor.jobs[-1]["status"] == "cancelled"


async def test_lenses_and_hints_come_only_where_they_are_switched_on(engine: World) -> None:
    """Lenses cost no model; hints come once their summaries are there."""
    everywhere = types.Range(
        start=types.Position(line=0, character=0), end=types.Position(line=99, character=0)
    )
    for enabled in (False, True):
        options = {
            **PATIENT,
            "codeLens": {"enabled": enabled},
            "inlayHints": {"enabled": enabled},
            "pause": {"onBattery": False, "memory": 0},
        }
        async with editing(engine, options=options) as (editor, _, uri):
            await editor.ready()
            document = types.TextDocumentIdentifier(uri=uri)
            lenses = await editor.client.text_document_code_lens_async(
                types.CodeLensParams(text_document=document)
            )
            assert [lens.range.start.line for lens in lenses or ()] == [13, 21] * enabled
            for lens in lenses or ():
                resolved = await editor.client.code_lens_resolve_async(lens)
                assert resolved.command is not None
                assert resolved.command.command == "codeprompt.document"
            hints = types.InlayHintParams(text_document=document, range=everywhere)
            found = await editor.client.text_document_inlay_hint_async(hints)
            async with asyncio.timeout(SECONDS):
                while enabled and len(found or ()) < 2:
                    await asyncio.sleep(0.05)
                    found = await editor.client.text_document_inlay_hint_async(hints)
            assert len(found or ()) == 2 * enabled


async def test_a_docstring_is_offered_while_one_types_it(engine: World) -> None:
    """Behind the quotes; the text then parses."""
    async with editing(engine, "nvim0124") as (editor, root, _):
        text = SOURCE.replace("def total(values):\n", 'def total(values):\n    """\n')
        uri = editor.open(root / "typed.py", text)
        await editor.ready()
        found = await editor.client.text_document_inline_completion_async(
            types.InlineCompletionParams(
                context=types.InlineCompletionContext(
                    trigger_kind=types.InlineCompletionTriggerKind.Invoked
                ),
                text_document=types.TextDocumentIdentifier(uri=uri),
                position=types.Position(line=TOTAL + 1, character=7),
            )
        )
        assert isinstance(found, types.InlineCompletionList)
        (item,) = found.items
        assert str(item.insert_text).endswith('"""')


async def test_a_workspace_is_documented_by_one_previewed_edit(engine: World) -> None:
    """File by file, each to be confirmed where the editor can."""
    other = "def other(x):\n    y = x + 1\n    return y\n"
    async with editing(engine, **{"part/other.py": other}) as (editor, root, _):
        found = await editor.command("codeprompt.documentFile", {"folder": root.as_uri()})
        assert (found["written"], found["files"]) == (3, 2)
        edit = editor.edits[-1].edit
        assert edit.change_annotations is not None
        assert all(one.needs_confirmation for one in edit.change_annotations.values())
        labels = {one.label for one in edit.change_annotations.values()}
        assert labels == {"Documentation in sums.py", "Documentation in other.py"}
