"""Everything but questions: the engine itself, packs with their versions, tuning jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from codeprompt.client.calls import QUICK, SECONDS, Call, Flow, reader
from codeprompt.client.messages import Event, Health, Job, PackInfo, Upload
from codeprompt.client.sse import Message as Received
from codeprompt.errors import PackError


class _Packs(msgspec.Struct):
    packs: list[PackInfo]


class _Jobs(msgspec.Struct):
    jobs: list[Job]


_packs, _jobs, _health = reader(_Packs), reader(_Jobs), reader(Health)
_pack, _job, _upload = reader(PackInfo), reader(Job), reader(Upload)
_object: Callable[[bytes], dict[str, Any]] = reader(dict[str, Any])


def health() -> Call[Health]:
    """Who answers. Never waits for a backbone."""
    return Call("GET", "/healthz", _health, seconds=QUICK)


def ready() -> Call[dict[str, Any]]:
    """Nothing of note once a backbone answers. Raises `EngineError` until then."""
    return Call("GET", "/readyz", _object, seconds=QUICK)


def status() -> Call[dict[str, Any]]:
    """What is loaded, waiting and running."""
    return Call("GET", "/v1/status", _object, seconds=QUICK)


def metrics() -> Call[str]:
    """Counters and times as Prometheus reads them."""
    return Call("GET", "/metrics", lambda data: data.decode(), seconds=QUICK)


def clear_cache() -> Call[dict[str, Any]]:
    """Forget the answers that were kept."""
    return Call("DELETE", "/v1/cache", _object, seconds=QUICK)


def shutdown() -> Call[dict[str, Any]]:
    """Ask the engine to finish what it has and leave. Its answer does not wait for that."""
    return Call("POST", "/v1/shutdown", _object, seconds=QUICK)


def packs(project: str | None = None) -> Call[list[PackInfo]]:
    """Every pack with its versions. project: as in questions."""
    path = f"/v1/packs{_near(project)}"
    return Call("GET", path, lambda data: _packs(data).packs, seconds=QUICK)


def pack(name: str, project: str | None = None) -> Call[PackInfo]:
    """One pack, with its card. project: as in questions."""
    return Call("GET", f"/v1/packs/{_part(name)}{_near(project)}", _pack, seconds=QUICK)


def upload_pack(
    folder: str | Path, name: str | None = None, *, activate: bool = True
) -> Call[PackInfo]:
    """Send a pack's folder; the same one again is the same version. name: by default the folder's.

    Raises `PackError` where the folder holds no pack.
    """
    place = Path(folder)
    try:
        card = (place / "card.json").read_bytes()
        prompt = (place / "prompt.safetensors").read_bytes()
    except OSError as error:
        raise PackError(
            f"{place} cannot be read as a pack: {error.strerror or error}",
            expected="a folder with card.json and prompt.safetensors",
        ) from error
    files = {
        "card": ("card.json", card, "application/json"),
        "prompt": ("prompt.safetensors", prompt, "application/octet-stream"),
    }
    form = {"name": name or place.resolve().name, "activate": str(activate).lower()}
    return Call("POST", "/v1/packs", _pack, files=files, form=form)


def activate(name: str, version: str) -> Call[PackInfo]:
    """Let a version answer from now on."""
    return _change(name, "activate", {"version": version})


def retire(name: str, version: str | None = None) -> Call[PackInfo]:
    """Let a version (None: all of them) answer no more; the files stay, and it can come back."""
    return _change(name, "retire", {"version": version})


def rollback(name: str) -> Call[PackInfo]:
    """Let the version answer that was active before."""
    return _change(name, "rollback", {})


def upload(data: bytes) -> Call[Upload]:
    """Send rows (JSONL) to tune on; a job names them `upload:ID`."""
    files = {"file": ("data.jsonl", data, "application/x-ndjson")}
    return Call("POST", "/v1/uploads", _upload, files=files)


def submit_job(
    task: str,
    data: str,
    *,
    name: str | None = None,
    method: str = "soft",
    recipe: str = "few-shot",
    options: Mapping[str, Any] | None = None,
) -> Call[Job]:
    """Tune a pack beside the requests. data: a local path, or `upload:ID`.

    options: as `codeprompt tune` takes them (shots, seed, steps, language, ...).
    """
    body = {
        "task": task,
        "data": data,
        "method": method,
        "recipe": recipe,
        "name": name,
        "options": dict(options or {}),
    }
    return Call("POST", "/v1/jobs", _job, body=body, seconds=QUICK, repeatable=False)


def jobs() -> Call[list[Job]]:
    """Every job, newest first."""
    return Call("GET", "/v1/jobs", lambda data: _jobs(data).jobs, seconds=QUICK)


def job(id: str) -> Call[Job]:
    """One job."""
    return Call("GET", f"/v1/jobs/{_part(id)}", _job, seconds=QUICK)


def cancel_job(id: str) -> Call[Job]:
    """Stop a job; its checkpoint stays."""
    return Call("DELETE", f"/v1/jobs/{_part(id)}", _job, seconds=QUICK)


def resume_job(id: str) -> Call[Job]:
    """Go on with a job that was cancelled or failed, from its checkpoint."""
    return Call("POST", f"/v1/jobs/{_part(id)}/resume", _job, seconds=QUICK, repeatable=False)


def follow(id: str, after: int = 0) -> Flow[Event]:
    """What a job tells, from the event after `after` to its last; breaks are bridged."""
    headers = {"last-event-id": str(after)} if after else {}
    call = Call("GET", f"/v1/jobs/{_part(id)}/events", bytes, headers=headers, seconds=SECONDS)
    return Flow(call, _event, frozenset({"done", "failed", "cancelled"}), resumable=True)


def _change(name: str, what: str, body: Mapping[str, Any]) -> Call[PackInfo]:
    path = f"/v1/packs/{_part(name)}/{what}"
    return Call("POST", path, _pack, body=body, seconds=QUICK, repeatable=False)


def _near(project: str | None) -> str:
    return "" if project is None else f"?project={quote(project, safe='/')}"


def _part(word: str) -> str:
    return quote(word, safe="@:")


def _event(received: Received) -> Event:
    number = int(received.id) if received.id.isdigit() else 0
    return Event(id=number, kind=received.event, data=_object(received.data.encode()))
