"""A tuned pack as it stands, frozen: what another method is trained on top of (`tuned+lora`).

Ding et al. 2023 (Delta tuning), section 4.2, sequential combination: tune one part, freeze it, then
tune the next; both go into one pack. `of` names the pack; without it `base` is tuned first, on the
same rows. The pack's template and head are kept, its head frozen with it. Alone it trains nothing
and packs what it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from codeprompt.errors import UsageError
from codeprompt.inject import Injection
from codeprompt.methods.base import Context, Given, HeadKind, Method, PromptModule
from codeprompt.template import Template


@dataclass(frozen=True)
class TunedSettings:
    """of: the tuned pack, by path or name; without one, `base` is tuned first."""

    of: str = ""
    base: str = "soft"


class Fixed(PromptModule):
    """An injection that does not learn."""

    def __init__(self, injection: Injection) -> None:
        super().__init__()
        self.injection = injection

    def forward(self) -> Injection:
        return self.injection


class Tuned(Method[TunedSettings]):
    """The pack's own template and head."""

    settings = TunedSettings
    kind = "given"
    trains = False

    def given(self, settings: TunedSettings) -> tuple[str, ...]:
        return (settings.of,) if settings.of else ()

    def grows(self, settings: TunedSettings) -> tuple[str, ...]:
        return () if settings.of else (settings.base,)

    def fitted(self, hard: Template, settings: TunedSettings, given: Sequence[Given]) -> Template:
        return _one(given).template

    def inherited(self, settings: TunedSettings, given: Sequence[Given]) -> HeadKind | None:
        return "verbalizer" if _one(given).injection.head is None else "linear"

    def recorded(self, settings: TunedSettings, given: Sequence[Given]) -> dict[str, Any]:
        return {**asdict(settings), "of": str(_one(given))}

    def build(self, context: Context, settings: TunedSettings) -> PromptModule:
        one = _one(context.given)
        head = one.injection.head
        if one.injection.weights:
            raise UsageError(
                f"The pack '{one.name}' holds tuned weights, and a prompt is trained on a frozen "
                "backbone",
                do="Name a pack of prompts or deltas",
            )
        if head is not None and head.weight.shape[0] != context.labels:
            raise UsageError(
                f"The head of '{one.name}' tells {head.weight.shape[0]} labels apart",
                expected=f"the {context.labels} of the task",
            )
        device = context.backbone.device
        return Fixed(one.injection.to(device=device))


def _one(given: Sequence[Given]) -> Given:
    if not given:
        raise UsageError("There is no pack to build on", do="Name a tuned one: --set of=PACK")
    return given[0]


METHOD = Tuned()
