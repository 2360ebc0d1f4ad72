"""Tune a pack on this project: the engine harvests its documented functions and learns from some.

The job's id comes back at once; the editor shows loss and dev score until it ends, and the new pack
answers from then on. Closing the editor does not end the job; `codeprompt.cancel` does.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from codeprompt.errors import CodepromptError, TrainingError
from lsp_server.documents import path_of
from lsp_server.failures import refused
from lsp_server.packs import bare_name, project_name
from lsp_server.progress import Report

if TYPE_CHECKING:
    from codeprompt.client import AsyncClient, Event
    from lsp_server.server import CodepromptServer


async def run(server: CodepromptServer, given: dict[str, Any]) -> dict[str, Any]:
    """{uri?, shots?, steps?}: {job, pack}. Raises where there is nothing to tune on."""
    named = given.get("folder") or given.get("uri")
    path = path_of(named) if isinstance(named, str) else None
    root = path if path is not None and path.is_dir() else server.folders.root_of(path)
    if root is None:
        raise refused("No folder is open; give {folder: URI}")
    settings = server.folders.of(path or root / "x").tune
    if not settings.enabled:
        raise refused("Tuning is off here (codeprompt.tune.enabled)")
    options: dict[str, Any] = {"shots": _count(given, "shots", settings.shots)}
    if "steps" in given:
        options["steps"] = _count(given, "steps", 1)
    client = await server.engine.ready()
    job = await client.submit_job(
        "summarize",
        str(root),
        name=project_name(root, "summarize"),
        method=settings.method,
        recipe=settings.recipe,
        options=options,
    )
    server.spawn(follow(server, client, job.id, root))
    return {"job": job.id, "pack": project_name(root, "summarize")}


async def follow(server: CodepromptServer, client: AsyncClient, job: str, root: Path) -> None:
    """Show how a job goes until it ends. Cancelling the progress cancels the job."""
    server.jobs.add(job)
    try:
        async with server.progresses.begin(f"Tune on {root.name}", "waiting") as progress:
            try:
                kind, message = await _told(client, job, progress)
            except asyncio.CancelledError:
                if not server.protocol.leaving:
                    await client.cancel_job(job)
                raise
    finally:
        server.jobs.discard(job)
    server.packs.outdate()
    await server.refresh_packs()
    server.answers.forget()
    good = kind == "done"
    server.status.log(message, None if good else types.MessageType.Error)
    server.protocol.notify("codeprompt/job", {"job": job, "status": kind, "message": message})
    if not good and kind != "cancelled":
        raise TrainingError(message)


async def _told(client: AsyncClient, job: str, progress: Report) -> tuple[str, str]:
    """The kind of a job's last event, and a sentence about it."""
    async with aclosing(client.follow(job)) as events:  # type: ignore[type-var]
        async for event in events:
            if event.kind in ("done", "failed", "cancelled"):
                return event.kind, _last(event)
            progress.update(_words(event), _percent(event))
    return "failed", "The job's events ended before it did."


def _words(event: Event) -> str:
    """Loss, dev score and time left, as far as they are told."""
    data, parts = event.data, []
    if isinstance(data.get("step"), int):
        parts.append(f"step {data['step']}/{data.get('steps', '?')}")
    for key in ("loss", "dev"):
        if isinstance(data.get(key), int | float):
            parts.append(f"{key} {data[key]:.3g}")
    left = data.get("seconds_left")
    if isinstance(left, int | float):
        parts.append(f"{left / 60:.0f} min left" if left >= 90 else f"{left:.0f} s left")
    return ", ".join(parts) or str(data.get("message", event.kind))


def _percent(event: Event) -> float | None:
    step, steps = event.data.get("step"), event.data.get("steps")
    if isinstance(step, int) and isinstance(steps, int) and steps > 0:
        return 100 * step / steps
    return None


def _last(event: Event) -> str:
    if event.kind == "done":
        name, version = event.data.get("name"), event.data.get("version")
        pack = f"{bare_name(str(name))}@{version}" if name and version else "The pack"
        return f"{pack} is tuned and answers now."
    if event.kind == "cancelled":
        return "The tuning was cancelled."
    return str(event.data.get("message") or "The tuning failed.")


async def cancel(server: CodepromptServer, job: Any) -> list[str]:
    """Cancel one job, or all that this server follows."""
    wanted = [job] if isinstance(job, str) else sorted(server.jobs)
    client = server.engine.client
    stopped = []
    for one in wanted if client is not None else ():
        try:
            assert client is not None
            await client.cancel_job(one)
            stopped.append(one)
        except CodepromptError as error:
            server.status.log(str(error))
    return stopped


def _count(given: dict[str, Any], key: str, usual: int) -> int:
    value = given.get(key, usual)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise refused(f"'{key}' must be a whole number of at least 1")
    return value
