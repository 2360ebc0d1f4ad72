"""What the editor at the other end can do, read once from its capabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lsprotocol import types
from pygls.capabilities import get_capability


@dataclass(frozen=True)
class Editor:
    """Capabilities as plain answers; everything is off where nothing was said.

    pull: diagnostics are asked for. resolves: code actions get their edit when chosen. commands:
    chosen actions may be commands only (no literals). versioned: edits name the document's version.
    annotates: edits carry labels to confirm. virtual: documents of our own scheme can be shown.
    """

    name: str = ""
    pull: bool = False
    literals: bool = False
    resolves: bool = False
    versioned: bool = False
    annotates: bool = False
    applies: bool = False
    markdown: bool = False
    progress: bool = False
    shows: bool = False
    virtual: bool = False
    inline: bool = False
    relates: bool = False
    configuration: bool = False
    watches: bool = False
    configures: bool = False
    refreshes: frozenset[str] = frozenset()

    @classmethod
    def of(cls, params: types.InitializeParams) -> Editor:
        """From what `initialize` brought."""
        given = params.capabilities

        def has(path: str) -> bool:
            found: Any = get_capability(given, path, None)
            return found is not None and found is not False

        resolved = get_capability(given, "text_document.code_action.resolve_support", None)
        formats = get_capability(given, "text_document.hover.content_format", None) or ()
        return cls(
            name=params.client_info.name if params.client_info else "",
            pull=has("text_document.diagnostic"),
            literals=has("text_document.code_action.code_action_literal_support"),
            resolves=resolved is not None and "edit" in resolved.properties,
            versioned=has("workspace.workspace_edit.document_changes"),
            annotates=has("workspace.workspace_edit.document_changes")
            and has("workspace.workspace_edit.change_annotation_support"),
            applies=has("workspace.apply_edit"),
            markdown=types.MarkupKind.Markdown in formats,
            progress=has("window.work_done_progress"),
            shows=has("window.show_document.support"),
            virtual=has("workspace.text_document_content"),
            inline=has("text_document.inline_completion"),
            relates=has("text_document.publish_diagnostics.related_information")
            or has("text_document.diagnostic.related_information"),
            configuration=has("workspace.configuration"),
            watches=has("workspace.did_change_watched_files.dynamic_registration"),
            configures=has("workspace.did_change_configuration.dynamic_registration"),
            refreshes=frozenset(
                what
                for what in ("diagnostics", "code_lens", "inlay_hint")
                if has(f"workspace.{what}.refresh_support")
            ),
        )
