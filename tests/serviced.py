"""A whole service on the built-in backbone, and clients that talk to it inside the process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from safetensors.torch import save as to_bytes

from codeprompt.backbones.base import Backbone
from codeprompt.backbones.decoding import Decoding
from codeprompt.backbones.load import load_backbone
from codeprompt.pack import Pack
from codeprompt.pack import card as cards
from codeprompt.service import Service, Settings, make_app
from codeprompt.service.jobs import Jobs
from codeprompt.service.packs import Packs
from codeprompt.service.state import Store
from tests.tiny import tiny_t5
from tests.tuned import pack_of

CODE = '''
class Server:
    def run(self, port):
        """Serve for ever."""
        return listen(port)

def add(first, second):
    return first + second
'''
BEAM = Decoding(max_new_tokens=8, beams=2)


@cache
def builtin() -> Backbone:
    """The backbone that ships, loaded once."""
    return load_backbone("builtin")


@cache
def small() -> tuple[Backbone, str]:
    """A tiny backbone and its folder, for services of which a test needs one of its own."""
    folder = Path(tempfile.mkdtemp(prefix="codeprompt-small-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return tiny_t5(folder), str(folder)


def small_pack(task: str = "summarize", method: str = "hard", **options: Any) -> Pack:
    """A pack on the tiny backbone."""
    return pack_of(method, small()[0], task, **{"called": task, **options})


def pack(task: str = "summarize", method: str = "hard", **options: Any) -> Pack:
    """A pack on the built-in backbone; `called` names it."""
    return pack_of(method, builtin(), task, **{"called": task, **options})


def parts(made: Pack) -> tuple[bytes, bytes]:
    """Its two files."""
    return cards.encode(made.card), to_bytes(made.injection.tensors())


@dataclass(frozen=True)
class Place:
    """A running service, its application and a client inside the process."""

    service: Service
    app: FastAPI
    http: httpx.AsyncClient

    async def ask(self, task: str = "summarize", **body: Any) -> httpx.Response:
        """One question; Python unless it says otherwise."""
        return await self.http.post(
            f"/v1/{task}", json={"code": CODE, "language": "python", **body}
        )

    async def add(self, made: Pack, name: str | None = None, **form: str) -> httpx.Response:
        """Upload a pack."""
        card, tensors = parts(made)
        files = {"card": ("card.json", card), "prompt": ("prompt.safetensors", tensors)}
        return await self.http.post(
            "/v1/packs", files=files, data={**({"name": name} if name else {}), **form}
        )


def make_service(home: Path, **settings: Any) -> Service:
    """A service that was not started."""
    chosen = Settings(home=home, threads=1, **settings)
    store = Store.open(home)
    packs = Packs(store)
    service = Service(chosen, store, packs, Jobs(store, packs))
    service.catalogue.in_folders.look_seconds = 0.0
    return service


@asynccontextmanager
async def serving(
    home: Path, *packs: Pack, headers: Mapping[str, str] | None = None, **settings: Any
) -> AsyncIterator[Place]:
    """A service that is warm, with packs in it; on their backbone unless it is told another."""
    if packs and packs[0].card.backbone.hash == small()[0].hash:
        settings.setdefault("backbone", small()[1])
    service = make_service(home, **settings)
    for made in packs:
        service.packs.add(*parts(made), activate=True)
    app = make_app(service)
    async with app.router.lifespan_context(app), client(app, headers) as http:
        await service.warm_up()
        try:
            yield Place(service, app, http)
        finally:
            service.store.close()


def client(app: Any, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
    """A client inside the process, as if over loopback TCP."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    return httpx.AsyncClient(
        transport=transport, base_url="http://localhost", headers=dict(headers or {}), timeout=60
    )


def over_socket(app: Any) -> Any:
    """The application as uvicorn gives it a request from the Unix socket."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope = {**scope, "server": ("/run/engine.sock", None), "client": None}
        await app(scope, receive, send)

    return wrapped
