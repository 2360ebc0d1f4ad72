"""A tuned pack as it stands, frozen: what another method is trained on top of (`tuned+lora`).

Ding et al. 2023 (Delta tuning), section 4.2, sequential combination: tune one part, freeze it, then
tune the next; both go into one pack. `of` names the pack; without it `base` is tuned first, on the
same rows. The pack's template and head are kept, its head frozen with it. Alone it trains nothing
and packs what it was given.
"""

from __future__ import annotations

from dataclasses import dataclass

from codeprompt.errors import UsageError
from codeprompt.inject import Injection
from codeprompt.methods._given import GivenMethod, the_pack
from codeprompt.methods.base import Context, PromptModule


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


class Tuned(GivenMethod[TunedSettings]):
    """The pack's own template and head."""

    settings = TunedSettings
    kind = "given"

    def build(self, context: Context, settings: TunedSettings) -> PromptModule:
        one = the_pack(context.given)
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


METHOD = Tuned()
