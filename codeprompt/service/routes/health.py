"""/healthz, /readyz, /metrics."""

from __future__ import annotations

import asyncio
import os

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

import codeprompt
from codeprompt.service.problems import Problem, draining
from codeprompt.service.routes.common import TheService, as_json, errors
from codeprompt.service.wire import Health, Ready

router = APIRouter(tags=["health"])
API = 1
"""The number of the protocol: raised where an older client would misunderstand."""


@router.get("/healthz", operation_id="health", response_model=Health, responses=errors())
async def health() -> Response:
    """Who answers. Needs no token and waits for nothing."""
    about = {"status": "ok", "version": codeprompt.__version__, "pid": os.getpid(), "api": API}
    return as_json(about)


@router.get("/readyz", operation_id="ready", response_model=Ready, responses=errors(503))
async def ready(service: TheService) -> Response:
    """Whether a backbone answers and requests are taken."""
    if service.draining:
        raise draining()
    if service.ready is not None:
        found = service.ready
        raise Problem(503, found.code, found.message, retry_after=found.retry_after)
    return as_json({"status": "ready"})


@router.get(
    "/metrics",
    operation_id="metrics",
    response_class=Response,
    responses={**errors(503), 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(service: TheService) -> Response:
    """Counters and times as Prometheus reads them."""
    page = await asyncio.to_thread(service.telemetry.page)
    return Response(page, media_type=CONTENT_TYPE_LATEST)
