"""Tuning jobs as the service runs them, for `test_service_jobs.py` and `test_service_kill.py`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from codeprompt.service.jobs import Event, Jobs, JobSpec
from codeprompt.service.packs import Packs
from codeprompt.service.state import Store

CHECKPOINT_SECONDS = 0.2
STEPS = 100


def spec_for(place: Path, **changes: Any) -> JobSpec:
    """A job of some hundred quick steps on `killing.write_data`'s folder."""
    overrides = {
        "shots": 6,
        "dev": 3,
        "batch": 2,
        "steps": STEPS,
        "evaluate_every": 25,
        "patience": 50,
        "source_length": 40,
        "target_length": 5,
        "precision": "float32",
        "dropout": True,
    }
    values: dict[str, Any] = {
        "task": "summarize",
        "data": str(place),
        "name": "mine",
        "backbone": str(place / "backbone"),
        "method": "prefix",
        "seeds": (0, 1),
        "overrides": {**overrides, **changes.pop("overrides", {})},
        **changes,
    }
    return JobSpec(**values)


@asynccontextmanager
async def jobs_at(home: Path, **more: Any) -> AsyncIterator[Jobs]:
    """The jobs of a state folder, started; stopped at the end."""
    store = Store.open(home)
    jobs = Jobs(store, Packs(store), **{"checkpoint_seconds": CHECKPOINT_SECONDS, **more})
    await jobs.start()
    try:
        yield jobs
    finally:
        await jobs.stop()
        store.close()


async def until(jobs: Jobs, name: str, kind: str, after: int = 0) -> list[Event]:
    """Follow a job up to an event of a kind, at the latest to its end."""
    told = []
    async for event in jobs.events(name, after):
        told.append(event)
        if event.kind == kind:
            break
    return told


async def settled(jobs: Jobs, name: str) -> None:
    """Wait until no trainer works on a job."""
    while name in jobs.running:
        await asyncio.sleep(0.01)


def pack_bytes(jobs: Jobs, name: str = "mine") -> bytes:
    """The active version's tensors and card."""
    folder = jobs.packs.get(name)
    return b"".join(
        (folder / member).read_bytes() for member in sorted(("card.json", "prompt.safetensors"))
    )
