"""The same application as a Ray Serve deployment: many replicas, on one machine or a cluster.

Ray's proxies listen and hand each request to a replica; the token is asked by the replica, as over
any port. Nothing else of codeprompt imports Ray.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeprompt.errors import CodepromptError, EngineError, UsageError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from codeprompt.service.replica import Plan
    from codeprompt.service.settings import Settings

APP = "codeprompt"
PORT = 8000
ONGOING = 64
"""Requests that one replica takes at a time; its engine batches them."""
TARGET = 16
"""Requests a replica works on before autoscaling adds another."""
WAITING = 512
"""Requests that wait at a proxy while all replicas are full; beyond, it answers 503."""
DRAIN_SECONDS = 15.0
HEALTH_SECONDS = 5.0
LOOK_SECONDS = 1.0
QUIET = {"log_level": "WARNING", "enable_access_log": False}
"""The replicas log requests themselves, without source text."""


@dataclass(frozen=True)
class Scale:
    """How many replicas: `low` of them, or as many up to `high` as the load asks for."""

    low: int = 1
    high: int | None = None

    def options(self) -> dict[str, Any]:
        """As a deployment takes them."""
        if self.high is None:
            return {"num_replicas": self.low}
        return {
            "autoscaling_config": {
                "min_replicas": self.low,
                "max_replicas": self.high,
                "target_ongoing_requests": TARGET,
            }
        }


def scale(replicas: int | None, low: int | None, high: int | None) -> Scale:
    """From the options of `codeprompt serve`. Raises `UsageError` where they contradict."""
    if replicas is not None and (low is not None or high is not None):
        raise UsageError(
            "Both --replicas and --min-replicas or --max-replicas are given",
            do="Leave out --replicas to let the load decide",
        )
    if low is None and high is None:
        return Scale(replicas or 1)
    low = 1 if low is None else low
    high = max(low, 1) if high is None else high
    if high < low:
        raise UsageError(f"--max-replicas {high} is less than --min-replicas {low}")
    return Scale(low, high)


def make_replica_app(plan: Plan) -> FastAPI:
    """The application of one replica; its lifespan begins and ends it."""
    from codeprompt.service.app import make_app
    from codeprompt.service.logs import configure
    from codeprompt.service.replica import Replica
    from codeprompt.service.run import SWITCH_SECONDS

    os.environ.setdefault("HF_HUB_OFFLINE", "0" if plan.settings.allow_hub else "1")
    configure()
    sys.setswitchinterval(SWITCH_SECONDS)
    return make_app(Replica(plan))


def deployment(plan: Plan, scale: Scale) -> Any:
    """The application bound for `ray.serve.run`."""
    from ray import serve

    def build() -> FastAPI:  # made on each replica: an application does not travel
        from codeprompt.service.ray_app import make_replica_app

        return make_replica_app(plan)

    made = serve.deployment(
        name="codeprompt",
        max_ongoing_requests=ONGOING,
        max_queued_requests=WAITING,
        graceful_shutdown_timeout_s=DRAIN_SECONDS,
        health_check_period_s=HEALTH_SECONDS,
        ray_actor_options={"num_cpus": plan.settings.threads or 1},
        logging_config=QUIET,
        **scale.options(),
    )(serve.ingress(build)())
    return made.bind()


def run_ray(
    settings: Settings,
    scale: Scale,
    *,
    address: str | None = None,
    packs_from: str | None = None,
    host: str | None = None,
    port: int | None = None,
    token: str | None = None,
    insecure_bind: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Serve until told to end; returns the exit status.

    address: of a Ray cluster (`auto`, HOST:PORT, ray://HOST:PORT); None begins one on this machine.
    Raises `CodepromptError` where it cannot start.
    """
    from codeprompt.service.replica import Plan
    from codeprompt.service.run import allowed
    from codeprompt.service.shared import Shared

    host, port = host or "127.0.0.1", PORT if port is None else port
    allowed(host, token, insecure_bind)
    if port == 0:
        raise UsageError("--port 0 has no meaning under Ray", do="Give the port to listen on")
    made = token is None
    token = token or secrets.token_urlsafe(32)
    hosts = ("*",) if insecure_bind else (*settings.hosts, host)
    settings = replace(settings, token=token, hosts=hosts, idle_exit_s=None)
    if Path(settings.backbone).is_dir():  # replicas have working folders of their own
        settings = replace(settings, backbone=str(Path(settings.backbone).absolute()))
    if packs_from is not None and address is None:
        Shared(packs_from).names()  # a mistake is told here, not in a replica's log
    ended = threading.Event()
    with _cluster(address) as serve:
        serve.start(http_options={"host": host, "port": port}, logging_config=QUIET)
        try:
            with _signals(ended):
                _begin(serve, deployment(Plan(settings, packs_from), scale))
                say(f"Listening on http://{host}:{port}")
                if made:
                    say(f"Token for http://{host}:{port}: {token}")
                while not ended.wait(LOOK_SECONDS):
                    pass
        finally:
            with contextlib.suppress(Exception):  # the cluster may have gone first
                serve.delete(APP)
    return 0


def _begin(serve: Any, bound: Any) -> None:
    """Raises `EngineError` with what the replicas said where they do not come up."""
    try:
        serve.run(bound, name=APP, route_prefix="/", blocking=False)
    except RuntimeError as error:
        told = [d.message for d in serve.status().applications[APP].deployments.values()]
        said = " ".join(told)[-1500:] or str(error)
        raise EngineError(f"The replicas do not come up: {said}") from error


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator[Any]:
    """`ray.serve`, connected. Raises `CodepromptError`."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing phones home
    try:
        ray: Any = import_module("ray")
        serve: Any = import_module("ray.serve")
    except ImportError as error:
        raise UsageError(
            "--ray needs Ray Serve, which is not installed",
            do="Run: pip install 'codeprompt[ray]'",
        ) from error
    own: dict[str, Any] = {} if address else {"include_dashboard": False}
    try:
        ray.init(
            address=address or "local",
            namespace=APP,
            logging_level=logging.ERROR,
            log_to_driver=False,
            **own,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise CodepromptError(
            f"Ray cannot be reached at {address}: {error}" if address
            else f"Ray cannot be started: {error}"
        ) from error  # fmt: skip
    try:
        yield serve
    finally:
        if not address:
            with contextlib.suppress(Exception):
                serve.shutdown()
        ray.shutdown()


@contextlib.contextmanager
def _signals(ended: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT end the deployment; a second one does not wait."""

    def end(number: int, _: Any) -> None:
        if ended.is_set():
            raise SystemExit(128 + number)
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
