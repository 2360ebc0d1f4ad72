"""Whether an engine is there, and who it is; nothing is started or ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from codeprompt.client.address import Address, Home
from codeprompt.client.failures import UnreachableError
from codeprompt.client.messages import Health
from codeprompt.client.sync import Client
from codeprompt.errors import CodepromptError


@dataclass(frozen=True, slots=True)
class State:
    """Of the engine. health: None where there is none, or it does not answer."""

    home: Home
    running: bool
    address: Address | None = None
    pid: int | None = None
    created: float | None = None
    health: Health | None = None

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "running": self.running,
            "answers": self.health is not None,
            "status": self.health.status if self.health else None,
            "version": self.health.version if self.health else None,
            "pid": self.pid,
            "started": self.created,
            "address": str(self.address) if self.address else None,
            "home": str(self.home.folder),
            "log": str(self.home.log),
        }


def state(home: Home | None = None) -> State:
    """Whether an engine runs, and who it is."""
    home = home or Home.own()
    if not home.alive():
        return State(home, False)
    record, address = home.record(), home.address
    health = None
    if address is not None:
        try:
            health = probe(address)
        except CodepromptError:
            health = None
    pid = record.pid if record else health.pid if health else None
    return State(home, True, address, pid, record.created if record else None, health)


def probe(address: Address) -> Health | None:
    """Who answers at an address; None where nobody does.

    Raises `DeadlineError` where somebody is too busy to, `EngineError` where it is no engine.
    """
    with Client(address) as client:
        try:
            return client.health()
        except UnreachableError:
            return None
