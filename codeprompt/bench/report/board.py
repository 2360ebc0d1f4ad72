"""Several runs on one page: a leaderboard of each set of rows, and two runs side by side.

Rows stand on one board only if they answered the same rows (by fingerprint) under the same
signature. Differences here are between runs, so they are judged over seeds alone (Welch's t, Holm
over the table); what was tested over items too is in each run's own tables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from codeprompt.bench.report import numbers
from codeprompt.bench.report.figures import slug
from codeprompt.bench.report.grid import Cell, Column, Grid, estimated, shots_order, text
from codeprompt.bench.report.source import Source
from codeprompt.bench.results import Estimate, Table, TableRow
from codeprompt.metrics.compare import LEVEL, holm

Entry = tuple[Source, Table, TableRow]


@dataclass(frozen=True)
class Board:
    """All that may be compared: one set of rows under one signature."""

    title: str
    metric: str
    signature: str
    higher: bool
    entries: tuple[Entry, ...]


def boards(sources: Sequence[Source]) -> list[Board]:
    """The boards of several runs, in the order in which their tables come."""
    found: dict[tuple[str, ...], list[Entry]] = {}
    for source in sources:
        for table in source.tables.tables:
            if not table.metrics:
                continue
            for row in table.rows:
                evaluation = source.evaluation(table, row)
                if evaluation is None or row.metrics.get(table.metrics[0]) is None:
                    continue
                metric = table.metrics[0]
                key: tuple[str, ...] = (
                    *(table.task, table.data, table.evaluation, table.form, metric),
                    *(evaluation.fingerprint, table.signatures.get(metric, "")),
                )
                found.setdefault(key, []).append((source, table, row))
    out = []
    for key, entries in found.items():
        table = entries[0][1]
        higher = table.higher_is_better.get(table.metrics[0], True)
        out.append(Board(table.title, key[4], key[6], higher, tuple(entries)))
    return out


def leaderboard(board: Board, place: int) -> Grid:
    """Every arm of every run, best first, each with its distance from the first."""
    sign = -1 if board.higher else 1
    entries = sorted(board.entries, key=lambda entry: sign * _mean(entry, board.metric))
    first = entries[0][2].metrics[board.metric]
    gaps = judged([(first, row.metrics[board.metric]) for _, _, row in entries[1:]], board)
    columns = (
        Column("arm", False),
        Column("rank"),
        Column(board.metric, help=board.signature, higher=board.higher),
        Column("from the first", help="with Welch's 95% interval over seeds"),
        Column("verdict", False, help="at the 5% level, after Holm over this board"),
        Column("run", False),
        Column("shots"),
        Column("seeds"),
        Column("trained parameters"),
        Column("training"),
        Column("backbone", False),
    )
    rows = []
    none = Cell(None, numbers.NONE), "first"
    for rank, ((source, _, row), (gap, verdict)) in enumerate(
        zip(entries, [none, *gaps], strict=True), start=1
    ):
        cells = (
            text(row.name, row.kind),
            Cell(rank, str(rank)),
            estimated(row.metrics[board.metric], board.metric, rank == 1),
            gap,
            text(verdict),
            text(source.label),
            Cell(shots_order(row.shots), str(row.shots)),
            Cell(len(row.seeds), str(len(row.seeds))),
            Cell(row.cost.parameters, numbers.count(row.cost.parameters)),
            Cell(row.cost.train_seconds, numbers.seconds(row.cost.train_seconds or None)),
            text(_backbone(source, row)),
        )
        rows.append((row.kind, cells))
    return Grid(slug("leaderboard", str(place), board.title), board.title, columns, tuple(rows))


def comparison(board: Board, one: Source, other: Source, place: int) -> Grid | None:
    """The arms that two runs share on a board; None where they share none."""
    named = {(row.name, str(row.shots)): row for source, _, row in board.entries if source is one}
    shared = [
        (named[row.name, str(row.shots)], row)
        for source, _, row in board.entries
        if source is other and (row.name, str(row.shots)) in named
    ]
    if not shared:
        return None
    columns = (
        Column("arm", False),
        Column("shots"),
        Column(f"A: {one.label}"),
        Column(f"B: {other.label}"),
        Column("B − A", help="with Welch's 95% interval over seeds"),
        Column("verdict", False, help="at the 5% level, after Holm over this table"),
        Column("training, B / A"),
    )
    pairs = [(old.metrics[board.metric], new.metrics[board.metric]) for old, new in shared]
    rows = []
    for (old, new), (before, after), (gap, verdict) in zip(
        shared, pairs, judged(pairs, board), strict=True
    ):
        ratio = _ratio(new.cost.train_seconds, old.cost.train_seconds)
        cells = (
            text(new.name, new.kind),
            Cell(shots_order(new.shots), str(new.shots)),
            estimated(before, board.metric),
            estimated(after, board.metric),
            gap,
            text({"better": "B better", "worse": "A better"}.get(verdict, verdict)),
            Cell(ratio, numbers.NONE if ratio is None else f"{ratio:.2f}"),
        )
        rows.append((new.kind, cells))
    title = f"{board.title}: {one.label} and {other.label}"
    return Grid(slug("comparison", str(place), board.title), title, columns, tuple(rows))


def _mean(entry: Entry, metric: str) -> float:
    mean = entry[2].metrics[metric].mean
    return math.nan if mean is None else mean


def _backbone(source: Source, row: TableRow) -> str:
    return next((source.results[hash].backbone for hash in row.cells), "") or numbers.NONE


def _ratio(new: float, old: float) -> float | None:
    return new / old if new and old else None


def judged(pairs: Sequence[tuple[Estimate, Estimate]], board: Board) -> list[tuple[Cell, str]]:
    """new - old of each pair with its interval, and what that says of new, after Holm."""
    values = [(_defined(old), _defined(new)) for old, new in pairs]
    tested = [welch(old, new) for old, new in values]
    corrected = iter(holm([one.p for one in tested if one is not None]))
    out: list[tuple[Cell, str]] = []
    places = numbers.digits(board.metric)
    for (old, new), one in zip(values, tested, strict=True):
        p = None if one is None else next(corrected)
        if not old or not new:
            out.append((Cell(None, numbers.NONE), "not defined"))
            continue
        difference = fmean(new) - fmean(old)
        found = None if one is None else (one.low, one.high)
        low, high = found or (None, None)
        shown = numbers.number(difference, places, sign=True)
        cell = Cell(difference, shown, numbers.interval(found, places, sign=True), low, high)
        better = "better" if (difference > 0) == board.higher else "worse"
        if old == new:
            verdict = "the same"
        elif p is None:
            verdict = "not tested: one seed"
        else:
            verdict = better if p < LEVEL else "tie"
        out.append((cell, verdict))
    return out


def _defined(found: Estimate) -> list[float]:
    return [value for value in found.values if value is not None]


@dataclass(frozen=True)
class Welch:
    """mean(b) - mean(a) for unequal variances: its 95% interval, and p."""

    low: float
    high: float
    p: float


def welch(a: Sequence[float], b: Sequence[float]) -> Welch | None:
    """Welch's t on two lists; None under two values each."""
    if len(a) < 2 or len(b) < 2:
        return None
    from scipy.stats import t

    difference = fmean(b) - fmean(a)
    parts = variance(a) / len(a), variance(b) / len(b)
    if sum(parts) == 0:
        return Welch(difference, difference, float(difference == 0))
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1))
    error = math.sqrt(sum(parts))
    half = float(t.ppf(0.975, freedom)) * error
    p = 2 * float(t.sf(abs(difference) / error, freedom))
    return Welch(difference - half, difference + half, p)
