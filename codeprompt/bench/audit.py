"""What must be known of a data set before its scores are believed: duplicates and overlap.

Equal means equal without white space; near means a Jaccard similarity of 0.8 or more of five-token
shingles (`data/dedupe.py`), and counts the equal ones. Devign takes a minute, so what was found is
kept in the user's cache under the fingerprints of the rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from codeprompt.bench.data import plain_rows, pool
from codeprompt.bench.kept import kept
from codeprompt.bench.results import DataReport, Overlaps
from codeprompt.bench.suite import DataSpec, EvaluationSpec
from codeprompt.data import dedupe
from codeprompt.data.fingerprint import fingerprint
from codeprompt.errors import DataError
from codeprompt.registry import TASKS
from codeprompt.types import Example

THRESHOLD = 0.8
Kinds = dict[str, str]


def audit(spec: DataSpec, evaluations: Sequence[EvaluationSpec], root: Path | None) -> DataReport:
    """The report of one data set and of all that is evaluated after training on it."""
    task = TASKS.get(spec.task)
    parts = {"train": pool(spec, "train", root), "dev": pool(spec, "valid", root)}
    _check_form(spec, parts["train"])
    known = [row.fields["code"] for rows in parts.values() for row in rows]
    parts |= {one.name: plain_rows(one, spec, root) for one in evaluations if not one.transform}
    across = [_across("dev", parts["dev"], "train", parts["train"])]
    overlapping: dict[str, Kinds] = {}
    for one in evaluations:
        rows = plain_rows(one, spec, root)
        found = overlapping_rows(known, rows)
        overlapping[one.name] = found
        if not one.transform:
            across.append(_counted(one.name, "train + dev", len(rows), found))
    test = parts[evaluations[0].name] if evaluations else []
    return DataReport(
        name=spec.name,
        task=spec.task,
        form=spec.form,
        parts={name: len(rows) for name, rows in parts.items()},
        fingerprints={name: fingerprint(rows) for name, rows in parts.items()},
        inner={name: _inner(rows) for name, rows in parts.items()},
        across=tuple(across),
        overlapping=overlapping,
        both_labels=_both_labels(parts) if task.kind == "classify" else None,
        base_rate=_rate(test, task.positive),
        notes=spec.notes,
    )


def overlapping_rows(known: Sequence[str], rows: Sequence[Example]) -> Kinds:
    """Row id to `exact` or `near`, for the rows of which a like text is among `known`."""
    texts = [row.fields["code"] for row in rows]
    found = kept(f"overlap {THRESHOLD}", [known, texts], Kinds, lambda: _overlapping(known, texts))
    return {rows[int(at)].id: kind for at, kind in found.items()}


def _overlapping(known: Sequence[str], texts: Sequence[str]) -> Kinds:
    """Index to kind; as `dedupe.overlap`, which only counts."""
    sets = dedupe._ranked([*known, *texts])
    index: dedupe.Index = defaultdict(list)
    for at in range(len(known)):
        dedupe._add(at, sets[at], index, THRESHOLD)
    exact = {dedupe.normalise(text) for text in known}
    out: Kinds = {}
    for at, text in enumerate(texts):
        if dedupe.normalise(text) in exact:
            out[str(at)] = "exact"
        elif dedupe._has_near(sets[len(known) + at], sets, index, THRESHOLD):
            out[str(at)] = "near"
    return out


def _across(part: str, rows: Sequence[Example], other: str, known: Sequence[Example]) -> Overlaps:
    found = overlapping_rows([row.fields["code"] for row in known], rows)
    return _counted(part, other, len(rows), found)


def _counted(part: str, other: str, rows: int, found: Kinds) -> Overlaps:
    exact = sum(kind == "exact" for kind in found.values())
    return Overlaps(
        part=part, other=other, rows=rows, exact=exact, near=len(found), threshold=THRESHOLD
    )


def _inner(rows: Sequence[Example]) -> int:
    """Rows that are an equal or near copy of an earlier one."""
    texts = [row.fields["code"] for row in rows]

    def repeated() -> Kinds:
        return {str(at): "near" for at in dedupe.near_duplicates(texts, THRESHOLD)}

    return len(kept(f"inner {THRESHOLD}", [texts], Kinds, repeated))


def _both_labels(parts: Mapping[str, Sequence[Example]]) -> int:
    labels: defaultdict[str, set[str]] = defaultdict(set)
    for rows in parts.values():
        for row in rows:
            labels[dedupe.normalise(row.fields["code"])].add(row.target)
    return sum(len(found) > 1 for found in labels.values())


def _rate(rows: Sequence[Example], positive: str | None) -> float | None:
    if positive is None or not rows:
        return None
    return sum(row.target == positive for row in rows) / len(rows)


def _check_form(spec: DataSpec, rows: Sequence[Example]) -> None:
    """Scores on joined tokens and on source text differ: the suite must say which it means.

    Only rows that carry the source beside the input can tell.
    """
    if "raw_code" not in rows[0].fields:
        return
    same = sum(row.fields["raw_code"] == row.fields["code"] for row in rows)
    found = "text" if same * 2 > len(rows) else "tokens"
    if found != spec.form:
        raise DataError(
            f"The data '{spec.name}' gives code as {found}, the suite says form = '{spec.form}'",
            expected="tokens (joined, as CodeXGLUE feeds them) or text (as it stands in the file)",
            do="Correct the suite, or choose the other column with columns.code",
        )
