"""Pre-tokenised shards: one flat uint16 file per split, and an index of where each row's parts lie.

A row has five parts: the code as it stands in an editor, the code as joined tokens (the official
input of the summary benchmarks), the code with its own name hidden, its summary and its name in
words. Sources are cut when read, targets here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.backbone.corpus import Row, read_rows
from benchmarks.backbone.tokenizer import load
from codeprompt.files import write_text

PARTS = ("raw", "joined", "hidden", "summary", "name")
CUTS = (256, 256, 192, 48, 12)
PACKAGES = "packages.json"
# Packages whose functions are never trained on: evaluation only.
HELD_OUT = {"trimesh", "sunpy", "luigi", "praw", "commons-io", "httpcomponents-core"}
HELD_OUT |= {"jansson", "hugo", "ramda", "ruby-rack", "php-monolog"}
LEX = re.compile(
    r'"""[\s\S]*?"""|\'\'\'[\s\S]*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|`[^`]*`'
    r"|/\*[\s\S]*?\*/|//[^\n]*|#[^\n]*|\d[\w.]*|\w+|->|=>|::|\+\+|--|&&|\|\||<<=?|>>=?"
    r"|[=!<>+\-*/%&|^]=|\*\*|//|\.\.\.|[^\w\s]"
)
RESERVED = re.compile(r"<(?:/?s|pad|unk|mask|extra_id_\d+)>")  # would become special tokens
HASH_COMMENTS = frozenset({"python", "ruby", "php"})
WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


def join_tokens(code: str, language: str) -> str:
    """The code's tokens with single spaces between them, comments left out."""
    out = []
    for token in LEX.findall(code):
        hashed = language in HASH_COMMENTS
        if token.startswith("/*") or (token.startswith("//") and token != "//" and not hashed):
            continue
        if token[0] == "#" and len(token) > 1 and hashed:
            continue
        out.append(token)
    return " ".join(out)


def name_words(name: str) -> list[str]:
    """`getNodeName`, `get_node_name` -> get, node, name."""
    return [word.lower() for word in WORDS.findall(name)]


def parts(row: Row) -> tuple[str, str, str, str, str]:
    """The five texts of a row; empty where the row has none."""
    words = name_words(row.name)
    hidden = ""
    if len(words) >= 2 and row.name.isidentifier():
        hidden, count = re.subn(rf"\b{re.escape(row.name)}\b", "<mask>", row.code)
        hidden = hidden if count else ""
    joined = join_tokens(row.code, row.language)
    # Code follows the instruction's colon after one space, which belongs to its first token.
    lead = [f" {text}" if text else "" for text in (row.code, joined, hidden)]
    return lead[0], lead[1], lead[2], row.summary, " ".join(words) if hidden else ""


def write_shards(corpus: Path, tokenizer: Path, out: Path) -> dict[str, int]:
    """Tokenise the corpus into `out/train.*` and `out/held.*`; returns rows and tokens."""
    encoder = load(tokenizer)
    out.mkdir(parents=True, exist_ok=True)
    names = sorted({row.language for row in read_rows(corpus)})
    counts: dict[str, int] = {}
    packages: set[str] = set()
    for split in ("train", "held"):
        index: list[list[int]] = []
        languages: list[int] = []
        at = 0
        with (out / f"{split}.bin").open("wb") as handle:
            for rows in _batches(corpus, split):
                texts = [text for row in rows for text in parts(row)]
                coded = [e.ids for e in encoder.encode_batch(texts, add_special_tokens=False)]
                flat: list[int] = []
                packages.update(row.package for row in rows)
                for number, row in enumerate(rows):
                    starts = [at + len(flat)]
                    for ids, cut in zip(coded[5 * number : 5 * number + 5], CUTS, strict=True):
                        flat += ids[:cut]
                        starts.append(at + len(flat))
                    index.append(starts)
                    languages.append(names.index(row.language))
                np.asarray(flat, np.uint16).tofile(handle)
                at += len(flat)
        np.save(out / f"{split}.index.npy", np.asarray(index, np.int64).reshape(-1, 6))
        np.save(out / f"{split}.language.npy", np.asarray(languages, np.uint8))
        counts[f"{split} rows"], counts[f"{split} tokens"] = len(index), at
    write_text(out / "languages.json", json.dumps(names))
    write_text(out / PACKAGES, json.dumps(sorted(packages)))
    return counts


def packages_of(folder: Path) -> list[str] | None:
    """Whose functions the shards hold; None where they do not say, as those of the whole corpus."""
    path = folder / PACKAGES
    return json.loads(path.read_text()) if path.is_file() else None


def _batches(corpus: Path, split: str) -> Iterator[list[Row]]:
    rows: list[Row] = []
    for row in read_rows(corpus):
        if (row.package in HELD_OUT) == (split == "held") and not RESERVED.search(row.code):
            rows.append(row)
        if len(rows) == 2_000:
            yield rows
            rows = []
    if rows:
        yield rows


@dataclass(frozen=True)
class Shard:
    """One split, memory-mapped."""

    tokens: NDArray[np.uint16]
    index: NDArray[np.int64]
    language: NDArray[np.uint8]
    languages: list[str]

    @staticmethod
    def open(folder: Path, split: str) -> Shard:
        """Open `folder/split.*`."""
        return Shard(
            np.memmap(folder / f"{split}.bin", np.uint16, "r"),
            np.load(folder / f"{split}.index.npy"),
            np.load(folder / f"{split}.language.npy"),
            json.loads((folder / "languages.json").read_text()),
        )

    def __len__(self) -> int:
        return len(self.index)

    def lengths(self, part: str) -> NDArray[np.int64]:
        """How many tokens that part has, per row."""
        column = PARTS.index(part)
        return self.index[:, column + 1] - self.index[:, column]

    def ids(self, row: int, part: str) -> NDArray[np.uint16]:
        """The token ids of one part."""
        column = PARTS.index(part)
        return self.tokens[self.index[row, column] : self.index[row, column + 1]]

    def fingerprint(self) -> str:
        """Of the index and the first tokens: names the data in logs and cards."""
        return fingerprint(self.index, self.tokens)


def fingerprint(index: NDArray[np.int64], tokens: NDArray[np.uint16]) -> str:
    """Sixteen digits over an index and the first million tokens."""
    head = index.tobytes() + tokens[:1_000_000].tobytes()
    return hashlib.sha256(head).hexdigest()[:16]
