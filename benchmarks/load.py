"""`python -m benchmarks.load --minutes 10 --factor 2`: an engine asked for more than it can do.

First what it can do is found: so many clients that it is never idle, each asking again once it is
answered. Then requests come as they come (Poisson), `factor` times as many functions a second as
that, from eight clients over the engine's socket: hovers with a deadline, explicit questions whose
tokens are streamed, batches of four. No two functions are the same, so that no answer comes from
the cache; the cache is small, so that it is full after the warm-up. Beside what was accepted and
refused stand the times, and the engine's memory by the minute. Beside it stands its
memory at rest, after the warm-up and after the load: under load some of it is what is being
answered, and free pages between.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
from scipy.stats import linregress

from benchmarks.offered import A_REQUEST, Load, Tally, percentiles
from codeprompt.client import Home, connect, start, stop

BUSY = 32
"""Who ask at once while the capacity is found."""
TOKENS = 20
SAMPLE_SECONDS = 2.0
REST_SECONDS = 15.0
"""Without a question, so that the engine has given back what it does not use."""
Seen = tuple[float, float, float]
"""Minutes, resident MB, MB of cached answers."""


@dataclass
class Watch:
    """The engine's process: memory every two seconds, and whether it lives."""

    process: psutil.Process
    http: httpx.AsyncClient
    began: float = field(default_factory=time.monotonic)
    seen: list[Seen] = field(default_factory=list)

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            cache = 0
            try:
                status = (await self.http.get("/v1/status", timeout=30)).json()
                cache = status["memory"]["cache"]
            except (httpx.HTTPError, KeyError):
                pass
            minutes = (time.monotonic() - self.began) / 60
            memory = round(self.process.memory_info().rss / 1e6, 1)
            self.seen.append((minutes, memory, cache / 1e6))
            await asyncio.sleep(SAMPLE_SECONDS)

    def by_minute(self) -> list[float]:
        """The median of each minute."""
        minutes: dict[int, list[float]] = {}
        for minute, memory, _ in self.seen:
            minutes.setdefault(int(minute), []).append(memory)
        return [round(statistics.median(seen), 1) for _, seen in sorted(minutes.items())]

    def slope(self, value: Callable[[Seen], float], until: float) -> dict[str, float] | None:
        """MB a minute, by least squares, and its standard error.

        Over the medians of minutes: single looks depend on what is being answered just then. until:
        the load's end, since what is let go of then would hide what was kept before.
        """
        minutes: dict[int, list[float]] = {}
        for row in self.seen:
            if row[0] < until:
                minutes.setdefault(int(row[0]), []).append(value(row))
        if len(minutes) < 4:
            return None
        line = linregress(list(minutes), [statistics.median(seen) for seen in minutes.values()])
        return {"value": round(line.slope, 3), "standard_error": round(line.stderr, 3)}


async def measure(options: argparse.Namespace, home: Home) -> dict[str, Any]:
    """The whole run against the engine of a state folder."""
    record = home.record()
    assert record is not None
    process = psutil.Process(record.pid)
    transport = httpx.AsyncHTTPTransport(
        uds=str(home.socket),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
    )
    async with httpx.AsyncClient(
        transport=transport, base_url="http://codeprompt", timeout=600, trust_env=False
    ) as http:
        load = Load(http, options.deadline)
        await _closed(load, 5.0)
        capacity = await _closed(load, options.capacity_seconds)
        print(f"capacity {capacity:.1f} functions/s", flush=True)
        rate = options.factor * capacity
        await _open(load, rate, 60 * options.warm_up)
        before = await _at_rest(process)
        watch = Watch(process, http)
        watching = asyncio.create_task(watch.run())
        tally, seconds = await _open(load, rate, 60 * options.minutes)
        watching.cancel()
        after = await _at_rest(process)
        crashed = not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        alive = not crashed and (await http.get("/healthz")).json()["pid"] == record.pid
    return _report(options, capacity, tally, seconds, watch, (before, after), alive)


async def _at_rest(process: psutil.Process) -> float:
    """Resident MB of an engine that nobody asks."""
    await asyncio.sleep(REST_SECONDS)
    return round(process.memory_info().rss / 1e6, 1)


async def _closed(load: Load, seconds: float) -> float:
    """Functions a second while nobody waits to ask."""
    tally, end = Tally(), time.monotonic() + seconds

    async def one() -> None:
        while time.monotonic() < end:
            await load.ask(load.kind(), tally, patient=True)

    began = time.monotonic()
    await asyncio.gather(*(one() for _ in range(BUSY)))
    return tally.answered / (time.monotonic() - began)


async def _open(load: Load, rate: float, seconds: float) -> tuple[Tally, float]:
    """So many functions a second, whatever becomes of them; and how long that took."""
    tally, began, at = Tally(), time.monotonic(), 0.0
    shown = 60.0
    async with asyncio.TaskGroup() as group:
        while (at := at + load.random.expovariate(rate / A_REQUEST)) < seconds:
            await asyncio.sleep(max(0.0, began + at - time.monotonic()))
            group.create_task(load.ask(load.kind(), tally))
            if at > shown:
                print(f"{shown / 60:.0f} min: {tally.answered} answered", flush=True)
                shown += 60
    return tally, time.monotonic() - began


def _report(
    options: argparse.Namespace,
    capacity: float,
    tally: Tally,
    seconds: float,
    watch: Watch,
    rest: tuple[float, float],
    alive: bool,
) -> dict[str, Any]:
    slope = partial(watch.slope, until=options.minutes)
    seen = [row[1] for row in watch.seen]
    return {
        "name": "load",
        "minutes": round(seconds / 60, 2),
        "factor": options.factor,
        "capacity_functions_per_s": round(capacity, 2),
        "offered_functions_per_s": round(sum(tally.offered.values()) / seconds, 2),
        "answered_functions_per_s": round(tally.answered / seconds, 2),
        "offered": dict(tally.offered),
        "accepted": dict(tally.accepted),
        "refused_429": dict(tally.refused),
        "late_408": dict(tally.late),
        "failed": dict(tally.failed),
        "hover_deadline_ms": options.deadline,
        "accepted_ms": {kind: percentiles(times) for kind, times in tally.times.items()},
        "refusal_ms": percentiles(tally.refusals),
        "rss_mb": {"first": seen[0], "last": seen[-1], "peak": max(seen)},
        "rss_mb_by_minute": watch.by_minute(),
        "rss_slope_mb_per_minute": slope(lambda row: row[1]),
        "cache_slope_mb_per_minute": slope(lambda row: row[2]),
        "rss_less_cache_slope_mb_per_minute": slope(lambda row: row[1] - row[2]),
        "rss_at_rest_mb": {"before": rest[0], "after": rest[1]},
        "rss_at_rest_growth_mb_per_minute": round((rest[1] - rest[0]) * 60 / seconds, 3),
        "warm_up_minutes": options.warm_up,
        "crashes": 0 if alive else 1,
        "cores": os.cpu_count(),
        "load_average_at_the_end": [round(x, 1) for x in os.getloadavg()],
    }


def _pack(folder: Path) -> Path:
    """A soft prompt as it begins, on the built-in backbone: what it says does not matter here."""
    from codeprompt.backbones.decoding import Decoding
    from codeprompt.backbones.load import load_backbone
    from codeprompt.methods.base import Context
    from codeprompt.pack import make_pack, save
    from codeprompt.registry import METHODS, TASKS
    from codeprompt.template import parse, resolve

    backbone, task, method = load_backbone("builtin"), TASKS.get("summarize"), METHODS.get("soft")
    settings = method.configure({})
    hard = parse(task.templates[backbone.family])
    template = resolve(method.template(hard, settings), backbone.tokenizer)
    made = make_pack(
        injection=method.build(Context(backbone, template), settings).export(),
        backbone=backbone, name="answering", task=task.name, method="soft", template=template,
        source_length=256, target_length=TOKENS,
        decoding=Decoding(max_new_tokens=TOKENS, min_new_tokens=TOKENS).as_json(),
    )  # fmt: skip
    return save(made, folder / "answering")


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--factor", type=float, default=2)
    parser.add_argument("--deadline", type=int, default=3000, help="Of a hover, in ms.")
    parser.add_argument("--capacity-seconds", type=float, default=40)
    parser.add_argument(
        "--warm-up", type=float, default=2, help="Minutes of the load that count for nothing."
    )
    parser.add_argument("--cache", type=int, default=4, help="MB of the engine's answers.")
    parser.add_argument("--threads", type=int, help="Of the engine; its own choice if left out.")
    parser.add_argument("--out", type=Path, help="Also write the line there.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cp-", ignore_cleanup_errors=True) as folder:
        os.environ["CODEPROMPT_HOME"] = str(Path(folder) / "home")
        home = Home.own()
        threads = ["--threads", str(options.threads)] if options.threads else []
        start(["--idle-exit", "0", "--cache", str(options.cache), *threads], home=home)
        try:
            with connect(start=False) as engine:
                engine.upload_pack(_pack(Path(folder)))
            found = asyncio.run(measure(options, home))
        finally:
            stop(home=home)
    line = json.dumps(found)
    print(line)
    if options.out:
        options.out.write_text(line + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
