"""/v1/packs: list, upload, activate, retire, roll back."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Path, Query, Request, UploadFile
from starlette.responses import Response

from codeprompt.pack.card import NAME
from codeprompt.service.routes.common import TheService, as_json, errors, near
from codeprompt.service.wire import PackDetail, PackList, PathText, RetireBody, VersionBody

router = APIRouter(tags=["packs"])
Name = Annotated[str, Path(pattern=rf"^{NAME.pattern}$")]
Project = Annotated[
    PathText | None,
    Query(description="The full path of a folder whose packs are there too; as in questions."),
]


@router.get("/v1/packs", operation_id="packs", response_model=PackList, responses=errors(503))
async def packs(request: Request, service: TheService, project: Project = None) -> Response:
    """Every pack: the service's own with their versions, and those in the folders of names."""
    return as_json({"packs": await service.pack_list(near(request, project))})


@router.post(
    "/v1/packs",
    status_code=201,
    operation_id="upload_pack",
    response_model=PackDetail,
    responses=errors(409, 422, 503),
)
async def upload_pack(
    service: TheService,
    card: Annotated[UploadFile, File(description="card.json")],
    prompt: Annotated[UploadFile, File(description="prompt.safetensors")],
    name: Annotated[str | None, Form(pattern=rf"^{NAME.pattern}$")] = None,
    activate: Annotated[bool, Form(description="Whether it answers from now on.")] = True,
) -> Response:
    """Send a pack; the same one again is the same version."""
    tensors = await prompt.read()
    info = await service.add_pack(await card.read(), tensors, name, activate=activate)
    return as_json(info, 201)


@router.get(
    "/v1/packs/{name}",
    operation_id="pack",
    response_model=PackDetail,
    responses=errors(404, 422, 503),
)
async def pack(
    name: Name, request: Request, service: TheService, project: Project = None
) -> Response:
    """One pack, with the card of the version described."""
    return as_json(await service.pack_info(name, near(request, project)))


def _change(what: str, summary: str) -> dict[str, Any]:
    return {
        "operation_id": f"{what}_pack",
        "summary": summary,
        "response_model": PackDetail,
        "responses": errors(404, 409, 422, 503),
    }


@router.post("/v1/packs/{name}/activate", **_change("activate", "Let a version answer."))
async def activate(name: Name, body: VersionBody, service: TheService) -> Response:
    """From now on; requests in flight keep the version they began with."""
    return as_json(await service.activate(name, body.version))


@router.post("/v1/packs/{name}/retire", **_change("retire", "Let a version answer no more."))
async def retire(name: Name, service: TheService, body: RetireBody | None = None) -> Response:
    """Its files stay, and it can come back. Without a version all of the pack's are retired."""
    return as_json(await service.retire(name, body.version if body else None))


@router.post("/v1/packs/{name}/rollback", **_change("rollback", "Go back a version."))
async def rollback(name: Name, service: TheService) -> Response:
    """Let the version answer that was active before this one."""
    return as_json(await service.rollback(name))
