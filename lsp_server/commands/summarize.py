"""Summarize a workspace: a report of every function. It grows while it is made where the editor has
documents of our own; elsewhere it is a file, shown once it is whole."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeprompt.errors import CodepromptError
from lsp_server.answers import Answer
from lsp_server.commands.files import Tree, folder_files, read_document
from lsp_server.documents import Document
from lsp_server.engine import bounded
from lsp_server.shown import REPORT

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer

AT_ONCE = 8
RENEW_SECONDS = 2.0


async def run(server: CodepromptServer, given: dict[str, Any]) -> dict[str, Any]:
    """{folder?}: the URI of the report, and what it counts. Cancelled, it keeps its part."""
    tree = await folder_files(server, given)
    root, paths = tree.root, tree.paths
    report = _Report(tree)
    uri = server.shown.keep(f"{root.name}{REPORT}", report.text("Working."))
    if server.editor.virtual:
        await server.shown.open(uri)
    renewed = time.monotonic()
    state = "Stopped before the end."
    try:
        async with server.progresses.begin(f"Summarize {root.name}") as progress:
            for number, path in enumerate(paths):
                progress.update(path.relative_to(root).as_posix(), 100 * number / len(paths))
                document = await read_document(server, path, tree)
                if document is not None:
                    report.add(path, await _rows(server, document))
                if time.monotonic() - renewed > RENEW_SECONDS:
                    renewed = time.monotonic()
                    server.shown.put(
                        uri, report.text(f"{number + 1} of {len(paths)} files so far.")
                    )
        state = "Complete."
    finally:
        server.shown.put(uri, report.text(state))
        if not server.editor.virtual and not server.protocol.leaving:
            server.spawn(server.shown.open(uri))
    return {"uri": uri, "files": report.files, "functions": report.functions,
            "unsure": report.unsure, "leftOut": dict(tree.left_out)}  # fmt: skip


async def _rows(server: CodepromptServer, document: Document) -> list[tuple[str, int, str, str]]:
    """Name, line, sentence and how sure, of each function."""
    settings = server.settings_of(document)
    pack = await server.pack_for("summarize", document, settings)
    queries = [
        server.question("summarize", document, function, pack)
        for function in document.functions
        if not function.body_is_trivial
    ]
    answers = await bounded([server.answers.get(query, "batch") for query in queries], AT_ONCE)
    rows = []
    for query, answer in zip(queries, answers, strict=True):
        if isinstance(answer, CodepromptError):
            raise answer
        line = document.first_line(query.function) + 1
        sure = isinstance(answer, Answer) and answer.confidence >= settings.hover.minimum_confidence
        text = answer.text if sure and isinstance(answer, Answer) else ""
        share = f"{answer.confidence:.0%}" if isinstance(answer, Answer) else "-"
        rows.append((query.function.qualified_name, line, " ".join(text.split()), share))
    return rows


class _Report:
    """The report so far."""

    def __init__(self, tree: Tree) -> None:
        self.tree, self.root = tree, tree.root
        self.files = self.functions = self.unsure = 0
        self._parts: list[str] = []

    def add(self, path: Path, rows: list[tuple[str, int, str, str]]) -> None:
        """A file's functions."""
        if not rows:
            return
        self.files += 1
        self.functions += len(rows)
        self.unsure += sum(not text for _, _, text, _ in rows)
        lines = [f"\n## {path.relative_to(self.root).as_posix()}\n",
                 "| line | function | summary | confidence |", "|---:|---|---|---:|"]  # fmt: skip
        for name, line, text, share in rows:
            shown = text.replace("|", "\\|") or "(the model is not sure)"
            lines.append(f"| {line} | `{name}` | {shown} | {share} |")
        self._parts.append("\n".join(lines))

    def text(self, state: str) -> str:
        """The whole report."""
        head = (
            f"# {self.root.name}\n\nWritten by a model. {state} Files: {self.files}, functions: "
            f"{self.functions}, not sure about: {self.unsure}. {self.tree.told()}".rstrip()
            + "\n"
        )
        return head + "\n".join(self._parts) + "\n"
