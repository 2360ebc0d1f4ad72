"""Soft slots: how many a template has, which vectors they share, what they start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import Protocol

from codeprompt.errors import TemplateError
from codeprompt.template.segments import Segment, Soft, Template

DEFAULT_LENGTH = 20
"""Slots of a `{soft}` that says nothing."""


class Encoder(Protocol):
    """What counting needs of a tokenizer."""

    def encode(self, text: str) -> list[int]: ...


def resolve(template: Template, tokenizer: Encoder, *, length: int = DEFAULT_LENGTH) -> Template:
    """The same template with every count fixed.

    A `{soft}` without a count takes the count of the segment it shares with, else as many as its
    `init` has tokens, else `length`. Raises `TemplateError` where shared segments disagree.
    """
    shared: dict[str, Soft] = {}
    for soft in template.soft:
        if soft.share is None:
            continue
        known = shared.get(soft.share, Soft(share=soft.share))
        for key in ("count", "init"):
            old, new = getattr(known, key), getattr(soft, key)
            if old is not None and new is not None and old != new:
                raise TemplateError(
                    f'The soft segments of share="{soft.share}" disagree: '
                    f"{key} is {old!r} here and {new!r} there",
                    do=f"Give {key} once, or the same everywhere",
                )
            if old is None and new is not None:
                known = replace(known, **{key: new})
        shared[soft.share] = known

    def fixed(soft: Soft) -> Soft:
        if soft.share is not None:
            soft = shared[soft.share]
        if soft.count is not None:
            return soft
        count = length if soft.init is None else max(1, len(tokenizer.encode(soft.init)))
        return replace(soft, count=count)

    return Template(tuple(fixed(s) if isinstance(s, Soft) else s for s in template.segments))


def slot_indices(template: Template) -> list[range]:
    """For each soft segment of a resolved template, the indices of its vectors.

    Indices run from 0 in order of first use; shared segments repeat them.
    """
    out: list[range] = []
    shared: dict[str, range] = {}
    total = 0
    for soft in template.soft:
        if soft.count is None:
            raise TemplateError(
                f"{soft} has no count yet", do="Call resolve(template, tokenizer) first"
            )
        if soft.share is not None and soft.share in shared:
            out.append(shared[soft.share])
            continue
        indices = range(total, total + soft.count)
        total += soft.count
        if soft.share is not None:
            shared[soft.share] = indices
        out.append(indices)
    return out


def kept_slots(template: Template, kept: Sequence[bool]) -> Template:
    """A resolved template without some of its slots; kept [P] is by the index of the vector."""
    left = iter([sum(kept[i] for i in indices) for indices in slot_indices(template)])
    segments: list[Segment] = []
    for segment in template.segments:
        if not isinstance(segment, Soft):
            segments.append(segment)
        elif count := next(left):
            segments.append(replace(segment, count=count))
    return Template(tuple(segments))


def slot_count(template: Template, tokenizer: Encoder, *, length: int = DEFAULT_LENGTH) -> int:
    """P: how many vectors the template needs; shared ones count once."""
    indices = slot_indices(resolve(template, tokenizer, length=length))
    return max((r.stop for r in indices), default=0)


def initial_ids(
    template: Template, tokenizer: Encoder, *, length: int = DEFAULT_LENGTH
) -> list[int | None]:
    """[P]: the token each vector starts from; None where the template names no text.

    A text with fewer tokens than slots is repeated, one with more is cut.
    """
    template = resolve(template, tokenizer, length=length)
    out: dict[int, int | None] = {}
    for soft, indices in zip(template.soft, slot_indices(template), strict=True):
        ids: list[int | None] = [*tokenizer.encode(soft.init)] if soft.init else []
        out.update(zip(indices, islice(cycle(ids or [None]), len(indices)), strict=True))
    return [out[i] for i in sorted(out)]
