"""Where identifiers stand in a row of token ids, told from the ids alone.

A byte-level BPE token is made of one kind of characters: letters, digits, or the rest. So a name is
a run of letter, digit and `_` tokens in which only the first may begin with a space; words that are
keywords in some language of the corpus are no names.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

SPACE = "\u0120"  # the byte-level alphabet's space
_KEYWORDS = """
    and as assert async await base bool boolean break byte case catch char class const continue
    def default defer delete do double elif else elsif end enum except extends extern false
    final finally float for foreach from func function go goto if implements import in int
    interface is instanceof lambda let long module namespace new nil none not null object or
    override package pass private protected public raise range return select self short signed
    static string struct super switch this throw throws true try type typedef union unsigned
    unless use using var virtual void volatile when while with yield
"""
KEYWORDS = frozenset(_KEYWORDS.split())


class Identifiers:
    """Finds the names in rows of ids; `words` are the vocabulary's texts by id."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.words = [tokenizer.id_to_token(i) or "" for i in range(tokenizer.get_vocab_size())]
        bare = [word.removeprefix(SPACE) for word in self.words]
        fits = [text == "_" or (text.isascii() and text.isalnum()) for text in bare]
        self.fits = np.array(fits)
        self.inside = np.array(
            [ok and not word.startswith(SPACE) for ok, word in zip(fits, self.words, strict=True)]
        )
        self.first = np.array([ok and not t[0].isdigit() for ok, t in zip(fits, bare, strict=True)])

    def runs(self, ids: NDArray[np.int64]) -> list[list[tuple[int, int]]]:
        """The names of at least two letters, each as the (start, stop) of all its places."""
        fits, inside, first = self.fits[ids], self.inside[ids], self.first[ids]
        places: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        at, end = 0, len(ids)
        while at < end:
            # A number's tail (`0x` + `ff`) is no name: what stands before must not be part of it.
            if not first[at]:
                at += 1
                while at < end and inside[at] and fits[at - 1]:
                    at += 1
                continue
            stop = at + 1
            while stop < end and inside[stop]:
                stop += 1
            name = "".join(self.words[i] for i in ids[at:stop]).removeprefix(SPACE)
            if len(name) > 1 and name.lower() not in KEYWORDS:
                places[name].append((at, stop))
            at = stop
        return list(places.values())
