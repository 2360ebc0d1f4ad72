"""Opening an engine for one pack, with errors that say how to go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from codeprompt.cli.output import note
from codeprompt.errors import BackboneError, UsageError

if TYPE_CHECKING:
    from codeprompt.backbones.decoding import Decoding
    from codeprompt.engine import Engine
    from codeprompt.pack import Card, Pack


@dataclass(frozen=True)
class Opened:
    """An engine that has loaded a pack under `name`."""

    engine: Engine
    pack: Pack
    name: str

    @property
    def card(self) -> Card:
        """The pack's card."""
        return self.pack.card


@contextmanager
def opened(
    pack: str,
    *,
    backbone: str | None = None,
    precision: Any = "auto",
    threads: int | None = None,
    offline: bool = False,
    quiet: bool = False,
) -> Iterator[Opened]:
    """An engine on the pack's own backbone, or on the one the user names."""
    from codeprompt.cli.progress import quiet_libraries
    from codeprompt.pack import find

    find(pack)  # a wrong name is told before torch is imported
    quiet_libraries(offline=offline)
    from codeprompt.engine import Engine
    from codeprompt.pack import load

    read = load(pack)
    own = read.card.backbone.name
    if not quiet:
        note(f"Loading {backbone or own} ...")
    try:
        engine = Engine(
            backbone or own, precision=precision, threads=threads, allow_hub=not offline
        )
    except BackboneError as error:
        if backbone or own.startswith("builtin"):
            raise
        raise BackboneError(
            f"The pack's card says its backbone is {own}, which cannot be loaded: {error}",
            do="Say where it lies now with --backbone",
        ) from error
    with engine:
        yield Opened(engine, read, engine.load(read))


def decoding_for(
    ready: Opened, decode: str | None, candidates: int, channel: float
) -> Decoding | None:
    """The pack's decoding, choosing among so many answers; None for its own as it is.

    channel: weight of the reverse likelihood in `rerank`.
    Raises `UsageError` where the pack has nothing to choose from or by.
    """
    if decode is None:
        return None
    from codeprompt.backbones.decoding import Decoding
    from codeprompt.registry import TASKS

    card, task = ready.card, TASKS.get(ready.card.task)
    if task.kind != "generate":
        raise UsageError(
            f"'{card.name}' gives labels, and there is nothing to choose from",
            do="Leave --decode out",
        )
    own = Decoding.from_json(card.decoding)
    if decode == "mbr":
        drawn = replace(own, beams=1, sample=True, top_p=0.95, candidates=candidates)
        return replace(drawn, consensus=task.metrics[0], channel=0.0)
    family = ready.engine.backbone.family
    if family not in task.channel:
        raise UsageError(
            f"No {family} backbone is known to tell the source from an answer of '{task.name}'",
            expected=f"a task and family that has a channel: {_channels()}",
            do="Use --decode mbr",
        )
    if ready.pack.injection.weights:
        raise UsageError(
            f"'{card.name}' holds tuned weights, and nothing is left of what the backbone knew",
            do="Use --decode mbr",
        )
    wide = replace(own, sample=False, beams=candidates, candidates=candidates)
    return replace(wide, consensus="", channel=channel)


def _channels() -> str:
    from codeprompt.registry import TASKS

    found = {name: TASKS.get(name).channel for name in TASKS.names()}
    return ", ".join(f"{name} on {' and '.join(on)}" for name, on in found.items() if on)
