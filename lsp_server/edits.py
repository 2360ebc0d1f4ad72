"""Workspace edits as this editor takes them: versioned and annotated where it knows how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from codeprompt.languages.functions import Function
from lsp_server.answers import Answer
from lsp_server.docstrings import documentation_edit
from lsp_server.documents import Document
from lsp_server.failures import refused

if TYPE_CHECKING:
    from lsp_server.editor import Editor
    from lsp_server.settings import Settings


@dataclass(frozen=True)
class Change:
    """New text for bytes of a document; label: what a preview calls it."""

    start: int
    end: int
    text: str
    label: str = ""


def documentation_change(
    document: Document, function: Function, answer: Answer, settings: Settings
) -> Change:
    """The documentation of a function as one change. Raises where there is no place for it."""
    made = documentation_edit(
        function,
        document.functions,
        sentence(answer.text),
        style=settings.docstring.style,
        sections=settings.docstring.sections,
    )
    if made is None:
        raise refused(f"{function.qualified_name} has no body to document")
    label = f"Documentation by {answer.pack} (confidence {answer.confidence:.0%})"
    return Change(made.start, made.end, made.text, label)


def sentence(text: str) -> str:
    """A summary as documentation writes it: a capital first, a full stop last."""
    text = " ".join(text.split())
    first = text.partition(" ")[0]
    if first.isalpha() and first.islower():
        text = text[:1].upper() + text[1:]
    return text if not text or text[-1] in ".!?:" else text + "."


def workspace_edit(
    editor: Editor,
    changes: Mapping[str, tuple[Document, Sequence[Change]]],
    *,
    confirm: bool = False,
) -> types.WorkspaceEdit:
    """Changes by URI as one edit, and so as one step of undo.

    confirm: have people look at each file first, where the editor can.
    """
    if not editor.versioned:
        plain = {
            uri: [text_edit(document, change) for change in listed]
            for uri, (document, listed) in changes.items()
        }
        return types.WorkspaceEdit(changes=plain)
    annotations: dict[str, types.ChangeAnnotation] = {}
    edits: list[Any] = []
    for uri, (document, listed) in changes.items():
        made: list[Any] = []
        for number, change in enumerate(listed):
            edit = text_edit(document, change)
            if editor.annotates and change.label:
                key = f"codeprompt-{len(edits)}" if confirm else f"codeprompt-{len(edits)}-{number}"
                label = f"Documentation in {uri.rpartition('/')[2]}" if confirm else change.label
                annotations[key] = types.ChangeAnnotation(
                    label=label, needs_confirmation=confirm, description=change.label
                )
                made.append(
                    types.AnnotatedTextEdit(
                        annotation_id=key, range=edit.range, new_text=edit.new_text
                    )
                )
            else:
                made.append(edit)
        version = document.version if document.opened else None
        target = types.OptionalVersionedTextDocumentIdentifier(uri=uri, version=version)
        edits.append(types.TextDocumentEdit(text_document=target, edits=made))
    return types.WorkspaceEdit(document_changes=edits, change_annotations=annotations or None)


def text_edit(document: Document, change: Change) -> types.TextEdit:
    """A change in the editor's columns."""
    start, end = document.char_at(change.start), document.char_at(change.end)
    return types.TextEdit(range=document.range(start, end), new_text=change.text)
