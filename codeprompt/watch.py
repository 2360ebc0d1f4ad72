"""Where attention goes: what real inputs give to every vector of a prompt.

The pass is run as it is, on one row at a time, and each attention is asked a second time with
values that name their key: column p has the p-th unit vector, a soft slot its own, real tokens
zero. What comes out is the share of each vector, by the hinge's own softmax, log-scales and
position conventions included. Queries are all real positions of the source, and of the answer that
the pack gives where a decoder attends apart from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from codeprompt.answer import Prompt
from codeprompt.backbones.base import Family
from codeprompt.backbones.generation import generate
from codeprompt.forward import classify, encode_all
from codeprompt.inject import NOTHING, Injected, Site, SiteRows, collate

READS_SOURCE: dict[Family, tuple[Site, ...]] = {
    "t5": ("encoder", "cross"),
    "roberta": ("encoder",),
    "llama": ("decoder",),
}
"""Sites whose keys are source positions, soft slots among them."""


@dataclass
class Sums:
    """What one site gave so far: mass [L,P+N] and, for comparison, what its real keys were like.

    columns: P; the rest are slots. token: the mean mass of a real key. key, value: mean norms of
    real keys and values. count: attentions that were looked at.
    """

    mass: Tensor
    columns: int
    token: float = 0.0
    key: float = 0.0
    value: float = 0.0
    count: int = 0


@dataclass(frozen=True)
class Watched(Injected):
    """A row's prompt that notes what its vectors get.

    slots_at: by site, the slot of every key (-1: a real token). notes: what was seen, by site.
    """

    slots_at: Mapping[Site, Tensor] = field(default_factory=dict)
    notes: dict[Site, Sums] = field(default_factory=dict)
    layers: Mapping[Site, int] = field(default_factory=dict)

    def attend(
        self,
        site: Site,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        **more: Any,
    ) -> Tensor:
        """As `Injected.attend`, and a look at where it went."""
        self._look(site, layer, q, k, v, bias, **more)
        return super().attend(site, layer, q, k, v, bias, **more)

    def _look(
        self,
        site: Site,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        **more: Any,
    ) -> None:
        rows, at = self.sites.get(site), self.slots_at.get(site)
        if at is None or len(at) != k.shape[2]:  # keys of another kind: an answer's own past
            at = torch.full((k.shape[2],), -1)
        columns = 0 if rows is None else rows.bias.shape[1]
        count = columns + (0 if self.slots is None else self.slots.shape[1])
        if count == 0 or (rows is None and bool((at < 0).all())):
            return
        named = torch.zeros(k.shape[2], count, dtype=q.dtype)
        soft = (at >= 0).nonzero().flatten()
        named[soft, columns + at[soft]] = 1.0
        probe = NOTHING
        if rows is not None:
            unit = torch.eye(columns, count, dtype=q.dtype)
            shape = (*rows.key.shape[:4], count)
            probe = Injected(
                sites={site: SiteRows(rows.key, unit.expand(shape), rows.bias, rows.past)}
            )
        found = probe.attend(site, layer, q, k, named.expand(*k.shape[:3], -1), bias, **more)
        mass = found.flatten(0, 2).mean(0)
        sums = self.notes.setdefault(site, Sums(torch.zeros(self.layers[site], count), columns))
        sums.mass[layer] += mass
        real = at < 0
        sums.token += float(1 - mass.sum()) / max(1, int(real.sum()))
        sums.key += float(k[:, :, real].norm(dim=-1).mean())
        sums.value += float(v[:, :, real].norm(dim=-1).mean())
        sums.count += 1


@torch.no_grad()
def watch(prompt: Prompt, rows: Sequence[Mapping[str, str]]) -> dict[Site, Sums]:
    """Means over rows, layers, heads and queries for every site that the prompt's vectors reach.

    prompt: lowered, on the backbone itself. rows: fields for its template. Sums come back as
    means: `mass` [L,P+N] by layer.
    """
    notes: dict[Site, Sums] = {}
    plan, injected = prompt.plan, collate([prompt.injection])
    own = {f.name: getattr(injected, f.name) for f in fields(injected)}
    layers = {site: shape.layers for site, shape in plan.backbone.sites.items()}
    for row in rows:
        rendered = plan.render(row)
        at = torch.tensor(rendered[0].slots)
        places = dict.fromkeys(READS_SOURCE[plan.backbone.family], at)
        watched = Watched(**own, slots_at=places, notes=notes, layers=layers)
        _run(prompt, rendered, injected, watched)
    for site, sums in notes.items():
        each = sums.count / layers[site]
        notes[site] = replace(
            sums,
            mass=sums.mass / each,
            token=sums.token / sums.count,
            key=sums.key / sums.count,
            value=sums.value / sums.count,
        )
    return notes


def _run(prompt: Prompt, rendered: Any, injected: Injected, watched: Watched) -> None:
    """One row's pass as it answers: the label's, or the answer it writes, read again."""
    plan: Any = prompt.plan
    model = plan.backbone
    sources, hidden = encode_all(plan, [rendered], watched)
    if plan.kind != "generate":
        classify(model, plan, [rendered], sources, hidden, watched, prompt.injection.head)
        return
    memory = model.remember(hidden[0], sources[0], watched)
    tokenizer = plan.tokenizer
    found = generate(
        model,
        memory,
        injected,
        replace(prompt.decoding, beams=1, candidates=1, sample=False),
        eos=tokenizer.eos_id,
        pad=tokenizer.pad_id,
        start=model.start_id,
    )[0][0]
    model.decode(torch.tensor([[model.start_id, *found.ids]]), memory, watched)
