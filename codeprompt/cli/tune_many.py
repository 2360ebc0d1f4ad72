"""Tune several packs at once: one batch of many tasks on one frozen backbone."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codeprompt.cli.options import IN_FILE, json_option
from codeprompt.cli.output import answer, note, number
from codeprompt.errors import UsageError

if TYPE_CHECKING:
    from codeprompt.training.loop import Event
    from codeprompt.training.setup import TuneRequest

OVERRIDES = ("shots", "lr", "steps", "batch", "dev", "precision")
EXAMPLES = """\b
Examples:
  codeprompt tune-many PLAN.toml
\b
A plan (paths as on the command line; what stands before the tables is for all):
  backbone = "builtin"
  method = "soft"
  seeds = 1
\b
  [[pack]]
  task = "summarize"
  data = "functions.jsonl"
  out = "packs/summarize"
\b
  [[pack]]
  task = "defect"
  data = "devign/"
  language = "c"
  out = "packs/defect"
  lr = 0.01
  set = { length = 30 }
"""


@dataclass(frozen=True)
class Wish:
    """One pack of a plan: the options of `codeprompt tune`, by their names."""

    task: str
    data: str
    out: str
    backbone: str = "builtin"
    method: str = "soft"
    recipe: str = "few-shot"
    template: str | None = None
    head: str | None = None
    columns: Mapping[str, str] | None = None
    dev_data: str | None = None
    language: str | None = None
    target_language: str | None = None
    limit: int | None = None
    set: Mapping[str, Any] = field(default_factory=dict)
    seeds: int = 1
    shots: int | None = None
    lr: float | None = None
    steps: int | None = None
    batch: int | None = None
    dev: int | None = None
    precision: str | None = None


@click.command("tune-many", epilog=EXAMPLES)
@click.argument("plan", type=IN_FILE)
@click.option("--resume", is_flag=True, help="Go on where the same command was interrupted.")
@click.option("--threads", type=click.IntRange(min=1), help="Processor threads to use.")
@click.option("--offline", is_flag=True, help="Never ask a model hub.")
@json_option
def tune_many(plan: Path, resume: bool, threads: int | None, offline: bool, as_json: bool) -> None:
    """Tune several packs at once: one batch of many tasks on one frozen backbone.

    Every row of a batch stands behind its own pack's prompt, and every pack becomes what `tune`
    would make of it alone (but for rounding). The backbone is in memory once; but on a
    processor this takes longer than `tune` for each, the more so the less alike their rows are in
    length (docs/decisions.md). Methods that tune weights cannot share a backbone.
    """
    wishes = read_plan(plan)
    from codeprompt.cli.progress import quiet_libraries
    from codeprompt.cli.tune import answered, report

    quiet_libraries(offline=offline)
    from codeprompt.training.together import tune_together

    if threads:
        import torch

        torch.set_num_threads(threads)
    requests = [request_of(wish, resume=resume, offline=offline) for wish in wishes]
    note(f"Tuning {len(requests)} packs on {requests[0].backbone} ...")
    try:
        results = tune_together(requests, _told)
    except KeyboardInterrupt:
        note("Stopped. The same command with --resume goes on from the last checkpoint.")
        raise
    if as_json:
        answer({"packs": [answered(result) for result in results]})
        return
    for request, result in zip(requests, results, strict=True):
        report(result, request.recipe, as_json=False)


def _told(request: TuneRequest, seed: int, event: Event) -> None:
    if event.dev is not None:
        best = "" if event.best is None else f", best {number(event.best)}"
        note(
            f"{request.out.name}: seed {seed}, step {event.step}/{event.steps}, "
            f"loss {event.loss:.3f}, dev {number(event.dev)}{best}"
        )


def read_plan(path: Path) -> list[Wish]:
    """The packs that a plan asks for. Raises `UsageError` naming the pack and the key."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"The plan {path} is not valid TOML: {error}") from error
    except OSError as error:
        raise UsageError(f"The plan {path} cannot be read: {error.strerror or error}") from error
    packs = values.pop("pack", None)
    if not isinstance(packs, list) or not packs or not all(isinstance(p, dict) for p in packs):
        raise UsageError(f"The plan {path} names no pack", expected="one or more [[pack]] tables")
    return [_wish({**values, **own}, f"{path}, pack {n}") for n, own in enumerate(packs, 1)]


def _wish(values: Mapping[str, Any], where: str) -> Wish:
    import msgspec

    known = [f.name for f in fields(Wish)]
    if unknown := sorted(set(values) - set(known)):
        raise UsageError(f"{where}: '{unknown[0]}' is no setting", expected=", ".join(known))
    if missing := [name for name in ("task", "data", "out") if name not in values]:
        raise UsageError(f"{where} does not say its {' and '.join(missing)}")
    try:
        return msgspec.convert(dict(values), Wish)
    except msgspec.ValidationError as error:
        raise UsageError(f"{where}: a setting does not fit: {error}") from error


def request_of(wish: Wish, *, resume: bool = False, offline: bool = False) -> TuneRequest:
    """What `codeprompt tune` would ask for. Raises `UsageError`."""
    from codeprompt.training.setup import TuneRequest

    if wish.head not in (None, "verbalizer", "linear"):
        raise UsageError(f"head is '{wish.head}'", expected="verbalizer or linear")
    own = {f.name: getattr(wish, f.name) for f in fields(Wish) if f.name not in OVERRIDES}
    options, seeds = own.pop("set"), own.pop("seeds")
    overrides = {name: v for name in OVERRIDES if (v := getattr(wish, name)) is not None}
    return TuneRequest(
        **{**own, "out": Path(wish.out)},
        options=options,
        overrides=overrides,
        seeds=tuple(range(seeds)),
        resume=resume,
        allow_hub=not offline,
    )


COMMAND = tune_many
