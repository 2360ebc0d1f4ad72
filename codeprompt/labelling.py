"""Labels of lines: from the states of a field's tokens to a probability for every line.

A line's tokens are those of its text; a token that begins with line breaks belongs to the line it
ends in. A linear head labels every token, and a line is the mean over its tokens, so that a long
line counts as much as a short one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from codeprompt.backbones.base import Source
from codeprompt.backbones.tokenizer import Tokenizer
from codeprompt.errors import TemplateError
from codeprompt.inject import Head, Injected
from codeprompt.lines import Ranking
from codeprompt.plan import Plan
from codeprompt.types import Prediction, Rendered

FIELD = "code"


@dataclass(frozen=True)
class Lines:
    """The lines of one rendered row that were read: positions [N] and the line of each [N].

    numbers: the lines, from 1, in order. total: of the whole text, what was cut included.
    """

    positions: list[int]
    lines: list[int]
    total: int

    @property
    def numbers(self) -> list[int]:
        return sorted(set(self.lines))


def lines_of(rendered: Rendered, tokenizer: Tokenizer) -> Lines:
    """Which token stands in which line of the code. Raises `TemplateError` without `{code}`."""
    span = next((one for one in rendered.spans if one.field == FIELD), None)
    if span is None:
        raise TemplateError(
            "The template has no {code}, whose lines are to be labelled",
            do="Put {code} into the template",
        )
    breaks = tokenizer.line_breaks
    positions, lines, line = [], [], 1
    for place in range(span.start, span.end):
        leading, all_of_it, bare = breaks[rendered.ids[place]]
        if not bare:  # more than line breaks and spaces
            positions.append(place)
            lines.append(line + leading)
        line += all_of_it
    return Lines(positions, lines, span.lines)


def token_log_probs(
    model: Any,
    rows: Sequence[Lines],
    source: Source,
    hidden: Tensor,
    injected: Injected,
    head: Head,
) -> Tensor:
    """Label log-probabilities [N,C] of all rows' tokens, one row after the other."""
    states = model.token_states(hidden, source, injected)
    row = torch.tensor([i for i, one in enumerate(rows) for _ in one.positions])
    place = torch.tensor([p for one in rows for p in one.positions])
    picked = states[row.to(states.device), place.to(states.device)].float()
    logits = F.linear(picked, head.weight.float(), head.bias.float())
    return logits.log_softmax(-1)


def groups(rows: Sequence[Lines]) -> Tensor:
    """For each token the number of its line among all lines of all rows [N]."""
    out, offset = list[int](), 0
    for one in rows:
        order = {line: offset + place for place, line in enumerate(one.numbers)}
        out += [order[line] for line in one.lines]
        offset += len(order)
    return torch.tensor(out, dtype=torch.long)


def mean_by_line(values: Tensor, group: Tensor) -> Tensor:
    """Means of values [N] within each group: [G]."""
    group = group.to(values.device)
    count = torch.bincount(group)
    total = torch.zeros(len(count), dtype=values.dtype, device=values.device)
    return total.index_add(0, group, values) / count


def labelling_loss(log_probs: Tensor, rows: Sequence[Lines], wanted: Sequence[set[int]]) -> Tensor:
    """Summed over lines, each the mean of its tokens' negative log-likelihood.

    log_probs: of two labels, that of a line to blame second.
    """
    labels = [int(n in mine) for one, mine in zip(rows, wanted, strict=True) for n in one.lines]
    target = torch.tensor(labels, device=log_probs.device)
    loss = -log_probs.gather(1, target[:, None])[:, 0]
    return mean_by_line(loss, groups(rows)).sum()


def labelled(
    model: Any,
    plan: Plan,
    rendered: Sequence[Sequence[Rendered]],
    source: Source,
    hidden: Tensor,
    injected: Injected,
    head: Head,
) -> list[Prediction]:
    """Every line's probability, the most suspicious first; what was cut away has none (0)."""
    rows = [lines_of(row[0], plan.tokenizer) for row in rendered]
    positive = plan.labels.index(plan.positive or plan.labels[-1])
    found: list[float] = []
    if any(one.positions for one in rows):
        log_probs = token_log_probs(model, rows, source, hidden, injected, head)
        found = mean_by_line(log_probs[:, positive].exp(), groups(rows)).tolist()
    out, at = [], 0
    for one in rows:
        numbers = one.numbers
        scores = dict(zip(numbers, found[at : at + len(numbers)], strict=True))
        at += len(numbers)
        last = max(numbers, default=0)
        scores |= dict.fromkeys(range(last + 1, one.total + 1), 0.0)
        ranking = Ranking.of(scores, plan.threshold)
        best = max(scores.values(), default=0.0)
        shown = {str(line): score for line, score in ranking.scores.items()}
        out.append(Prediction(str(ranking), best, shown))
    return out
