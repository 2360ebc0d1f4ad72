"""/v1/status, /v1/cache, /v1/shutdown."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from codeprompt.service.limits import over_socket
from codeprompt.service.problems import Problem
from codeprompt.service.routes.common import TheService, as_json, errors
from codeprompt.service.wire import Cleared, Leaving, Status

router = APIRouter(tags=["service"])


@router.get("/v1/status", operation_id="status", response_model=Status, responses=errors(503))
async def status(service: TheService) -> Response:
    """What is loaded, waiting and running."""
    return as_json(await service.status())


@router.delete(
    "/v1/cache", operation_id="clear_cache", response_model=Cleared, responses=errors(409)
)
async def clear_cache(service: TheService) -> Response:
    """Forget the cached answers."""
    return as_json({"cleared": service.clear_cache()})


@router.post(
    "/v1/shutdown",
    status_code=202,
    operation_id="shutdown",
    response_model=Leaving,
    responses=errors(409),
)
async def shutdown(request: Request, service: TheService) -> Response:
    """Take nothing new, finish what is there, then end; over the socket, or with the token."""
    if not over_socket(request.scope) and service.settings.token is None:
        raise Problem(403, "token", "Over TCP this needs a token, and the service has none set")
    service.begin_shutdown()
    return as_json({"status": "draining"}, 202)
