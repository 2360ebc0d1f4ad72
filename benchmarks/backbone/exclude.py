"""What must stay out of the training text: test data, exactly and nearly.

A function is blocked where its white-space-free text stands in any file of the excluded folder, or
where the Jaccard likeness of its 5-token shingles to any function there is 0.7 or more. The search
is exact: prefix filtering (Chaudhuri, Ganti and Kaushik 2006) finds every candidate pair, and each
is then compared in full.
"""

from __future__ import annotations

import functools
import hashlib
import json
import lzma
import math
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WIDTH = 5
THRESHOLD = 0.7
TOKEN = re.compile(r"\w+|[^\w\s]")
SPACE = re.compile(r"\s+")

# Never in the training text, wherever a copy is vendored: the tests and the demonstration use them.
BLOCKED = re.compile(
    r"(?i:(?:^|/)(?:lucene|apache/poi|poi-\d|jgit|antlr\d?|ffmpeg|libav\w*|qemu|networkx)(?:[-_/.]|$))"
    r"|(?i:(?:^|/)(?:thredds|jodd|orientdb|aeron|spring-security|boon|logback|wro4j|objectify|hollow"
    r"|guice|com/google/inject|azure-storage-android|mongo-java-driver|robolectric|liquibase)"
    r"(?:[-_/.]|$))"
    r"|(?:^|/)(?:tensorflow_probability|qiskit\w*|scout|pypet|kmip|vaex|librosa|PyFunceble|OpenSSL"
    r"|streamlink|heron|astrobase|pybel\w*|imgaug|grumpy|peri|thermo|tensorlayer|hangups|spdx"
    r"|starlette)(?:/|$)"
)


def fingerprint(text: str) -> bytes:
    """Sixteen bytes of the white-space-free text."""
    return hashlib.blake2b(SPACE.sub("", text).encode(), digest_size=16).digest()


@functools.lru_cache(1 << 16)
def _token(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def hashes_of(text: str) -> NDArray[np.uint32]:
    """Hashes of the 5-token shingles, the same on every machine; of all where there are fewer."""
    tokens = np.array([_token(token) for token in TOKEN.findall(text)], np.uint64)
    width = min(WIDTH, len(tokens))
    if not width:
        return np.zeros(0, np.uint32)
    mixed = np.zeros(len(tokens) - width + 1, np.uint64)
    for at in range(width):
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + tokens[at : at + len(mixed)]
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return (mixed >> np.uint64(32)).astype(np.uint32)


def shingles(text: str) -> frozenset[int]:
    """Hashes of the 5-token shingles; of the whole text where it is shorter."""
    return frozenset(hashes_of(text).tolist())


class Blocklist:
    """Texts that may not be learned from; ask `reason(code)`."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.exact: set[bytes] = set()
        self.sets: list[frozenset[int]] = []
        self.prefixes: defaultdict[int, list[int]] = defaultdict(list)
        self.common: Counter[int] = Counter()
        for text in texts:
            mark = fingerprint(text)
            if mark in self.exact:
                continue
            self.exact.add(mark)
            self.sets.append(shingles(text))
            self.common.update(self.sets[-1])
        for index, grams in enumerate(self.sets):
            for gram in self._prefix(grams):
                self.prefixes[gram].append(index)

    def holds(self, code: str) -> bool:
        """Whether the very text is in the list, white space aside."""
        return fingerprint(code) in self.exact

    def reason(self, code: str) -> str:
        """`exact`, `near`, or nothing where the code may be used."""
        if self.holds(code):
            return "exact"
        grams = shingles(code)
        candidates = {i for gram in self._prefix(grams) for i in self.prefixes.get(gram, ())}
        for index in candidates:
            other = self.sets[index]
            shared = len(grams & other)
            if shared >= THRESHOLD * (len(grams) + len(other) - shared):
                return "near"
        return ""

    def _prefix(self, grams: frozenset[int]) -> list[int]:
        """The shingles of which two sets of likeness >= 0.7 must share one: the rarest first."""
        kept = len(grams) - math.ceil(THRESHOLD * len(grams)) + 1
        return sorted(grams, key=lambda gram: (self.common.get(gram, 0), gram))[:kept]


def texts_of(folder: Path) -> Iterator[str]:
    """Every function in the folder's files: JSON lines (`code`, `func`, tokens) and plain lines."""
    for path in sorted(folder.rglob("*")):
        if path.name.endswith((".jsonl.xz", ".jsonl")):
            opener = lzma.open if path.suffix == ".xz" else open
            with opener(path, "rt", encoding="utf-8") as handle:
                for line in handle:
                    row = json.loads(line)
                    for key in ("code", "func", "original_string"):
                        if row.get(key):
                            yield row[key]
                    if row.get("code_tokens"):
                        yield " ".join(row["code_tokens"])
        elif path.suffix in (".java", ".cs"):
            with path.open(encoding="utf-8") as handle:
                yield from (line for line in handle if line.strip())
