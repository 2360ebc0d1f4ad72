"""Packs and jobs as the service shows them: plain values for routes, threads for the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from codeprompt.errors import UsageError
from codeprompt.recipes import Recipe
from codeprompt.service.catalogue import Catalogue
from codeprompt.service.folders import project_of
from codeprompt.service.jobs import Event, Job, Jobs, JobSpec
from codeprompt.service.packs import Packs
from codeprompt.service.problems import draining

JOB_FIELDS = frozenset(JobSpec.__struct_fields__) - {"overrides", "options"}
RECIPE_FIELDS = frozenset(Recipe.__dataclass_fields__) - {"name", "options"}
MOST_SEEDS = 1000


class Holdings:
    """The half of `Service` that stands on the database."""

    def __init__(self, packs: Packs, jobs: Jobs) -> None:
        self.packs, self.jobs = packs, jobs
        self.catalogue = Catalogue(packs)
        self.draining = False

    def touch(self) -> None:
        """Somebody wanted something: idleness begins anew."""

    async def pack_list(self, project: str | None = None) -> list[dict[str, Any]]:
        """Every pack that a name finds. project: the full path of a folder, for its packs too."""
        return await asyncio.to_thread(self.catalogue.listed, project_of(project))

    async def pack_info(self, name: str, project: str | None = None) -> dict[str, Any]:
        """One of them, with its card. Raises `Problem` (404)."""
        return await asyncio.to_thread(self.catalogue.shown, name, project_of(project))

    async def add_pack(
        self, card: bytes, tensors: bytes, name: str | None = None, *, activate: bool = True
    ) -> dict[str, Any]:
        """Check and keep a pack; it is on the disk when this returns. Raises `PackError`."""
        self._changing()
        version, called = await asyncio.to_thread(self._added, card, tensors, name, activate)
        self.catalogue.changed()
        if activate:
            await self.landed(called, version)
        return await self.pack_info(called)

    async def activate(self, name: str, version: str) -> dict[str, Any]:
        """Let a version answer from now on. Raises `UnknownNameError`."""
        self._changing()
        await asyncio.to_thread(self.packs.activate, name, version)
        await self.landed(name, version)
        return await self.pack_info(name)

    async def retire(self, name: str, version: str | None = None) -> dict[str, Any]:
        """Let a version, or for None the whole pack, answer no more."""
        self._changing()
        await asyncio.to_thread(self.packs.retire, name, version)
        self.catalogue.changed()
        return await self.pack_info(name)

    async def rollback(self, name: str) -> dict[str, Any]:
        """Go back to the version that was active before. Raises `ConflictError`."""
        self._changing()
        version = await asyncio.to_thread(self.packs.rollback, name)
        await self.landed(name, version)
        return await self.pack_info(name)

    async def landed(self, name: str, version: str) -> None:
        """A version answers from now on."""
        self.catalogue.changed()

    async def add_upload(self, data: bytes) -> dict[str, Any]:
        """Keep JSON lines for jobs. Raises `DataError`."""
        self._changing()
        found = await asyncio.to_thread(self.jobs.uploads.add, data)
        return {
            "id": found.id,
            "fingerprint": found.fingerprint,
            "rows": found.rows,
            "bytes": found.bytes,
        }

    async def submit_job(
        self,
        *,
        task: str,
        data: str,
        method: str = "soft",
        recipe: str = "few-shot",
        name: str | None = None,
        options: Mapping[str, Any] | None = None,
        local: bool = False,
    ) -> dict[str, Any]:
        """Queue a tuning job. local: it may name paths on this machine.

        options: see `job_spec`. Raises `CodepromptError` on what cannot be tuned.
        """
        self._changing()
        values = {"task": task, "data": data, "method": method, "recipe": recipe}
        spec = job_spec({**values, "name": name or task}, options or {})
        return job_as_json(await asyncio.to_thread(self.jobs.submit, spec, local=local))

    async def job_list(self) -> list[dict[str, Any]]:
        """All jobs, newest first."""
        return [job_as_json(job) for job in await asyncio.to_thread(self.jobs.list)]

    async def job(self, name: str) -> dict[str, Any]:
        """One job with its newest progress. Raises `UnknownNameError`."""
        return job_as_json(await asyncio.to_thread(self.jobs.get, name))

    async def cancel_job(self, name: str) -> dict[str, Any]:
        """End a job. Raises `ConflictError` where it has ended."""
        return job_as_json(await asyncio.to_thread(self.jobs.cancel, name))

    async def resume_job(self, name: str) -> dict[str, Any]:
        """Queue a job again that failed or was cancelled."""
        self._changing()
        return job_as_json(await asyncio.to_thread(self.jobs.resume, name))

    def follow_job(self, name: str, after: int = 0) -> AsyncIterator[Event]:
        """What a job tells, from the event after `after` to its end."""
        return self.jobs.events(name, after)

    def _added(
        self, card: bytes, tensors: bytes, name: str | None, activate: bool
    ) -> tuple[str, str]:
        from codeprompt.backbones.threads import computing_on
        from codeprompt.pack.card import decode

        name = name or decode(card, "the card").name
        with computing_on(1):
            return self.packs.add(card, tensors, name, activate=activate), name

    def _changing(self) -> None:
        if self.draining:
            raise draining()
        self.touch()


def job_spec(values: Mapping[str, Any], options: Mapping[str, Any]) -> JobSpec:
    """A job's specification from the words of `codeprompt tune`.

    options: fields of the job (backbone, language, columns, ...), of the recipe (shots, steps,
    lr, ...), and settings of the method, each known by its name. seed: one; seeds: so many, or a
    list of them. Raises `UsageError`.
    """
    given = dict(options)
    own: dict[str, Any] = {}
    if "seed" in given and "seeds" in given:
        raise UsageError("Both `seed` and `seeds` are given", do="Leave one of them out")
    if "seed" in given:
        own["seeds"] = [given.pop("seed")]
    elif type(given.get("seeds")) is int:
        own["seeds"] = list(range(min(given.pop("seeds"), MOST_SEEDS)))
    taken = sorted(set(values) & set(given))
    if taken:
        raise UsageError(
            f"The options repeat {', '.join(taken)}", do="Give it beside the options alone"
        )
    own |= {key: given.pop(key) for key in JOB_FIELDS & set(given)}
    recipe = {key: given.pop(key) for key in RECIPE_FIELDS & set(given)}
    return JobSpec.from_json({**values, **own, "overrides": recipe, "options": given})


def job_as_json(job: Job) -> dict[str, Any]:
    """A job as `GET /v1/jobs/ID` shows it."""
    values = job.as_json()
    return {"id": values.pop("id"), "status": values.pop("status"), "detail": values}
