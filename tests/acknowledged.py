"""Clients of an engine that is killed, and the book of what it acknowledged to them.

Each client has things of its own (names of packs, jobs), asks one thing at a time, and writes into
the book what was answered; what was in flight at the kill may have happened or not.
"""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from codeprompt.errors import CodepromptError
from codeprompt.pack import load

READY_SECONDS = 120.0
LIVE = ("queued", "running")
Files = tuple[bytes, bytes]


@dataclass
class Book:
    """What was acknowledged.

    uploads: id -> fingerprint. versions: (name, version). active: name -> the versions of which one
    must be active. jobs: id -> the states of which one must be true.
    """

    uploads: dict[str, str] = field(default_factory=dict)
    versions: set[tuple[str, str]] = field(default_factory=set)
    active: dict[str, set[str | None]] = field(default_factory=dict)
    jobs: dict[str, set[str]] = field(default_factory=dict)
    answers: int = 0


class Engine:
    """The real process, `codeprompt serve`, over its socket."""

    def __init__(self, home: Path, socket: Path, backbone: Path) -> None:
        self.home, self.socket = home, socket
        command = [sys.executable, "-m", "codeprompt", "serve", "--uds", str(socket)]
        command += ["--backbone", str(backbone), "--threads", "1"]
        self.log = open(home.parent / "engine.out", "ab")  # noqa: SIM115
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "CODEPROMPT_HOME": str(home)},
            stdout=self.log,
            stderr=self.log,
        )

    def http(self) -> httpx.Client:
        """A client; asking fails with `httpx.TransportError` once the engine is dead."""
        transport = httpx.HTTPTransport(uds=str(self.socket))
        return httpx.Client(transport=transport, base_url="http://codeprompt", timeout=60)

    def ready(self) -> None:
        """Wait until it answers."""
        end = time.monotonic() + READY_SECONDS
        with self.http() as http:
            while time.monotonic() < end and self.process.poll() is None:
                try:
                    if http.get("/healthz").status_code == 200:
                        return
                except httpx.TransportError:
                    time.sleep(0.02)
        out = (self.home.parent / "engine.out").read_text(encoding="utf-8")[-3000:]
        raise AssertionError(f"the engine does not answer ({self.process.poll()}):\n{out}")

    def kill(self) -> None:
        """At once, without a word."""
        self.process.kill()
        self.process.wait()
        self.log.close()


class Clients:
    """Threads that ask until the engine is dead; what one of them did not expect is raised."""

    def __init__(
        self, engine: Engine, book: Book, packs: list[Files], job: dict[str, Any], seed: int
    ):
        self.engine, self.book, self.packs, self.job = engine, book, packs, job
        self.failures: list[BaseException] = []
        self.done, self.change = 0, threading.Condition()
        works = (self.uploading, self.versioning, self.tuning, self.asking)
        self.threads = [
            threading.Thread(
                target=self._work, args=(work, random.Random(f"{seed} {work.__name__}"))
            )
            for work in works
        ]
        for thread in self.threads:
            thread.start()

    def wait(self, count: int, seconds: float) -> None:
        """Until so many things were acknowledged, at most so long."""
        with self.change:
            self.change.wait_for(lambda: self.done >= count or bool(self.failures), seconds)

    def join(self) -> None:
        """After the kill."""
        for thread in self.threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def _work(
        self, work: Callable[[httpx.Client, random.Random], None], draw: random.Random
    ) -> None:
        try:
            with self.engine.http() as http:
                while True:
                    work(http, draw)
                    with self.change:
                        self.done += 1
                        self.change.notify()
        except httpx.TransportError:
            return
        except BaseException as error:
            self.failures.append(error)

    def uploading(self, http: httpx.Client, draw: random.Random) -> None:
        """Data of many sizes, each its own."""
        rows = draw.choice((2, 50, 5000))
        mark = draw.random()
        data = b"".join(b'{"code": "f(%d)", "mark": %f}\n' % (i, mark) for i in range(rows))
        found = told(http.post("/v1/uploads", files={"file": ("data.jsonl", data)}), 201)
        assert found["fingerprint"] == hashlib.sha256(data).hexdigest()
        self.book.uploads[found["id"]] = found["fingerprint"]

    def versioning(self, http: httpx.Client, draw: random.Random) -> None:
        """Uploads, activations and ways back on names of its own."""
        book, name = self.book, draw.choice(("one", "two"))
        mine = sorted(version for own, version in book.versions if own == name)
        before = book.active.setdefault(name, {None})
        what = draw.choice(("add", "add", "activate", "rollback", "retire"))
        if what == "add" or not mine:
            card, tensors = draw.choice(self.packs)
            activate = draw.choice(("true", "false"))
            possible = {version_of(card)} if activate == "true" else set()
            book.active[name] = before | possible
            files = {"card": ("card.json", card), "prompt": ("prompt.safetensors", tensors)}
            form = {"name": name, "activate": activate}
            found = told(http.post("/v1/packs", files=files, data=form), 201)
            book.versions.add((name, version_of(card)))
        else:
            version = draw.choice(mine)
            possible = {"activate": {version}, "rollback": set(mine), "retire": {None}}[what]
            book.active[name] = before | possible
            body = {"version": version} if what == "activate" else {}
            answer = http.post(f"/v1/packs/{name}/{what}", json=body)
            if answer.status_code == 409:
                book.active[name] = before
                return
            found = told(answer, 200)
        book.active[name] = {found["active"]}
        assert found["active"] in before | possible

    def tuning(self, http: httpx.Client, draw: random.Random) -> None:
        """Three live jobs at most; now and then one is cancelled and resumed."""
        jobs = {job["id"]: job["status"] for job in told(http.get("/v1/jobs"), 200)["jobs"]}
        live = [name for name, status in jobs.items() if status in LIVE]
        cancelled = [name for name, status in jobs.items() if status == "cancelled"]
        wanted = {"queued", "running", "done"}
        if len(live) < 3 and not cancelled:
            found = told(http.post("/v1/jobs", json=self.job), 202)
            self.book.jobs[found["id"]] = wanted
        elif cancelled:
            name = cancelled[0]
            self.book.jobs[name] = {"cancelled"} | wanted
            told(http.post(f"/v1/jobs/{name}/resume"), 200)
            self.book.jobs[name] = wanted
        elif live and draw.random() < 0.2:
            name = draw.choice(live)
            self.book.jobs[name] = {"cancelled"} | wanted
            if http.delete(f"/v1/jobs/{name}").status_code == 200:
                self.book.jobs[name] = {"cancelled"}
        time.sleep(draw.uniform(0.0, 0.4))

    def asking(self, http: httpx.Client, draw: random.Random) -> None:
        """Questions, where a pack is there to answer."""
        body = {
            "code": f"def f{draw.random()}(a):\n    return a\n".replace("0.", "_"),
            "language": "python",
        }
        answer = http.post("/v1/summarize", json=body)
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        self.book.answers += answer.status_code == 200
        time.sleep(draw.uniform(0.0, 0.5))


def told(answer: httpx.Response, status: int) -> Any:
    """The body of an answer that must be this."""
    assert answer.status_code == status, f"{answer.request.url}: {answer.text}"
    return answer.json()


def version_of(card: bytes) -> str:
    """The version that a card's pack has."""
    from codeprompt.pack.card import decode

    return decode(card, "the card").integrity[:12]


def check(home: Path, book: Book, seen: dict[Path, bool]) -> None:
    """What the dead engine left holds all that the book says, and nothing is half there.

    seen: packs that were read whole before; they never change.
    """
    connection = sqlite3.connect(home / "state.db")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        uploads = dict(connection.execute("SELECT id, fingerprint FROM datasets"))
        versions = set(connection.execute("SELECT name, version FROM pack_versions"))
        active = dict(connection.execute("SELECT name, active FROM packs"))
        jobs = dict(connection.execute("SELECT id, status FROM jobs"))
    except sqlite3.OperationalError:  # killed before the first schema was there
        assert book == Book()
        return
    finally:
        connection.close()
    assert book.uploads.items() <= uploads.items(), "an upload was lost"
    for name, fingerprint in uploads.items():
        data = home / "uploads" / f"{name}.jsonl"
        if data not in seen:
            assert hashlib.sha256(data.read_bytes()).hexdigest() == fingerprint
            seen[data] = True
    assert book.versions <= versions, "a version was lost"
    # One that was stored, and killed before it was acknowledged, stays as well: it may have been
    # active, and a way back may lead to it.
    book.versions |= {(name, version) for name, version in versions if name in book.active}
    for name, version in versions:
        folder = home / "packs" / name / version
        if folder not in seen:
            try:
                load(folder)
            except CodepromptError as error:
                raise AssertionError(f"half a pack: {error}") from error
            seen[folder] = True
    for name, possible in book.active.items():
        assert active.get(name) in possible, f"{name}: {active.get(name)}, not {possible}"
        book.active[name] = {active.get(name)}
    for name, states in book.jobs.items():
        assert jobs.get(name) in states, f"job {name} is {jobs.get(name)}, not {states}"


def no_trainer_is_left(home: Path) -> None:
    """Trainers die with their engine, within moments."""
    for file in (home / "jobs").glob("*/pid"):
        pid, created = file.read_text(encoding="ascii").split() or ("0", "0")
        try:
            process = psutil.Process(int(pid))
            if abs(process.create_time() - float(created)) < 1.0:
                process.wait(10)
        except psutil.NoSuchProcess:
            continue
    for process in psutil.process_iter(["cmdline"]):  # not all had come so far
        if any(str(home / "jobs") in word for word in process.info["cmdline"] or ()):
            process.wait(10)
