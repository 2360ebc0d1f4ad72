"""The function's own name, split into words, as its summary."""

from __future__ import annotations

import re
from collections.abc import Sequence

from codeprompt.bench.baselines.base import Answers, Ask, Baseline
from codeprompt.types import Example, Prediction

PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
DEFINED = re.compile(r"\b(?:def|function|func|fn)\s+(\w+)|([A-Za-z_]\w*)\s*\(")


def words(name: str) -> list[str]:
    """`getHTTPResponse_code2` as get, http, response, code, 2."""
    return [part.lower() for part in PART.findall(name)]


def own_name(row: Example) -> str:
    """The name that the data says, without its class, else the first one that is defined."""
    said = row.fields.get("name", "")
    if said:
        return said.rpartition(".")[2]
    found = DEFINED.search(row.fields["code"])
    return (found[1] or found[2]) if found else ""


def fit(ask: Ask) -> Answers:
    """Nothing to learn."""

    def answer(rows: Sequence[Example]) -> list[Prediction]:
        return [Prediction(f"{' '.join(words(own_name(row))).capitalize()} .", 0.0) for row in rows]

    return answer


BASELINE = Baseline(kinds=("generate",), tasks=("summarize",), fit=fit)
