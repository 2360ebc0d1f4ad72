"""XPrompt: a soft prompt whose useless tokens and pieces are pruned, and the rest tuned again.

Ma et al. 2022 (XPrompt: Exploring the Extreme of Prompt Tuning): train P = 20 vectors [P,d]; prune
tokens, then 16 contiguous pieces of the survivors, by E|dL/dgamma|; rewind what survives to its
values after the first training, and train it. We differ: one share is kept on both levels, half by
default (theirs is the best of 10-90% each). Pruned tokens are gone from the pack and from its
template, so that the input is shorter; the rows are rendered anew before the second training, and
what stands behind a dropped slot moves up. A run takes twice the recipe's steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from codeprompt.inject import Injection
from codeprompt.methods._pruning import Prunable, check_shares
from codeprompt.methods._slots import Init, SlotMethod, started
from codeprompt.methods.base import Context, PromptModule, with_head
from codeprompt.template import Template, kept_slots


@dataclass(frozen=True)
class XPromptSettings:
    """length: P before pruning, unless the template has soft slots of its own. init: see `_slots`.

    kept: share of tokens, and of every survivor's pieces. pieces: of a token.
    """

    length: int = 20
    kept: float = 0.5
    pieces: int = 16
    init: Init = "vocabulary"

    def __post_init__(self) -> None:
        check_shares([self.kept], self.pieces)


class PrunedSlots(Prunable):
    """Slots [P',d], and the template that has as many."""

    def forward(self) -> Injection:
        return Injection(slots=self.pruned()[0])

    def fitted(self, template: Template) -> Template:
        return kept_slots(template, self.tokens.tolist())


class XPrompt(SlotMethod[XPromptSettings]):
    """`{soft:P}` at the front of the hard template, of which P' are left."""

    settings = XPromptSettings

    def build(self, context: Context, settings: XPromptSettings) -> PromptModule:
        initial = started(context, settings.init)[None]
        return with_head(context, slots=PrunedSlots(initial, settings.pieces, [settings.kept]))


METHOD = XPrompt()
