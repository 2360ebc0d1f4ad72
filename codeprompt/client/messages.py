"""What the service says, as typed values: the shapes of `codeprompt.service.wire`.

A field that a newer service adds is passed over, and one that an older one lacks has a default:
two versions understand each other well enough to say so.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Priority = Literal["explicit", "hover", "diagnostics", "batch"]
TaskName = Literal["summarize", "translate", "defects", "localize"]
API = 1


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A value that came over the wire."""

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


class Health(Message, frozen=True):
    """Who answers. api: the number of the protocol."""

    status: str
    version: str
    pid: int
    api: int = API


class Item(Message, frozen=True, omit_defaults=True):
    """One answer for one function.

    text: what a generating pack wrote. label: what a classifying pack chose. score: probability of
    the positive label, or mean log-probability of the written tokens. cached: known before.
    index: among the answers of a stream.
    """

    file: str | None = None
    function: str | None = None
    start_line: int = 0
    end_line: int = 0
    text: str | None = None
    label: str | None = None
    score: float | None = None
    pack: str = ""
    version: str = ""
    cached: bool = False
    index: int = 0


class Failure(Message, frozen=True):
    """Why one request of a batch was not answered."""

    code: str = ""
    message: str = ""
    request_id: str = ""


class Token(Message, frozen=True):
    """A new part of the text of the answer number `index`."""

    index: int = 0
    text: str = ""


class Version(Message, frozen=True):
    """A version of a pack. source: `upload` or `job:ID`. retired: it answers no more."""

    version: str
    hash: str = ""
    method: str = ""
    backbone: str = ""
    created: str = ""
    bytes: int = 0
    source: str = ""
    retired: bool = False


class PackInfo(Message, frozen=True):
    """A pack. version: the one described. active: the one that answers, None where none does.

    where: `service`, or the folder it was found in: `project`, `user`, `package`. card: of the
    version described, where one pack is asked for.
    """

    name: str
    task: str = ""
    version: str = ""
    active: str | None = None
    versions: tuple[Version, ...] = ()
    backbone: str = ""
    hash: str = ""
    created: str = ""
    where: str = ""
    card: dict[str, Any] | None = None


class Upload(Message, frozen=True):
    """Data that was uploaded; `upload:ID` names it in a job."""

    id: str
    fingerprint: str = ""
    rows: int = 0
    bytes: int = 0


class Job(Message, frozen=True):
    """A tuning job. detail: its specification, progress, moments and error.

    status: `queued`, `running`, `done`, `failed` or `cancelled`.
    """

    id: str
    status: str
    detail: dict[str, Any] = {}


class Event(Message, frozen=True):
    """Something a job told. id: counts up. kind: `progress`, `done`, `failed`, `cancelled`, ..."""

    id: int
    kind: str
    data: dict[str, Any] = {}
