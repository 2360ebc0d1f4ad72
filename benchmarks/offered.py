"""Requests of an editor's day at a steady mix, each unlike all others, and what became of them."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

MIX = (("hover", 0.6), ("explicit", 0.2), ("batch", 0.2))
BATCH = 4
A_REQUEST = 0.8 + 0.2 * BATCH
"""Functions, on average."""
CLIENTS = 8
WORDS = ("count", "total", "items", "result", "index", "buffer", "node", "value", "offset", "name")


@dataclass
class Tally:
    """What became of the requests; a batch counts by its functions. Times in milliseconds."""

    offered: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    times: dict[str, list[float]] = field(default_factory=lambda: {k: [] for k, _ in MIX})
    refusals: list[float] = field(default_factory=list)

    @property
    def answered(self) -> int:
        """Functions."""
        return sum(self.accepted.values())


@dataclass
class Load:
    """Whoever asks: `deadline` (ms) is what a hover is worth waiting for."""

    http: httpx.AsyncClient
    deadline: int
    seed: int = 0
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def kind(self) -> str:
        """Of the next request."""
        return self.random.choices([k for k, _ in MIX], [share for _, share in MIX])[0]

    async def ask(self, kind: str, tally: Tally, *, patient: bool = False) -> None:
        """One request. patient: without a deadline."""
        count = BATCH if kind == "batch" else 1
        questions = [self._question(kind, patient) for _ in range(count)]
        path, body = "/v1/summarize", questions[0]
        if kind == "batch":
            path, body = "/v1/batch", {"requests": [{"task": "summarize", **q} for q in questions]}
        client = f"load-{self.random.randrange(CLIENTS)}"
        tally.offered[kind] += count
        began = time.perf_counter()
        try:
            found = await self.http.post(path, json=body, headers={"x-client": client})
        except httpx.HTTPError as error:
            tally.failed[type(error).__name__] += count
            return
        self._tell(tally, kind, count, found, (time.perf_counter() - began) * 1e3)

    def _tell(
        self, tally: Tally, kind: str, count: int, found: httpx.Response, passed: float
    ) -> None:
        if found.status_code == 429:
            tally.refusals.append(passed)
        if found.status_code == 200 and kind == "batch":
            for one in found.json()["results"]:
                self._told(tally, kind, 200 if isinstance(one, list) else 429, 1, passed)
        elif found.status_code == 200 and kind == "explicit" and "event: done" not in found.text:
            tally.failed["stream"] += 1
        else:
            self._told(tally, kind, found.status_code, count, passed)

    def _told(self, tally: Tally, kind: str, status: int, count: int, passed: float) -> None:
        if status == 200:
            tally.accepted[kind] += count
            tally.times[kind].append(passed)
        elif status == 429:
            tally.refused[kind] += count
        elif status == 408:
            tally.late[kind] += count
        else:
            tally.failed[str(status)] += count

    def _question(self, kind: str, patient: bool) -> dict[str, Any]:
        body: dict[str, Any] = {"code": self._function(), "language": "python", "priority": kind}
        if kind == "hover" and not patient:
            body["deadline_ms"] = self.deadline
        if kind == "explicit":
            body["stream"] = True
        return body

    def _function(self) -> str:
        pick, name = self.random.choice, f"{self.random.getrandbits(40):x}"
        lines = [
            f"    {pick(WORDS)}_{i} = {pick(WORDS)}({pick(WORDS)}, {self.random.randrange(1000)})"
            for i in range(self.random.randint(3, 25))
        ]
        return f"def {pick(WORDS)}_{name}(a, b):\n" + "\n".join(lines) + "\n    return a\n"


def percentiles(times: Sequence[float]) -> dict[str, float]:
    """Of milliseconds; empty where there are none."""
    ordered = sorted(times)
    if not ordered:
        return {}
    last = len(ordered) - 1
    half, most = (ordered[min(int(share * len(ordered)), last)] for share in (0.5, 0.99))
    return {"p50": round(half, 1), "p99": round(most, 1), "most": round(ordered[-1], 1)}
