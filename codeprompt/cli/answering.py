"""Opening an engine for one pack, with errors that say how to go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codeprompt.cli.output import note
from codeprompt.errors import BackboneError

if TYPE_CHECKING:
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
