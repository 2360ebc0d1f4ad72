"""Warnings of the language server: when they come, where they stand, what they say."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest
from lsprotocol import types

from codeprompt.client import Item
from codeprompt.pack import store
from lsp_server.answers import Answer, Query, as_answer
from lsp_server.cards import Facts, facts_of
from lsp_server.documents import Document
from lsp_server.editor import Editor
from lsp_server.features.diagnostics import Warnings, message, threshold, unworthy, worth
from lsp_server.packs import Chosen
from lsp_server.settings import Diagnostics, Settings
from tests.edited import SECONDS, SOURCE, project, world, write_defect
from tests.edited import Editor as Client
from tests.editing import Local, listed
from tests.serviced import pack

FACTS = Facts("defect", 0.6, 0.4, 0.72, 0.85, 0.8, 200)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of its own."""
    monkeypatch.setenv("CODEPROMPT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def defect(text: str = "def f(a):\n    return a\n") -> tuple[Document, Query]:
    """A document and the question about its function."""
    document = Document("file:///a.py", text, language_id="python")
    pack = Chosen("d", "v", "defect", "builtin", FACTS)
    return document, Query("defect", document.functions[0], pack)


def test_a_warning_does_not_flicker() -> None:
    """It comes at the threshold, and goes only a margin below it."""

    async def check() -> None:
        local = Local()
        warnings = Warnings(local.server)
        document, query = defect()

        def shown(probability: float) -> bool:
            answer = Answer("defective", probability, "d@v")
            local.server.answers._known[query.key] = answer
            return bool(warnings.items(document, [query], Settings()))

        found = [shown(p) for p in (0.59, 0.61, 0.57, 0.56, 0.54, 0.57, 0.6)]
        assert found == [False, True, True, True, False, False, True]

    asyncio.run(check())


def test_a_warning_stands_on_the_lines_that_a_pack_tells() -> None:
    """On the likeliest, the others beside it; counted in the text without its docstring."""

    async def check() -> None:
        local = Local()
        text = (
            'x = 1\ndef f(a):\n    """Doc.\n    """\n'
            "    b = a\n    c = b\n    d = c\n    return d\n"
        )
        document, query = defect(text)
        local.server.packs.listed = [listed("lines", "localize")]
        warnings = Warnings(local.server)
        known = local.server.answers._known
        known[query.key] = Answer("defective", 0.9, "d@v")
        located = warnings._located(document, query, Settings())
        assert located is not None

        def shown(*told: tuple[int, float]) -> types.Diagnostic:
            items = [Item(start_line=n, end_line=n, label="defective", score=p) for n, p in told]
            items = items or [Item(start_line=1, end_line=5, label="clean", score=0.1)]
            known[located.key] = as_answer(items, located.pack)
            (found,) = warnings.items(document, [query], Settings())
            return found

        def places(found: types.Diagnostic) -> list[tuple[int, int, int, int]]:
            others = [one.location.range for one in found.related_information or ()]
            return [(r.start.line, r.start.character, r.end.line, r.end.character)
                    for r in (found.range, *others)]  # fmt: skip

        assert places(warnings.items(document, [query], Settings())[0]) == [(1, 0, 1, 9)]
        assert places(shown()) == [(1, 0, 1, 9)]
        assert places(shown((1, 0.7))) == [(1, 0, 1, 9)]
        assert places(shown((2, 0.6), (3, 0.8), (5, 0.7))) == [(4, 4, 5, 9)]
        assert "likeliest here (80%, lines@aa): probability 90%" in shown((3, 0.8)).message
        local.server.editor = Editor(relates=True)
        found = shown((2, 0.6), (5, 0.7))
        assert places(found) == [(7, 4, 7, 12), (4, 4, 4, 9)]
        assert found.related_information[0].message == "or here: 60%"  # type: ignore[index]

    asyncio.run(check())


def test_a_warning_says_its_rates() -> None:
    """Probability, base rate, precision on validation, pack."""
    _, query = defect()
    text = message(query.function, Answer("defective", 0.83, "d@v"), query.pack)
    assert text == (
        "f may have a defect: probability 83%; base rate 40%; "
        "72% of such warnings were right on validation (n=200) [d@v]"
    )
    assert threshold(Settings(), FACTS) == 0.6
    assert threshold(Settings(diagnostics=Diagnostics(threshold=0.9)), FACTS) == 0.9
    assert threshold(Settings(), None) == 0.5


def test_a_pack_that_does_not_beat_never_stays_silent() -> None:
    """By the lower end of its accuracy; without one there is no proof."""
    assert worth(FACTS)
    assert not worth(dataclasses.replace(FACTS, least=0.59))
    assert not worth(Facts())
    assert not worth(None)
    weak = Chosen("d", "v", "defect", "b", dataclasses.replace(FACTS, accuracy=0.61, least=0.55))
    assert "right on 61%" in unworthy(weak)
    assert "never warning would be on 60%" in unworthy(weak)


def test_the_ignore_comment_is_honoured_and_trivial_bodies_are_left() -> None:
    """As `codeprompt check` does."""
    text = (
        "# codeprompt: ignore\ndef a(x):\n    return x + 1\n\n"
        "def b(x):  # codeprompt: ignore\n    return x + 1\n\n"
        "def c(x):\n    return x + 1\n\ndef d(x):\n    pass\n"
    )
    document, query = defect(text)

    async def check() -> None:
        found = Warnings(Local().server).queries(document, query.pack)
        assert [one.function.name for one in found] == ["c"]

    asyncio.run(check())


def test_facts_are_read_from_whatever_a_card_holds() -> None:
    """Missing and odd values are left."""
    card = {
        "task": "defect", "threshold": 0.6, "base_rate": 0.4, "licence": {"weights": "MIT"},
        "scores": [
            {"metric": "accuracy", "value": 85.0, "n": 200, "interval": [80.0, 90.0]},
            {"metric": "f1", "value": 70.0, "parts": {"precision": 72.0}},
        ],
    }  # fmt: skip
    found = facts_of(card)
    assert dataclasses.replace(found, weights="") == FACTS
    assert found.beats_never
    assert facts_of({"scores": 3, "threshold": "x", "data": [], "licence": None}) == Facts()


@pytest.mark.slow
def test_lines_come_from_a_pack_that_labels_them() -> None:
    """From the engine, for the function that is warned about and in its place."""

    def packs(folder: Path) -> None:
        write_defect(folder / "defect", low=80.0)
        lines = pack("localize", "soft", called="lines", length=2, threshold=0.0)
        store.save(lines, folder / "lines")

    async def check() -> None:
        editor = Client("vscode1139")
        on = {"diagnostics": {"mode": "on", "threshold": 0.0}}
        with world(packs) as made, project({"sums.py": SOURCE}) as root:
            await editor.start(made.env, root, on)
            uri = editor.open(root / "sums.py", SOURCE)
            try:
                place = types.TextDocumentIdentifier(uri=uri)
                pull = types.DocumentDiagnosticParams(text_document=place)
                told: list[types.Diagnostic] = []
                async with asyncio.timeout(SECONDS):
                    while not any("likeliest here" in one.message for one in told):
                        found = await editor.client.text_document_diagnostic_async(pull)
                        told = list(getattr(found, "items", told))
                        await asyncio.sleep(0.05)
                by_name = {one.data["function"]: one for one in told}  # type: ignore[index]
                assert set(by_name) == {"add", "total", "Queue.push"}
                rows = SOURCE.split("\n")
                spans = {"add": (3, 10), "total": (13, 17), "Queue.push": (21, 23)}
                for name, (first, last) in spans.items():
                    where = by_name[name].range
                    assert first <= where.start.line <= where.end.line <= last
                    assert rows[where.start.line][: where.start.character].strip() == ""
                    assert where.end.character == len(rows[where.end.line])
            finally:
                await editor.stop()

    asyncio.run(check())
