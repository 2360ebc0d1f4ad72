"""A flight: rows that take their steps together, and that join and leave between steps.

Rows of one flight have the same number of beams; whatever else they differ in (pack, prompt, source
length, settings, how far they are) changes nothing for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from codeprompt.backbones.base import Source
from codeprompt.backbones.decoding import Decoding, Hypothesis
from codeprompt.backbones.generation import make_search, width
from codeprompt.backbones.paths import Paths
from codeprompt.backbones.search import Ask, Tokens
from codeprompt.backbones.serving import ServingLlama, ServingT5
from codeprompt.ensemble import EnsembleState, member_rows, mixed_step
from codeprompt.inject import NOTHING, Injected, Injection, collate

Seat = TypeVar("Seat")
ROWS = 16
"""Rows in the air: past this a step on two cores gains nothing a row (benchmarks/speed)."""
ONCE = (".EncDecAttention.k", ".EncDecAttention.v")
"""Maps that read the source once; no step uses them."""


def kind_of(decoding: Decoding) -> tuple[int, bool]:
    """What rows must have in common to share a flight: K, and whether beams are searched."""
    return width(decoding), decoding.beams > 1


def at_steps(injection: Injection) -> Injection:
    """The parts of a lowered prompt that act at every step of the decoder."""
    return Injection(
        branches={s: b for s, b in injection.branches.items() if s != "encoder"},
        deltas={
            name: delta
            for name, delta in injection.deltas.items()
            if not name.startswith("encoder.") and not name.endswith(ONCE)
        },
    )


class Palette:
    """The distinct prompts of a flight side by side, from which each row picks its own."""

    def __init__(self) -> None:
        self.known: dict[int, int] = {}
        self.table = NOTHING
        self.prompts: list[Injection] = []

    def pick(self, prompts: Sequence[Injection]) -> Injected:
        """The prompts of rows, as `at_steps` gave them."""
        distinct = {id(p): p for p in prompts}
        if not any(p.deltas or p.branches for p in distinct.values()):
            return NOTHING
        if distinct.keys() != self.known.keys():
            self.prompts = list(distinct.values())  # kept, so that no id is used again
            self.known = {id(p): place for place, p in enumerate(self.prompts)}
            self.table = collate(self.prompts, range(len(distinct)))
        index = [self.known[id(p)] for p in prompts]
        return self.table.select(torch.tensor(index, device=_device(self.table)))


class Flight(Generic[Seat]):
    """Rows in the air, each on the seat of whoever asked; finished rows leave by `leave`."""

    def __init__(
        self,
        model: ServingT5 | ServingLlama,
        decoding: Decoding,
        tokens: Tokens,
        members: int = 1,
    ) -> None:
        self.model, self.members = model, members
        self.shares: Tensor | None = None
        self.search = make_search(decoding, tokens, model.device)
        self.state = model.state(self.search.beams, ROWS * members)
        self.seats: list[Seat] = []
        self.prompts: list[Injection] = []
        self.palette = Palette()

    def join(
        self,
        seats: Sequence[Seat],
        asks: Sequence[Ask],
        hidden: Tensor,
        source: Source,
        injected: Injected,
        prompts: Sequence[Injection],
        shares: Tensor | None = None,
    ) -> None:
        """Rows that begin with the next step.

        hidden, source, injected: of these rows, or of all their members (see `passes`), whose
        log-weights are `shares` [B,K]. prompts: of each row, as `at_steps` gave it.
        """
        longest = max(ask.decoding.max_new_tokens for ask in asks)
        self.state.board(hidden, source, injected, longest)
        self.search.add(asks)
        if shares is not None:
            self.shares = shares if self.shares is None else torch.cat([self.shares, shares])
        self.seats += seats
        self.prompts += prompts
        self.state.injected = self.palette.pick(self._by_member())

    @property
    def rows(self) -> int:
        """What a step computes: every member's every beam."""
        return len(self.seats) * self.members * self.search.beams

    def step(self) -> list[int]:
        """One token for every row; the rows that are done."""
        model: Any = self.model  # and the state is its own
        if self.shares is None:
            self.search.advance(model.step(self.search.tokens, self.state), self.state)
        else:
            logits = mixed_step(model.step, self.search.tokens, self.state, self.shares)
            self.search.advance(logits, EnsembleState(self.state, self.shares))
        return [row for row, closed in enumerate(self.search.closed) if closed]

    def answers(self, rows: Sequence[int]) -> list[list[Hypothesis]]:
        """What rows give back, the best first."""
        return self.search.answers(rows)

    def news(self) -> list[bool]:
        """Which rows the last step gave a token that can be told already."""
        if isinstance(self.search, Paths) and self.search.beams == 1:
            found: list[bool] = self.search.told[:, 0].tolist()
            return found
        return [False] * len(self.seats)

    def ids(self, row: int) -> tuple[int, ...]:
        """A row's tokens so far, where `news` has any."""
        return self.search.ids(row) if isinstance(self.search, Paths) else ()

    def leave(self, rows: Sequence[int]) -> None:
        """Go on without these rows; the last ones take their places, so that little is copied."""
        gone = set(rows)
        left = len(self.seats) - len(gone)
        movers = [row for row in range(left, len(self.seats)) if row not in gone]
        order = [movers.pop() if row in gone else row for row in range(left)]
        index = torch.tensor(order, dtype=torch.long, device=self.model.device)
        self.state.select(member_rows(index, self.members) if self.members > 1 else index)
        if self.shares is not None:
            self.shares = self.shares[index]
        self.search.select(index)
        self.seats = [self.seats[row] for row in order]
        self.prompts = [self.prompts[row] for row in order]
        self.state.injected = self.palette.pick(self._by_member())

    def _by_member(self) -> list[Injection]:
        return [prompt for prompt in self.prompts for _ in range(self.members)]


def _device(table: Injected) -> torch.device:
    for delta in table.deltas.values():
        return next(iter(delta.parts.values())).device
    for branch in table.branches.values():
        return branch.gate.device
    return torch.device("cpu")
