"""Suites from TOML, with an error that names the table and the key for whatever does not fit."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from codeprompt.bench.suite import Arm, DataSpec, EvaluationSpec, Grid, Suite
from codeprompt.errors import UnknownNameError, UsageError
from codeprompt.registry import METHODS, TASKS

FOLDER = Path(__file__).parent / "suites"
VARIED = ("template", "words", "backbone", "options.", "overrides.")
ALL = "baselines"
T = TypeVar("T")


def suite_names() -> list[str]:
    """Names of the suites that ship."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_suite(name: str) -> Suite:
    """A suite by its name or the path of its TOML file. Raises `UsageError` where it does not fit.

    Everything that a run would stumble on later and that can be known without data is checked here.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        if name.endswith(".toml"):
            raise UsageError(f"There is no suite at {name}", expected="a TOML file")
        raise UnknownNameError("suite", name, suite_names())
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"The suite {path} is not valid TOML: {error}") from error
    except OSError as error:
        raise UsageError(f"The suite {path} cannot be read: {error.strerror or error}") from error
    return read_suite(values, path.stem)


def read_suite(values: Mapping[str, Any], name: str) -> Suite:
    """A suite from plain values. Raises `UsageError`."""
    where = f"The suite '{name}'"
    plain = {"name": name, **values}
    for key in ("data", "arms", "evaluate"):
        if not isinstance(plain.get(key, {}), Mapping):
            raise UsageError(f"{where}: '{key}' is no table", expected=f"[{key}.NAME]")
    plain = _with_baselines(plain)
    data = {n: _data(v, n, where) for n, v in plain.get("data", {}).items()}
    arms = {n: _of(Arm, {"name": n, **_table(v, where)}, f"{where}, arm '{n}'")
            for n, v in plain.get("arms", {}).items()}  # fmt: skip
    evaluate = {
        n: _evaluation(v, n, data, where) for n, v in plain.get("evaluate", {"test": {}}).items()
    }
    grids = plain.get("grid", [])
    if not isinstance(grids, list) or not grids:
        raise UsageError(f"{where} has no grid", expected="one or more [[grid]] tables")
    grid = tuple(_grid(v, f"{where}, grid {n}") for n, v in enumerate(grids, start=1))
    rest = {**plain, "data": {}, "arms": {}, "evaluate": {}, "grid": []}
    suite = replace(_of(Suite, rest, where), data=data, arms=arms, evaluate=evaluate, grid=grid)
    suite = _installed(suite)
    _check(suite, where)
    return suite


def _with_baselines(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Where a grid's arms name `baselines`, all that there are: each fits the tasks it can."""
    from codeprompt.bench.registries import BASELINES

    out, asked = [], False
    for grid in plain.get("grid", []) if isinstance(plain.get("grid"), list) else []:
        arms = grid.get("arms") if isinstance(grid, Mapping) else None
        arms = [arms] if isinstance(arms, str) else arms
        if isinstance(arms, list) and ALL in arms:
            asked = True
            rest = [name for name in arms if name != ALL and name not in BASELINES.names()]
            grid = {**grid, "arms": [*BASELINES.names(), *rest]}
        out.append(grid)
    if not asked:
        return dict(plain)
    known = {name: {"baseline": name} for name in BASELINES.names()}
    return {**plain, "grid": out, "arms": {**known, **plain.get("arms", {})}}


def _installed(suite: Suite) -> Suite:
    """Without the optional arms whose method this installation does not have."""
    lost = {
        name
        for name, arm in suite.arms.items()
        if arm.optional and arm.method and not METHODS.knows(arm.method)
    }
    if not lost:
        return suite
    grid = [replace(g, arms=tuple(a for a in g.arms if a not in lost)) for g in suite.grid]
    return replace(
        suite,
        arms={name: arm for name, arm in suite.arms.items() if name not in lost},
        grid=tuple(one for one in grid if one.arms),
        against=tuple(name for name in suite.against if name not in lost),
        pairs=tuple(pair for pair in suite.pairs if not lost & set(pair)),
    )


def _of(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """One dataclass; unknown keys are named with the nearest known one."""
    known = [one.name for one in fields(kind)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            raise UsageError(
                f"{where} has the unknown key '{key}'",
                expected="one of: " + ", ".join(k for k in known if k != "name"),
                do=f"Did you mean '{near[0]}'?" if near else "",
            )
    try:
        return msgspec.convert(dict(values), kind)
    except msgspec.ValidationError as error:
        raise UsageError(f"{where} does not fit: {error}") from error


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where} has a {type(value).__name__} where a table belongs")
    return value


def _listed(values: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """One text where a list of texts belongs stands for a list of one."""
    out = dict(values)
    for key in keys:
        if isinstance(out.get(key), str):
            out[key] = [out[key]]
    return out


def _data(value: Any, name: str, where: str) -> DataSpec:
    values = _listed({"name": name, **_table(value, where)}, "path", "notes")
    for key in ("only", "without"):
        if isinstance(values.get(key), Mapping):
            values[key] = _listed(values[key], *values[key])
    return _of(DataSpec, values, f"{where}, data '{name}'")


def _evaluation(value: Any, name: str, data: Mapping[str, DataSpec], where: str) -> EvaluationSpec:
    values = {"name": name, **_table(value, where)}
    here = f"{where}, evaluation '{name}'"
    other = values.pop("data", None)
    if other is not None and other not in data:
        raise UsageError(
            f"{here} names the data '{other}'", expected="one of: " + ", ".join(sorted(data))
        )
    found = _of(EvaluationSpec, values, here)
    return replace(found, data=data[other]) if other is not None else found


def _grid(value: Any, where: str) -> Grid:
    values = _listed(_table(value, where), "data", "arms", "evaluate")
    if isinstance(values.get("shots"), int | str):
        values["shots"] = [values["shots"]]
    for key in ("vary", "set"):
        if not isinstance(values.get(key, {}), Mapping):
            raise UsageError(f"{where}: '{key}' is no table", expected=f"{key}.FIELD = ...")
    vary = _flat(values.get("vary", {}))
    values["vary"] = {key: _labelled(found, f"{where}, '{key}'") for key, found in vary}
    values["set"] = dict(_flat(values.get("set", {})))
    return _of(Grid, values, where)


def _flat(vary: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """`vary.options.length` is written as nested tables; its name is `options.length`."""
    out: list[tuple[str, Any]] = []
    for key, value in vary.items():
        if key in ("options", "overrides") and isinstance(value, Mapping):
            out += [(f"{key}.{name}", found) for name, found in value.items()]
        else:
            out.append((key, value))
    return out


def _labelled(value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, list) and value:
        return {str(one): one for one in value}
    if isinstance(value, Mapping) and value:
        return dict(value)
    raise UsageError(f"{where} varies nothing", expected="a list of values, or a table by label")


def _check(suite: Suite, where: str) -> None:
    """Names that other tables, tasks, methods, baselines and transformations must know."""
    from codeprompt.bench.registries import BASELINES, TRANSFORMS

    if suite.seeds < 1 or suite.threads < 1 or suite.bootstrap < 0 or suite.beams < 0:
        raise UsageError(
            f"{where} has seeds = {suite.seeds}, threads = {suite.threads}, "
            f"bootstrap = {suite.bootstrap}, beams = {suite.beams}",
            expected="at least 1, 1, 0 and 0",
        )
    for spec in suite.data.values():
        TASKS.get(spec.task)
        if not spec.path or spec.cut not in ("", "train", "valid", "test", "all"):
            raise UsageError(
                f"{where}, data '{spec.name}' has the path {list(spec.path)}, cut = '{spec.cut}'",
                expected="a path, and a split to cut (train, valid, test, all) or none",
            )
    for arm in suite.arms.values():
        if bool(arm.method) == bool(arm.baseline):
            raise UsageError(
                f"{where}, arm '{arm.name}' has "
                + ("a method and a baseline" if arm.method else "neither method nor baseline"),
                expected="one of them",
            )
        registry = METHODS if arm.method else BASELINES
        registry.check(arm.method or arm.baseline)
        if any(not rate > 0 for rate in arm.rates) or len(set(arm.rates)) < len(arm.rates):
            raise UsageError(
                f"{where}, arm '{arm.name}' has the rates {list(arm.rates)}",
                expected="numbers above zero, all unlike",
            )
    for one in suite.evaluate.values():
        if one.transform and one.transform not in TRANSFORMS.names():
            raise UnknownNameError("transformation", one.transform, TRANSFORMS.names())
        if one.rows < 0:
            raise UsageError(f"{where}, evaluation '{one.name}' has {one.rows} rows")
    for number, grid in enumerate(suite.grid, start=1):
        _check_grid(suite, grid, f"{where}, grid {number}")
    named = [*suite.against, *(name for pair in suite.pairs for name in pair)]
    _known(named, suite.arms, f"{where}: a contrast", "arm")


def _check_grid(suite: Suite, grid: Grid, where: str) -> None:
    _known(grid.data, suite.data, where, "data set")
    _known(grid.arms, suite.arms, where, "arm")
    _known(grid.evaluate, suite.evaluate, where, "evaluation")
    for what in ("data", "arms", "shots", "evaluate"):
        if not getattr(grid, what):
            raise UsageError(f"{where} has no {what}", expected="one or more")
    for shots in grid.shots:
        share = shots.removesuffix("%") if isinstance(shots, str) else str(shots)
        if not _is_number(share) or (isinstance(shots, str) and shots == share):
            raise UsageError(f"{where} has shots = {shots!r}", expected="32, or a share like '1%'")
    for key in (*grid.vary, *grid.set):
        if not key.startswith(VARIED) or key in ("options.", "overrides."):
            raise UsageError(
                f"{where} cannot change '{key}'",
                expected="template, words, backbone, options.NAME or overrides.NAME",
            )


def _known(names: Any, known: Mapping[str, Any], where: str, what: str) -> None:
    for name in names:
        if name not in known:
            raise UsageError(
                f"{where} names the {what} '{name}', which the suite does not define",
                expected="one of: " + ", ".join(sorted(known)),
            )


def _is_number(text: str) -> bool:
    try:
        return float(text) >= 0
    except ValueError:
        return False
