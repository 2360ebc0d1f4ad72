"""The OpenAPI document is true: generated requests meet no 5xx and nothing undocumented.

schemathesis makes the requests, for every operation, that fit the document and that do not; they
go to the application inside the process, on one event loop. What fits the document may still be a
mistake (a language that nobody has), which is a documented 400.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from codeprompt.service import make_app
from tests.serviced import client, make_service, pack, parts

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.checks import positive_data_acceptance

EXAMPLES = int(os.environ.get("CODEPROMPT_SCHEMA_EXAMPLES", "6"))
OPERATIONS = (
    "summarize", "translate", "defects", "localize", "batch", "packs", "upload_pack", "pack",
    "activate_pack", "retire_pack", "rollback_pack", "upload", "submit_job", "jobs", "job",
    "cancel_job", "resume_job", "follow_job", "status", "clear_cache", "shutdown", "health",
    "ready", "metrics",
)  # fmt: skip
BARE = {"packs", "jobs", "status", "clear_cache", "shutdown", "health", "ready", "metrics"}
"""They take nothing that could be wrong."""
CASES = [(one, "positive") for one in OPERATIONS]
CASES += [(one, "negative") for one in OPERATIONS if one not in BARE]


@dataclass(frozen=True)
class Target:
    """The application, its document, and how to send to it."""

    runner: asyncio.Runner
    http: httpx.AsyncClient
    document: dict[str, Any]

    def send(self, case: Any) -> httpx.Response:
        """A generated case over HTTP."""
        import requests

        kwargs = case.as_transport_kwargs(base_url="http://localhost")
        made = requests.Request(**{k: v for k, v in kwargs.items() if v is not None}).prepare()
        request = httpx.Request(made.method, made.url, headers=made.headers, content=made.body)
        return self.runner.run(self.http.send(request))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A service whose jobs wait: nothing is trained here."""
    home = tmp_path_factory.mktemp("home")
    with asyncio.Runner() as runner:
        service = make_service(home, waiting=64)
        for task in ("summarize", "translate", "defect"):
            service.packs.add(*parts(pack(task)), activate=True)
        app = make_app(service)
        runner.run(service.warm_up())
        http = client(app)
        yield Target(runner, http, app.openapi())
        runner.run(http.aclose())
        runner.run(service.engines.close())
        service.store.close()


def test_every_operation_is_in_the_list(target: Target) -> None:
    """What is added to the service is added to the tests below."""
    paths = target.document["paths"].values()
    assert {way["operationId"] for path in paths for way in path.values()} == set(OPERATIONS)


@pytest.mark.parametrize(("operation", "mode"), CASES)
def test_generated_requests_are_answered_as_documented(
    target: Target, operation: str, mode: str
) -> None:
    """No 5xx, no status, type or shape that the document does not tell."""
    schema = schemathesis.openapi.from_dict(target.document)
    chosen = schema.find_operation_by_id(operation)
    cases = chosen.as_strategy(generation_mode=schemathesis.GenerationMode(mode))

    @given(case=cases)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any) -> None:
        if mode == "positive" and isinstance(case.body, dict) and "code" in case.body:
            case.body = {**case.body, "language": "python", "pack": None}  # the engine is reached
        response = target.send(case)
        assert response.status_code < 500
        case.validate_response(response, excluded_checks=[positive_data_acceptance])

    check()
