"""Generated requests to the running process over its port: no 5xx, and it lives on.

As `test_service_schema` does it inside the process; here uvicorn, the token and the log take part.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from codeprompt.client import Home, connect
from codeprompt.pack import save
from tests.living import begin, own_home
from tests.serviced import pack
from tests.test_service_schema import BARE, OPERATIONS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.checks import positive_data_acceptance

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="signals")]
EXAMPLES = int(os.environ.get("CODEPROMPT_SCHEMA_EXAMPLES", "12"))
CASES = [(one, "positive") for one in OPERATIONS if one != "shutdown"]
CASES += [(one, "negative") for one in OPERATIONS if one not in BARE]


@dataclass(frozen=True)
class Target:
    """A running engine: where it listens, its process, its document."""

    home: Home
    url: str
    token: str
    pid: int
    document: dict[str, Any]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """An engine with a pack for each task, which no request may end."""
    with own_home() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CODEPROMPT_HOME", str(folder))
        home = Home(folder)
        begin(home, "--port", "0", "--threads", "1")
        with connect(start=False) as client:
            for task in ("summarize", "translate", "defect"):
                client.upload_pack(save(pack(task), tmp_path_factory.mktemp("packs") / task))
        record = home.record()
        assert record is not None
        headers = {"authorization": f"Bearer {record.token}"}
        document = httpx.get(record.url + "/openapi.json", headers=headers).json()
        yield Target(home, record.url, record.token, record.pid, document)


@pytest.mark.parametrize(("operation", "mode"), CASES)
def test_the_running_process_answers_as_documented(
    target: Target, operation: str, mode: str
) -> None:
    """Whatever is sent to it."""
    chosen = schemathesis.openapi.from_dict(target.document).find_operation_by_id(operation)
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
            case.body = {**case.body, "language": "python", "pack": None}
        headers = {"Authorization": f"Bearer {target.token}"}
        response = case.call(base_url=target.url, headers=headers, timeout=60)
        assert response.status_code < 500
        case.validate_response(response, excluded_checks=[positive_data_acceptance])

    check()


def test_it_is_the_same_process_and_counted_no_fault(target: Target) -> None:
    """After all that."""
    with connect(start=False) as client:
        assert client.health().pid == target.pid
        assert 'status="5' not in client.metrics()


def test_its_log_tells_of_no_unexpected_error(target: Target) -> None:
    """Every line of it is our own."""
    log = Path(target.home.log).read_text(encoding="utf-8")
    assert '"event": "unexpected"' not in log
    assert "Traceback" not in log
