"""Before a run's first cell: what there is to do, and what must be known of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import codeprompt
from codeprompt.bench.audit import audit
from codeprompt.bench.cell import Cell, as_plain
from codeprompt.bench.data import evaluation_rows, is_there, locate, rows_key
from codeprompt.bench.expand import bare, chosen, expand
from codeprompt.bench.results import DataReport, RowRecord, Run
from codeprompt.bench.store import RunFolder, check_folder, now
from codeprompt.bench.suite import EvaluationSpec, Suite
from codeprompt.errors import DataError, UsageError
from codeprompt.types import Example

KEPT_FIELDS = ("name", "path", "repo", "project", "language", "target_language", "pair")


@dataclass(frozen=True)
class Plan:
    """A suite made whole for one folder.

    cells: all of the suite. asked: those that this command runs. left_out: optional data sets that
    are not there.
    """

    suite: Suite
    folder: RunFolder
    cells: tuple[Cell, ...]
    asked: tuple[Cell, ...]
    left_out: tuple[str, ...] = ()

    def missing(self) -> list[Cell]:
        """What is asked for and has no result yet."""
        return [cell for cell in self.asked if not self.folder.has_result(cell.hash)]


def changed(suite: Suite, backbone: str | None = None, seeds: int | None = None) -> Suite:
    """A suite with the command line's changes; more seeds than the suite has are allowed."""
    if backbone:
        suite = replace(suite, backbone=backbone)
    return replace(suite, seeds=max(seeds, suite.seeds)) if seeds else suite


def make_plan(
    suite: Suite,
    out: Path,
    root: Path | None,
    *,
    arms: Sequence[str] = (),
    data: Sequence[str] = (),
    shots: Sequence[str] = (),
    seeds: int | None = None,
) -> Plan:
    """What there is to do. arms, data, shots, seeds: run these alone now; the suite stays whole.

    Raises a `CodepromptError` where data is missing, a name is unknown, or the folder is another's.
    """
    check_folder(out)
    for name, known, what in ((arms, suite.arms, "arm"), (data, suite.data, "data set")):
        for one in name:
            if one not in known:
                raise UsageError(
                    f"The suite '{suite.name}' has no {what} '{one}'",
                    expected="one of: " + ", ".join(known),
                )
    suite, left_out = _there(suite, root)
    offered = {str(one) for grid in suite.grid for one in grid.shots}
    for one in shots:
        if one not in offered:
            raise UsageError(
                f"The suite '{suite.name}' has no cells with {one} shots",
                expected="one of: " + ", ".join(sorted(offered, key=_number)),
            )
    cells = expand(suite)
    asked = chosen(cells, arms, seeds, data, shots)
    if not asked:
        raise UsageError(
            "No cell of the suite is asked for", do="Loosen --arms, --only, --shots or --seeds"
        )
    return Plan(suite, RunFolder(out), tuple(cells), tuple(asked), left_out)


def begin(
    plan: Plan, root: Path | None, say: Callable[[str], None] = lambda text: None
) -> dict[str, DataReport]:
    """Write the plan, and a report of every data set; returns the reports by name.

    Raises `DataError` where the folder's results were made on other data of the same name.
    """
    folder = plan.folder
    run = Run(
        suite=plan.suite,
        cells=tuple(cell.hash for cell in plan.cells),
        created=now(),
        codeprompt=codeprompt.__version__,
    )
    if folder.has_run():
        before = folder.run()
        if as_plain(before.suite) == as_plain(plan.suite):
            run = replace(run, created=before.created)
    folder.begin(run, plan.cells)
    known = folder.data_reports()
    reports = {}
    for name, evaluations in _evaluations(plan.asked).items():
        say(f"Looks for duplicates in {name}")
        report = audit(plan.suite.data[name], evaluations, root)
        if name in known:
            _check_same(known[name], report, folder.path)
            report = _joined(known[name], report)
        folder.write_data_report(report)
        for spec in evaluations:
            _write_rows(folder, plan.suite, name, spec, report, root)
        reports[name] = report
    return reports


def _number(shots: str) -> tuple[bool, float]:
    return shots.endswith("%"), float(shots.removesuffix("%"))


def _there(suite: Suite, root: Path | None) -> tuple[Suite, tuple[str, ...]]:
    """The suite without optional data that is not there. Raises `DataError` for any other."""
    left_out = []
    for name, spec in suite.data.items():
        if is_there(spec, root):
            continue
        if not spec.optional:
            for path in spec.path:
                locate(path, root)
        left_out.append(name)
    if not left_out:
        return suite, ()
    data = {name: spec for name, spec in suite.data.items() if name not in left_out}
    grid = tuple(
        replace(one, data=rest)
        for one in suite.grid
        if (rest := tuple(name for name in one.data if name in data))
    )
    return replace(suite, data=data, grid=grid), tuple(left_out)


def _evaluations(cells: Iterable[Cell]) -> dict[str, list[EvaluationSpec]]:
    """Data set to everything that is evaluated after training on it."""
    out: dict[str, dict[str, EvaluationSpec]] = {}
    for cell in cells:
        found = out.setdefault(cell.data.name, {})
        for spec in cell.evaluations:
            found.setdefault(spec.name, spec)
    return {name: list(found.values()) for name, found in out.items()}


def _check_same(old: DataReport, new: DataReport, path: Path) -> None:
    for part, found in new.fingerprints.items():
        if part in old.fingerprints and old.fingerprints[part] != found:
            raise DataError(
                f"The data '{new.name}' has changed since {path} was begun: its {part} rows are "
                "others",
                expected="the same rows for every cell of one folder",
                do="Give another --out",
            )


def _joined(old: DataReport, new: DataReport) -> DataReport:
    """What an earlier command found for evaluations that this one does not ask for stays."""
    return replace(
        new,
        parts={**old.parts, **new.parts},
        fingerprints={**old.fingerprints, **new.fingerprints},
        inner={**old.inner, **new.inner},
        overlapping={**old.overlapping, **new.overlapping},
        across=tuple({(one.part, one.other): one for one in (*old.across, *new.across)}.values()),
    )


def _write_rows(
    folder: RunFolder,
    suite: Suite,
    name: str,
    spec: EvaluationSpec,
    report: DataReport,
    root: Path | None,
) -> None:

    own = bare(suite.data[name])
    key = rows_key(spec, own)
    if (folder.path / "rows" / f"{key}.jsonl.xz").is_file():
        return
    rows, _ = evaluation_rows(spec, own, root)
    overlaps = report.overlapping.get(spec.name, {})
    folder.write_rows(key, [_record(row, overlaps.get(row.id, "")) for row in rows])


def _record(row: Example, overlaps: str) -> RowRecord:
    fields = {name: row.fields[name] for name in KEPT_FIELDS if row.fields.get(name)}
    return RowRecord(
        id=row.id,
        reference=row.target,
        code=row.fields.get("raw_code") or row.fields["code"],
        fields=fields,
        overlaps=overlaps,
    )
