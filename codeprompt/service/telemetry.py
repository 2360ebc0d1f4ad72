"""What Prometheus reads, in a registry of its own; what can be counted on demand is counted then.

No label holds what a client chose: routes are templates, and a path that is none is `other`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psutil
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client import Counter as Counted
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

import codeprompt

if TYPE_CHECKING:
    from codeprompt.service.core import Service

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
OTHER = "other"


class Telemetry:
    """The numbers of one service."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.registry = CollectorRegistry()
        self.requests = Counted(
            "codeprompt_requests",
            "Requests answered.",
            ("route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "codeprompt_request_seconds",
            "Seconds from a question to its last answer.",
            ("priority",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.items = Counted(
            "codeprompt_items", "Functions answered.", ("task",), registry=self.registry
        )
        self.registry.register(Live(service))

    @contextmanager
    def timed(self, priority: str) -> Iterator[None]:
        """Seconds that the block took; those of a block that failed are not counted."""
        began = time.monotonic()
        yield
        self.seconds.labels(priority).observe(time.monotonic() - began)

    def answered(self, route: str, status: int) -> None:
        """A request was answered."""
        self.requests.labels(route, str(status)).inc()

    def page(self) -> bytes:
        """What `/metrics` says."""
        return generate_latest(self.registry)

    def backbones(self) -> list[dict[str, Any]]:
        """Every loaded backbone with its packs and its queue."""
        return [
            {
                "name": slot.folder.name,
                "hash": slot.hash,
                "family": slot.engine.backbone.family,
                "precision": slot.engine.precision,
                "bytes": slot.engine.memory(),
                "packs": sorted(slot.held),
                "requests": slot.users,
                **slot.engine.stats(),
            }
            for slot in list(self.service.engines.slots.values())
        ]

    def memory(self) -> dict[str, int]:
        """Bytes: of the process, of the backbones with their packs, of the cached answers."""
        return {
            "process": psutil.Process().memory_info().rss,
            "backbones": self.service.engines.memory(),
            "cache": self.service.cache.size,
        }

    def status(self) -> dict[str, Any]:
        """What `/v1/status` says."""
        service = self.service
        return {
            "version": codeprompt.__version__,
            "ready": service.ready is None,
            "draining": service.draining,
            "in_flight": service.in_flight,
            "idle_seconds": round(service.idle_seconds, 3),
            "up_seconds": round(time.monotonic() - service.began, 3),
            "backbones": self.backbones(),
            "memory": self.memory(),
            "cache": {
                "entries": len(service.cache),
                "bytes": service.cache.size,
                "hits": service.cache.hits,
                "misses": service.cache.misses,
            },
            "packs": len(service.catalogue.entries()),
            "jobs": self.jobs(),
        }

    def jobs(self) -> dict[str, int]:
        """How many jobs there are by status."""
        return dict(Counter(job.status for job in self.service.jobs.list()))


class Live:
    """What is counted when it is asked for."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def describe(self) -> list[Metric]:
        """Nothing is counted at registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Gauges and counters of this moment."""
        service = self.service
        told = service.telemetry
        backbones = told.backbones()
        yield _gauge("in_flight", "Questions being answered.", service.in_flight)
        yield _gauge("queue_length", "Rows that wait.", sum(b["waiting"] for b in backbones))
        yield _gauge("rows_in_flight", "Rows computing.", sum(b["computing"] for b in backbones))
        yield _gauge("backbones_loaded", "Backbones in memory.", len(backbones))
        yield _gauge("ready", "Whether a backbone answers.", int(service.ready is None))
        tokens = service.engines.tokens + sum(b["tokens"] for b in backbones)
        yield _counter("tokens", "Tokens written.", tokens)
        yield _counter("cache_hits", "Answers from the cache.", service.cache.hits)
        yield _counter("cache_misses", "Answers not in the cache.", service.cache.misses)
        memory = GaugeMetricFamily("codeprompt_memory_bytes", "Bytes held.", labels=("of",))
        for name, value in told.memory().items():
            memory.add_metric((name,), value)
        yield memory
        jobs = GaugeMetricFamily("codeprompt_jobs", "Tuning jobs.", labels=("status",))
        for status, count in told.jobs().items():
            jobs.add_metric((status,), count)
        yield jobs


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"codeprompt_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"codeprompt_{name}", text, value=value)
