"""What is learned: rows of a shard turned into sources and targets, in batches of like length.

summarize   `Summarize python: <code>` -> the summary; the product's own hard template, letter for
            letter, over raw and joined code alike
name        `Name python: <code, its name masked or not>` -> the name's words (Wang et al. 2021,
            CodeT5's identifier objective as text): what a body does, in the words that summaries
            use, and where the name is left in, where to look for them
write       `Write python: <summary>` -> the code's first tokens (Wang et al. 2021, section 3.2.2,
            CodeT5's second direction): many target tokens for a short source
words       every place of some identifiers hidden behind one sentinel each -> their words (CodeT5's
            masked identifier prediction)
spans       15% of the code's tokens in spans of 3 -> the spans (Raffel et al. 2020, section 3.3)
continue    `Continue python: <first part>` -> the next tokens (prefix language model), which frozen
            soft prompts need (Lester et al. 2021, section 3.3)

CodeT5's third objective, identifier tagging, labels the encoder's positions: `encoder.py` has it.

Short inputs first: `Stage` bounds the source, so that copying names into summaries is learned while
steps are cheap. `budget` bounds a batch: rows times (source + 2 target) tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from benchmarks.backbone.identifiers import SPACE, Identifiers
from benchmarks.backbone.shards import Shard
from benchmarks.backbone.tokenizer import END, PAD, START

Ids = NDArray[np.int64]
SPAN_RATE, SPAN_LENGTH = 0.15, 3
WRITTEN = 48  # how much of a function is written from its summary
POOL = 60  # batches drawn together, sorted by length, then shuffled


# Python and Java carry the tasks; the rest is there so that no language is strange.
LANGUAGE_WEIGHTS = {"python": 1.0, "java": 0.8, "c": 0.5, "c-sharp": 0.8}


@dataclass(frozen=True)
class Stage:
    """A part of the run: up to `until` of its time, sources of at most `source` tokens."""

    until: float
    source: int
    budget: int
    summarize: float
    name: float
    spans: float = 0.0
    carry_on: float = 0.0
    write: float = 0.0
    words: float = 0.0


@dataclass(frozen=True)
class Batch:
    """source, mask [B,T] (mask True at real tokens); labels [B,U] with -100 at padding."""

    source: Tensor
    mask: Tensor
    labels: Tensor
    tokens: int


class Objectives:
    """Draws batches from a shard; `seed` and the number of pools drawn fix what comes."""

    def __init__(self, shard: Shard, tokenizer: Tokenizer, seed: int) -> None:
        self.shard, self.seed, self.pools = shard, seed, 0
        self.vocabulary = tokenizer.get_vocab_size()
        self.prompt = {
            verb: [self._prompt(tokenizer, verb, name) for name in shard.languages]
            for verb in ("Summarize", "Name", "Continue", "Write")
        }
        self.identifiers = Identifiers(tokenizer)
        # A summary stands without a space where it is a target, and after one in an instruction.
        spaced = ((SPACE + word, i) for i, word in enumerate(self.identifiers.words))
        known = tokenizer.get_vocab()
        self.spaced = np.array([known.get(word, i) for word, i in spaced])
        summary, name = shard.lengths("summary"), shard.lengths("name")
        self.documented = np.flatnonzero(summary > 0)
        self.named = np.flatnonzero(name > 0)
        self.everything = np.flatnonzero(shard.lengths("raw") >= 24)
        weights = np.ones(len(shard.languages))
        for index, language in enumerate(shard.languages):
            weights[index] = LANGUAGE_WEIGHTS.get(language, 1.0)
        self.weights = weights[shard.language]
        self._queues: dict[str, list[int]] = {}

    @staticmethod
    def _prompt(tokenizer: Tokenizer, verb: str, language: str) -> list[int]:
        # The code follows after one space, which byte-level BPE puts before its first word.
        ids: list[int] = tokenizer.encode(f"{verb} {language}:", add_special_tokens=False).ids
        return [START, *ids]

    def batches(self, stage: Stage) -> Iterator[Batch]:
        """One pool of batches under a stage's mixture."""
        rng = np.random.default_rng([self.seed, self.pools])
        self.pools += 1
        count = stage.budget * POOL // (stage.source + 32)
        kinds = (
            (stage.summarize, "documented", self.summary_pair),
            (stage.name, "named", self._name),
            (stage.spans, "everything", self._spans),
            (stage.carry_on, "everything", self._carry_on),
            (stage.write, "documented", self._write),
            (stage.words, "everything", self._words),
        )
        total = sum(share for share, _, _ in kinds)
        pairs: list[tuple[Ids, Ids]] = []
        for share, rows, make in kinds:
            pairs += [
                make(row, stage, rng) for row in self._draw(rows, int(count * share / total), rng)
            ]
        pairs.sort(key=lambda pair: (len(pair[1]) // 16, len(pair[0])))
        groups = list(groups_of(pairs, stage.budget))
        for index in rng.permutation(len(groups)):
            yield collate(groups[index])

    def _draw(self, what: str, count: int, rng: np.random.Generator) -> list[int]:
        """Rows without replacement until all were seen; some languages more often than others."""
        queue = self._queues.setdefault(what, [])
        while len(queue) < count:
            rows = getattr(self, what)
            share = self.weights[rows]
            keep = rng.random(len(rows)) < share / share.max()
            queue += rng.permutation(rows[keep]).tolist()
        taken, self._queues[what] = queue[:count], queue[count:]
        return taken

    def _code(self, row: int, part: str, room: int) -> Ids:
        return self.shard.ids(row, part)[:room].astype(np.int64)

    def _source(self, verb: str, row: int, part: str, stage: Stage) -> Ids:
        head = self.prompt[verb][self.shard.language[row]]
        code = self._code(row, part, stage.source - len(head) - 1)
        return np.concatenate([head, code, [END]])

    def summary_pair(self, row: int, stage: Stage, rng: np.random.Generator) -> tuple[Ids, Ids]:
        """Source and target ids of one documented row."""
        part = "joined" if rng.random() < 0.5 else "raw"
        target = self.shard.ids(row, "summary").astype(np.int64)
        return self._source("Summarize", row, part, stage), np.append(target, END)

    def _name(self, row: int, stage: Stage, rng: np.random.Generator) -> tuple[Ids, Ids]:
        # Half of the time the name is there to be read: the shortest way to learn to copy.
        part = "hidden" if rng.random() < 0.5 else "raw"
        target = self.shard.ids(row, "name").astype(np.int64)
        return self._source("Name", row, part, stage), np.append(target, END)

    def _spans(self, row: int, stage: Stage, rng: np.random.Generator) -> tuple[Ids, Ids]:
        part = "joined" if rng.random() < 0.3 else "raw"
        code = self._code(row, part, stage.source - 2)
        spans = max(1, round(len(code) * SPAN_RATE / SPAN_LENGTH))
        # `spans` masked and `spans + 1` kept stretches; only those at the ends may be empty.
        masked = min(spans * SPAN_LENGTH, len(code) - spans)
        lengths = _composition(masked, spans, rng)
        gaps = _composition(len(code) - masked + 1, spans + 1, rng)
        source: list[int] = [START]
        target: list[int] = []
        at = 0
        for number in range(spans):
            keep = gaps[number] - (number == 0)
            sentinel = self.vocabulary - 1 - number
            source += [*code[at : at + keep], sentinel]
            at += keep
            target += [sentinel, *code[at : at + lengths[number]]]
            at += lengths[number]
        return np.asarray([*source, *code[at:], END]), np.asarray([*target, END])

    def _carry_on(self, row: int, stage: Stage, rng: np.random.Generator) -> tuple[Ids, Ids]:
        head = self.prompt["Continue"][self.shard.language[row]]
        code = self._code(row, "raw", stage.source + 32)
        cut = int(rng.integers(8, max(9, min(len(code) - 8, stage.source - len(head) - 1))))
        return np.concatenate([head, code[:cut], [END]]), np.append(code[cut : cut + 32], END)

    def _write(self, row: int, stage: Stage, rng: np.random.Generator) -> tuple[Ids, Ids]:
        head = self.prompt["Write"][self.shard.language[row]]
        summary = self.shard.ids(row, "summary").astype(np.int64)
        summary[0] = self.spaced[summary[0]]
        code = self._code(row, "raw", WRITTEN)
        return np.concatenate([head, summary, [END]]), np.append(code, END)

    def _words(self, row: int, stage: Stage, rng: np.random.Generator) -> tuple[Ids, Ids]:
        code = self._code(row, "joined" if rng.random() < 0.3 else "raw", stage.source - 2)
        runs = self.identifiers.runs(code)
        if not runs:
            return self._spans(row, stage, rng)
        names = rng.permutation(len(runs))[: max(1, len(runs) // 3)]
        hidden = {
            start: (stop, number) for number, n in enumerate(names) for start, stop in runs[n]
        }
        source: list[int] = [START]
        target: list[int] = []
        at, shown = 0, 0
        order: dict[int, int] = {}
        while at < len(code):
            if at not in hidden:
                source.append(int(code[at]))
                at += 1
                continue
            stop, number = hidden[at]
            if number not in order:  # sentinels count up in the order of their first place
                order[number] = self.vocabulary - 1 - shown
                target += [order[number], *code[at:stop]]
                shown += 1
            source.append(order[number])
            at = stop
        return np.asarray([*source, END]), np.asarray([*target, END])


def groups_of(pairs: list[tuple[Ids, Ids]], budget: int) -> Iterator[list[tuple[Ids, Ids]]]:
    """Batches of neighbouring pairs within a budget."""
    group: list[tuple[Ids, Ids]] = []
    wide = tall = 0
    for source, target in pairs:
        wide_next, tall_next = max(wide, len(source)), max(tall, len(target))
        # A target token costs about twice a source token: more layers see it, and the logits.
        if group and (wide_next + 2 * tall_next) * (len(group) + 1) > budget:
            yield group
            group, wide_next, tall_next = [], len(source), len(target)
        group.append((source, target))
        wide, tall = wide_next, tall_next
    if len(group) > 1:
        yield group


def collate(pairs: list[tuple[Ids, Ids]]) -> Batch:
    """Pad pairs of ids to one batch."""
    wide = -(-max(len(s) for s, _ in pairs) // 8) * 8
    tall = -(-max(len(t) for _, t in pairs) // 4) * 4
    source = np.full((len(pairs), wide), PAD)
    labels = np.full((len(pairs), tall), -100)
    for row, (ids, target) in enumerate(pairs):
        source[row, : len(ids)] = ids
        labels[row, : len(target)] = target
    tokens = sum(len(s) + len(t) for s, t in pairs)
    return Batch(
        torch.from_numpy(source), torch.from_numpy(source != PAD), torch.from_numpy(labels), tokens
    )


def _composition(total: int, pieces: int, rng: np.random.Generator) -> list[int]:
    """`total` as a sum of `pieces` positive numbers, uniformly."""
    cuts = np.sort(rng.choice(np.arange(1, total), pieces - 1, replace=False))
    pieces_of = np.diff(np.concatenate([[0], cuts, [total]]))
    return [int(piece) for piece in pieces_of]
