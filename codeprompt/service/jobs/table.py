"""Jobs as the database has them; each function is one transaction."""

from __future__ import annotations

import builtins
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from codeprompt.errors import CodepromptError, QueueFullError, UnknownNameError
from codeprompt.service.jobs.spec import JobSpec
from codeprompt.service.packs import Packs
from codeprompt.service.state import ConflictError, Store
from codeprompt.service.state.models import JobRow

LIVE, ENDED = ("running", "queued"), ("done", "failed", "cancelled")
MOST_WAITING = 100
RETRY_SECONDS = 60.0


@dataclass(frozen=True)
class Job:
    """A job. error: `{"code", "message"}` of a failed one. version: of the pack it made.

    status: `queued`, `running`, `done`, `failed` or `cancelled`. attempts: how often it was begun.
    progress: the newest `progress` event's data. fingerprint: of the rows it trained on.
    """

    id: str
    status: str
    spec: JobSpec
    cores: int
    created: float
    started: float | None
    ended: float | None
    attempts: int
    error: dict[str, str] | None
    version: str | None
    fingerprint: str | None
    progress: dict[str, Any] | None = None

    @property
    def ended_so(self) -> dict[str, Any]:
        """The data of the event that ends it."""
        if self.status == "done":
            return {"name": self.spec.name, "version": self.version}
        return dict(self.error or {})

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        return values


class Table:
    """The jobs of a `Store`; any thread may call any method."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def add(self, spec: JobSpec, cores: int) -> Job:
        """A new job at the end of the queue. Raises `QueueFullError`."""
        with self.store.write() as session:
            queued = select(func.count()).where(JobRow.status == "queued")
            waiting = session.scalar(queued) or 0
            if waiting >= MOST_WAITING:
                raise QueueFullError(waiting, RETRY_SECONDS)
            text = msgspec.json.encode(spec).decode()
            row = JobRow(id=secrets.token_hex(8), status="queued", spec=text, cores=cores)
            row.created, row.attempts = time.time(), 0
            session.add(row)
            session.flush()
            return _job(row)

    def get(self, name: str) -> Job:
        """One job. Raises `UnknownNameError`."""
        with self.store.read() as session:
            return _job(_row(session, name))

    def list(self) -> list[Job]:
        """All jobs, newest first."""
        with self.store.read() as session:
            newest = select(JobRow).order_by(JobRow.created.desc())
            return [_job(row) for row in session.scalars(newest)]

    def live(self) -> builtins.list[str]:
        """What is to be run: first what was running, then the queue."""
        with self.store.read() as session:
            order = (JobRow.status == "queued", JobRow.created)
            rows = select(JobRow.id).where(JobRow.status.in_(LIVE)).order_by(*order)
            return [*session.scalars(rows)]

    def begin(self, name: str) -> Job | None:
        """A trainer is about to start; None where the job was ended meanwhile."""
        with self.store.write() as session:
            row = _row(session, name)
            if row.status not in LIVE:
                return None
            row.status, row.attempts = "running", row.attempts + 1
            row.started = row.started or time.time()
            return _job(row)

    def cancel(self, name: str) -> Job:
        """End a live job. Raises `ConflictError` where it has ended."""
        with self.store.write() as session:
            row = _row(session, name)
            if row.status not in LIVE:
                raise ConflictError(f"The job {name} has ended: it is {row.status}")
            row.status, row.ended = "cancelled", time.time()
            return _job(row)

    def revive(self, name: str) -> Job:
        """Queue a job that failed or was cancelled again. Raises `ConflictError` on others."""
        with self.store.write() as session:
            row = _row(session, name)
            if row.status not in ("failed", "cancelled"):
                raise ConflictError(
                    f"The job {name} is {row.status}", expected="one that failed or was cancelled"
                )
            row.status, row.ended, row.error = "queued", None, None
            return _job(row)

    def fail(self, name: str, error: CodepromptError, code: str) -> None:
        """The trainer ended without a pack; a job that was cancelled stays so."""
        with self.store.write() as session:
            row = _row(session, name)
            if row.status == "running":
                row.status, row.ended = "failed", time.time()
                row.error = json.dumps({"code": code, "message": str(error)})

    def finish(self, name: str, packs: Packs, version: str, fingerprint: str) -> bool:
        """The pack is there: it becomes active and the job done in one step.

        False where the job was cancelled meanwhile; then the pack stays a version among others.
        """
        with self.store.write() as session:
            row = _row(session, name)
            if row.status != "running":
                return False
            packs.activate_in(session, _job(row).spec.name, version)
            row.status, row.ended = "done", time.time()
            row.version, row.fingerprint = version, fingerprint
            return True


def _row(session: Session, name: str) -> JobRow:
    row = session.get(JobRow, name)
    if row is None:
        raise UnknownNameError("job", name, ())
    return row


def _job(row: JobRow) -> Job:
    return Job(
        id=row.id,
        status=row.status,
        spec=msgspec.json.decode(row.spec, type=JobSpec),
        cores=row.cores,
        created=row.created,
        started=row.started,
        ended=row.ended,
        attempts=row.attempts,
        error=None if row.error is None else json.loads(row.error),
        version=row.version,
        fingerprint=row.fingerprint,
    )
