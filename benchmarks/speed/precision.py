"""What narrow weights cost in quality: one pack's answers in float32, bf16 and int8, scored.

The rows are the test split's first; beside the scores stands how many answers are the same text.
"""

from __future__ import annotations

import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.measure import Outcome, signature, table

ARMS = ("float32", "bf16", "int8")
METRIC = "codexglue-sentence-bleu"


def main(options: Namespace) -> Outcome:
    """Answer the same rows in each format; `--pack`, or a hard prompt on the built-in backbone."""
    from codeprompt.data.sources import load_data
    from codeprompt.engine import Engine, Request
    from codeprompt.pack import load
    from codeprompt.registry import METRICS, TASKS
    from codeprompt.training.evaluate import items_of

    if not options.data:
        raise SystemExit("Say which data with --data, for one ../shared/data/csn_python.")
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        pack: Any = load(options.pack) if options.pack else _hard(options.data, Path(folder))
    rows = load_data(
        options.data, TASKS.get(pack.card.task).columns, split="test", limit=options.rows
    )
    metric: Any = METRICS.get(METRIC)
    scores, seconds, texts = {}, {}, {}
    arms: Any = options.arms or ARMS
    for arm in arms:
        with Engine(pack.card.backbone.name, precision=arm) as engine:
            name = engine.load(pack)
            started = time.monotonic()
            found = engine.predict([Request(name, row.fields) for row in rows])
            seconds[arm] = time.monotonic() - started
            scores[arm] = metric.score(items_of(rows, found), bootstrap=0).value
            texts[arm] = [p.text for p in found]
    first = next(iter(texts.values()))
    same = {a: sum(x == y for x, y in zip(t, first, strict=True)) for a, t in texts.items()}
    table(
        ["weights", METRIC, "same answers", "s"],
        [[a, f"{scores[a]:.2f}", f"{same[a]} of {len(rows)}", f"{seconds[a]:.0f}"] for a in scores],
    )
    told = signature(pack=pack.card.integrity[:16], rows=len(rows), metric=METRIC)
    medians = {f"{a} s": round(s, 2) for a, s in seconds.items()}
    base = scores.get("float32")
    ratios = {} if base is None else {f"BLEU {a} - float32": scores[a] - base for a in scores}
    return Outcome("precision", ratios, medians, told, {"scores": scores, "same": same})


def _hard(data: str, folder: Path) -> Any:
    """An untrained pack of the hard prompt."""
    from codeprompt.pack import load
    from codeprompt.training.setup import TuneRequest
    from codeprompt.training.tune import tune

    out = folder / "hard"
    overrides = {"shots": 0, "dev": 8}
    tune(TuneRequest("summarize", data, out, method="hard", overrides=overrides))
    return load(out)
