"""What a cell cost, and which rows it drew."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from codeprompt.answer import Prompt
from codeprompt.bench.audit import overlapping_rows
from codeprompt.bench.cell import Cell
from codeprompt.bench.data import evaluation_rows
from codeprompt.bench.place import Place
from codeprompt.bench.results import Cost, Drawn, Evaluation
from codeprompt.bench.trials import Tried
from codeprompt.data.fingerprint import fingerprint
from codeprompt.pack import Pack, make_pack, save
from codeprompt.training.evaluate import predictions
from codeprompt.training.measure import peak_memory_mb
from codeprompt.types import Example

SINGLE = 20
"""Answers timed one by one, after three that warm up."""


def cost_of(
    cell: Cell,
    tried: Tried,
    prompt: Prompt,
    evaluations: Sequence[Evaluation],
    rows: Sequence[Example],
) -> Cost:
    """Of the chosen trial and all evaluations. rows: of the first evaluation."""
    answered = sum(one.n for one in evaluations)
    seconds = sum(one.seconds for one in evaluations)
    return Cost(
        parameters=tried.run.parameters,
        backbone_parameters=sum(p.numel() for p in tried.setup.backbone.parameters()),
        storage_bytes=_stored(tried, prompt) if cell.latency else None,
        train_seconds=round(tried.run.seconds, 3),
        best_step=float(tried.run.best_step) if tried.setup.method.trains else None,
        step_ms=None if tried.step_ms is None else round(tried.step_ms, 2),
        rows_per_second=round(answered / seconds, 2) if seconds else None,
        latency_ms=_latency(prompt, rows) if cell.latency and rows else None,
        peak_memory_mb=round(peak_memory_mb(), 1),
    )


def _stored(tried: Tried, prompt: Prompt) -> int:
    """Bytes of the pack that keeps the chosen prompt, as it lies on disk."""
    with tempfile.TemporaryDirectory() as folder:
        path = save(pack_of(tried, prompt), Path(folder) / "pack")
        return sum(file.stat().st_size for file in path.iterdir())


def pack_of(tried: Tried, prompt: Prompt) -> Pack:
    """The pack that keeps the chosen prompt."""
    setup, plan = tried.setup, prompt.plan
    return make_pack(
        injection=tried.run.injection,
        backbone=setup.backbone,
        name="weighed",
        task=setup.task.name,
        method=setup.request.method,
        settings=asdict(setup.settings),
        template=tried.run.template,
        verbalizer=plan.verbalizer,
        prior=plan.prior,
        head=setup.head,
        labels=plan.labels,
        positive=plan.positive,
        source_length=plan.source_length,
        target_length=plan.target_length,
        decoding=prompt.decoding.as_json(),
    )


def _latency(prompt: Prompt, rows: Sequence[Example]) -> float:
    """Median milliseconds of one answer at batch 1."""
    times = []
    for row in [*rows[:3], *rows[:SINGLE]]:
        started = time.perf_counter()
        predictions(prompt, [row])
        times.append(time.perf_counter() - started)
    return round(1000 * statistics.median(times[min(3, len(rows)) :]), 2)


def rows_drawn(cell: Cell, place: Place, train: Sequence[Example], dev: Sequence[Example]) -> Drawn:
    """The rows of a cell's seed, with those that the first evaluation holds too."""
    overlap = 0
    if train and cell.evaluations:
        rows, _ = evaluation_rows(replace(cell.evaluations[0], transform=""), cell.data, place.root)
        overlap = len(overlapping_rows([row.fields["code"] for row in rows], train))
    return Drawn(
        train=len(train),
        dev=len(dev),
        train_fingerprint=fingerprint(train),
        dev_fingerprint=fingerprint(dev),
        overlap=overlap,
    )
