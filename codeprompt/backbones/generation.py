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
from codeprompt.backbones.beams import Beams
from codeprompt.backbones.decoding import Decoding, Hypothesis
from codeprompt.backbones.paths import Paths
from codeprompt.backbones.search import Ask, DecoderState, Search, Tokens
from codeprompt.errors import BackboneError, UsageError
from codeprompt.inject import NOTHING, Injected

__all__ = ["Decoder", "DecoderState", "Decoding", "Hypothesis", "generate"]

OnStep = Callable[[int, tuple[int, ...]], None]


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
    paths = width(decoding)
    if on_step is not None and paths > 1:
        raise UsageError(
            f"An answer cannot be streamed from {paths} beams or candidates",
            do="Set `beams` and `candidates` to 1",
        )
    state = model.begin(memory, injected, paths, decoding.max_new_tokens)
    _check(allowed, decoding, eos, state.rows)
    search = make_search(decoding, Tokens(eos, pad, start), model.device)
    search.add(_asks(decoding, state.rows, allowed, seeds))
    answers: list[list[Hypothesis]] = [[] for _ in range(state.rows)]
    live = list(range(state.rows))
    while live:
        if should_stop is not None and should_stop():
            search.stop()
        else:
            search.advance(model.step(search.tokens, state), state)
            if on_step is not None:
                _stream(on_step, live, search)
        closed = search.closed
        if 2 * sum(closed) < len(live):  # copying the rest costs more than their company
            continue
        shut = [row for row, is_closed in enumerate(closed) if is_closed]
        for row, found in zip(shut, search.answers(shut), strict=True):
            answers[live[row]] = checked(found)
        if len(shut) == len(live):
            break
        keep = [row for row, is_closed in enumerate(closed) if not is_closed]
        live = [live[row] for row in keep]
        index = torch.tensor(keep, device=model.device)
        state.select(index)
        search.select(index)
    return answers


def width(decoding: Decoding) -> int:
    """K: how many beams, or paths, a row of such a search takes."""
    return decoding.candidates if decoding.sample else decoding.beams


def make_search(decoding: Decoding, tokens: Tokens, device: torch.device) -> Paths | Beams:
    """An empty search for rows of such decodings."""
    kind = Beams if decoding.beams > 1 else Paths
    return kind(width(decoding), tokens, device)


def checked(answers: list[Hypothesis]) -> list[Hypothesis]:
    """The same. Raises `BackboneError` where scores are not numbers."""
    if any(answer.score != answer.score for answer in answers):
        raise BackboneError(
            "The model's scores are not numbers (NaN)",
            expected="finite logits",
            do="The checkpoint or the prompt is damaged, or the number format is too narrow: "
            "verify the pack, or run in float32",
        )
    return answers


def _asks(
    decoding: Decoding, rows: int, allowed: Tensor | None, seeds: Sequence[int] | None
) -> list[Ask]:
    masks = [None] * rows if allowed is None else list(allowed.expand(rows, -1))
    own = [None] * rows if seeds is None else list(seeds)
    return [Ask(decoding, mask, seed) for mask, seed in zip(masks, own, strict=True)]


def _stream(on_step: OnStep, live: Sequence[int], search: Search) -> None:
    if isinstance(search, Paths):
        for place, (row, told) in enumerate(zip(live, search.told[:, 0].tolist(), strict=True)):
            if told:
                on_step(row, search.ids(place))


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
