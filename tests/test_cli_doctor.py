"""`codeprompt doctor` on a deployment, and its bundle: what is wrong is told, source text never."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from codeprompt.cli import deployment
from codeprompt.cli.app import APP
from codeprompt.cli.bundle import _line
from codeprompt.cli.health import Check
from codeprompt.client import Home, connect, state
from codeprompt.errors import CodepromptError
from codeprompt.pack import save
from tests.living import begin, home, wait_until
from tests.serviced import small, small_pack

__all__ = ["home"]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes and sockets")
MARKER = "quetzalcoatl_marker_7731"
CODE = f"def {MARKER}(a, b):\n    return '{MARKER}' + a\n"


@pytest.fixture
def engine(home: Home, tmp_path: Path) -> Iterator[Home]:
    """An engine with a pack, a port and a token, that has met the marker in many ways."""
    begin(home, "--backbone", small()[1], "--port", "0", "--threads", "1")
    with connect(start=False) as client:
        client.upload_pack(save(small_pack(), tmp_path / "summarize"))
        assert client.summarize(CODE, "python", file=f"{MARKER}.py", function=MARKER)
        for options in ({"pack": MARKER}, {"function": MARKER + "x"}):
            with pytest.raises(CodepromptError):
                client.summarize(CODE, "python", **options)  # type: ignore[arg-type]
        with pytest.raises(CodepromptError):
            client.summarize(CODE, MARKER)
        list(client.stream("summarize", CODE, "python"))
        row = json.dumps({"code": CODE, "docstring": MARKER})
        upload = client.upload(f"{row}\n{row}\n".encode())
        with pytest.raises(CodepromptError):
            client.submit_job("summarize", f"upload:{upload.id}", options={MARKER: MARKER})
    transport = httpx.HTTPTransport(uds=str(home.socket))
    with httpx.Client(transport=transport, base_url="http://codeprompt") as http:
        for content in (b"{" + CODE.encode(), json.dumps({MARKER: CODE}).encode()):
            assert http.post("/v1/summarize", content=content).status_code in (400, 422)
        assert http.get(f"/v1/{MARKER}?{MARKER}=1").status_code == 404
    yield home


def checks(home: Home) -> dict[str, Check]:
    """By name."""
    return {check.name: check for check in deployment.checks(home, state(home))}


def test_an_engine_that_is_well_passes_every_check(engine: Home) -> None:
    """Folder, disk, database, packs, engine, socket, readiness."""
    with connect(start=False) as client:
        wait_until(lambda: bool(client.status()["ready"]), "it is never ready")
    found = checks(engine)
    assert all(check.ok for check in found.values()), found
    assert set(found) == {
        "state folder", "disk space", "database", "stored packs", "engine", "socket", "readiness",
    }  # fmt: skip
    assert "1 versions verified" in found["stored packs"].detail


def test_where_no_engine_ever_ran_nothing_is_wrong_and_nothing_is_made(home: Home) -> None:
    """Looking leaves no trace."""
    assert all(check.ok for check in checks(home).values())
    assert not home.folder.exists()


def test_what_is_wrong_is_told_with_what_to_do(
    engine: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each by its own check; the others go on."""
    (card,) = (engine.folder / "packs").glob("summarize/*/card.json")
    card.write_text(card.read_text().replace("generate", "generat"))
    card.write_text(card.read_text()[:-40])
    engine.socket.chmod(0o666)
    engine.folder.chmod(0o755)
    monkeypatch.setattr(deployment, "LEAST_FREE", 1 << 60)
    found = checks(engine)
    wrong = {name for name, check in found.items() if not check.ok}
    assert {"state folder", "disk space", "stored packs", "socket"} <= wrong
    assert "chmod 700" in found["state folder"].detail
    assert found["database"].ok


def test_a_damaged_database_is_told(home: Home) -> None:
    """SQLite's own check, on a file that is opened to be read."""
    home.folder.mkdir(mode=0o700)
    path = home.folder / deployment.DATABASE
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE one (a TEXT)")
        database.executemany("INSERT INTO one VALUES (?)", [("x" * 500,)] * 200)
    database.close()
    data = bytearray(path.read_bytes())
    data[4096:12288] = b"\xff" * 8192
    path.write_bytes(data)
    check = checks(home)["database"]
    assert not check.ok and "state.db" in check.detail


def test_neither_bundle_nor_log_holds_source_text_or_the_token(
    engine: Home, tmp_path: Path
) -> None:
    """A marker in code, names, paths, data and mistakes is in none of them."""
    record = engine.record()
    assert record is not None and record.token
    file = tmp_path / "report.zip"
    result = CliRunner().invoke(APP, ["doctor", "--json", "--bundle", str(file)])
    assert result.exit_code in (0, 2), result.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with zipfile.ZipFile(file) as bundle:
        texts = {name: bundle.read(name).decode() for name in bundle.namelist()}
    assert {"report.json", "status.json", "metrics.txt", "packs.json", "jobs.json"} <= set(texts)
    assert json.loads(texts["report.json"])["versions"]["codeprompt"]
    assert "codeprompt_requests_total" in texts["metrics.txt"]
    stored = json.loads(texts["packs.json"])["stored"]["rows"]
    assert [row[0] for row in stored] == ["summarize"] and len(stored[0][2]) == 64
    log = [json.loads(line) for line in texts["logs/engine.jsonl"].splitlines()]
    assert {line.get("route") for line in log} >= {"/v1/summarize", "/v1/packs"}
    everything = [*texts.values(), engine.log.read_text(), result.output]
    assert not any(MARKER in text for text in everything)
    assert not any(record.token in text for text in everything)
    again = CliRunner().invoke(APP, ["doctor", "--bundle", str(file)])
    assert again.exit_code == 2 and "is there already" in again.stderr


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ('{"event": "request", "status": 200, "secret": "x"}', {"event": "request", "status": 200}),
        ("ValueError: def secret(): pass", {"left_out": 30}),
        ('  File "/a/b.py", line 3, in run', {"file": "/a/b.py", "line": 3, "in": "run"}),
        ("    secret = compute(1)", {"left_out": 23}),
        ("[1, 2]", {"left_out": 6}),
    ],
)
def test_of_a_log_only_known_fields_are_shown(line: str, kept: dict[str, object]) -> None:
    """Whatever a library may print stays here."""
    assert _line(line) == kept
