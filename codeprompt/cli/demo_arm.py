"""One arm of `codeprompt demo`, in a process of its own: tune and score each seed.

`python -m codeprompt.cli.demo_arm JSON` prints one JSON object; the parent reads it.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from codeprompt.errors import CodepromptError


def run_arm(asked: dict[str, Any]) -> dict[str, Any]:
    """Tune and score every seed of one arm; a method without training runs once."""
    from codeprompt.cli.answering import opened
    from codeprompt.cli.demo import METRIC, rows_of
    from codeprompt.cli.evaluation import evaluate_rows, write
    from codeprompt.cli.output import note
    from codeprompt.cli.progress import TuneProgress, quiet_libraries
    from codeprompt.registry import METHODS

    quiet_libraries()
    from codeprompt.training.tune import TuneRequest, tune

    folder, method = Path(asked["folder"]), asked["method"]
    seeds = tuple(range(asked["seeds"] if METHODS.get(method).trains else 1))
    rows = rows_of(folder / "data" / "test.jsonl")
    runs, peak, seconds, parameters = [], 0.0, 0.0, 0
    with TuneProgress(seeds, METRIC) as progress:
        note(f"{method}: {len(seeds)} run{'s' * (len(seeds) > 1)}")
        for seed in seeds:
            request = TuneRequest(
                task="summarize",
                data=str(folder / "data"),
                out=folder / "packs" / f"{method}-{seed}",
                backbone=asked["backbone"],
                method=method,
                seeds=(seed,),
                overrides=asked["recipe"],
            )
            result = tune(request, progress)
            peak, parameters = max(peak, result.peak_memory_mb), result.parameters
            seconds += result.seconds / len(seeds)
            runs.append({"seed": seed, "dev": result.dev_scores[0][1], "pack": str(result.path)})
    for run in runs:
        # Beside its pack, every run keeps each item's prediction for `codeprompt compare`.
        run["run"] = str(folder / "runs" / f"{method}-{run['seed']}.json")
        with opened(str(run["pack"]), backbone=asked["backbone"], quiet=True) as ready:
            found = evaluate_rows(ready, rows, split="test", bootstrap=0)
            run["bleu"] = next(s.value for s in found.scores if s.metric == METRIC)
            write(Path(str(run["run"])), found)
            if ready.card.holds == "weights":  # a whole backbone for each seed: not kept
                shutil.rmtree(str(run["pack"]))
    return {
        "runs": runs,
        "parameters": parameters,
        "seconds": seconds,
        "peak_memory_mb": peak,
    }


if __name__ == "__main__":
    try:
        print(json.dumps(run_arm(json.loads(sys.argv[1]))))
    except CodepromptError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
