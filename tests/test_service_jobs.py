"""Tuning jobs: what is refused, how they run beside requests, and that nothing of one is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from codeprompt.errors import CodepromptError, DataError, QueueFullError, UnknownNameError
from codeprompt.service.jobs import Event, Jobs, JobSpec, table
from codeprompt.service.jobs.events import Reader, Writer, newest
from codeprompt.service.jobs.share import LEAST, PERIOD, Share
from codeprompt.service.packs import Packs
from codeprompt.service.state import ConflictError, StateError, Store
from tests.jobbing import STEPS, jobs_at, pack_bytes, settled, spec_for, until
from tests.killing import write_data


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def still(tmp_path: Path) -> Jobs:
    """Jobs that were never started: what is submitted stays queued."""
    store = Store.open(tmp_path / "state")
    return Jobs(store, Packs(store))


@pytest.fixture(scope="module")
def calm(place: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[Event]]:
    """The pack of a job that nobody disturbed, and what it told."""
    home, landed = tmp_path_factory.mktemp("calm"), []

    async def run() -> tuple[bytes, list[Event]]:
        async with jobs_at(home, on_pack=lambda *pack: landed.append(pack)) as jobs:
            job = jobs.submit(spec_for(place))
            told = await until(jobs, job.id, "done")
            done = jobs.get(job.id)
            assert (done.status, done.error, done.attempts) == ("done", None, 1)
            assert done.fingerprint and done.progress and done.progress["step"] == STEPS
            assert landed == [("mine", done.version)]
            assert jobs.packs.info("mine").active == done.version
            assert jobs.packs.info("mine").versions[0].source == f"job:{job.id}"
            again = [event async for event in jobs.events(job.id, after=2)]
            assert again == told[2:], "a reader that comes back misses something"
            left = {path.name for path in (home / "jobs" / job.id).iterdir()}
            assert left <= {"log", "lock", "pid", "progress.jsonl", "spec.json"}
            return pack_bytes(jobs), told

    return asyncio.run(run())


def test_a_job_tells_its_progress_and_ends_with_an_active_pack(
    calm: tuple[bytes, list[Event]],
) -> None:
    """Events are numbered from 1; each progress says step, loss, dev score and time left."""
    _, told = calm
    assert [event.id for event in told] == list(range(1, len(told) + 1))
    assert told[0].kind == "started" and told[-1].kind == "done"
    assert told[-1].data.keys() == {"name", "version"}
    progress = [event.data for event in told if event.kind == "progress"]
    assert {p["seed"] for p in progress} == {0, 1}
    assert progress[-1]["step"] == progress[-1]["steps"] == STEPS
    assert progress[-1]["dev"] is not None and progress[-1]["seconds_left"] == 0


@pytest.mark.slow
def test_stopped_paused_cancelled_and_resumed_it_ends_with_the_same_pack(
    place: Path, tmp_path: Path, calm: tuple[bytes, list[Event]]
) -> None:
    """Bit for bit, whatever was done to it; its trainer gives way to everything else."""

    async def run() -> bytes:
        async with jobs_at(tmp_path) as jobs:
            job = jobs.submit(spec_for(place))
            seen = await until(jobs, job.id, "progress")
            if os.name == "posix":
                trainer = jobs._running[job.id].process
                assert trainer is not None and trainer.nice() == 19
                jobs.yield_to(True)
                while trainer.status() != psutil.STATUS_STOPPED:  # it may be within a system call
                    await asyncio.sleep(0.01)
        store = Store.open(tmp_path)
        assert table.Table(store).get(job.id).status == "running", "the next engine goes on"
        store.close()
        async with jobs_at(tmp_path) as jobs:
            seen = await until(jobs, job.id, "started", after=seen[-1].id)
            seen = await until(jobs, job.id, "progress", after=seen[-1].id)
            assert seen[0].data["step"] > 1
            assert jobs.cancel(job.id).status == "cancelled"
            assert (await until(jobs, job.id, "cancelled"))[-1].kind == "cancelled"
            with pytest.raises(ConflictError, match="has ended: it is cancelled"):
                jobs.cancel(job.id)
            assert jobs.packs.list() == []
            assert jobs.resume(job.id).status == "queued"
            told = await until(jobs, job.id, "done")
            assert told[-1].kind == "done" and jobs.get(job.id).attempts == 3
            steps = [e.data["step"] for e in told if e.kind == "progress" and e.data["seed"] == 0]
            assert steps.count(1) == 1, "it began again at the first step"
            with pytest.raises(ConflictError, match="is done"):
                jobs.resume(job.id)
            return pack_bytes(jobs)

    assert asyncio.run(run()) == calm[0]


def test_a_job_that_takes_too_much_memory_is_ended_with_the_reason(
    place: Path, tmp_path: Path
) -> None:
    """And the one that waits behind it is begun."""

    async def run() -> None:
        async with jobs_at(tmp_path, memory_mb=40) as jobs:
            first, second = jobs.submit(spec_for(place)), jobs.submit(spec_for(place))
            told = await until(jobs, first.id, "failed")
            assert jobs.get(second.id).status in ("queued", "running"), "one at a time"
            assert told[-1].data["code"] == "memory"
            assert "MB of memory, and may take 40" in told[-1].data["message"]
            assert (await until(jobs, second.id, "failed"))[-1].kind == "failed"

    asyncio.run(run())


def test_data_that_cannot_be_tuned_on_gives_the_reason(place: Path, tmp_path: Path) -> None:
    """What training refuses is the job's error, in training's words."""

    async def run() -> None:
        async with jobs_at(tmp_path) as jobs:
            rows = b"".join(b'{"other": "column %d"}\n' % i for i in range(30))
            upload = jobs.uploads.add(rows)
            job = jobs.submit(spec_for(place, data=f"upload:{upload.id}"), local=True)
            told = await until(jobs, job.id, "failed")
            assert told[-1].kind == "failed" and told[-1].data["code"] == "data"
            assert jobs.get(job.id).error == told[-1].data
            assert "column 3" not in told[-1].data["message"]

    asyncio.run(run())


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_trainer_that_is_killed_fails_with_how(place: Path, tmp_path: Path) -> None:
    """By the system, for one, when memory runs out; resuming goes on."""

    async def run() -> None:
        async with jobs_at(tmp_path) as jobs:
            job = jobs.submit(spec_for(place))
            await until(jobs, job.id, "started")
            trainer = jobs._running[job.id].process
            assert trainer is not None
            trainer.send_signal(signal.SIGKILL)
            told = await until(jobs, job.id, "failed")
            assert told[-1].data["code"] == "trainer"
            assert "ended by signal 9, as the system does" in told[-1].data["message"]
            await settled(jobs, job.id)
            assert jobs.resume(job.id).status == "queued"

    asyncio.run(run())


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "task": ({"task": "cook"}, "Unknown task 'cook'"),
    "method": ({"method": "sofd"}, "Did you mean 'soft'"),
    "recipe": ({"recipe": "/etc/passwd.toml"}, "Unknown recipe"),
    "name": ({"name": "../up"}, "name of the pack cannot be used"),
    "no data": ({"data": "/nowhere/at/all"}, "There is no data"),
    "relative": ({"data": "data.jsonl"}, "a full path"),
    "upload": ({"data": "upload:../../x"}, "Unknown upload"),
    "hub": ({"data": "hub:some/data"}, "this engine is offline"),
    "dev data": ({"dev_data": "/nowhere"}, "There is no data"),
    "seeds": ({"seeds": (1, 1)}, "seeds do not fit"),
    "many seeds": ({"seeds": tuple(range(99))}, "at most 32"),
    "steps": ({"overrides": {"steps": 0}}, "steps is 0"),
    "setting": ({"overrides": {"stepz": 1}}, "stepz"),
    "option": ({"options": {"lenght": 1}}, "lenght"),
    "template": ({"template": "{code"}, "template|brace|placeholder"),
    "limit": ({"limit": 0}, "limit is 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_tuned_is_refused_at_once(still: Jobs, place: Path, case: str) -> None:
    """Before it is queued."""
    changes, message = REFUSED[case]
    spec = msgspec.structs.replace(spec_for(place), **changes)
    with pytest.raises(CodepromptError, match=f"(?i){message}"):
        still.submit(spec)
    assert still.list() == []


def test_from_elsewhere_no_path_of_this_machine_is_taken(still: Jobs, place: Path) -> None:
    """Neither data nor backbone; an upload is."""
    spec = msgspec.structs.replace(spec_for(place), backbone="builtin")
    with pytest.raises(CodepromptError, match="'data' names a path on the engine's machine"):
        still.submit(spec, local=False)
    data = "upload:" + still.uploads.add(b'{"code": "a"}\n{"code": "b"}\n').id
    spec = msgspec.structs.replace(spec, data=data)
    assert still.submit(spec, local=False).status == "queued"
    for backbone in (str(place / "backbone"), "../backbone", "~/x"):
        with pytest.raises(CodepromptError, match="backbone's folder on the engine's machine"):
            still.submit(msgspec.structs.replace(spec, backbone=backbone), local=False)


def test_a_job_is_read_from_plain_values() -> None:
    """As a request's body brings it; what does not fit is named."""
    spec = JobSpec.from_json({"task": "summarize", "data": "/d", "name": "n", "seeds": [1, 2]})
    assert spec.seeds == (1, 2) and JobSpec.from_json(spec.as_json()) == spec
    with pytest.raises(CodepromptError, match="unknown field `colour`"):
        JobSpec.from_json({"task": "summarize", "data": "/d", "name": "n", "colour": 1})
    with pytest.raises(CodepromptError, match="missing required field `task`"):
        JobSpec.from_json({})


def test_a_name_of_another_task_is_refused(
    still: Jobs, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that could not land its pack is not begun."""
    from codeprompt.service.packs import PackInfo

    monkeypatch.setattr(still.packs, "list", lambda: [PackInfo("mine", "defect", None, ())])
    with pytest.raises(CodepromptError, match="'mine' is a pack for defect"):
        still.submit(spec_for(place))


def test_jobs_are_kept_in_order_and_the_queue_ends(
    still: Jobs, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First come, first begun; past the limit a client is told when to come back."""
    monkeypatch.setattr(table, "MOST_WAITING", 3)
    names = [still.submit(spec_for(place)).id for _ in range(3)]
    with pytest.raises(QueueFullError) as full:
        still.submit(spec_for(place))
    assert full.value.retry_after > 0
    assert still.table.live() == names
    still.table.begin(names[1])
    assert still.table.live() == [names[1], names[0], names[2]], "what was running goes first"
    assert still.cancel(names[0]).status == "cancelled"
    assert still.table.begin(names[0]) is None
    assert [job.id for job in still.list()] == names[::-1]
    assert still.get(names[2]).as_json()["spec"]["name"] == "mine"
    for call in (still.get, still.cancel, still.resume):
        with pytest.raises(UnknownNameError, match="Unknown job"):
            call("../../etc")


def test_one_engine_runs_the_jobs_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second one is refused rather than run them twice."""
    monkeypatch.setattr("codeprompt.service.jobs.supervisor.LOCK_SECONDS", 0.1)

    async def run() -> None:
        async with jobs_at(tmp_path):
            with pytest.raises(StateError, match="Another engine runs the jobs"):
                async with jobs_at(tmp_path):
                    pass
        async with jobs_at(tmp_path):
            pass

    asyncio.run(run())


def test_what_no_job_knows_is_tidied_up(tmp_path: Path) -> None:
    """Folders of jobs that a restored database has not."""
    (tmp_path / "jobs" / "abc").mkdir(parents=True)

    async def run() -> None:
        async with jobs_at(tmp_path):
            assert not (tmp_path / "jobs" / "abc").exists()

    asyncio.run(run())


def test_an_upload_is_kept_once_and_checked(still: Jobs) -> None:
    """By the hash of its bytes; the reason names the line and none of its text."""
    data = b"".join(b'{"code": "x = %d"}\n' % i for i in range(5))
    upload = still.uploads.add(data)
    assert still.uploads.add(data) == upload and still.uploads.list() == [upload]
    assert (upload.rows, upload.bytes, len(upload.fingerprint)) == (5, len(data), 64)
    assert still.uploads.path(upload.id).read_bytes() == data
    bad = {
        b"": "0 rows",
        b'{"a": 1}\n': "1 rows",
        b'{"a": 1}\nsecret\n': "Line 2 of the data is no JSON object",
        b'{"a": 1}\n[1]\n': "Line 2",
        b'{"a": "\xff"}\n': "Line 1",
        b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}\n": "nested too deeply",
    }
    for text, message in bad.items():
        with pytest.raises(DataError, match=message) as caught:
            still.uploads.add(text)
        assert "secret" not in str(caught.value)
    still.uploads.path(upload.id).unlink()
    with pytest.raises(DataError, match="is gone"):
        still.uploads.path(upload.id)
    still.uploads.add(data)
    still.uploads.remove(upload.id)
    assert still.uploads.list() == []
    with pytest.raises(UnknownNameError):
        still.uploads.path(upload.id)


def test_uploads_without_a_row_go_when_the_state_is_opened(still: Jobs) -> None:
    """What a crash left between rename and commit."""
    (still.uploads.folder / "abcdef.jsonl").write_bytes(b"{}")
    store = Store.open(still.uploads.store.folder)
    assert list(Jobs(store, Packs(store)).uploads.folder.iterdir()) == []
    store.close()


def test_a_line_that_a_crash_cut_is_taken_off(tmp_path: Path) -> None:
    """A reader sees whole lines only, and numbers stay as they were."""
    path = tmp_path / "progress.jsonl"
    reader = Reader(path)
    assert list(reader) == [] and newest(path) is None
    writer = Writer(path)
    writer.write("started", 1.0)
    writer.write("progress", 2.0, step=1)
    writer.close()
    with open(path, "ab") as file:
        file.write(json.dumps({"kind": "progress"}).encode()[:7])
    assert [(e.id, e.kind) for e in reader] == [(1, "started"), (2, "progress")]
    assert newest(path) == {"step": 1}
    writer = Writer(path)
    writer.write("progress", 3.0, step=2)
    writer.close()
    assert list(reader) == [Event(3, "progress", {"step": 2})]
    assert [e.id for e in Reader(path, after=1)] == [2, 3]


def test_requests_pause_a_job_but_never_starve_it() -> None:
    """Under requests without end it has its share of every period; without them it never waits."""
    now = 0.0
    share = Share(clock=lambda: now)
    ran = []
    share.busy = True
    for _ in range(4000):
        ran.append(not share.paused())
        now += 0.1
    assert not any(ran[: int(PERIOD * (1 - LEAST) * 10) - 1]), "a short burst has all to itself"
    window = int(PERIOD * 10)
    shares = [sum(ran[i : i + window]) / window for i in range(len(ran) - window)]
    assert min(shares) >= LEAST * 0.95 and max(shares) <= LEAST * 1.3
    share.busy = False
    assert not share.paused()


def test_a_job_carries_its_end_for_the_last_event(still: Jobs, place: Path) -> None:
    """A job that ended without its trainer, such as one cancelled in the queue, says so too."""
    job = still.submit(spec_for(place))
    still.cancel(job.id)

    async def run() -> list[Event]:
        return [event async for event in still.events(job.id)]

    assert asyncio.run(run()) == [Event(1, "cancelled", {})]
    assert replace(job, status="done", version="v").ended_so == {"name": "mine", "version": "v"}
