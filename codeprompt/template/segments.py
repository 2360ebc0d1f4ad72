"""What a template is made of, and how it is written back.

`str(template)` is the canonical text: `parse(str(template)) == template` for every template.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from codeprompt.errors import TemplateError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
RESERVED = frozenset({"soft", "mask", "start"})
LONG_FIELDS = frozenset({"code", "source", "func", "function"})
"""Fields that hold whole functions, and so are cut where nothing else is said."""
MAX_SLOTS = 10_000
ESCAPES = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "t": "\t", "r": "\r"}
_ESCAPED = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\t": r"\t", "\r": r"\r"}


@dataclass(frozen=True, slots=True)
class Text:
    """Hard words, as they stand."""

    text: str

    def __str__(self) -> str:
        return self.text.replace("{", "{{").replace("}", "}}")


@dataclass(frozen=True, slots=True)
class Field:
    """A placeholder for the example's field `name`; `cut` says whether it may be shortened."""

    name: str
    cut: bool = True

    def __post_init__(self) -> None:
        if self.name in RESERVED or not NAME.fullmatch(self.name):
            raise TemplateError(
                f"'{self.name}' cannot name a field",
                expected="letters, digits and '_', and neither 'soft', 'mask' nor 'start'",
            )


@dataclass(frozen=True, slots=True)
class Soft:
    """`count` trained vectors.

    count: None until `resolve`: as many as `init` has tokens, or the default length.
    init: text whose token embeddings the vectors start from.
    share: segments of one name are the same vectors, wherever they stand.
    """

    count: int | None = None
    init: str | None = None
    share: str | None = None

    def __post_init__(self) -> None:
        if self.count is not None and not 1 <= self.count <= MAX_SLOTS:
            raise TemplateError(
                f"A soft segment of {self.count} slots", expected=f"1 to {MAX_SLOTS} slots"
            )
        for key, value in (("init", self.init), ("share", self.share)):
            if value is not None and not value:
                raise TemplateError(
                    f"A soft segment with an empty {key}", do=f"Leave out {key} or give it a text"
                )

    def __str__(self) -> str:
        out = "{soft" if self.count is None else f"{{soft:{self.count}"
        if self.init is not None:
            out += f" init={quote(self.init)}"
        if self.share is not None:
            out += f" share={quote(self.share)}"
        return out + "}"


@dataclass(frozen=True, slots=True)
class Mask:
    """Where the answer stands."""

    def __str__(self) -> str:
        return "{mask}"


@dataclass(frozen=True, slots=True)
class Start:
    """Where the special tokens stand that begin an input; without it they stand at the front.

    Slots before them are what `peft` makes of prompt tuning.
    """

    def __str__(self) -> str:
        return "{start}"


Segment = Text | Field | Soft | Mask | Start


@dataclass(frozen=True, slots=True)
class Template:
    """Segments in order; neighbouring texts are joined and empty ones dropped."""

    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", tuple(_joined(self.segments)))
        if sum(isinstance(s, Start) for s in self.segments) > 1:
            raise TemplateError("A template with more than one {start}")

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields it asks for, in order of first use."""
        return tuple(dict.fromkeys(s.name for s in self.segments if isinstance(s, Field)))

    @property
    def soft(self) -> tuple[Soft, ...]:
        """Its soft segments, in order."""
        return tuple(s for s in self.segments if isinstance(s, Soft))

    @property
    def masks(self) -> int:
        """How many `{mask}` it has."""
        return sum(isinstance(s, Mask) for s in self.segments)

    def __str__(self) -> str:
        names = set(self.fields)
        return "".join(
            _field_text(s, names) if isinstance(s, Field) else str(s) for s in self.segments
        )


def cut_by_default(name: str, names: set[str]) -> bool:
    """Whether field `name` may be cut in a template with the fields `names`, if it says nothing."""
    return name in LONG_FIELDS or len(names) == 1


def quote(text: str) -> str:
    """`text` as a quoted string of the template language."""
    return '"' + "".join(_ESCAPED.get(c, c) for c in text) + '"'


def _field_text(field: Field, names: set[str]) -> str:
    if field.cut == cut_by_default(field.name, names):
        return f"{{{field.name}}}"
    return f"{{{field.name}:{'cut' if field.cut else 'keep'}}}"


def _joined(segments: Iterable[Segment]) -> list[Segment]:
    out: list[Segment] = []
    for segment in segments:
        if isinstance(segment, Text):
            if not segment.text:
                continue
            if out and isinstance(last := out[-1], Text):
                out[-1] = Text(last.text + segment.text)
                continue
        out.append(segment)
    return out
