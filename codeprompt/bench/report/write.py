"""From results folders to a report on disk: the page, and its figures and tables as files."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from codeprompt import __version__
from codeprompt.bench.report import exports
from codeprompt.bench.report.figures import Drawn, slug
from codeprompt.bench.report.grid import Grid
from codeprompt.bench.report.page import SourceView, render
from codeprompt.bench.report.palette import png
from codeprompt.bench.report.source import read_all
from codeprompt.bench.report.views import boards, view
from codeprompt.bench.store import now
from codeprompt.errors import UsageError
from codeprompt.files import write_bytes, write_text


def write_report(
    paths: Sequence[Path], out: Path, *, examples: bool = True, files: bool = True
) -> list[Path]:
    """Write the report of one run, or of several with a leaderboard; the page comes first.

    out: the page, `NAME.html`. files: figures (SVG, PNG) and tables (CSV, Markdown, LaTeX) too, in
    `NAME-files/`. examples: a few rows of the data with what was answered; leave them out where the
    data may not be passed on.
    Raises `UsageError` for an `out` that is no .html file or a missing library, `DataError` for a
    folder that is no run.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{out} is not a page", expected="a name that ends in .html")
    if out.is_dir():
        raise UsageError(f"{out} is a folder", expected="a file to write")
    for library in ("jinja2", "matplotlib"):
        if importlib.util.find_spec(library) is None:
            raise UsageError(
                f"A report needs {library}, which is not installed",
                do="Install it: pip install 'codeprompt[bench]'",
            )
    sources = read_all(paths)
    views = [view(source, len(sources) > 1, examples) for source in sources]
    beside = boards(sources)
    title = " and ".join(dict.fromkeys(source.run.suite.name for source in sources))
    page = render(title, views, beside, now(), __version__)
    written = [out]
    write_text(out, page)
    if files:
        folder = out.with_name(f"{out.stem}-files")
        for one_view in views:
            inner = folder / slug(one_view.source.label) if len(views) > 1 else folder
            written += _files(one_view, inner)
        for one in beside:
            written += _tables(one, folder / "tables")
    return written


def _files(view: SourceView, folder: Path) -> list[Path]:
    written: list[Path] = []
    for table in view.tables:
        for drawn in table.figures:
            written += _figure(drawn, folder / "figures")
        for one in (*table.grids, *([table.tests] if table.tests else [])):
            written += _tables(one, folder / "tables")
    for one in (view.cells, *view.data):
        written += _tables(one, folder / "tables")
    return written


def _figure(drawn: Drawn, folder: Path) -> list[Path]:
    paths = [folder / f"{drawn.name}.svg", folder / f"{drawn.name}.png"]
    write_text(paths[0], drawn.svg)
    write_bytes(paths[1], png(drawn.figure))
    return paths


def _tables(found: Grid, folder: Path) -> list[Path]:
    paths = []
    for ending, of in (
        ("csv", exports.to_csv),
        ("md", exports.to_markdown),
        ("tex", exports.to_latex),
    ):
        paths.append(folder / f"{found.name}.{ending}")
        write_text(paths[-1], of(found))
    return paths
