"""/v1/jobs: tune on uploaded or local data beside the requests; /v1/uploads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, File, Header, Path, Request, UploadFile
from starlette.responses import Response

from codeprompt.service.jobs import Event
from codeprompt.service.routes.common import (
    Events,
    TheService,
    as_json,
    errors,
    event,
    event_stream,
    local,
    unless_gone,
)
from codeprompt.service.wire import JobBody, JobInfo, JobList, UploadInfo

router = APIRouter(tags=["jobs"])
Id = Annotated[str, Path(pattern=r"^[0-9a-f]{1,64}$")]
EVENTS = event_stream(
    "`progress` {step, steps, loss, ...} as it goes, then `done`, `failed` or `cancelled`; the id "
    "of each counts up.",
    "started", "progress", "resumed", "done", "failed", "cancelled",
    numbered=True,
)  # fmt: skip


@router.post(
    "/v1/uploads",
    status_code=201,
    operation_id="upload",
    response_model=UploadInfo,
    responses=errors(409, 422, 503),
)
async def upload(
    service: TheService, file: Annotated[UploadFile, File(description="JSON lines in UTF-8")]
) -> Response:
    """Send data for jobs; the same data is kept once."""
    return as_json(await service.add_upload(await file.read()), 201)


@router.post(
    "/v1/jobs",
    status_code=202,
    operation_id="submit_job",
    response_model=JobInfo,
    responses=errors(404, 409, 422, 429, 503),
)
async def submit(body: JobBody, request: Request, service: TheService) -> Response:
    """Queue a tuning job; it is on the disk when this answers."""
    job = await service.submit_job(
        task=body.task,
        data=body.data,
        method=body.method,
        recipe=body.recipe,
        name=body.name,
        options=body.options,
        local=local(request),
    )
    return as_json(job, 202)


@router.get("/v1/jobs", operation_id="jobs", response_model=JobList, responses=errors(503))
async def jobs(service: TheService) -> Response:
    """All jobs, newest first."""
    return as_json({"jobs": await service.job_list()})


@router.get(
    "/v1/jobs/{id}",
    operation_id="job",
    response_model=JobInfo,
    responses=errors(404, 422, 503),
)
async def job(id: Id, service: TheService) -> Response:
    """One job with its newest progress."""
    return as_json(await service.job(id))


@router.delete(
    "/v1/jobs/{id}",
    operation_id="cancel_job",
    response_model=JobInfo,
    responses=errors(404, 409, 422, 503),
)
async def cancel(id: Id, service: TheService) -> Response:
    """End a job; its checkpoint stays for a while, and it can be resumed."""
    return as_json(await service.cancel_job(id))


@router.post(
    "/v1/jobs/{id}/resume",
    operation_id="resume_job",
    response_model=JobInfo,
    responses=errors(404, 409, 422, 503),
)
async def resume(id: Id, service: TheService) -> Response:
    """Go on with a job that failed or was cancelled."""
    return as_json(await service.resume_job(id))


@router.get(
    "/v1/jobs/{id}/events",
    operation_id="follow_job",
    response_class=Response,
    responses={**errors(404, 422, 503), 200: EVENTS},
)
async def events(
    id: Id,
    request: Request,
    service: TheService,
    last_event_id: Annotated[int, Header(ge=0, le=2**31)] = 0,
) -> Response:
    """What a job tells, from its beginning or from the event after Last-Event-ID."""
    await unless_gone(request, service.job(id))
    return Events(_told(service.follow_job(id, last_event_id)))


async def _told(source: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    async for found in source:
        yield event(found.kind, found.data, found.id)
