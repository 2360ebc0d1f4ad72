"""A table before it is HTML, CSV, Markdown or LaTeX: the same numbers in all four."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from codeprompt.bench.report import numbers
from codeprompt.bench.results import Contrast, Estimate, Table, TableRow

Value = float | int | str | None


@dataclass(frozen=True)
class Cell:
    """value: what is sorted and exported; text: what is read; note: small, beside it.

    low, high: exported in columns of their own where any cell of the column has them; the page
    draws them where the column is `drawn`.
    """

    value: Value
    text: str
    note: str = ""
    low: float | None = None
    high: float | None = None
    strong: bool = False
    kind: str = ""


@dataclass(frozen=True)
class Column:
    """help: said on hovering; higher: which way is better, None where there is none."""

    name: str
    numeric: bool = True
    help: str = ""
    higher: bool | None = None
    drawn: bool = False


@dataclass(frozen=True)
class Grid:
    """name: of its files. rows: their kind (a class in HTML), and cells as there are columns."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    notes: tuple[str, ...] = field(default=())


Price = tuple[Column, Callable[[TableRow], Cell]]
"""A column, and how a row fills it."""


def text(value: str | int, kind: str = "") -> Cell:
    return Cell(value, str(value), kind=kind)


def number(value: float | None, metric: str) -> Cell:
    return Cell(value, numbers.number(value, numbers.digits(metric)))


def estimated(found: Estimate | None, metric: str, strong: bool = False) -> Cell:
    """A mean with its interval over seeds."""
    if found is None or found.mean is None:
        return Cell(None, numbers.NONE)
    places = numbers.digits(metric)
    low, high = found.interval or (None, None)
    note = numbers.interval(found.interval, places)
    return Cell(found.mean, numbers.number(found.mean, places), note, low, high, strong)


def scores(
    table: Table, name: str, more: Sequence[Price] = (), *, without_overlap: bool = False
) -> Grid:
    """Every arm with its metrics and what it costs; more: further columns (`prices.py`)."""
    best = leaders(table, without_overlap)
    metrics = tuple(
        Column(
            metric,
            help=table.signatures.get(metric, ""),
            higher=_higher(table, metric),
            drawn=metric == table.metrics[0],
        )
        for metric in table.metrics
    )
    costs = (
        Column("trained parameters"),
        Column("training", help="seconds of the wall, mean over seeds"),
        *(column for column, _ in more),
        Column("distinct", help="share of different answers; near 0 is one answer for everything"),
    )
    rows = []
    for row in table.rows:
        if row.missing_all and not row.failed:
            continue
        found = row.without_overlap if without_overlap else row.metrics
        cost = row.cost
        cells = [
            text(row.name, row.kind),
            Cell(shots_order(row.shots), _shots(row)),
            *(
                estimated(found.get(metric), metric, id(row) in best[metric])
                for metric in table.metrics
            ),
            Cell(len(row.seeds), _seeds(row)),
            Cell(cost.parameters, numbers.count(cost.parameters)),
            Cell(cost.train_seconds, numbers.seconds(cost.train_seconds or None)),
            *(of(row) for _, of in more),
            Cell(row.distinct, numbers.number(row.distinct)),
        ]
        rows.append((row.kind, tuple(cells)))
    columns = (Column("arm", False), Column("shots"), *metrics, Column("seeds"), *costs)
    return Grid(name, table.title, columns, tuple(rows), (*table.notes, *_not_run(table)))


def _not_run(table: Table) -> tuple[str, ...]:
    """Rows that would be dashes alone, in one sentence."""
    none: dict[str, list[str]] = {}
    for row in table.rows:
        if row.missing_all and not row.failed:
            none.setdefault(numbers.shots_text(row.shots), []).append(row.name)
    if not none:
        return ()
    said = "; ".join(f"at {shots}: {', '.join(names)}" for shots, names in none.items())
    return (f"Not run yet: {said}.",)


def _higher(table: Table, metric: str) -> bool:
    return table.higher_is_better.get(metric, True)


def leaders(table: Table, without_overlap: bool = False) -> dict[str, set[int]]:
    """Of each metric, the ids of the rows with the best mean at some number of shots.

    What needs no shots stands beside every number of them.
    """
    out: dict[str, set[int]] = {}
    sizes = {str(row.shots) for row in table.rows if row.shots != 0} or {"0"}
    for metric in table.metrics:
        pick = max if _higher(table, metric) else min
        out[metric] = set()
        for shots in sizes:
            several: list[tuple[float, TableRow]] = []
            for row in table.rows:
                found = (row.without_overlap if without_overlap else row.metrics).get(metric)
                if str(row.shots) in (shots, "0") and found and found.mean is not None:
                    several.append((found.mean, row))
            if len(several) > 1:
                out[metric].add(id(pick(several, key=lambda one: one[0])[1]))
    return out


def shots_order(shots: int | str) -> float:
    """For sorting: shares of the rows after all numbers."""
    if isinstance(shots, int):
        return float(shots)
    try:
        return 1e9 + float(shots.rstrip("%"))
    except ValueError:
        return 2e9


def _shots(row: TableRow) -> str:
    return f"{row.shots:,}" if isinstance(row.shots, int) else row.shots


def _seeds(row: TableRow) -> str:
    parts = [str(len(row.seeds))]
    if row.failed:
        parts.append(f"{len(row.failed)} failed")
    if row.missing:
        parts.append(f"{len(row.missing)} to come")
    return ", ".join(parts)


def contrasts(found: Sequence[Contrast], name: str, title: str) -> Grid:
    """What was tested, with the verdicts."""
    columns = (
        Column("b", False, "the arm that is tested"),
        Column("against a", False),
        Column("shots"),
        Column("b − a", help="mean over seeds, with the 95% interval over items"),
        Column("relative", help="b − a over the mean of a"),
        Column("p over items"),
        Column("p over seeds"),
        Column("p, corrected", help="the larger of the two, after Holm over this table"),
        Column("verdict", False),
    )
    rows = []
    for one in found:
        places = numbers.digits(one.metric)
        winner = {"a": f"{one.a} better", "b": f"{one.b} better", "tie": "tie"}[one.winner]
        winner += ", one seed" if one.one_seed else ""
        low, high = one.interval
        difference = Cell(
            one.difference,
            numbers.number(one.difference, places, sign=True),
            numbers.interval(one.interval, places, sign=True),
            low,
            high,
        )
        cells = (
            text(one.b),
            text(one.a),
            Cell(shots_order(one.shots), str(one.shots)),
            difference,
            Cell(one.relative, numbers.share(one.relative)),
            *(Cell(p, numbers.probability(p)) for p in (one.p_items, one.p_seeds, one.p_holm)),
            text(winner, one.winner),
        )
        rows.append((one.winner, cells))
    return Grid(name, title, columns, tuple(rows))


def published(table: Table, name: str) -> Grid:
    """Figures from the literature, apart from ours."""
    columns = (
        Column("arm", False),
        Column("backbone", False),
        Column("shots"),
        Column("metric", False),
        Column("value"),
        Column("source", False),
        Column("remark", False),
    )
    rows = [
        (
            "published",
            (
                text(one.arm),
                text(one.backbone),
                Cell(shots_order(one.shots), "all" if one.shots == 0 else str(one.shots)),
                text(one.metric),
                number(one.value, one.metric),
                text(one.source),
                text(one.note),
            ),
        )
        for one in table.published
    ]
    return Grid(name, f"Published, not ours: {table.title}", columns, tuple(rows))
