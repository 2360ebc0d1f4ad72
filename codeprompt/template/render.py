"""Fills a template with an example, as token ids within the length limit.

Every text and field is tokenised by itself, so that cutting one changes no other. A single space
that ends a text before a field goes to the field, as byte-level BPE has it (a word carries the
space before it): the ids are those of the whole string where the pieces meet at a space. White
space before `{mask}` is eaten, as the mask token itself does (`lstrip`), and one space before a
soft segment is dropped. Field values are literal: a `</s>` in somebody's code stays text.

Only fields that may be cut are cut, from their end; of several, the longest is cut down first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Protocol
from weakref import WeakKeyDictionary

from codeprompt.errors import TemplateError
from codeprompt.template.segments import Field, Mask, Segment, Soft, Start, Template, Text
from codeprompt.template.slots import resolve, slot_indices
from codeprompt.types import Rendered, Span

CHARS_PER_TOKEN = 8
"""How much of a long field is tokenised at first, in characters per token that may be kept."""
SAMPLE = 256
"""At least so many tokens' worth is read, for the estimate of what was cut."""
MARGIN = 32
"""Tokens thrown away before a cut inside a word, so that it does not show in those kept."""
_PLANS_PER_TOKENIZER = 256


class TokenizerLike(Protocol):
    """What rendering needs of a tokenizer (see `codeprompt.backbones.tokenizer`)."""

    @property
    def pad_id(self) -> int: ...
    @property
    def mask_id(self) -> int | None: ...
    @property
    def prefix_ids(self) -> Sequence[int]: ...
    @property
    def suffix_ids(self) -> Sequence[int]: ...
    def encode(self, text: str, *, literal: bool = False) -> list[int]: ...
    def mask_ids(self, index: int, count: int) -> list[int]: ...


@dataclass(frozen=True, slots=True)
class _Fixed:
    ids: tuple[int, ...]
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Answer:
    index: int


@dataclass(frozen=True, slots=True)
class _Value:
    field: Field
    lead: str


@dataclass(frozen=True, slots=True)
class _Plan:
    """A template with all that does not depend on the example tokenised."""

    pieces: tuple[_Fixed | _Answer | _Value, ...]
    fixed: int
    begins: bool  # with the tokenizer's own first tokens


_plans: WeakKeyDictionary[TokenizerLike, dict[Template, _Plan]] = WeakKeyDictionary()


def count_fixed(template: Template, tokenizer: TokenizerLike, *, mask_count: int = 1) -> int:
    """Tokens of all but the fields: special tokens, hard words, soft slots and masks."""
    plan = _plan(template, tokenizer)
    masks = (p.index for p in plan.pieces if isinstance(p, _Answer))
    return plan.fixed + sum(len(tokenizer.mask_ids(i, mask_count)) for i in masks)


def render(
    template: Template,
    fields: Mapping[str, str],
    tokenizer: TokenizerLike,
    *,
    max_length: int,
    mask_count: int = 1,
) -> Rendered:
    """Fill `template` with `fields` in at most `max_length` tokens, special tokens included.

    mask_count: tokens that an encoder's `{mask}` takes (a label word of several tokens); a
        sentinel stands for any number and stays one token.

    A field much longer than the limit is tokenised only as far as it can be kept; `Rendered.cut`
    is then an estimate for the rest. The ids kept are those of the whole field, unless a single
    word fills all that was read.

    Raises `TemplateError` where a field is missing, or where what may not be cut is too long.
    """
    plan = _plan(template, tokenizer)
    fixed = count_fixed(template, tokenizer, mask_count=mask_count)
    if fixed > max_length:
        raise TemplateError(
            f"The template's own words, slots, masks and special tokens need {fixed} tokens, "
            f"and the limit is {max_length}",
            do="Shorten the template, take fewer soft slots or raise the limit",
        )
    values, cut = _fit(plan, fields, tokenizer, fixed, max_length)

    ids: list[int] = list(tokenizer.prefix_ids) if plan.begins else []
    slots = [-1] * len(ids)
    mask: list[int] = []
    spans: list[Span] = []
    for piece in plan.pieces:
        if isinstance(piece, _Fixed):
            ids += piece.ids
            slots += piece.slots
            continue
        if isinstance(piece, _Answer):
            new = tokenizer.mask_ids(piece.index, mask_count)
            mask += range(len(ids), len(ids) + len(new))
        else:
            new = values.pop(0)
            name, end = piece.field.name, len(ids) + len(new)
            spans.append(Span(name, len(ids), end, fields[name].count("\n") + 1))
        ids += new
        slots += [-1] * len(new)
    ids += tokenizer.suffix_ids
    slots += [-1] * (len(ids) - len(slots))
    return Rendered(tuple(ids), tuple(slots), tuple(mask), cut, tuple(spans))


def _fit(
    plan: _Plan,
    fields: Mapping[str, str],
    tokenizer: TokenizerLike,
    fixed: int,
    max_length: int,
) -> tuple[list[list[int]], int]:
    """The ids of each field in order, cut to fit; and how many tokens were cut."""
    pieces = [p for p in plan.pieces if isinstance(p, _Value)]
    texts = [p.lead + _value(p.field, fields) for p in pieces]
    out: list[list[int]] = [[] for _ in pieces]
    kept: dict[str, int] = {}
    room = max_length - fixed
    for i, piece in enumerate(pieces):
        if not piece.field.cut:
            out[i], cut = head(tokenizer, texts[i], max_length)
            kept[piece.field.name] = kept.get(piece.field.name, 0) + len(out[i]) + cut
            room -= len(out[i]) + cut
    if room < 0:
        sizes = ", ".join(f"{{{name}}} {n}" for name, n in kept.items())
        raise TemplateError(
            f"What may not be cut needs {max_length - room} tokens (the template {fixed}, "
            f"{sizes}), and the limit is {max_length}",
            do=f"Let a field be cut, as in {{{max(kept, key=lambda n: kept[n])}:cut}}",
        )
    # An equal share to each, shortest first: what a short field leaves goes to the longer ones.
    lost: dict[int, int] = {}
    for i, piece in enumerate(pieces):
        if piece.field.cut:
            out[i], lost[i] = head(tokenizer, texts[i], room)
    left = len(lost)
    for i in sorted(lost, key=lambda i: len(out[i])):
        take = min(len(out[i]), room // left)
        lost[i] += len(out[i]) - take
        out[i] = out[i][:take]
        room -= take
        left -= 1
    return out, sum(lost.values())


def _value(field: Field, fields: Mapping[str, str]) -> str:
    try:
        return fields[field.name]
    except KeyError:
        raise TemplateError(
            f"The template asks for {{{field.name}}}, which the example does not have",
            expected="one of: " + ", ".join(sorted(fields)) if fields else "",
            do="Change the template, or map a column to this field",
        ) from None


def head(tokenizer: TokenizerLike, text: str, limit: int) -> tuple[list[int], int]:
    """The first `limit` ids of `text`, and about how many more there are.

    A text is cut before a space that follows a word, where every byte-level pre-tokenizer starts
    a new piece whatever comes after: the ids so far are those of the whole text.
    """
    limit = max(limit, 0)
    size = max(limit, SAMPLE) * CHARS_PER_TOKEN
    while size < len(text):
        end = _word_end(text, size)
        part = text[: end or size]
        ids = tokenizer.encode(part, literal=True)
        if len(ids) >= limit + (0 if end else MARGIN):
            rest = -(-(len(text) - len(part)) * len(ids) // len(part))
            return ids[:limit], len(ids) - limit + rest
        size *= 2
    ids = tokenizer.encode(text, literal=True)
    return ids[:limit], max(0, len(ids) - limit)


def _word_end(text: str, size: int) -> int:
    """The last place in text[size/2:size] where a space follows a word; 0 if there is none."""
    at = text.rfind(" ", size // 2, size)
    while at > 0 and text[at - 1].isspace():
        at = text.rfind(" ", size // 2, at)
    return max(at, 0)


def _plan(template: Template, tokenizer: TokenizerLike) -> _Plan:
    plans = _plans.setdefault(tokenizer, {})
    if template not in plans:
        if len(plans) >= _PLANS_PER_TOKENIZER:
            plans.clear()
        plans[template] = _make_plan(resolve(template, tokenizer), tokenizer)
    return plans[template]


def _make_plan(template: Template, tokenizer: TokenizerLike) -> _Plan:
    if template.masks and tokenizer.mask_id is None:
        raise TemplateError(
            "The template has a {mask}, and the backbone's tokenizer has no mask token",
            do="Take {mask} out of the template or choose another backbone",
        )
    pieces: list[_Fixed | _Answer | _Value] = []
    soft = iter(slot_indices(template))
    lead = ""
    masks = 0
    for segment, after in zip_longest(template.segments, template.segments[1:]):
        if isinstance(segment, Text):
            text, lead = _trim(segment.text, after)
            if text:
                ids = tokenizer.encode(text)
                pieces.append(_Fixed(tuple(ids), (-1,) * len(ids)))
        elif isinstance(segment, Soft):
            indices = tuple(next(soft))
            pieces.append(_Fixed((tokenizer.pad_id,) * len(indices), indices))
        elif isinstance(segment, Start):
            ids = list(tokenizer.prefix_ids)
            pieces.append(_Fixed(tuple(ids), (-1,) * len(ids)))
        elif isinstance(segment, Mask):
            pieces.append(_Answer(masks))
            masks += 1
        else:
            pieces.append(_Value(segment, lead))
            lead = ""
    fixed = sum(len(p.ids) for p in pieces if isinstance(p, _Fixed))
    begins = not any(isinstance(s, Start) for s in template.segments)
    specials = len(tokenizer.prefix_ids) * begins + len(tokenizer.suffix_ids)
    return _Plan(tuple(pieces), fixed + specials, begins)


def _trim(text: str, after: Segment | None) -> tuple[str, str]:
    """A text as it is tokenised before `after`, and the space that moves into `after`."""
    if isinstance(after, Mask):
        return text.rstrip(), ""
    if text.endswith(" ") and after is not None:
        return text[:-1], " " if isinstance(after, Field) else ""
    return text, ""
