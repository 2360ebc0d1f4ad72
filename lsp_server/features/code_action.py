"""textDocument/codeAction and codeAction/resolve.

The list asks no model. An edit is made when its action is chosen: on resolve where the editor can,
else by a command that applies it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from codeprompt.languages.base import find_language
from codeprompt.languages.functions import Function
from lsp_server.documents import Document
from lsp_server.edits import documentation_change, workspace_edit
from lsp_server.failures import outdated, refused
from lsp_server.features.diagnostics import SOURCE, ignore_edit
from lsp_server.features.targets import targets_for
from lsp_server.settings import Settings

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer

DOCUMENT = "codeprompt.document"
Kind = types.CodeActionKind
KINDS = [Kind.RefactorRewrite, Kind.QuickFix, Kind.Source]


def register(server: CodepromptServer) -> None:
    """The list and its resolution."""

    async def code_action(params: types.CodeActionParams) -> list[Any] | None:
        found = await server.usable(params.text_document.uri)
        if found is None:
            return None
        document, settings = found
        offset = document.offset_at(params.range.start)
        function = document.function_at(offset)
        if function is None:
            function = next(document.functions_within(params.range), None)
        listed = _all(server, document, settings, function, params.context.diagnostics)
        only = params.context.only
        wanted = [action for action in listed if only is None or _asked(_word(action.kind), only)]
        return [_fit(server, action) for action in wanted]

    async def resolve(action: types.CodeAction) -> types.CodeAction:
        if isinstance(action.data, dict) and action.edit is None and action.command is None:
            action.edit = await documentation(server, action.data)
        return action

    server.feature(
        types.TEXT_DOCUMENT_CODE_ACTION,
        types.CodeActionOptions(code_action_kinds=KINDS, resolve_provider=True),
    )(code_action)
    server.feature(types.CODE_ACTION_RESOLVE)(resolve)


def _all(
    server: CodepromptServer,
    document: Document,
    settings: Settings,
    function: Function | None,
    diagnostics: Any,
) -> Iterator[types.CodeAction]:
    if function is not None:
        data = reference(document, function)
        if settings.docstring.enabled and function.body_end > function.body_start:
            there = function.doc_end > function.doc_start
            verb = "Replace" if there else "Write"
            yield types.CodeAction(
                title=f"{verb} the documentation of {function.name}",
                kind=Kind.RefactorRewrite,
                data=data,
            )
        if settings.translate.enabled:
            for target in targets_for(server, document, settings):
                language = find_language(target).title if target else "another language"
                yield _command(
                    f"Translate {function.name} to {language}",
                    Kind.RefactorRewrite,
                    "codeprompt.translate",
                    {**data, "target": target} if target else data,
                )
    for diagnostic in diagnostics or ():
        if diagnostic.source == SOURCE:
            yield from _for_warning(document, diagnostic)
    if settings.docstring.enabled and document.functions:
        yield _command(
            "Write the missing documentation of this file",
            Kind.Source,
            "codeprompt.documentFile",
            {"uri": document.uri},
        )
    if settings.tune.enabled:
        yield _command(
            "Tune on this project's documentation", Kind.Source, "codeprompt.tune",
            {"uri": document.uri},
        )  # fmt: skip


def _for_warning(document: Document, diagnostic: types.Diagnostic) -> Iterator[types.CodeAction]:
    function = document.function_at(document.offset_at(diagnostic.range.start))
    if function is None:
        return
    explain = _command(
        f"Explain the warning about {function.name}", Kind.QuickFix, "codeprompt.explain",
        reference(document, function),
    )  # fmt: skip
    explain.diagnostics = [diagnostic]
    yield explain
    yield types.CodeAction(
        title=f"Ignore warnings about {function.name}",
        kind=Kind.QuickFix,
        diagnostics=[diagnostic],
        edit=types.WorkspaceEdit(changes={document.uri: [ignore_edit(document, function)]}),
    )


def _command(title: str, kind: str, command: str, argument: dict[str, Any]) -> types.CodeAction:
    return types.CodeAction(
        title=title,
        kind=kind,
        command=types.Command(title=title, command=command, arguments=[argument]),
    )


def _fit(server: CodepromptServer, action: types.CodeAction) -> types.CodeAction | types.Command:
    """As this editor takes it: a literal or a command; resolved later or by a command."""
    if action.data is not None and action.edit is None and not server.editor.resolves:
        action = _command(action.title, _word(action.kind), DOCUMENT, action.data)
    if server.editor.literals or action.command is None:
        return action
    return action.command


def _asked(kind: str, only: Any) -> bool:
    """`refactor` asks for `refactor.rewrite` too."""
    wanted = [_word(one) for one in only]
    return any(not one or kind == one or kind.startswith(one + ".") for one in wanted)


def _word(kind: Any) -> str:
    """A kind as it goes over the wire."""
    return str(getattr(kind, "value", kind))


def reference(document: Document, function: Function) -> dict[str, Any]:
    """What finds the function again: by name, near its place, with the document's version."""
    return {
        "uri": document.uri,
        "version": document.version,
        "function": function.qualified_name,
        "near": function.start_byte,
    }


def referred(server: CodepromptServer, data: Any) -> tuple[Document, Settings, Function]:
    """The function that a reference names, as it is now.

    Raises -32801 where it is gone, -32803 where the reference is none.
    """
    if not isinstance(data, dict) or not isinstance(data.get("uri"), str):
        raise refused("The argument names no function; expected {uri, function}")
    document = server.documents.get(data["uri"])
    if document is None:
        raise outdated()
    near, name = data.get("near", 0), data.get("function")
    function: Function | None = None
    if isinstance(name, str):
        function = document.function_named(name, near if isinstance(near, int) else 0)
    elif isinstance(data.get("position"), dict):
        place = data["position"]
        at = types.Position(
            line=int(place.get("line", 0)), character=int(place.get("character", 0))
        )
        function = document.function_at(document.offset_at(at))
    if function is None:
        raise outdated()
    return document, server.settings_of(document), function


async def documentation(server: CodepromptServer, data: Any) -> types.WorkspaceEdit:
    """The edit that documents a function. Raises where the text changed while it was made."""
    document, settings, function = referred(server, data)
    before = function.bare
    query = await server.query("summarize", document, function, settings)
    answer = await server.answers.get(query)
    if answer is None:
        raise refused("The model has nothing to say about this function")
    document, settings, function = referred(server, data)
    if function.bare != before:
        raise outdated()
    change = documentation_change(document, function, answer, settings)
    return workspace_edit(server.editor, {document.uri: (document, [change])})
