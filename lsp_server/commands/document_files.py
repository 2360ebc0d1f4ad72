"""Write the missing documentation of a file or a folder: one edit, previewed file by file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codeprompt.errors import CodepromptError
from lsp_server.answers import Answer
from lsp_server.commands.files import Tree, folder_files, read_document
from lsp_server.documents import Document
from lsp_server.edits import Change, documentation_change, workspace_edit
from lsp_server.engine import bounded
from lsp_server.failures import outdated, refused

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer

AT_ONCE = 8


async def run(server: CodepromptServer, given: dict[str, Any]) -> dict[str, Any]:
    """{uri} of a file, or {folder}: how many were written, and how many the model was unsure of."""
    from lsp_server.features.execute_command import apply

    documents, tree = await _documents(server, given)
    changes: dict[str, tuple[Document, list[Change]]] = {}
    written = unsure = 0
    async with server.progresses.begin("Write documentation") as progress:
        for number, document in enumerate(documents):
            name = document.path.name if document.path else document.uri
            progress.update(name, 100 * number / len(documents))
            version = document.version
            made, left = await _changes(server, document)
            if document.version != version:
                raise outdated()
            unsure += left
            written += len(made)
            if made:
                changes[document.uri] = (document, made)
    left_out = {"leftOut": dict(tree.left_out)} if tree else {}
    if not changes:
        return {"written": 0, "unsure": unsure, **left_out}
    confirm = server.editor.annotates
    edit = workspace_edit(server.editor, changes, confirm=confirm)
    told = await apply(server, edit, "Write documentation")
    if not told["applied"]:
        return {"written": 0, "unsure": unsure, **left_out}
    return {"written": written, "unsure": unsure, "files": len(changes), **left_out}


async def _documents(
    server: CodepromptServer, given: dict[str, Any]
) -> tuple[list[Document], Tree | None]:
    uri = given.get("uri")
    if isinstance(uri, str):
        found = await server.usable(uri)
        if found is None:
            raise refused("This file is not open, or it is left alone")
        return [found[0]], None
    tree = await folder_files(server, given)
    documents = [await read_document(server, path, tree) for path in tree.paths]
    if tree.left_out:
        server.status.log(tree.told())
    return [one for one in documents if one is not None], tree


async def _changes(server: CodepromptServer, document: Document) -> tuple[list[Change], int]:
    """Changes for the functions without documentation, and how many answers were too unsure."""
    settings = server.settings_of(document)
    pack = await server.pack_for("summarize", document, settings)
    queries = [
        server.question("summarize", document, function, pack)
        for function in document.functions
        if function.doc_end == function.doc_start and not function.body_is_trivial
    ]
    answers = await bounded([server.answers.get(query, "batch") for query in queries], AT_ONCE)
    made, unsure = [], 0
    for query, answer in zip(queries, answers, strict=True):
        if isinstance(answer, CodepromptError):
            raise answer
        if not isinstance(answer, Answer) or answer.confidence < settings.hover.minimum_confidence:
            unsure += 1
            continue
        made.append(documentation_change(document, query.function, answer, settings))
    return _apart(made), unsure


def _apart(changes: list[Change]) -> list[Change]:
    """Changes that do not touch each other; of two that do, the first."""
    found: list[Change] = []
    for change in sorted(changes, key=lambda one: (one.start, one.end)):
        if not found or change.start >= found[-1].end:
            found.append(change)
    return found
