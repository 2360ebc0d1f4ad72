"""A function beside its fix: near-equal rows of one name and project with opposite labels.

PrimeVul (Ding et al. 2024, section 4.2) scores pairs, because a detector that has learned how
projects write cannot tell a function from its own fix: P-C both right, P-V both called defective,
P-B both called clean, P-R both wrong. We add the share of pairs in which the defective one gets the
higher probability, which asks for no threshold. Devign names no fixes, so pairs are found by
likeness (Jaccard >= 0.8 of five-token shingles), and some are no fix of each other. Its test split
alone has 18 of them; the suite takes them from all rows and keeps these out of training
(`DataSpec.unpaired`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from codeprompt.bench.baselines.function_name import own_name
from codeprompt.bench.kept import kept
from codeprompt.data.dedupe import normalise, shingles
from codeprompt.data.split import hash_order
from codeprompt.errors import DataError
from codeprompt.metrics.base import Item
from codeprompt.tasks.base import Task
from codeprompt.types import Example, Score

LIKE = 0.8


def paired(rows: Sequence[Example], most: int = 0, seed: int = 0) -> list[Example]:
    """The rows of the pairs, two by two, with their pair's number as the field `pair`.

    most: rows at most, of pairs drawn by the seed; 0 for all. Raises `DataError` for none at all.
    """
    places = pair_places(rows)
    if not places:
        raise DataError(
            "No function stands beside its fix in this data",
            expected="near-equal functions of one name with opposite labels",
        )
    if 0 < most < 2 * len(places):
        places = sorted(places, key=lambda pair: hash_order(seed, rows[pair[0]].id))[: most // 2]
    return [
        replace(rows[at], fields={**rows[at].fields, "pair": str(number)})
        for number, pair in enumerate(places)
        for at in pair
    ]


def pair_places(rows: Sequence[Example]) -> list[tuple[int, int]]:
    """Places of the rows of each pair. A row is in one pair at most, the likest first."""
    texts = [
        [row.fields["code"] for row in rows],
        [f"{row.fields.get('project', '')}/{row.target}" for row in rows],
    ]
    return kept(f"pairs {LIKE}", texts, list[tuple[int, int]], lambda: _pairs(rows))


def _pairs(rows: Sequence[Example]) -> list[tuple[int, int]]:
    groups: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        groups[row.fields.get("project", ""), own_name(row)].append(at)
    found: list[tuple[float, int, int]] = []
    for listed in groups.values():
        if len({rows[at].target for at in listed}) > 1:
            found += _likes(rows, listed)
    used: set[int] = set()
    out: list[tuple[int, int]] = []
    for _, one, two in sorted(found, key=lambda pair: (-pair[0], pair[1:])):
        if one not in used and two not in used:
            used |= {one, two}
            out.append((one, two))
    return out


def _likes(rows: Sequence[Example], listed: Sequence[int]) -> list[tuple[float, int, int]]:
    """Pairs of unlike labels that are like but not equal."""
    sets = {at: shingles(rows[at].fields["code"]) for at in listed}
    out = []
    for place, one in enumerate(listed):
        for two in listed[place + 1 :]:
            if rows[one].target == rows[two].target:
                continue
            both = len(sets[one] & sets[two])
            like = both / max(1, len(sets[one]) + len(sets[two]) - both)
            equal = normalise(rows[one].fields["code"]) == normalise(rows[two].fields["code"])
            if like >= LIKE and not equal:
                out.append((like, one, two))
    return out


def pair_scores(rows: Sequence[Example], items: Sequence[Item], task: Task) -> list[Score]:
    """`pair-order`, and `pair-correct` with PrimeVul's four shares as its parts, in percent."""
    pairs: defaultdict[str, dict[bool, Item]] = defaultdict(dict)
    for row, item in zip(rows, items, strict=True):
        pairs[row.fields["pair"]][row.target == task.positive] = item
    whole = [pair for pair in pairs.values() if len(pair) == 2]
    ordered, shares = 0.0, {"P-C": 0, "P-V": 0, "P-B": 0, "P-R": 0}
    for pair in whole:
        worse, better = pair[True].score or 0.0, pair[False].score or 0.0
        ordered += 1.0 if worse > better else 0.5 if worse == better else 0.0
        said = pair[True].prediction == task.positive, pair[False].prediction == task.positive
        kind = {(True, False): "P-C", (True, True): "P-V", (False, False): "P-B"}.get(said, "P-R")
        shares[kind] += 1
    n = len(whole)
    parts = {name: 100 * count / n for name, count in shares.items()}
    tags = f"like:{LIKE}|v:1"
    return [
        Score("pair-order", 100 * ordered / n, n, f"pair-order|ties:half|{tags}"),
        Score("pair-correct", parts["P-C"], n, f"pair-correct|{tags}", parts=parts),
    ]
