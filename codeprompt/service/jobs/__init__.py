"""Tuning jobs: child processes that train beside the engine, give way to requests, and go on.

A job that was submitted is on the disk. Killed with the service at any moment, it goes on from its
checkpoint at the next `Jobs.start` and ends with the pack it would have had.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codeprompt.service.jobs.events import Event
    from codeprompt.service.jobs.spec import JobSpec
    from codeprompt.service.jobs.supervisor import Jobs
    from codeprompt.service.jobs.table import Job
    from codeprompt.service.jobs.uploads import Upload, Uploads

__all__ = ["Event", "Job", "JobSpec", "Jobs", "Upload", "Uploads"]
_PLACES = {
    "Event": "events",
    "Job": "table",
    "JobSpec": "spec",
    "Jobs": "supervisor",
    "Upload": "uploads",
    "Uploads": "uploads",
}


def __getattr__(name: str) -> Any:
    """A trainer runs a module of this package, and needs no database."""
    if name in _PLACES:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(name)
