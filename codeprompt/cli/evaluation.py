"""Scoring a pack on rows: predictions, items, scores with intervals, and the run file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeprompt import __version__
from codeprompt.cli.output import note
from codeprompt.registry import TASKS

if TYPE_CHECKING:
    from codeprompt.backbones.decoding import Decoding
    from codeprompt.cli.answering import Opened
    from codeprompt.metrics.base import Item
    from codeprompt.metrics.runs import Run
    from codeprompt.types import Example, Prediction, Score


@dataclass(frozen=True)
class Evaluated:
    """One pack on some rows. run: what `--out` keeps."""

    scores: list[Score]
    run: Run


def evaluate_rows(
    ready: Opened,
    rows: Sequence[Example],
    *,
    split: str,
    bootstrap: int = 1000,
    decoding: Decoding | None = None,
) -> Evaluated:
    """Answer and score rows; decoding: in place of the pack's own.

    Raises `DataError` where the rows lack what the template asks for.
    """
    from codeprompt.data.fingerprint import fingerprint
    from codeprompt.metrics.runs import Run, RunItem, run_score
    from codeprompt.training.evaluate import task_scores, written_language
    from codeprompt.training.pools import check_fields

    check_fields(ready.pack.template, rows[:1], called="The pack's template")
    items = _items(rows, predictions(ready, rows, decoding))
    card, language = ready.card, written_language(rows)
    scores, left_out = task_scores(TASKS.get(card.task), rows, items, bootstrap=bootstrap)
    for why in left_out:
        note(f"Left out: {why}")
    data = fingerprint(rows)
    run = Run(
        task=card.task,
        pack=f"{card.name}@{card.integrity[:16]}",
        backbone=f"{card.backbone.name}@{card.backbone.hash[:16]}",
        data=data,
        split=split,
        items=tuple(RunItem(i.id, i.prediction, i.references, i.score) for i in items),
        scores=tuple(run_score(score) for score in scores),
        signature=_signature(ready, decoding, data=data[:16], split=split, n=len(rows)),
        positive=card.positive,
        language=language,
    )
    return Evaluated(scores, run)


def write(out: Path, evaluated: Evaluated) -> None:
    """Write the run, whole or not at all."""
    from codeprompt.metrics.runs import write_run

    write_run(out, evaluated.run)


def predictions(
    ready: Opened, rows: Sequence[Example], decoding: Decoding | None = None
) -> list[Prediction]:
    """One prediction a row, in order; batches are made of rows of like length."""
    from codeprompt.cli.progress import Counter
    from codeprompt.engine import Request

    found: dict[int, Prediction] = {}
    requests = [Request(ready.name, row.fields, decoding) for row in rows]
    with Counter("rows", len(rows)) as counter:
        for index, prediction in ready.engine.stream(requests):
            found[index] = prediction
            counter.advance()
    return [found[index] for index in range(len(rows))]


def _items(rows: Sequence[Example], found: Sequence[Prediction]) -> list[Item]:
    """Items with ids of their own: the data's where they are, else the row's place."""
    from codeprompt.metrics.base import Item

    ids = [row.id for row in rows]
    if len(set(ids)) < len(ids) or not all(ids):
        ids = [str(place) for place in range(len(rows))]
    return [
        Item(prediction=p.text, references=(row.target,), score=p.score, id=name)
        for row, p, name in zip(rows, found, ids, strict=True)
    ]


def _signature(ready: Opened, decoding: Decoding | None, **more: Any) -> str:
    """All that was fixed, so that two runs with one signature are the same run."""
    card = ready.card
    settings = card.decoding if decoding is None else decoding.as_json()
    parts: Mapping[str, Any] = {
        "task": card.task,
        "pack": card.integrity[:16],
        "backbone": card.backbone.hash[:16],
        "template": card.template,
        "decoding": ",".join(f"{k}={v}" for k, v in sorted(settings.items())),
        "length": f"{card.source_length}/{card.target_length}",
        "precision": ready.engine.precision,
        **more,
        "codeprompt": __version__,
    }
    return "|".join(f"{name}:{value}" for name, value in parts.items())
