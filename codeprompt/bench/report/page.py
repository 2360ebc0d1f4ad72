"""The page: everything in one HTML file that asks nothing of any network."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from codeprompt.bench.report import exports, numbers
from codeprompt.bench.report.answers import Examples
from codeprompt.bench.report.figures import Drawn
from codeprompt.bench.report.findings import Finding
from codeprompt.bench.report.grid import Cell, Grid
from codeprompt.bench.report.palette import DARK, LIGHT, inline
from codeprompt.bench.report.source import Source
from codeprompt.bench.results import CellResult, Table

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class TableView:
    """One table with all that belongs to it; anchor: its place in the page."""

    anchor: str
    table: Table
    grids: tuple[Grid, ...]
    tests: Grid | None
    findings: tuple[Finding, ...]
    figures: tuple[Drawn, ...]
    examples: Examples | None


@dataclass(frozen=True)
class SourceView:
    """One run. environment: of its first cell. hidden: why there are no examples."""

    anchor: str
    source: Source
    tables: tuple[TableView, ...]
    failed: tuple[CellResult, ...]
    environment: tuple[tuple[str, str], ...]
    cells: Grid
    data: tuple[Grid, ...]
    hidden: str


def render(
    title: str, views: Sequence[SourceView], boards: Sequence[Grid], made: str, version: str
) -> str:
    """The page of one run, or of several with their boards first."""
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            views=views,
            boards=boards,
            made=made,
            version=version,
            light=_variables(LIGHT),
            dark=_variables(DARK),
        )
    )


def _variables(colours: dict[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("codeprompt.bench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def verbatim(name: str) -> Markup:
        """A file of the templates as it stands: style and script."""
        assert environment.loader is not None
        return Markup(environment.loader.get_source(environment, name)[0])

    environment.globals |= {
        "verbatim": verbatim,
        "downloads": downloads,
        "figure": lambda drawn: Markup(inline(drawn.svg, drawn.title)),
        "plain": _sortable,
        "bar": lambda grid, place, cell: Markup(bar(grid, place, cell)),
    }
    environment.filters |= {"count": numbers.count, "seconds": numbers.seconds, "suite": _suite}
    return environment


def downloads(grid: Grid) -> list[tuple[str, str, str]]:
    """The grid's other forms as links that hold their file: label, file name, address."""
    forms = (
        ("CSV", "csv", "text/csv", exports.to_csv(grid)),
        ("Markdown", "md", "text/markdown", exports.to_markdown(grid)),
        ("LaTeX", "tex", "application/x-tex", exports.to_latex(grid)),
    )
    return [
        (
            label,
            f"{grid.name}.{ending}",
            f"data:{kind};charset=utf-8;base64," + quote(base64.b64encode(text.encode()).decode()),
        )
        for label, ending, kind, text in forms
    ]


def bar(grid: Grid, place: int, cell: Cell) -> str:
    """A cell's value and interval as a line between the least and the most of its column."""
    if not isinstance(cell.value, int | float):
        return ""
    shown = [cells[place] for _, cells in grid.rows]
    values = [one.value for one in shown if isinstance(one.value, int | float)]
    low, high = min(values), max(values)
    if low == high:
        return ""

    def along(value: float) -> float:
        return min(100.0, max(0.0, 100 * (value - low) / (high - low)))

    ends = [along(cell.value if end is None else end) for end in (cell.low, cell.high)]
    return (
        f'<span class="span" aria-hidden="true"><i style="left:{ends[0]:.1f}%;'
        f'width:{ends[1] - ends[0]:.1f}%"></i><b style="left:{along(cell.value):.1f}%"></b></span>'
    )


def _sortable(value: Any) -> str:
    """What the script sorts by: a number, a text, or nothing (which goes last)."""
    return "" if value is None or value != value else str(value)


def _suite(source: Source) -> str:
    """The suite as it was asked for, for people to read."""
    import msgspec

    return json.dumps(msgspec.to_builtins(source.run.suite), indent=2, ensure_ascii=False)
