"""Label words: which words speak for which label, and their tokens at the mask.

A label may have several words, and a word several tokens. Schick & Schütze 2021 (PET) call this
mapping a verbalizer; theirs has one token a label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from codeprompt.errors import UsageError


class WordEncoder(Protocol):
    """What candidates need of a tokenizer."""

    @property
    def has_sentinels(self) -> bool: ...
    @property
    def add_prefix_space(self) -> bool: ...
    def encode(self, text: str, *, literal: bool = False) -> list[int]: ...


@dataclass(frozen=True, slots=True)
class Verbalizer:
    """Labels in order, each with its words.

    Raises `UsageError` for fewer than two labels, a label without words, an empty word, a label
    given twice, or a word given twice (under one label or two).
    """

    labels: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.words):
            raise UsageError(
                f"The verbalizer has {len(self.labels)} labels and {len(self.words)} lists of words"
            )
        if len(self.labels) < 2:
            raise UsageError(
                f"The verbalizer has {len(self.labels)} labels", expected="two labels or more"
            )
        owner: dict[str, str] = {}
        for position, (label, words) in enumerate(zip(self.labels, self.words, strict=True)):
            if label in self.labels[:position]:
                raise UsageError(f"The verbalizer has the label '{label}' twice")
            if not words:
                raise UsageError(
                    f"The label '{label}' has no words", do="Give it at least one label word"
                )
            for word in words:
                if not word.strip():
                    raise UsageError(f"The label '{label}' has an empty word")
                if word.strip() in owner:
                    other = owner[word.strip()]
                    where = "twice" if other == label else f"and so has '{other}'"
                    raise UsageError(
                        f"The label '{label}' has the word '{word}' {where}",
                        expected="each word under one label, once",
                    )
                owner[word.strip()] = label

    @staticmethod
    def of(words: Mapping[str, str | Iterable[str]]) -> Verbalizer:
        """From label to its word or words: `Verbalizer.of({"clean": ["clean", "good"], ...})`."""
        return Verbalizer(
            tuple(words), tuple((w,) if isinstance(w, str) else tuple(w) for w in words.values())
        )

    @staticmethod
    def plain(labels: Iterable[str]) -> Verbalizer:
        """Each label is its own word."""
        labels = tuple(labels)
        return Verbalizer(labels, tuple((label,) for label in labels))

    def as_dict(self) -> dict[str, Any]:
        """For JSON; lists keep the labels' order even where keys are sorted."""
        return {"labels": list(self.labels), "words": [list(words) for words in self.words]}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Verbalizer:
        """The inverse of `as_dict`. Raises `UsageError` where the data has another shape."""
        try:
            labels, words = data["labels"], data["words"]
            texts = [*labels, *(word for group in words for word in group)]
        except (KeyError, TypeError):
            texts = [None]
        if isinstance(data.get("labels"), str) or not all(isinstance(t, str) for t in texts):
            raise UsageError(
                "The verbalizer is not readable",
                expected='{"labels": ["a", ...], "words": [["word of a", ...], ...]}',
            )
        return Verbalizer(tuple(labels), tuple(tuple(group) for group in words))


def candidates(
    verbalizer: Verbalizer, tokenizer: WordEncoder, *, leading_space: bool | None = None
) -> list[tuple[int, list[int]]]:
    """(label index, token ids) of every word, label by label.

    leading_space: whether a word is tokenised with the space before it. By default yes where
        `{mask}` stands in the text (encoders: byte-level BPE gives ' good' and 'good' different
        tokens, and the mask eats its space), no where the word starts a decoder's answer.

    Raises `UsageError` where words of two labels have the same tokens, or a word has none.
    """
    if leading_space is None:
        leading_space = not tokenizer.has_sentinels
    space = " " if leading_space and not tokenizer.add_prefix_space else ""
    out: list[tuple[int, list[int]]] = []
    seen: dict[tuple[int, ...], tuple[int, str]] = {}
    for index, words in enumerate(verbalizer.words):
        for word in words:
            ids = tokenizer.encode(space + word.strip(), literal=True)
            if not ids:
                raise UsageError(f"The label word '{word}' has no tokens")
            label, other = seen.setdefault(tuple(ids), (index, word))
            if label != index:
                raise UsageError(
                    f"The label words '{other}' and '{word}' have the same tokens",
                    expected="words that the backbone can tell apart",
                )
            if other == word:
                out.append((index, ids))
    return out
