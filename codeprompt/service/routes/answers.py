"""POST /v1/summarize, /v1/translate, /v1/defects, /v1/localize, /v1/batch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from codeprompt.errors import CodepromptError
from codeprompt.registry import TASKS
from codeprompt.service.ask import ROUTES, Event, Item
from codeprompt.service.core import Service
from codeprompt.service.logs import fault, note
from codeprompt.service.problems import told
from codeprompt.service.routes.common import (
    Events,
    TheService,
    as_json,
    client,
    errors,
    event,
    event_stream,
    ident,
    near,
    unless_gone,
)
from codeprompt.service.wire import BatchBody, BatchResults, Results, StreamBody

router = APIRouter(tags=["answers"])
REFUSALS = errors(404, 408, 409, 422, 429, 503)
STREAMED = event_stream(
    "The answers in order; or with `stream` the events `token` {index, text}, `result` {index, an "
    "item}, and at the end `done` {} or `error` {code, message, request_id}.",
    "token", "result", "done", "error",
)  # fmt: skip


def _add(route: str, task: str) -> None:
    summary = TASKS.summary(task) if task in TASKS.names() else f"Answers of a pack for {task}."

    async def answer(body: StreamBody, request: Request, service: TheService) -> Response:
        near(request, body.project)
        if body.stream:
            return await unless_gone(request, _streamed(service, task, body, request))
        asked = service.answer(task, body.ask(), client=client(request))
        items = await unless_gone(request, asked)
        _note(request, task, items)
        results = [one for item in items for one in item.as_json()]
        return as_json({"results": results, "request_id": ident(request)})

    router.add_api_route(
        f"/v1/{route}",
        answer,
        methods=["POST"],
        summary=summary,
        operation_id=route,
        response_model=Results,
        responses={**REFUSALS, 200: STREAMED},
    )


for _route, _task in ROUTES.items():
    _add(_route, _task)


@router.post(
    "/v1/batch",
    summary="Many questions at once, answered in mixed batches.",
    operation_id="batch",
    response_model=BatchResults,
    responses=errors(422, 429, 503),
)
async def batch(body: BatchBody, request: Request, service: TheService) -> Response:
    """Answers in order; a question that fails has its error in its place."""
    for one in body.requests:
        near(request, one.project)
    asked = [(one.task_name, one.ask()) for one in body.requests]
    found = await unless_gone(request, service.batch(asked, client=client(request)))
    results = [_result(one, ident(request)) for one in found]
    note(request.scope, questions=len(asked))
    return as_json({"results": results, "request_id": ident(request)})


def _result(found: list[Item] | CodepromptError, request_id: str) -> Any:
    if isinstance(found, CodepromptError):
        return told(found).as_json(request_id)
    return [one for item in found for one in item.as_json()]


async def _streamed(service: Service, task: str, body: StreamBody, request: Request) -> Events:
    """The stream, once it has something to say: an error before that has its own status."""
    source = service.stream(task, body.ask(), client=client(request))
    try:
        first = await anext(source, None)
    except BaseException:
        await source.aclose()  # type: ignore[attr-defined]
        raise
    return Events(_events(source, first, request))


async def _events(
    source: AsyncIterator[Event], first: Event | None, request: Request
) -> AsyncIterator[bytes]:
    count = 0
    try:
        if first is not None:
            yield _events_of(first)
            count += isinstance(first, Item)
            async for found in source:
                yield _events_of(found)
                count += isinstance(found, Item)
        yield event("done", {})
    except Exception as error:
        if not isinstance(error, CodepromptError):
            fault(error)
        failed = told(error)
        note(request.scope, failed=failed.code)
        yield event("error", failed.as_json(ident(request))["error"])
    finally:
        note(request.scope, items=count, streamed=True)
        await source.aclose()  # type: ignore[attr-defined]


def _events_of(found: Event) -> bytes:
    if isinstance(found, Item):
        told = ({"index": found.index, **one} for one in found.as_json())
        return b"".join(event("result", one) for one in told)
    return event("token", {"index": found.index, "text": found.text})


def _note(request: Request, task: str, items: list[Item]) -> None:
    pack = f"{items[0].pack}@{items[0].version}" if items else ""
    cached = sum(item.cached for item in items)
    note(request.scope, task=task, pack=pack, items=len(items), cached=cached)
