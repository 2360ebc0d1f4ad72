"""The trained part of a gate (see `inject/gate.py`), and its frozen source prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from codeprompt.errors import UsageError
from codeprompt.inject import Query
from codeprompt.methods.base import Context, Given, Method, S
from codeprompt.template import Segment, Template
from codeprompt.template import Soft as SoftSegment

SAY = "Give packs with soft vectors, tuned on this backbone: --set sources=PACK,PACK"


@dataclass(frozen=True)
class SourceSettings:
    """sources: packs with soft vectors on the same backbone, by path or name.

    grown: without any, so many soft prompts of unlike starts are tuned first, on the same rows.
    """

    sources: tuple[str, ...] = ()
    grown: int = 3

    def __post_init__(self) -> None:
        if self.grown < 1:
            raise ValueError(f"grown is {self.grown}, and there must be one source at least")


class SourceMethod(Method[S]):
    """A method that builds on the soft prompts of other packs; its slots are as many as theirs."""

    kind = "prompt"

    def given(self, settings: S) -> tuple[str, ...]:
        return tuple(settings.sources)  # type: ignore[attr-defined]

    def grows(self, settings: S) -> tuple[str, ...]:
        named, count = settings.sources, settings.grown  # type: ignore[attr-defined]
        return () if named else ("soft",) * count

    def fitted(self, hard: Template, settings: S, given: Sequence[Given]) -> Template:
        return with_front(hard, lengths(given[: self.count(settings)])[0])

    def count(self, settings: S) -> int:
        """K, of the packs that are named or else tuned first."""
        return len(settings.sources) or settings.grown  # type: ignore[attr-defined]

    def recorded(self, settings: S, given: Sequence[Given]) -> dict[str, Any]:
        return {**asdict(settings), "sources": [str(one) for one in given]}  # type: ignore[call-overload]


def with_front(hard: Template, length: int) -> Template:
    """`length` soft slots before the hard words. Raises `UsageError` where it has other ones."""
    if hard.soft:
        raise UsageError(
            f"The template '{hard}' has soft slots, and the source prompts bring their own",
            expected="a template of hard words",
        )
    segments: tuple[Segment, ...] = (SoftSegment(length), *hard.segments)
    return Template(segments)


def lengths(given: Sequence[Given]) -> list[int]:
    """P of every source. Raises `UsageError` where one has no slots, or another number of them."""
    if not given:
        raise UsageError("The method builds on prompts that were tuned before", do=SAY)
    found = []
    for one in given:
        if one.injection.slots is None:
            raise UsageError(f"The pack '{one.name}' has no soft vectors to build on", do=SAY)
        found.append(one.injection.slots.shape[0])
    if len(set(found)) > 1:
        said = ", ".join(f"'{g.name}' {n}" for g, n in zip(given, found, strict=True))
        raise UsageError(
            f"The source prompts have unlike lengths: {said}",
            expected="one length for all",
            do="Tune them with the same --set length=P",
        )
    return found


def sources_of(context: Context, count: int | None = None) -> Tensor:
    """The soft vectors of the given packs, in float32: [K,P,d]. Raises as `lengths`.

    count: how many of them are sources; all by default.
    """
    given = context.given[:count]
    lengths(given)
    found = [g.injection.slots for g in given if g.injection.slots is not None]
    return torch.stack([vectors.float() for vectors in found])


class QueryNet(nn.Module):
    """down [r,d], up [d,r] and a LayerNorm; `query` joins them with keys [K,d]."""

    def __init__(self, size: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        noise = torch.randn(rank, size, generator=generator)
        self.down = nn.Parameter(noise * size**-0.5)
        self.up = nn.Parameter(torch.randn(size, rank, generator=generator) * rank**-0.5)
        self.weight, self.bias = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))

    def query(self, keys: Tensor) -> Query:
        """With keys [K,d] that a temperature has divided."""
        return Query(self.down, self.up, self.weight, self.bias, keys)

    def forward(self, pooled: Tensor) -> Tensor:
        """LN(up SiLU(down x)): [B,d] -> [B,d]."""
        return self.query(pooled[:0]).mapped(pooled)
