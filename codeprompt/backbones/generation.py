"""From a remembered source to answers: greedy search, draws, and the door to beam search.

Token for token what Hugging Face's `generate` (transformers 5.23) gives for the same settings, with
scores in float32 as there. Ours differs in how it runs: rows that are finished leave the batch once
they are half of it, draws come from a stream of each row's own, and nothing but the chosen tokens
is kept between steps. Bans that leave a row no token at all end it (theirs picks token 0).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from codeprompt.backbones.base import Source
from codeprompt.backbones.beams import beam_search
from codeprompt.backbones.decoding import Decoding, Hypothesis
from codeprompt.backbones.processors import Draws, Processor, warp
from codeprompt.errors import BackboneError, UsageError
from codeprompt.inject import NOTHING, Injected

__all__ = ["Decoder", "DecoderState", "Decoding", "Hypothesis", "generate"]

OnStep = Callable[[int, tuple[int, ...]], None]


class DecoderState(Protocol):
    """Where the decoder stands: B rows with K beams each."""

    @property
    def rows(self) -> int:
        """B: how many rows are still in the batch."""
        ...

    def reorder(self, parents: Tensor) -> None:
        """Beam k goes on from beam parents[:, k]: [B,K]."""
        ...

    def select(self, index: Tensor) -> None:
        """Go on with some rows only: index [R]."""
        ...


class Decoder(Protocol):
    """An encoder-decoder that generates: `T5`, and the serving pass made of one."""

    @property
    def device(self) -> torch.device: ...

    def encode(self, source: Source, injected: Injected = NOTHING) -> Tensor: ...

    def remember(self, hidden: Tensor, source: Source, injected: Injected = NOTHING) -> Any: ...

    def begin(self, memory: Any, injected: Injected, beams: int, steps: int) -> DecoderState:
        """A state for at most `steps` calls of `step` with K = `beams`."""
        ...

    def step(self, ids: Tensor, state: Any) -> Tensor:
        """One token for each beam: ids [B,K] -> logits [B,K,V]; the state moves on by one."""
        ...


@torch.no_grad()
def generate(
    model: Decoder,
    memory: Any,
    injected: Injected,
    decoding: Decoding,
    *,
    eos: int,
    pad: int,
    start: int,
    allowed: Tensor | None = None,
    seeds: Sequence[int] | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_step: OnStep | None = None,
) -> list[list[Hypothesis]]:
    """Answers for every row of `memory`, the best first; draws in the order they were asked for.

    memory, injected: of the B rows, as `model.remember` and `collate` gave them.
    eos, pad, start: the end token, what fills up, and the decoder's first token.
    allowed: bool [V] or [B,V], the only tokens that may be generated; None for all.
    seeds: one for each row in place of `decoding.seed`.
    should_stop: asked before every step; once true, every row comes back as it stands.
    on_step: called with (row, ids so far) for each new token of a single path (no beams).
    Beam search returns fewer than `candidates` where fewer sequences exist.
    """
    steps = decoding.max_new_tokens
    paths = decoding.candidates if decoding.sample else decoding.beams
    if on_step is not None and paths > 1:
        raise UsageError(
            f"An answer cannot be streamed from {paths} beams or candidates",
            do="Set `beams` and `candidates` to 1",
        )
    state = model.begin(memory, injected, paths, steps)
    _check(allowed, decoding, eos, state.rows)
    processor = Processor(decoding, eos, allowed)
    tokens = torch.full((state.rows, paths), start, device=model.device)
    if decoding.beams > 1:
        answers = beam_search(model, state, decoding, processor, tokens, eos, should_stop)
    else:
        draws = None
        if decoding.sample:
            rows = [decoding.seed] * state.rows if seeds is None else list(seeds)
            draws = Draws(rows, paths, steps, model.device)
        answers = _paths(
            model, state, decoding, processor, tokens, eos, pad, draws, should_stop, on_step
        )
    if any(answer.score != answer.score for row in answers for answer in row):
        raise BackboneError(
            "The model's scores are not numbers (NaN)",
            expected="finite logits",
            do="The checkpoint or the prompt is damaged, or the number format is too narrow: "
            "verify the pack, or run in float32",
        )
    return answers


def _check(allowed: Tensor | None, decoding: Decoding, eos: int, rows: int) -> None:
    if allowed is None:
        return
    if allowed.dtype != torch.bool or (allowed.dim() == 2 and allowed.shape[0] != rows):
        raise UsageError(
            f"`allowed` is {allowed.dtype} {list(allowed.shape)}",
            expected=f"booleans [V] or [{rows},V]",
        )
    usable = allowed
    if decoding.min_new_tokens > 0:
        usable = allowed.index_fill(-1, torch.tensor([eos], device=allowed.device), False)
    if not bool(usable.any(-1).all()):
        raise UsageError(
            "No token may be generated", expected="at least one allowed token other than the end"
        )


def _paths(
    model: Decoder,
    state: DecoderState,
    decoding: Decoding,
    processor: Processor,
    tokens: Tensor,
    eos: int,
    pad: int,
    draws: Draws | None,
    should_stop: Callable[[], bool] | None,
    on_step: OnStep | None,
) -> list[list[Hypothesis]]:
    """Greedy search or draws: N independent paths for each row, N = 1 or the candidates."""
    rows, paths = tokens.shape
    steps = decoding.max_new_tokens
    answers: list[list[Hypothesis]] = [[] for _ in range(rows)]
    live = list(range(rows))
    history = tokens.new_full((rows, paths, steps + 1), pad)
    history[..., 0] = tokens
    totals = torch.zeros(rows, paths, device=tokens.device)
    lengths, done = torch.zeros_like(tokens), torch.zeros_like(tokens, dtype=torch.bool)
    ended = done
    for t in range(steps):
        if should_stop is not None and should_stop():
            break
        scores = logits = model.step(tokens, state).float()
        if processor.active:
            scores = processor(logits.clone(), history[..., : t + 1])
            done = done | (scores.amax(-1) == float("-inf"))
        tokens = scores.argmax(-1) if draws is None else draws(warp(scores, decoding), t)
        chosen = logits.log_softmax(-1).gather(-1, tokens[..., None]).squeeze(-1)
        totals = totals + chosen.masked_fill(done, 0.0)
        lengths = lengths + ~done
        tokens = tokens.masked_fill(done, pad)
        history[..., t + 1] = tokens
        if on_step is not None:
            _stream(on_step, live, history[:, 0, 1 : t + 2], (done | (tokens == eos))[:, 0])
        ended = ended | (~done & (tokens == eos))
        done = done | ended
        closed = done.all(-1).tolist()
        count = sum(closed)
        if count == len(live):
            break
        if 2 * count >= len(live) and t + 1 < steps:
            _collect(answers, live, closed, history, lengths, totals, ended)
            keep = [row for row, shut in enumerate(closed) if not shut]
            live = [live[row] for row in keep]
            index = torch.tensor(keep, device=tokens.device)
            state.select(index)
            processor.select(index)
            if draws is not None:
                draws.select(index)
            tokens, history, totals = tokens[index], history[index], totals[index]
            lengths, done, ended = lengths[index], done[index], ended[index]
    _collect(answers, live, [True] * len(live), history, lengths, totals, ended)
    return answers


def _stream(on_step: OnStep, live: list[int], ids: Tensor, silent: Tensor) -> None:
    for row, path, quiet in zip(live, ids.tolist(), silent.tolist(), strict=True):
        if not quiet:
            on_step(row, tuple(path))


def _collect(
    answers: list[list[Hypothesis]],
    live: list[int],
    closed: list[bool],
    history: Tensor,
    lengths: Tensor,
    totals: Tensor,
    ended: Tensor,
) -> None:
    """Put the paths of closed rows into `answers`."""
    tables = (history.tolist(), lengths.tolist(), totals.tolist(), ended.tolist())
    for row, shut, *columns in zip(live, closed, *tables, strict=True):
        if shut:
            answers[row] = [
                Hypothesis(tuple(path[1 : 1 + length - end]), total / max(length, 1), end)
                for path, length, total, end in zip(*columns, strict=True)
            ]
