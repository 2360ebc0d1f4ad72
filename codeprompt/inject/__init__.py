"""The hinge: whatever a prompt method learns reaches a backbone as one value, an `Injection`.

An `Injection` belongs to one prompt. `collate` puts the injections of a batch's rows side by side,
padded in P under a mask, as one `Injected`, which every layer of a backbone reads. That is what
lets one batch mix tasks, methods and prompt lengths; this module alone concatenates, masks and
counts prompt columns.

Conventions
-----------
- Columns do not move the positions of real tokens: position ids stay and T5's relative bias is zero
  over columns (`kept`). Packs that come from `peft` carry `past` instead: real tokens stand after
  the columns, as in Hugging Face's cache.
- VPT-deep's layer vectors (Jia et al. 2022, section 3.2) overwrite P positions before every
  layer, so what those positions compute is thrown away: they are exactly the prompt columns K =
  k(norm(p)), V = v(norm(p)). `Backbone.lower` turns them into columns when a row is bound.
- A column's `log_scale` is added to its attention logits: 0 is the prompt as tuned, -inf the frozen
  model exactly (WiSE-FT's log alpha).
"""

from codeprompt.inject.delta import Delta
from codeprompt.inject.gate import Gate, Query, members
from codeprompt.inject.interpolate import interpolated
from codeprompt.inject.join import join
from codeprompt.inject.late import Late
from codeprompt.inject.parts import (
    SITES,
    Branch,
    Columns,
    Convention,
    Head,
    Injection,
    Site,
    Stack,
)
from codeprompt.inject.rows import (
    NOTHING,
    BranchRows,
    Injected,
    SiteRows,
    collate,
)
from codeprompt.inject.without import without

__all__ = [
    "NOTHING",
    "SITES",
    "Branch",
    "BranchRows",
    "Columns",
    "Convention",
    "Delta",
    "Gate",
    "Head",
    "Injected",
    "Injection",
    "Late",
    "Query",
    "Site",
    "SiteRows",
    "Stack",
    "collate",
    "interpolated",
    "join",
    "members",
    "without",
]
