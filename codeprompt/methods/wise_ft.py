"""WiSE-FT: a tuned pack drawn back towards the frozen model, as far as the dev rows like it.

Wortsman et al. 2022 (Robust fine-tuning of zero-shot models), section 3, for full fine-tuning; for
prompts and deltas of every kind by the paths of `inject/interpolate.py`, which are ours: alpha = 0
is the frozen model exactly, alpha = 1 the tuned pack. Nothing trains: `alphas` [A] are tried and
the best on dev is packed, of equals the smallest, nearest to the frozen model. A linear head has no
theta_0: at alpha = 0 it gives every label the same probability. Template and head are the pack's.
On decoder-only backbones a pack whose template ends with a slot is refused: the next token is made
of that slot's own state, and there is no frozen end. `frozen` is declared for the default base,
which tunes weights, and `freezes` says it of the pack or base that is named. With `alpha` given
nothing is chosen: a suite that varies it draws the curves in and out of distribution
(`benchmarks/wise-ft.toml`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from codeprompt.errors import UsageError
from codeprompt.inject import Injection, interpolated
from codeprompt.methods._given import GivenMethod, the_pack
from codeprompt.methods.base import Context, Given, PromptModule
from codeprompt.registry import METHODS
from codeprompt.template import Soft


@dataclass(frozen=True)
class WiseFtSettings:
    """of: the tuned pack, by path or name; without one, `base` is tuned first, on the same rows.

    alpha: as it is, in place of one that dev chooses.
    """

    of: str = ""
    base: str = "full-template"
    alpha: float | None = None
    alphas: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

    def __post_init__(self) -> None:
        for alpha in self.tried:
            if not 0.0 <= alpha <= 1.0:
                raise ValueError(f"alpha is {alpha:g}, and goes from 0 to 1")

    @property
    def tried(self) -> tuple[float, ...]:
        """Every alpha that is looked at."""
        return tuple(sorted(self.alphas)) if self.alpha is None else (self.alpha,)


class Path(PromptModule):
    """The pack at any alpha."""

    def __init__(self, tuned: Injection, own: Mapping[str, Tensor], tried: Sequence[float]) -> None:
        super().__init__()
        self.tuned, self.own, self.tried = tuned, dict(own), tuple(tried)

    def forward(self) -> Injection:
        return interpolated(self.tuned, self.tried[-1], self.own)

    def candidates(self) -> Iterator[tuple[dict[str, Any], Injection]]:
        for alpha in self.tried:
            yield {"alpha": alpha}, interpolated(self.tuned, alpha, self.own).to(torch.float32)


class WiseFt(GivenMethod[WiseFtSettings]):
    """The pack's own template and head."""

    settings = WiseFtSettings
    kind = "weights"
    frozen = False

    def freezes(self, settings: WiseFtSettings, given: Sequence[Given]) -> bool:
        if settings.of and given:
            return not given[0].injection.weights
        return bool(METHODS.get(settings.base).frozen)

    def build(self, context: Context, settings: WiseFtSettings) -> PromptModule:
        one, backbone = the_pack(context.given), context.backbone
        tuned = one.injection
        if backbone.family == "llama" and isinstance(one.template.segments[-1], Soft):
            raise UsageError(
                f"The pack '{one.name}' ends its template with a slot, from whose own state a "
                "decoder-only model goes on: no alpha makes that the frozen model",
                expected="a pack whose slots stand before the template's last word",
            )
        lowered = replace(backbone.lower(replace(tuned, weights={})), weights=tuned.weights)
        own = backbone.state_dict() if tuned.weights else {}
        return Path(lowered, own, settings.tried)


METHOD = WiseFt()
