"""The service behind HTTP: `make_app(service)` gives a FastAPI application."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

import codeprompt
from codeprompt.errors import CodepromptError
from codeprompt.service.core import Service
from codeprompt.service.limits import BodyLimit, Crowd, Guard
from codeprompt.service.logs import RequestLog, note, request_id
from codeprompt.service.problems import Told, told
from codeprompt.service.routes import routers

ABOUT = "Tuned prompts on small frozen code models, behind one process."
CODES = {404: "not_found", 405: "method", 400: "usage"}
FIELD = re.compile(r"\w{1,40}")
MOST_FIELDS = 5


def make_app(service: Service) -> FastAPI:
    """The application; its lifespan starts and stops the service."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="codeprompt",
        version=codeprompt.__version__,
        description=ABOUT,
        lifespan=lifespan,
        docs_url=None,  # the pages would load scripts from elsewhere
        redoc_url=None,
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
        form_limits={"max_files": 2, "max_fields": 2, "max_part_size": 1024},
    )
    app.state.service = service
    for router in routers():
        app.include_router(router)
    app.add_exception_handler(CodepromptError, _codeprompt_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_middleware(BodyLimit, settings=service.settings)
    app.add_middleware(Crowd, settings=service.settings)
    app.add_middleware(Guard, settings=service.settings)
    app.add_middleware(RequestLog, telemetry=service.telemetry)
    return app


def _respond(request: Request, found: Told) -> Response:
    note(request.scope, code=found.code)
    return Response(
        found.body(request_id(request.scope)),
        found.status,
        headers=found.headers,
        media_type="application/json",
    )


async def _codeprompt_error(request: Request, error: Exception) -> Response:
    return _respond(request, told(error))


async def _http_error(request: Request, error: Exception) -> Response:
    """What the framework refuses: unknown routes and methods, bodies that are no form."""
    assert isinstance(error, HTTPException)
    status = error.status_code
    message = {404: "There is no such route.", 405: "The route has no such method."}.get(
        status, "The request cannot be read."
    )
    response = _respond(request, Told(status, CODES.get(status, "usage"), message))
    response.headers.update(error.headers or {})
    return response


async def _invalid(request: Request, error: Exception) -> Response:
    """Where the body does not fit: the fields and the reasons, nothing of what was in them."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    told_ = [f"{_place(one['loc'])}: {one['msg']}" for one in found[:MOST_FIELDS]]
    more = f"; and {len(found) - MOST_FIELDS} more" if len(found) > MOST_FIELDS else ""
    return _respond(request, Told(422, "invalid", "The request does not fit: "
                                  + "; ".join(told_) + more + "."))  # fmt: skip


def _place(loc: Any) -> str:
    """body.requests.3.code; a name that is none of ours may be anything, and is not repeated."""
    return ".".join(str(part) if FIELD.fullmatch(str(part)) else "?" for part in loc)
