"""Greedy answers while a tuning job runs on the same cores: 20 tokens from a 256-token source.

One engine and one real job (its own process, one core, nice 19), and requests with pauses between
them as an editor sends them. Three kinds of request take turns: `alone`, with the trainer long at a
standstill; `beside`, with the trainer running on at its low priority; and `yielding`, as the
service does it: the trainer runs until a request comes, and stands still until it is answered.
`cancel` is how long a long answer goes on computing after nobody wants it any more, the trainer
running. Beside the latencies stands what the job keeps of its speed.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.speed.measure import Outcome, signature, table
from benchmarks.speed.shapes import checkpoint
from codeprompt.backbones.decoding import Decoding
from codeprompt.engine import Engine, Request
from codeprompt.methods.base import Context
from codeprompt.pack import Pack, make_pack
from codeprompt.registry import METHODS, TASKS
from codeprompt.service.jobs import Jobs, JobSpec
from codeprompt.service.packs import Packs
from codeprompt.service.state import Store
from codeprompt.template import parse, resolve

SOURCE, TOKENS = 256, 20
KINDS = ("alone", "beside", "yielding")
REQUESTS = 5
"""Of each kind in a round."""
STEPS = 8
"""Of the job at least, by which its pace alone is known."""
GAP_SECONDS = 0.4
"""Between two requests; the trainer runs in it, but before one that shall be alone."""
LONG = Decoding(max_new_tokens=400, min_new_tokens=400)
FIELDS = {
    "code": "def area(width, height):\n    return width * height\n" * 40,
    "language": "python",
}


def main(options: Namespace) -> Outcome:
    """Run the benchmark."""
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        path = checkpoint(options.shape, place / "checkpoint", varied=True)
        return asyncio.run(_compare(options, path, place))


async def _compare(options: Namespace, path: Path, place: Path) -> Outcome:
    engine = Engine(str(path))
    engine.load(_pack(engine), "answering")
    store = Store.open(place / "state")
    jobs = Jobs(store, Packs(store))
    await jobs.start()
    try:
        _answer(engine)
        job = jobs.submit(_job(path, place)).id
        async for event in jobs.events(job):
            if event.kind == "progress":
                break
            if event.kind == "failed":
                raise SystemExit(f"The job failed: {event.data['message']}")
        undisturbed = await _pace(jobs, job)
        found: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for number in range(options.rounds * REQUESTS):
            turn = number % len(KINDS)
            for kind in [*KINDS[turn:], *KINDS[:turn]]:
                found[kind].append(await _ask(engine, jobs, kind))
        kept = await _kept(engine, jobs, job, options.rounds) / undisturbed
        found["cancel"] = [
            await asyncio.to_thread(_cancelled, engine) for _ in range(options.rounds * REQUESTS)
        ]
        jobs.cancel(job)
    finally:
        await jobs.stop()
        engine.close()
        store.close()
    return _report(options, found, kept)


async def _ask(engine: Engine, jobs: Jobs, kind: str) -> float:
    """Milliseconds of one answer."""
    if kind == "alone":
        jobs.yield_to(True)
    await asyncio.sleep(GAP_SECONDS)
    started = time.perf_counter()
    if kind == "yielding":
        jobs.yield_to(True)
    await asyncio.to_thread(_answer, engine)
    passed = (time.perf_counter() - started) * 1e3
    jobs.yield_to(False)
    return passed


async def _pace(jobs: Jobs, job: str) -> float:
    """Steps a second, while nobody asks."""
    first, began = _step(jobs, job), time.monotonic()
    while _step(jobs, job) < first + STEPS:
        await asyncio.sleep(GAP_SECONDS)
    return (_step(jobs, job) - first) / (time.monotonic() - began)


async def _kept(engine: Engine, jobs: Jobs, job: str, rounds: int) -> float:
    """Steps a second under requests that the job gives way to."""
    first, began = _step(jobs, job), time.monotonic()
    for _ in range(rounds * REQUESTS):
        await _ask(engine, jobs, "yielding")
    return (_step(jobs, job) - first) / (time.monotonic() - began)


def _step(jobs: Jobs, job: str) -> int:
    progress = jobs.get(job).progress
    return int(progress["step"]) if progress else 0


def _answer(engine: Engine) -> None:
    engine.predict([Request("answering", FIELDS)])


def _cancelled(engine: Engine) -> float:
    """Milliseconds from giving up a long answer until nothing of it is computed."""
    future = engine.submit(Request("answering", FIELDS, LONG))
    while not engine.stats()["computing"]:
        time.sleep(0.001)
    time.sleep(GAP_SECONDS / 4)
    started = time.perf_counter()
    engine.cancel(future)
    while engine.stats()["computing"]:
        time.sleep(0.0005)
    return (time.perf_counter() - started) * 1e3


def _pack(engine: Engine) -> Pack:
    """A soft prompt as it begins: what it says does not matter here."""
    backbone, task, method = engine.backbone, TASKS.get("summarize"), METHODS.get("soft")
    settings = method.configure({})
    hard = parse(task.templates[backbone.family])
    template = resolve(method.template(hard, settings), backbone.tokenizer)
    decoding = Decoding(max_new_tokens=TOKENS, min_new_tokens=TOKENS)
    return make_pack(
        injection=method.build(Context(backbone, template), settings).export(),
        backbone=backbone,
        name="answering",
        task=task.name,
        method="soft",
        template=template,
        source_length=SOURCE,
        target_length=TOKENS,
        decoding=decoding.as_json(),
    )


def _job(path: Path, place: Path) -> JobSpec:
    """A job without end, in small steps so that its pace can be read soon."""
    rows = [
        {
            "code": f"def f{i}(a, b):\n" + f"    a = a + {i} * b\n" * 30 + "    return a\n",
            "docstring": f"Adds the second value {i} times thirty to the first.",
            "language": "python",
        }
        for i in range(100)
    ]
    data = place / "data.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    never = 10**6
    overrides = {"steps": never, "evaluate_every": never, "batch": 2, "source_length": SOURCE}
    return JobSpec(
        task="summarize", data=str(data), name="tuned", backbone=str(path), overrides=overrides
    )


def _report(options: Namespace, found: dict[str, list[float]], kept: float) -> Outcome:
    middle = {kind: statistics.median(times) for kind, times in found.items()}
    late = {kind: _percentile(times, 0.95) for kind, times in found.items()}
    rows = [[kind, f"{middle[kind]:.0f}", f"{late[kind]:.0f}"] for kind in found]
    table(["ms", "p50", "p95"], rows)
    print(f"The job keeps {kept:.0%} of its steps a second under such requests.")
    told = signature(shape=options.shape, source=SOURCE, tokens=TOKENS, n=len(found["alone"]))
    ratios = {f"{kind} over alone, p50": middle[kind] / middle["alone"] for kind in KINDS[1:]}
    ratios |= {f"{kind} over alone, p95": late[kind] / late["alone"] for kind in KINDS[1:]}
    return Outcome(
        "beside-tuning",
        ratios,
        middle,
        told,
        {"p95": {k: round(v, 1) for k, v in late.items()}, "job_keeps": round(kept, 3)},
    )


def _percentile(times: Sequence[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]
