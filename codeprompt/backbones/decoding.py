"""How an answer is searched for, and what comes back: plain values, free of torch.

Names and meanings follow Hugging Face's `GenerationConfig` (transformers 5.23) wherever both have a
setting; where it says `num_beams`, `do_sample`, `no_repeat_ngram_size` and `num_return_sequences`,
we say `beams`, `sample`, `no_repeat_ngram` and `candidates`. Zero or one switches a setting off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from codeprompt.errors import UnknownNameError, UsageError

EarlyStopping = bool | Literal["never"]


@dataclass(frozen=True)
class Decoding:
    """Settings of one search; every value is checked.

    max_new_tokens: the longest answer in tokens, the end token counted.
    beams: K of beam search; 1 is greedy.
    length_penalty: a finished beam's score is its summed log-probability / length ** penalty.
    early_stopping: True stops a row at K finished beams; False once the best running beam, at its
        present length, is below all of them; "never" once no length could bring it above.
    min_new_tokens: no end token before that many tokens.
    repetition_penalty: divides the positive and multiplies the negative scores of tokens that the
        answer (or the start token) already holds (CTRL, Keskar et al. 2019, section 4.1).
    no_repeat_ngram: no n-gram of this size occurs twice.
    sample: draw from the warped distribution in place of searching (then `beams` is 1).
    temperature, top_k, top_p, min_p: warp it, in this order.
    seed: of the draws; the same seed gives the same answer whatever stands beside it in the batch.
    candidates: how many answers come back for each row: of the beams, or that many draws.
    consensus: a metric's name: the answer is the candidate that agrees most with the others by it
        (minimum Bayes risk); empty for the first candidate.
    channel: weight of how well a candidate explains the source, beside its own score (see
        `codeprompt.rerank`); 0 for the first candidate.
    """

    max_new_tokens: int = 64
    beams: int = 1
    length_penalty: float = 1.0
    early_stopping: EarlyStopping = False
    min_new_tokens: int = 0
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0
    candidates: int = 1
    consensus: str = ""
    channel: float = 0.0

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "beams", "candidates"):
            self._integer(name, 1)
        for name in ("min_new_tokens", "no_repeat_ngram", "top_k", "seed"):
            self._integer(name, 0)
        self._number("length_penalty", lambda v: -10 <= v <= 10, "a number from -10 to 10")
        self._number("repetition_penalty", lambda v: v > 0, "a number above 0; 1 is none")
        self._number("temperature", lambda v: v > 0, "a number above 0; `sample` off is greedy")
        self._number("top_p", lambda v: 0 <= v <= 1, "a number from 0 to 1; 1 is off")
        self._number("min_p", lambda v: 0 <= v <= 1, "a number from 0 to 1; 0 is off")
        self._number("channel", lambda v: v >= 0, "a number from 0; 0 is off")
        if not (isinstance(self.early_stopping, bool) or self.early_stopping == "never"):
            raise UsageError(
                f"`early_stopping` is {self.early_stopping!r}", expected='true, false or "never"'
            )
        if not isinstance(self.sample, bool):
            raise UsageError(f"`sample` is {self.sample!r}", expected="true or false")
        if not isinstance(self.consensus, str):
            raise UsageError(f"`consensus` is {self.consensus!r}", expected="a metric's name")
        self._together()

    def _together(self) -> None:
        if self.min_new_tokens > self.max_new_tokens:
            raise UsageError(
                f"`min_new_tokens` is {self.min_new_tokens}, above `max_new_tokens` "
                f"({self.max_new_tokens})",
                do="Lower the first or raise the second",
            )
        if self.sample and self.beams > 1:
            raise UsageError(
                f"`sample` with {self.beams} beams",
                expected="either draws or a beam search",
                do="Set `beams` to 1; `candidates` asks for several draws",
            )
        if self.consensus and self.channel:
            raise UsageError(
                "`consensus` and `channel` both choose the answer", expected="one of them"
            )
        if (self.consensus or self.channel) and self.candidates < 2:
            raise UsageError(
                f"`{'consensus' if self.consensus else 'channel'}` of one candidate",
                expected="two or more",
                do="Raise `candidates`, with `sample` on or as many `beams`",
            )
        if not self.sample and self.candidates > self.beams:
            raise UsageError(
                f"{self.candidates} candidates of {self.beams} beam(s)",
                expected="at most as many candidates as beams",
                do="Raise `beams`, or turn `sample` on",
            )

    def _integer(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UsageError(f"`{name}` is {value!r}", expected=f"a whole number from {least}")

    def _number(self, name: str, fits: Callable[[float], bool], expected: str) -> None:
        value = getattr(self, name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not fits(value):
            raise UsageError(f"`{name}` is {value!r}", expected=expected)

    def as_json(self) -> dict[str, Any]:
        """All settings, as a card keeps them."""
        return asdict(self)

    @staticmethod
    def from_json(settings: Mapping[str, Any]) -> Decoding:
        """The inverse; settings left out keep their defaults. Raises `UnknownNameError`."""
        known = [f.name for f in fields(Decoding)]
        for name in settings:
            if name not in known:
                raise UnknownNameError("decoding setting", name, known)
        return Decoding(**settings)


@dataclass(frozen=True)
class Hypothesis:
    """One answer.

    ids: its tokens, without the start token and the end token.
    score: beam search: summed log-probability / length ** length_penalty, as Hugging Face's
        `sequences_scores` (after penalties and bans). Otherwise: the mean log-probability of its
        tokens under the model itself (before penalties, bans and warps). Both count the end token.
    finished: it ended with the end token, not at the limit or a stop.
    """

    ids: tuple[int, ...]
    score: float
    finished: bool
