"""Translation packs: pre-training's own loop over pairs of one function in two languages.

Both directions in one run: what must be learned first is to copy names, which the directions share.
A part of the pairs is shown with its names changed: words that stand on both sides become other
words of the same form on both, so that a name is worth reading and not worth remembering.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from benchmarks.backbone import tokenizer as tokenizers
from benchmarks.backbone.evaluate import answers
from benchmarks.backbone.identifiers import KEYWORDS, SPACE
from benchmarks.backbone.loss import loss_of
from benchmarks.backbone.objectives import POOL, Ids, Stage, collate, groups_of
from benchmarks.backbone.shards import fingerprint
from benchmarks.backbone.tokenizer import END, START
from codeprompt.backbones.t5 import T5
from codeprompt.files import write_text
from codeprompt.metrics.base import Item
from codeprompt.registry import METRICS, TASKS

LANGUAGES = ("java", "c-sharp")
SUFFIXES = ("java", "cs")
LONGEST = 256  # target tokens
RENAMED = 0.2
COMMON = 120  # words that are the languages' own, told by how often they stand there


def write_pairs(data: Path, tokenizer: Path, out: Path) -> dict[str, int]:
    """Tokenise CodeXGLUE's text pairs into `out/train.*` and `out/held.*` (its valid split)."""
    out.mkdir(parents=True, exist_ok=True)
    for name in tokenizers.FILES:
        shutil.copy(tokenizer / name, out / name)
    encoder, counts = tokenizers.load(out), {}
    for split, stem in (("train", "train"), ("held", "valid")):
        flat: list[int] = []
        bounds = [0]
        paths = [data / f"{stem}.java-cs.txt.{suffix}" for suffix in SUFFIXES]
        sides = [path.read_text(encoding="utf-8").splitlines() for path in paths]
        for pair in zip(*sides, strict=True):
            for text in pair:
                # With the space that stands before code in the instruction.
                flat += encoder.encode(f" {text.strip()}", add_special_tokens=False).ids
                bounds.append(len(flat))
        np.asarray(flat, np.uint16).tofile(out / f"{split}.bin")
        np.save(out / f"{split}.index.npy", np.asarray(bounds, np.int64))
        counts[f"{split} pairs"], counts[f"{split} tokens"] = len(sides[0]), len(flat)
    write_text(out / "languages.json", json.dumps(LANGUAGES))
    return counts


@dataclass(frozen=True)
class Pairs:
    """One split: flat ids, where each text ends; text 2k is pair k's Java, 2k + 1 its C#."""

    tokens: NDArray[np.uint16]
    bounds: NDArray[np.int64]

    @staticmethod
    def open(folder: Path, split: str) -> Pairs:
        """Open `folder/split.*`."""
        tokens = np.fromfile(folder / f"{split}.bin", np.uint16)
        return Pairs(tokens, np.load(folder / f"{split}.index.npy"))

    def __len__(self) -> int:
        return (len(self.bounds) - 1) // 2

    def text(self, pair: int, side: int) -> Ids:
        """The ids of one side, 0 for Java."""
        at = 2 * pair + side
        return self.tokens[self.bounds[at] : self.bounds[at + 1]].astype(np.int64)

    def fingerprint(self) -> str:
        """Names the data in logs and cards."""
        return fingerprint(self.bounds, self.tokens)


class Translations:
    """Draws batches, as `Objectives` does; a stage gives the longest source and the budget."""

    def __init__(self, pairs: Pairs, tokenizer: Tokenizer, seed: int) -> None:
        self.pairs, self.seed, self.pools = pairs, seed, 0
        words = [tokenizer.id_to_token(i) or "" for i in range(tokenizer.get_vocab_size())]
        instruction = TASKS.get("translate").templates["t5"].replace(" {code}", "")
        self.heads = []
        for side in (0, 1):
            said = instruction.format(language=LANGUAGES[side], target_language=LANGUAGES[1 - side])
            self.heads.append([START, *tokenizer.encode(said, add_special_tokens=False).ids])
        # A target begins without the space that stands before code in an instruction.
        known = {word: i for i, word in enumerate(words)}
        self.bare = np.array([known.get(w.removeprefix(SPACE), i) for i, w in enumerate(words)])
        self.forms = _forms(words)
        counts = Counter(pairs.tokens.tolist())
        for token, _ in counts.most_common(COMMON):
            self.forms[token] = 0
        self.others = {
            form: np.array([t for t in np.flatnonzero(self.forms == form) if t in counts])
            for form in np.unique(self.forms)
            if form
        }
        self._queue: list[int] = []

    def batches(self, stage: Stage) -> Iterator[Any]:
        """One pool of batches, both directions mixed."""
        rng = np.random.default_rng([self.seed, self.pools])
        self.pools += 1
        count = stage.budget * POOL // 192
        while len(self._queue) < count:  # without replacement until all were seen
            self._queue += rng.permutation(2 * len(self.pairs)).tolist()
        taken, self._queue = self._queue[:count], self._queue[count:]
        made = [self.pair(i // 2, i % 2, rng) for i in taken]
        made = [pair for pair in made if max(map(len, pair)) <= stage.source]
        made.sort(key=lambda pair: (len(pair[1]) // 16, len(pair[0])))
        groups = list(groups_of(made, stage.budget))
        for index in rng.permutation(len(groups)):
            yield collate(groups[index])

    def pair(
        self, pair: int, side: int, rng: np.random.Generator | None = None, room: int = 320
    ) -> tuple[Ids, Ids]:
        """Source and target ids from `side`; names are changed at times where `rng` is given."""
        source, target = self.pairs.text(pair, side), self.pairs.text(pair, 1 - side)
        if rng is not None and rng.random() < RENAMED:
            source, target = self._rename(source, target, rng)
        head = self.heads[side]
        source = np.concatenate([head, source[: room - len(head) - 1], [END]])
        target = np.concatenate([self.bare[target[:1]], target[1 : LONGEST - 1], [END]])
        return source, target

    def _rename(self, source: Ids, target: Ids, rng: np.random.Generator) -> tuple[Ids, Ids]:
        both = np.intersect1d(source, target)
        both = both[self.forms[both] > 0]
        swap = np.arange(len(self.forms))
        for token in both[rng.random(len(both)) < 0.5]:
            swap[token] = rng.choice(self.others[self.forms[token]])
        return swap[source], swap[target]


def _forms(words: list[str]) -> NDArray[np.int64]:
    """0 for what is never changed, else a number for words of the same form."""
    forms = np.zeros(len(words), np.int64)
    for i, word in enumerate(words):
        bare = word.removeprefix(SPACE)
        if len(bare) < 3 or not (bare.isascii() and bare.isalpha()) or bare in KEYWORDS:
            continue
        case = 1 if bare.islower() else 2 if bare[1:].islower() else 3 if bare.isupper() else 0
        forms[i] = case and case + 3 * (bare != word)
    return forms


def held_out(
    model: T5, tokenizer: Tokenizer, held: Pairs, rows: int = 96, generated: int = 40
) -> dict[str, Any]:
    """Loss over `rows` pairs of the valid split both ways, corpus BLEU of greedy answers."""
    model.eval()
    drawn = Translations(held, tokenizer, seed=7)
    chosen = np.random.default_rng(7).permutation(len(held))[:rows]
    figures: dict[str, Any] = {}
    bleu = METRICS.get("codexglue-corpus-bleu")
    for side, name in enumerate(("java-cs", "cs-java")):
        pairs = [drawn.pair(int(row), side) for row in chosen]
        with torch.no_grad():
            losses = [
                float(loss_of(model, collate(pairs[at : at + 32])))
                for at in range(0, len(pairs), 32)
            ]
        figures[f"held loss {name}"] = sum(losses) / len(losses)
        pairs = sorted(pairs[:generated], key=lambda pair: len(pair[0]))
        texts = answers(model, tokenizer, [source for source, _ in pairs], steps=LONGEST)
        wanted = [tokenizer.decode(target.tolist()) for _, target in pairs]
        items = [Item(t, (w,)) for t, w in zip(texts, wanted, strict=True)]
        figures[f"bleu {name}"] = bleu.score(items, bootstrap=0).value
        figures[f"sample {name}"] = [texts[3][:160], wanted[3][:160]]
    figures["held loss"] = (figures["held loss java-cs"] + figures["held loss cs-java"]) / 2
    model.train()
    return figures
