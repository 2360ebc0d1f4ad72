"""The card of a pack: everything about a prompt that is not a tensor, as `card.json`.

The card is checked against its types when read, so that what comes later may rely on it. Its
`integrity` is a hash over card and tensors: it finds a file that was cut or changed, and proves
nothing about who wrote it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Annotated, Any, Literal

import msgspec

from codeprompt.errors import PackError

SCHEMA = 1
MAX_BYTES = 1_000_000
MAX_DEPTH = 24
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Name = Annotated[str, msgspec.Meta(pattern=rf"\A{NAME.pattern}\Z")]
Count = Annotated[int, msgspec.Meta(ge=0)]
Length = Annotated[int, msgspec.Meta(ge=1)]
Hash = Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{64})?\Z")]
Date = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]


class BackboneCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The backbone a prompt was tuned on. name: as asked for. hash, tokenizer: over their content.

    A pack that holds weights keeps the hash of the backbone they started from.
    """

    name: str
    hash: str
    family: Literal["t5", "roberta", "llama"]
    d_model: Length
    tokenizer: str


class DataCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a prompt was tuned on.

    shots: as asked for, None for all. rows, dev_rows: as used. form: whether `code` was source
    text, the tokens of it with one space between (CodeSearchNet), the text on one line
    (CodeTrans), or the text with an empty line after every line (Devign); questions are put in the
    same form.
    languages, target_languages: of the code in those rows, and of what it becomes; older cards do
    not say, and say so by leaving them out, as their `integrity` counts every field.
    """

    where: str = ""
    form: Literal["text", "tokens", "line", "spaced"] = "text"
    fingerprint: str = ""
    shots: Count | None = None
    rows: Count = 0
    dev_rows: Count = 0
    languages: list[str] | msgspec.UnsetType = msgspec.UNSET
    target_languages: list[str] | msgspec.UnsetType = msgspec.UNSET

    @property
    def spoken(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The languages of the code, and of what it becomes; empty where the card does not say."""
        code, written = (
            tuple(one) if isinstance(one, list) else ()
            for one in (self.languages, self.target_languages)
        )
        return code, written


class DevScore(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The dev score that one seed was selected by."""

    seed: int
    metric: str
    value: float | None


class ScoreCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A score with its signature; value is None where it is undefined (one class only)."""

    metric: str
    value: float | None
    n: Count
    signature: str
    split: str
    interval: tuple[float | None, float | None] | None = None
    parts: dict[str, float | None] = {}


class VersionsCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the pack was made with."""

    codeprompt: str
    torch: str
    python: str


class LicenceCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SPDX names, empty where nobody said."""

    weights: str = ""
    data: str = ""


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`card.json`.

    template: resolved. prior: calibration log-prior [C]. positive: the label whose probability is
    the score. conventions: position convention by site of prompt columns. holds: whether the
    tensors are a prompt or the backbone's own weights. parameters: how many were trained.
    """

    schema: int
    name: Name
    task: str
    method: str
    settings: dict[str, Any]
    template: str
    verbalizer: dict[str, Any] | None
    prior: list[float] | None
    head: Literal["verbalizer", "linear"]
    labels: list[str]
    positive: str | None
    backbone: BackboneCard
    data: DataCard
    seed: int
    seeds: list[int]
    dev_scores: list[DevScore]
    scores: list[ScoreCard]
    threshold: float | None
    base_rate: float | None
    decoding: dict[str, Any]
    source_length: Length
    target_length: Length
    conventions: dict[Literal["encoder", "decoder", "cross"], Literal["kept", "past"]]
    holds: Literal["prompt", "weights"]
    parameters: Count
    recipe: dict[str, Any]
    versions: VersionsCard
    created: Date
    licence: LicenceCard
    integrity: Hash = ""


class _Version(msgspec.Struct):
    """The one field that every schema has."""

    schema: int


def from_values(values: Mapping[str, Any]) -> Card:
    """A card from plain values; numbers that are not finite become None.

    Raises `PackError` where a value does not fit, with its place.
    """
    try:
        plain = msgspec.to_builtins(dict(values), enc_hook=_plain)
        return decode(msgspec.json.encode(_finite(plain)), "the card")
    except (TypeError, UnicodeEncodeError, RecursionError) as error:
        raise PackError(f"The card cannot be written as JSON: {error}") from error


def with_values(card: Card, **changes: Any) -> Card:
    """The card with some fields replaced, checked as if read; `integrity` is cleared."""
    return from_values({**msgspec.to_builtins(card), **changes, "integrity": ""})


def encode(card: Card) -> bytes:
    """The text of `card.json`: fields in the order of `Card`, dictionaries by key, 2 spaces."""
    return msgspec.json.format(msgspec.json.encode(card, order="deterministic"), indent=2) + b"\n"


def decode(data: bytes, where: str) -> Card:
    """Read a card. Raises `PackError` with the place in the JSON; `where` names the file."""
    if len(data) > MAX_BYTES:
        raise PackError(
            f"{where} has {len(data):,} bytes", expected=f"a card of at most {MAX_BYTES:,} bytes"
        )
    if depth(data) > MAX_DEPTH:
        raise PackError(f"{where} is nested too deeply", expected=f"at most {MAX_DEPTH} levels")
    try:
        schema = msgspec.json.decode(data, type=_Version).schema
        if schema > SCHEMA:
            raise PackError(
                f"{where} is of schema {schema}, and this version reads up to {SCHEMA}",
                do="Upgrade codeprompt: pip install --upgrade codeprompt",
            )
        if schema < 1:
            raise PackError(f"{where} is of schema {schema}", expected=f"1 to {SCHEMA}")
        return msgspec.json.decode(data, type=Card)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PackError(
            f"{where} is not a readable card: {error}",
            do="Restore the pack or tune it again",
        ) from error


def digest(card: Card, tensors: Iterable[tuple[str, str, Sequence[int], memoryview]]) -> str:
    """sha256 over the card without `integrity` and over the tensors: name, dtype, shape, bytes."""
    plain = msgspec.to_builtins(card)
    plain.pop("integrity", None)
    text = msgspec.json.encode(plain, order="sorted")
    total = hashlib.sha256(b"codeprompt-pack-1\n%d\n" % len(text) + text)
    for name, dtype, shape, data in sorted(tensors, key=lambda t: t[0]):
        head = msgspec.json.encode([name, dtype, list(shape)])
        total.update(b"\n%d\n" % len(head) + head)
        total.update(data)
    return total.hexdigest()


def safe_name(text: str) -> str:
    """A pack's name from any text, such as the name of its folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-")[:100] or "pack"


def depth(data: bytes) -> int:
    """How deep the brackets of a JSON text nest; strings do not count."""
    bare = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", data, flags=re.DOTALL)
    level = most = 0
    for bracket in re.findall(rb"[\[\]{}]", bare):
        level += 1 if bracket in b"[{" else -1
        most = max(most, level)
    return most


def _plain(value: Any) -> Any:
    """Texts of other types, such as paths and torch's version, as plain ones."""
    if isinstance(value, str | PurePath):
        return str(value)
    raise TypeError(f"a value of type {type(value).__name__}")


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity; a score that is undefined is None on the card."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
