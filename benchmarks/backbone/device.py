"""The objectives drawn on the device: every row of a batch is a join of stretches of one buffer.

A training GPU outruns batches made row by row on a processor core. Here the shard's tokens lie on
the device once, with a table of all single tokens and all instructions behind them; a source or a
target is then a list of (start, length), and a whole batch is gathered in one step. What is hidden
is drawn on the device as well. The texts are those of `objectives.py`, except that

- spans are three tokens long, one in every equal part of the code, at a place drawn in it;
- a batch holds all objectives, rows of one width, drawn with replacement;
- `words` (identifiers behind sentinels) is not drawn here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from benchmarks.backbone.objectives import (
    LANGUAGE_WEIGHTS,
    SPAN_LENGTH,
    SPAN_RATE,
    WRITTEN,
    Batch,
    Objectives,
    Stage,
)
from benchmarks.backbone.shards import PARTS, Shard
from benchmarks.backbone.tokenizer import END, PAD, START

WIDTHS = (64, 128, 256)
TARGET = 56
CARRIED = 32
ROUND = 64  # batches under one seed


@dataclass(frozen=True)
class Stretches:
    """Rows as joined stretches of the buffer: starts, lengths [B,K]."""

    starts: Tensor
    lengths: Tensor


Pairs = tuple[Stretches, Stretches]


class DeviceObjectives:
    """Draws batches on `device`; the same face as `Objectives`."""

    def __init__(self, shard: Shard, tokenizer: Tokenizer, seed: int, device: str) -> None:
        made = Objectives(shard, tokenizer, seed)
        self.seed, self.pools, self.device = seed, 0, torch.device(device)
        self.size = made.vocabulary
        heads = [ids for verb in made.prompt for ids in made.prompt[verb]]
        self.single = len(shard.tokens)  # token i of the table lies at single + i
        flat = np.concatenate(
            [np.asarray(shard.tokens), np.arange(self.size), *map(np.asarray, heads)]
        )
        self.buffer = torch.from_numpy(flat.astype(np.int32)).to(self.device)
        lengths = np.array([len(ids) for ids in heads])
        starts = self.single + self.size + np.cumsum(lengths) - lengths
        count = len(shard.languages)
        self.heads = {
            verb: (
                self._put(starts[n * count : (n + 1) * count]),
                self._put(lengths[n * count : (n + 1) * count]),
            )
            for n, verb in enumerate(made.prompt)
        }
        self.index = self._put(np.asarray(shard.index))
        self.language = self._put(shard.language.astype(np.int64))
        self.spaced = self._put(made.spaced)
        share = np.array([LANGUAGE_WEIGHTS.get(name, 1.0) for name in shard.languages])
        self.share = self._put(share[shard.language]).float()
        rows = {"summary": made.documented, "name": made.named, "raw": made.everything}
        self.rows = {kind: self._put(found) for kind, found in rows.items()}

    def _put(self, values: np.typing.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def batches(self, stage: Stage) -> Iterator[Batch]:
        """A round of batches under a stage's mixture, each of one width up to `stage.source`."""
        random = torch.Generator(self.device).manual_seed(self.seed * 1_000_003 + self.pools)
        self.pools += 1
        lengths = self.index[:, 1] - self.index[:, 0]
        widths = [w for w in WIDTHS if w < stage.source] + [stage.source]
        fits = torch.bucketize(lengths + 8, torch.tensor(widths[:-1], device=self.device))
        pools = [self._pools(fits == n, stage) for n in range(len(widths))]
        mass = [float(self.share[p["raw"]].sum()) if p else 0.0 for p in pools]
        chances = torch.tensor(
            [m * w for m, w in zip(mass, widths, strict=True)], device=self.device
        )
        for choice in torch.multinomial(chances, ROUND, True, generator=random).tolist():
            yield self.batch(stage, widths[choice], pools[choice], random)

    def _pools(self, fitting: Tensor, stage: Stage) -> dict[str, Tensor]:
        found = {kind: rows[fitting[rows]] for kind, rows in self.rows.items()}
        wanted = {"raw": 1.0, "summary": stage.summarize + stage.write, "name": stage.name}
        return found if all(len(found[k]) for k, share in wanted.items() if share) else {}

    def batch(
        self, stage: Stage, width: int, pools: dict[str, Tensor], random: torch.Generator
    ) -> Batch:
        """All objectives in one batch of that width."""
        count = stage.budget // (width + 2 * TARGET)
        kinds = (
            (stage.summarize, "summary", self._summarize),
            (stage.name, "name", self._name),
            (stage.spans, "raw", self._spans),
            (stage.carry_on, "raw", self._carry_on),
            (stage.write, "summary", self._write),
        )
        total = sum(share for share, _, _ in kinds)
        made: list[tuple[Tensor, Tensor]] = []
        for share, kind, make in kinds:
            number = int(count * share / total)
            if number:
                chosen = torch.multinomial(self.share[pools[kind]], number, True, generator=random)
                rows, told = make(pools[kind][chosen], width, random)
                made.append((self.join(rows, width), self.join(told, TARGET)))
        source = torch.cat([ids for ids, _ in made])
        labels = torch.cat([ids for _, ids in made])
        real = int((source >= 0).sum() + (labels >= 0).sum())
        labels = labels.masked_fill(labels < 0, -100)
        return Batch(source.clamp(min=0), source >= 0, labels, real)

    def join(self, rows: Stretches, width: int) -> Tensor:
        """ids [B,width] of joined stretches; -1 behind their end. Cut at `width`."""
        ends = rows.lengths.cumsum(1)
        places = torch.arange(width, device=self.device).expand(len(ends), width).contiguous()
        found = torch.searchsorted(ends, places, right=True)
        there = found < ends.shape[1]
        found = found.clamp(max=ends.shape[1] - 1)
        inside = places - (ends - rows.lengths).gather(1, found)
        at = (rows.starts.gather(1, found) + inside).clamp(0, len(self.buffer) - 1)
        return self.buffer[at].long().masked_fill(~there, -1)

    def _stretches(self, *pieces: tuple[Tensor, Tensor] | int) -> Stretches:
        """(start, length) pairs, or a token's id for that token alone."""
        like = next(piece for piece in pieces if not isinstance(piece, int))[0]
        one = torch.ones_like(like)
        pairs = [(one * (self.single + p), one) if isinstance(p, int) else p for p in pieces]
        starts, lengths = zip(*pairs, strict=True)
        return Stretches(torch.stack(starts, 1), torch.stack(lengths, 1))

    def _part(self, rows: Tensor, part: str) -> tuple[Tensor, Tensor]:
        column = PARTS.index(part)
        start = self.index[rows, column]
        return start, self.index[rows, column + 1] - start

    def _either(
        self, rows: Tensor, parts: tuple[str, str], chance: float, random: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        first = torch.rand(len(rows), generator=random, device=self.device) < chance
        (a, m), (b, n) = self._part(rows, parts[0]), self._part(rows, parts[1])
        return torch.where(first, a, b), torch.where(first, m, n)

    def _instructed(
        self, verb: str, rows: Tensor, code: tuple[Tensor, Tensor], room: int
    ) -> Stretches:
        starts, lengths = self.heads[verb]
        head = starts[self.language[rows]], lengths[self.language[rows]]
        return self._stretches(head, (code[0], torch.minimum(code[1], room - 1 - head[1])), END)

    def _summarize(self, rows: Tensor, width: int, random: torch.Generator) -> Pairs:
        code = self._either(rows, ("joined", "raw"), 0.5, random)
        source = self._instructed("Summarize", rows, code, width)
        return source, self._stretches(self._part(rows, "summary"), END)

    def _name(self, rows: Tensor, width: int, random: torch.Generator) -> Pairs:
        code = self._either(rows, ("hidden", "raw"), 0.5, random)
        source = self._instructed("Name", rows, code, width)
        return source, self._stretches(self._part(rows, "name"), END)

    def _write(self, rows: Tensor, width: int, random: torch.Generator) -> Pairs:
        start, length = self._part(rows, "summary")
        starts, lengths = self.heads["Write"]
        head = starts[self.language[rows]], lengths[self.language[rows]]
        first = self.single + self.spaced[self.buffer[start].long()], torch.ones_like(start)
        source = self._stretches(head, first, (start + 1, length - 1), END)
        code = self._part(rows, "raw")
        return source, self._stretches((code[0], code[1].clamp(max=WRITTEN)), END)

    def _carry_on(self, rows: Tensor, width: int, random: torch.Generator) -> Pairs:
        start, length = self._part(rows, "raw")
        longest = torch.clamp(torch.minimum(length - 8, torch.tensor(width - 12)), min=9)
        drawn = torch.rand(len(rows), generator=random, device=self.device)
        cut = 8 + (drawn * (longest - 8)).long()
        source = self._instructed("Continue", rows, (start, cut), width)
        rest = start + cut, (length - cut).clamp(max=CARRIED)
        return source, self._stretches(rest, END)

    def _spans(self, rows: Tensor, width: int, random: torch.Generator) -> Pairs:
        start, length = self._either(rows, ("joined", "raw"), 0.3, random)
        length = length.clamp(max=width - 2)
        spans = (length * SPAN_RATE / SPAN_LENGTH).round().clamp(min=1).long()
        most = int(width * SPAN_RATE / SPAN_LENGTH) + 1
        number = torch.arange(most, device=self.device)
        real = number < spans[:, None]  # [B,most]
        cell = (length / spans)[:, None]
        drawn = torch.rand(real.shape, generator=random, device=self.device)
        begin = (number * cell + drawn * (cell - SPAN_LENGTH).clamp(min=0)).long()
        begin = torch.where(real, begin, length[:, None])
        size = torch.where(real, (length[:, None] - begin).clamp(max=SPAN_LENGTH), 0)
        before = torch.cat([torch.zeros_like(begin[:, :1]), (begin + size)[:, :-1]], 1)
        sentinel = (self.single + self.size - 1 - number).expand_as(begin)
        shown = real.long()
        source = _woven([(start[:, None] + before, begin - before), (sentinel, shown)])
        target = _woven([(sentinel, shown), (start[:, None] + begin, size)])
        end = (begin + size)[:, -1:]
        last = Stretches(start[:, None] + end, length[:, None] - end)
        first, stop = (self._stretches((start, length), token) for token in (START, END))
        first, stop = (Stretches(x.starts[:, 1:], x.lengths[:, 1:]) for x in (first, stop))
        return _beside(first, source, last, stop), _beside(target, stop)


def _beside(*rows: Stretches) -> Stretches:
    """Rows of stretches, one behind the other."""
    starts = torch.cat([one.starts for one in rows], 1)
    return Stretches(starts, torch.cat([one.lengths for one in rows], 1))


def _woven(pieces: list[tuple[Tensor, Tensor]]) -> Stretches:
    """Stretches [B,K] of several kinds taken in turn: [B,K*len(pieces)]."""
    starts = torch.stack([start for start, _ in pieces], 2).flatten(1)
    return Stretches(starts, torch.stack([length for _, length in pieces], 2).flatten(1))


assert PAD == 0
