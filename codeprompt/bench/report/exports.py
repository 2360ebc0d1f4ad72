"""A grid as CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io

from codeprompt.bench.report.grid import Cell, Grid

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "$": r"\$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": r"$-$",
    "–": "--",
    "<": r"$<$",
    ">": r"$>$",
    "…": r"\ldots{}",
}


def to_csv(grid: Grid) -> str:
    """Every number with all its digits; interval ends in columns `... low` and `... high`."""
    spread = [
        any(cells[place].low is not None for _, cells in grid.rows)
        for place in range(len(grid.columns))
    ]
    header: list[str] = []
    for column, wide in zip(grid.columns, spread, strict=True):
        header.append(column.name)
        if wide:
            header += [f"{column.name} low", f"{column.name} high"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for _, cells in grid.rows:
        line: list[object] = []
        for cell, wide, column in zip(cells, spread, grid.columns, strict=True):
            line.append(_plain(cell, column.name))
            if wide:
                line += [cell.low, cell.high]
        writer.writerow(["" if value is None else value for value in line])
    return out.getvalue()


def _plain(cell: Cell, column: str) -> object:
    if column == "shots":
        return cell.text.replace(",", "")  # the value only orders
    if isinstance(cell.value, str) and cell.value[:1] in "=+-@\t\r" and cell.value:
        return "'" + cell.value  # no formula, when a spreadsheet opens it
    return cell.value


def to_markdown(grid: Grid) -> str:
    """A pipe table; the best of its shots in bold."""
    lines = [
        "| " + " | ".join(_pipe(column.name) for column in grid.columns) + " |",
        "|" + "|".join("---:" if column.numeric else "---" for column in grid.columns) + "|",
    ]
    for _, cells in grid.rows:
        lines.append("| " + " | ".join(_markdown(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _markdown(cell: Cell) -> str:
    shown = f"**{_pipe(cell.text)}**" if cell.strong else _pipe(cell.text)
    return f"{shown} {_pipe(cell.note)}".strip()


def _pipe(text: str) -> str:
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())


def to_latex(grid: Grid) -> str:
    """A `tabular` for booktabs, with its caption as a comment."""
    places = "".join("r" if column.numeric else "l" for column in grid.columns)
    lines = [
        f"% {grid.title}".replace("\n", " "),
        rf"\begin{{tabular}}{{{places}}}",
        r"\toprule",
        " & ".join(_escaped(column.name) for column in grid.columns) + r" \\",
        r"\midrule",
    ]
    for _, cells in grid.rows:
        lines.append(" & ".join(_latex(cell) for cell in cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _latex(cell: Cell) -> str:
    shown = rf"\textbf{{{_escaped(cell.text)}}}" if cell.strong else _escaped(cell.text)
    return rf"{shown} {{\scriptsize {_escaped(cell.note)}}}" if cell.note else shown


def _escaped(text: str) -> str:
    return "".join(SPECIAL.get(sign, sign) for sign in " ".join(text.split()))
