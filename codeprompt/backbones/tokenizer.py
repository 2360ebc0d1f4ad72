"""Text to token ids and back, by `tokenizers` alone, id for id as `transformers` does it.

Two forms of folder are read: `vocab.json` + `merges.txt` with the special tokens of
`special_tokens_map.json`, `added_tokens.json` and `tokenizer_config.json` (byte-level BPE of
RoBERTa, CodeT5, UniXcoder), and a `tokenizer.json` (any model that library has) where it stands
alone or where the configuration names another kind of tokenizer.

A sentinel is found by its text, `<extra_id_0>`: CodeT5's list of additional special tokens is
reversed, so that its first entry is `<extra_id_99>`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codeprompt.backbones._tokenizer_files import read_tokenizer
from codeprompt.errors import BackboneError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Engine

_BREAK = "\u010a"
"""A line break as byte-level BPE writes it."""
_BLANKS = "\u010a\u010d\u0109\u0120"
_SURROGATE = re.compile("[\ud800-\udfff]")


class Tokenizer:
    """One checkpoint's tokenizer.

    Parameters
    ----------
    engine: a `tokenizers.Tokenizer` with its added tokens.
    tokens: role (`pad`, `bos`, `eos`, `unk`, `mask`, `cls`, `sep`) to the token's text.
    content: hash of the files' content.
    prefix, suffix: tokens (texts or ids) around every source; by default what the engine's
        post-processor adds. UniXcoder's encoder wants `("<s>", "<encoder-only>", "</s>")`.

    Attributes
    ----------
    pad_id, bos_id, eos_id, unk_id: token ids. mask_id: `<extra_id_0>` where the vocabulary has
    sentinels, else the mask token, else None. cls_id, sep_id: bos and eos where there are none.
    prefix_ids, suffix_ids: tuples of ids. vocab_size: the largest id plus one.
    add_prefix_space: whether a text's first word gets a space before it.
    """

    def __init__(
        self,
        engine: Engine,
        tokens: dict[str, str],
        *,
        content: str,
        prefix: Sequence[str | int] | None = None,
        suffix: Sequence[str | int] | None = None,
    ) -> None:
        self._engine, self._content = engine, content
        engine.no_truncation()
        engine.no_padding()
        self.vocab: dict[str, int] = engine.get_vocab(with_added_tokens=True)
        self.vocab_size = max(self.vocab.values(), default=-1) + 1
        ids = {role: self.vocab.get(text) for role, text in tokens.items()}
        pad, eos = ids.get("pad"), ids.get("eos", ids.get("sep"))
        if pad is None or eos is None:
            missing = "pad" if pad is None else "eos"
            raise BackboneError(
                f"The tokenizer has no {missing} token",
                expected=f"a '{missing}_token' in tokenizer_config.json or special_tokens_map.json",
            )
        self.pad_id: int = pad
        self.eos_id: int = eos
        self.bos_id: int | None = _first(ids.get("bos"), ids.get("cls"))
        self.unk_id: int | None = ids.get("unk")
        self.cls_id = _first(ids.get("cls"), self.bos_id)
        self.sep_id = _first(ids.get("sep"), self.eos_id)
        self.mask_id: int | None = _first(self.vocab.get("<extra_id_0>"), ids.get("mask"))
        self.has_sentinels = "<extra_id_0>" in self.vocab
        self.add_prefix_space = bool(getattr(engine.pre_tokenizer, "add_prefix_space", False))
        before, after = self._surroundings()
        self.prefix_ids = before if prefix is None else self._as_ids(prefix)
        self.suffix_ids = after if suffix is None else self._as_ids(suffix)

    @staticmethod
    def load(
        folder: Path,
        *,
        prefix: Sequence[str | int] | None = None,
        suffix: Sequence[str | int] | None = None,
    ) -> Tokenizer:
        """Read a checkpoint folder. Raises `BackboneError` where files are missing or broken."""
        engine, tokens, content = read_tokenizer(folder)
        return Tokenizer(engine, tokens, content=content, prefix=prefix, suffix=suffix)

    def encode(self, text: str, *, literal: bool = False) -> list[int]:
        """Ids of `text` without special tokens around it.

        literal: a special token's text, such as `</s>`, is read as plain characters; otherwise it
        becomes that token, as in `transformers`. Lone surrogates become U+FFFD.
        """
        engine = self._literal if literal else self._engine
        ids: list[int] = engine.encode(_clean(text), add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: Iterable[str], *, literal: bool = False) -> list[list[int]]:
        """`encode` of each text."""
        engine = self._literal if literal else self._engine
        found = engine.encode_batch([_clean(t) for t in texts], add_special_tokens=False)
        return [item.ids for item in found]

    def decode(self, ids: Iterable[int], *, skip_special: bool = True) -> str:
        """The text of `ids`, special tokens left out unless told otherwise."""
        text: str = self._engine.decode(list(ids), skip_special_tokens=skip_special)
        return text

    def token_id(self, token: str) -> int:
        """The id of a token given by its text. Raises `BackboneError` where there is none."""
        found = self.vocab.get(token)
        if found is None:
            raise BackboneError(f"The tokenizer has no token '{token}'")
        return found

    def sentinel(self, index: int) -> int:
        """The id of `<extra_id_INDEX>`. Raises `BackboneError` where there is none."""
        return self.token_id(f"<extra_id_{index}>")

    def mask_ids(self, index: int, count: int = 1) -> list[int]:
        """What the template's mask number `index` becomes: a sentinel, or `count` mask tokens."""
        if self.has_sentinels:
            return [self.sentinel(index)]
        if self.mask_id is None:
            raise BackboneError("The tokenizer has no mask token")
        return [self.mask_id] * count

    @property
    def stand_in(self) -> int:
        """A special token that is never the end token: what histories begin with."""
        found = [self.bos_id, self.pad_id, *sorted(self.special_ids), 0]
        return next(i for i in found if i is not None and i != self.eos_id)

    @functools.cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids that never stand for text."""
        added = self._engine.get_added_tokens_decoder()
        return frozenset(i for i, token in added.items() if token.special)

    @functools.cached_property
    def line_breaks(self) -> list[tuple[int, int, bool]]:
        """For every id: line breaks before its text, in all, and whether it is white space alone.

        Raises `BackboneError` where the tokenizer is not byte-level: then tokens do not say.
        """
        if _BREAK not in self.vocab:
            raise BackboneError(
                "The tokenizer has no token for a line break, so that lines cannot be told apart",
                expected="a byte-level tokenizer, as CodeT5, CodeBERT and builtin have",
                do="Choose another --backbone",
            )
        out = [(0, 0, False)] * self.vocab_size
        for token, id in self.vocab.items():
            if id not in self.special_ids:
                text = token.lstrip(_BLANKS)
                leading = token[: len(token) - len(text)].count(_BREAK)
                out[id] = (leading, token.count(_BREAK), not text)
        return out

    @functools.cached_property
    def hash(self) -> str:
        """sha256 over what decides the ids: the files' content and the tokens around a text."""
        parts = [self._content, self.prefix_ids, self.suffix_ids]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @functools.cached_property
    def _literal(self) -> Engine:
        """The same model, without the added tokens that would be found in a text."""
        from tokenizers import Tokenizer as Engine

        engine = Engine(self._engine.model)
        if self._engine.normalizer is not None:
            engine.normalizer = self._engine.normalizer
        if self._engine.pre_tokenizer is not None:
            engine.pre_tokenizer = self._engine.pre_tokenizer
        return engine

    def _surroundings(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What the engine's post-processor puts before and after a text."""
        bare = self._engine.encode("x", add_special_tokens=False).ids
        full = self._engine.encode("x", add_special_tokens=True).ids
        for start in range(len(full) - len(bare) + 1):
            if full[start : start + len(bare)] == bare:
                return tuple(full[:start]), tuple(full[start + len(bare) :])
        return (), ()

    def _as_ids(self, tokens: Sequence[str | int]) -> tuple[int, ...]:
        return tuple(t if isinstance(t, int) else self.token_id(t) for t in tokens)


def _first(*ids: int | None) -> int | None:
    return next((i for i in ids if i is not None), None)


def _clean(text: str) -> str:
    """`text` without lone surrogates, which no UTF-8 has."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
