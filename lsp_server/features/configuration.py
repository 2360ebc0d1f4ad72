"""workspace/didChangeConfiguration, didChangeWorkspaceFolders, didChangeWatchedFiles; and what is
registered once the editor is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from lsp_server.settings import SECTION

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer

WATCHED = ("**/.codeprompt/editor.toml", "**/.codeprompt/packs/*/card.json", "**/.gitignore")


def register(server: CodepromptServer) -> None:
    """Settings and packs are looked at again when they may have changed."""

    async def initialized(params: types.InitializedParams) -> None:
        await server.folders.load()
        registrations = []
        if server.editor.watches:
            watchers = [types.FileSystemWatcher(glob_pattern=pattern) for pattern in WATCHED]
            registrations.append(
                types.Registration(
                    id="codeprompt-watched",
                    method=types.WORKSPACE_DID_CHANGE_WATCHED_FILES,
                    register_options=types.DidChangeWatchedFilesRegistrationOptions(
                        watchers=watchers
                    ),
                )
            )
        if server.editor.configures:
            registrations.append(
                types.Registration(
                    id="codeprompt-configuration",
                    method=types.WORKSPACE_DID_CHANGE_CONFIGURATION,
                    register_options=types.DidChangeConfigurationRegistrationOptions(
                        section=SECTION
                    ),
                )
            )
        if registrations:
            await server.protocol.ask(
                types.CLIENT_REGISTER_CAPABILITY,
                types.RegistrationParams(registrations=registrations),
            )

    async def did_change_configuration(params: types.DidChangeConfigurationParams) -> None:
        values = params.settings
        if isinstance(values, dict) and SECTION in values and not server.folders.asks:
            server.folders.push(values[SECTION])
        await server.folders.load()
        _look_again(server)

    async def did_change_folders(params: types.DidChangeWorkspaceFoldersParams) -> None:
        server.folders.remove(folder.uri for folder in params.event.removed)
        server.folders.add(folder.uri for folder in params.event.added)
        await server.folders.load()
        _look_again(server)

    async def did_change_watched_files(params: types.DidChangeWatchedFilesParams) -> None:
        uris = [change.uri for change in params.changes]
        if any(uri.endswith("card.json") for uri in uris):
            server.packs.outdate()
            for document in server.documents:
                server.spawn(server.send_project_packs(document))
                break
        if any(uri.endswith("editor.toml") for uri in uris):
            await server.folders.load()
        if any(uri.endswith(".gitignore") for uri in uris):
            server.skips.forget()
        _look_again(server)

    server.feature(types.INITIALIZED)(initialized)
    server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)(did_change_configuration)
    server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)(did_change_folders)
    server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)(did_change_watched_files)


def _look_again(server: CodepromptServer) -> None:
    """Passive features show what is true now."""
    server.shown.refresh("diagnostics", "code_lens", "inlay_hint")
    for document in server.documents:
        server.changed(document.uri)
