"""A bundle for a bug report: what was installed, set, logged and counted; no source text, no token.

Of logs only what the service itself writes goes in, field by field; a line that anything else
printed (a library's warning, a traceback) is told by its length, or by the places in a file that
it names. What goes in is listed in the bundle's own README.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from codeprompt.cli.deployment import rows
from codeprompt.client.address import Home
from codeprompt.client.sight import State
from codeprompt.errors import CodepromptError, UsageError
from codeprompt.files import write_error

LOG_BYTES = 1 << 20
"""Of the end of each log."""
FIELDS = (
    "timestamp", "level", "event", "logger", "request_id", "method", "route", "status", "ms",
    "task", "pack", "version", "items", "cached", "code", "error", "places", "backbone", "failed",
    "streamed", "questions", "job", "kind",
)  # fmt: skip
"""Of a line of the log; what else it says stays here."""
VARIABLES = (
    "CODEPROMPT_HOME", "CODEPROMPT_DATA", "CODEPROMPT_DEBUG", "HF_HOME", "HF_HUB_OFFLINE",
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CACHE_HOME",
    "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV",
)  # fmt: skip
PLACE = re.compile(r'\s*File "([^"]+)", line (\d+), in ([\w<>.]+)\s*')
LISTENING = re.compile(r"Listening on \S+( and \S+)?")
MOST_TEXT = 300
README = """A codeprompt bug report, made by `codeprompt doctor --bundle`.

report.json    versions, processor, checks, settings from the environment, engine
status.json    what the running engine says of itself (where one runs)
metrics.txt    its counters (where one runs)
packs.json     packs by name, with the hashes on their cards
jobs.json      tuning jobs by status
logs/*.jsonl   the ends of the engine's logs, known fields only

No source text, no prompt, no token, no data. Have a look before you send it.
"""


def write(path: Path, report: Mapping[str, Any], home: Home, found: State) -> list[str]:
    """Write the bundle; the names in it. Raises `UsageError` where the file is there already."""
    files = {"README.txt": README, **dict(_files(report, home, found))}
    secret = _token(home)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as z:
            for name, text in files.items():
                z.writestr(name, _without(text, secret))
    except FileExistsError:
        raise UsageError(f"{path} is there already", do="Choose another name") from None
    except OSError as error:
        raise write_error(path, error) from error
    return sorted(files)


def _files(report: Mapping[str, Any], home: Home, found: State) -> Iterator[tuple[str, str]]:
    environment = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    engine = found.as_json()
    yield "report.json", _json({**report, "environment": environment, "engine": engine})
    if found.health is not None and found.address is not None:
        from codeprompt.client import Client

        with suppress(CodepromptError), Client(found.address, name="doctor") as client:
            yield "status.json", _json(client.status())
            yield "metrics.txt", client.metrics()
    yield "packs.json", _json(_packs(home))
    yield "jobs.json", _json(_stored(home, "SELECT status, COUNT(*) FROM jobs GROUP BY status"))
    for log in (home.log.with_name(home.log.name + ".1"), home.log):
        if log.is_file():
            name = "engine" if log == home.log else "engine-before"
            yield f"logs/{name}.jsonl", "".join(_lines(log))


def _packs(home: Home) -> dict[str, Any]:
    """Hashes and kinds; nothing of a template or a label."""
    from codeprompt.pack import available
    from codeprompt.pack.card import MAX_BYTES, decode
    from codeprompt.pack.folder import member

    folders = []
    for name, path, where in available():
        with suppress(CodepromptError, OSError):
            card = decode(member(path, "card.json", MAX_BYTES).read_bytes(), name)
            about = {"task": card.task, "method": card.method, "hash": card.integrity}
            on = {"backbone": card.backbone.name, "backbone_hash": card.backbone.hash}
            folders.append({"name": name, "where": where, **about, **on})
    columns = "name, version, hash, method, backbone, backbone_hash, created, source, retired"
    stored = _stored(home, f"SELECT {columns} FROM pack_versions")
    return {"folders": folders, "stored": {"columns": columns.split(", "), "rows": stored}}


def _stored(home: Home, query: str) -> Any:
    try:
        return rows(home.folder, query)
    except CodepromptError as error:
        return str(error)


def _lines(log: Path) -> Iterator[str]:
    """The end of a log, a JSON object a line."""
    with log.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - LOG_BYTES))
        data = file.read()
    if end > LOG_BYTES:
        data = data.partition(b"\n")[2]
    for line in data.decode("utf-8", "replace").splitlines():
        yield json.dumps(_line(line)) + "\n"


def _line(line: str) -> dict[str, Any]:
    """What of a line of a log may be shown."""
    with suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, dict):
            return {key: _short(found[key]) for key in FIELDS if key in found}
    if place := PLACE.fullmatch(line):
        return {"file": place[1], "line": int(place[2]), "in": place[3]}
    if LISTENING.fullmatch(line):
        return {"said": line}
    return {"left_out": len(line)}


def _short(value: Any) -> Any:
    if isinstance(value, list):
        return [_short(one) for one in value[:20]]
    if isinstance(value, dict):
        return "{...}"
    return value[:MOST_TEXT] if isinstance(value, str) else value


def _token(home: Home) -> str:
    record = home.record()
    return record.token if record is not None else ""


def _without(text: str, secret: str) -> str:
    """Without the token and the name of the user's home."""
    if secret:
        text = text.replace(secret, "(token)")
    text = re.sub(r"(?i)(bearer\s+)[\w.~+/-]+=*", r"\1(token)", text)
    with suppress(RuntimeError):
        text = text.replace(str(Path.home()), "~")
    return text


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, default=str) + "\n"
