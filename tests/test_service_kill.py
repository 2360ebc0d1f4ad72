"""Killed at any moment, the engine loses nothing that it acknowledged."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import pytest

from codeprompt.pack import save
from codeprompt.service.jobs import JobSpec
from tests.acknowledged import LIVE, Book, Clients, Engine, check, no_trainer_is_left, told
from tests.jobbing import jobs_at, spec_for, until
from tests.killing import write_data
from tests.tiny import tiny_t5
from tests.tuned import pack_of

ROUNDS = int(os.environ.get("CODEPROMPT_KILL_ROUNDS", "20"))
SEED = int(os.environ.get("CODEPROMPT_KILL_SEED", "1"))
"""Of the moments: several runs of fewer rounds kill at others each."""
END_SECONDS = 600.0
WARM_SECONDS = 15.0
VERSIONS = 12


@pytest.fixture
def short() -> Path:
    """A socket's path has room for 100 letters."""
    with tempfile.TemporaryDirectory(prefix="kill") as folder:
        yield Path(folder)


def job_of(place: Path) -> JobSpec:
    """A short one, so that ends are among what is killed."""
    return spec_for(place, seeds=(0,), overrides={"steps": 30, "evaluate_every": 10})


def undisturbed(place: Path, home: Path) -> bytes:
    """The tensors that the job gives when nobody kills anything."""

    async def run() -> bytes:
        async with jobs_at(home) as jobs:
            told = await until(jobs, jobs.submit(job_of(place)).id, "done")
            assert told[-1].kind == "done", told
            return (jobs.packs.get("mine") / "prompt.safetensors").read_bytes()

    return asyncio.run(run())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a Unix socket")
def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path, short: Path) -> None:
    """At random moments of starts, uploads, activations, questions and jobs, again and again."""
    place = write_data(tmp_path)
    backbone = tiny_t5(place / "backbone", dropout_rate=0.2)
    spec = job_of(place)
    job = {
        "task": spec.task,
        "data": spec.data,
        "name": spec.name,
        "method": spec.method,
        "options": {"backbone": spec.backbone, "seeds": list(spec.seeds), **spec.overrides},
    }
    packs = []
    for seed in range(VERSIONS):
        folder = save(pack_of("soft", backbone, "summarize", seed=seed), tmp_path / f"pack{seed}")
        packs.append(tuple((folder / n).read_bytes() for n in ("card.json", "prompt.safetensors")))
    calm = undisturbed(place, tmp_path / "calm")
    home, draw, book, seen = tmp_path / "home", random.Random(SEED), Book(), {}
    for number in range(ROUNDS):
        engine = Engine(home, short / "s", place / "backbone")
        try:
            if draw.random() < 0.15:
                time.sleep(draw.uniform(0.0, 3.0))  # while it starts
                engine.kill()
            else:
                engine.ready()
                clients = Clients(engine, book, packs, job, number)
                clients.wait(draw.choice((0, 5, 20, 60)), WARM_SECONDS)  # torch, then the rest
                time.sleep(draw.uniform(0.0, 2.0))
                engine.kill()
                clients.join()
        finally:
            engine.process.kill()
        no_trainer_is_left(home)
        check(home, book, seen)
    assert book.uploads and book.versions and book.jobs
    engine = Engine(home, short / "s", place / "backbone")
    try:
        engine.ready()
        all_end(engine)
    finally:
        engine.kill()
    check(home, book, seen)
    made = list((home / "packs" / spec.name).glob("*/prompt.safetensors"))
    assert made, "no job ended with a pack"
    assert {file.read_bytes() for file in made} == {calm}
    print(
        f"{ROUNDS} rounds: {len(book.uploads)} uploads, {len(book.versions)} versions, "
        f"{len(book.jobs)} jobs, {book.answers} answers acknowledged"
    )


def all_end(engine: Engine) -> None:
    """Left alone, every job that was not cancelled is done."""
    end = time.monotonic() + END_SECONDS
    with engine.http() as http:
        while True:
            jobs = told(http.get("/v1/jobs"), 200)["jobs"]
            if not any(job["status"] in LIVE for job in jobs):
                break
            assert time.monotonic() < end, f"jobs do not end: {jobs}"
            time.sleep(0.5)
    assert {job["status"] for job in jobs} <= {"done", "cancelled"}, jobs
