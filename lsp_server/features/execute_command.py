"""workspace/executeCommand: what people ask for by name. Each takes one object of arguments.

codeprompt.document          {uri, function | position}      write or replace one documentation
codeprompt.documentFile      {uri}                           all that lacks, previewed
codeprompt.translate         {uri, function, target}         into a document of its own
codeprompt.explain           {uri, function}                 which lines a warning rests on
codeprompt.tune              {uri?, shots?}                  a pack from this project
codeprompt.summarizeWorkspace {folder?}                      a report of every function
codeprompt.choosePack        {task, pack?, list?}            until the server ends
codeprompt.showStatus                                        engine, packs, jobs, files left alone
codeprompt.cancel            {job?}                          what runs, or one job
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from codeprompt.errors import CodepromptError
from codeprompt.languages.base import find_language, is_language
from lsp_server.commands import document_files, explain, summarize, translate, tune
from lsp_server.failures import refused
from lsp_server.features.code_action import documentation

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer

Command = Callable[[dict[str, Any]], Awaitable[Any]]
TASKS = ("summarize", "defect", "translate", "localize")


def register(server: CodepromptServer) -> None:
    """Every command; those that take long can be cancelled by `codeprompt.cancel`."""
    running: set[asyncio.Task[Any]] = set()

    def add(name: str, command: Command) -> None:
        async def handler(*arguments: Any) -> Any:
            given = arguments[0] if arguments else {}
            if not isinstance(given, dict):
                raise refused(f"{name} takes one object of arguments")
            task = asyncio.current_task()
            if task is not None and name != "codeprompt.cancel":
                running.add(task)
                task.add_done_callback(running.discard)
            return await command(given)

        server.command(name)(handler)

    async def document(given: dict[str, Any]) -> Any:
        edit = await documentation(server, given)
        return await apply(server, edit, "Write documentation")

    async def choose_pack(given: dict[str, Any]) -> Any:
        return await _choose(server, given)

    async def show_status(given: dict[str, Any]) -> Any:
        return await _status(server)

    async def cancel(given: dict[str, Any]) -> Any:
        stopped = await tune.cancel(server, given.get("job"))
        if "job" not in given:
            for task in list(running):
                task.cancel()
            stopped += [f"{len(running)} commands"] if running else []
        return {"cancelled": stopped}

    add("codeprompt.document", document)
    add("codeprompt.documentFile", lambda given: document_files.run(server, given))
    add("codeprompt.translate", lambda given: translate.run(server, given))
    add("codeprompt.explain", lambda given: explain.run(server, given))
    add("codeprompt.tune", lambda given: tune.run(server, given))
    add("codeprompt.summarizeWorkspace", lambda given: summarize.run(server, given))
    add("codeprompt.choosePack", choose_pack)
    add("codeprompt.showStatus", show_status)
    add("codeprompt.cancel", cancel)


async def apply(server: CodepromptServer, edit: types.WorkspaceEdit, label: str) -> dict[str, Any]:
    """Have the editor apply an edit; whether it did: a person may discard what is previewed.

    Raises where it cannot.
    """
    if not server.editor.applies:
        raise refused("This editor applies no edits that a command makes")
    params = types.ApplyWorkspaceEditParams(edit=edit, label=label)
    found = await server.protocol.ask(types.WORKSPACE_APPLY_EDIT, params, seconds=0)
    told = found if isinstance(found, dict) else {}
    if told.get("failureReason"):
        raise refused(f"The editor did not apply the edit: {told['failureReason']}")
    return {"applied": bool(told.get("applied"))}


async def _choose(server: CodepromptServer, given: dict[str, Any]) -> dict[str, Any]:
    """Pick a pack for a task; asks where none is named. list: only tell the names."""
    task, pack = given.get("task", "summarize"), given.get("pack")
    if task not in TASKS:
        raise refused(f"There is no task '{task}'; expected one of {', '.join(TASKS)}")
    await server.refresh_packs()
    root = server.folders.root_of(None)
    names = server.packs.names(task, root)
    if given.get("list") is True:
        return {"task": task, "packs": names}
    if pack is None:
        pack = await server.shown.choose(f"Which pack answers for {task}?", names)
        if pack is None:
            return {"task": task, "packs": names}
    if str(pack).partition("@")[0] not in names and pack != "":
        raise refused(f"No pack called '{pack}' answers for {task}; there are: {', '.join(names)}")
    if pack:
        server.packs.picked[task] = str(pack)
    else:
        server.packs.picked.pop(task, None)
    for look in server.on_packs:
        look()
    return {"task": task, "pack": pack}


async def _status(server: CodepromptServer) -> dict[str, Any]:
    """What the status bar knows, with what the engine says of itself."""
    told = server.status.as_json()
    client = server.engine.client
    if client is not None:
        try:
            told["engine"] = await client.status()
            told["jobs"] = [job.as_json() for job in await client.jobs()]
        except CodepromptError as error:
            told["engine"] = {"error": str(error)}
    return told


def language_named(name: Any) -> str:
    """A language's own name. Raises for what is none."""
    if not isinstance(name, str) or not is_language(name):
        raise refused(f"'{name}' is no supported language")
    return find_language(name).name
