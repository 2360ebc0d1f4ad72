"""`python -m benchmarks.speed NAME`: print a table and last one JSON line."""

from __future__ import annotations

import argparse
import importlib
import os

from benchmarks.speed.shapes import SHAPES

NAMES = {
    "editor": "editor",
    "generate": "generate",
    "kept-states": "kept_states",
    "methods": "methods",
    "mixed-batch": "mixed_batch",
    "precision": "precision",
    "train-step": "train_step",
    "tune-many": "tune_many",
    "beside-tuning": "beside_tuning",
}


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--arms", type=lambda text: text.split(","), help="Some of the arms, by comma."
    )
    parser.add_argument("--data", help="Of `precision`: rows to answer.")
    parser.add_argument("--pack", help="Of `precision`: in place of the hard prompt.")
    parser.add_argument("--limit", dest="rows", type=int, default=500, help="Of `precision`.")
    parser.add_argument("--no-memory", dest="memory", action="store_false")
    parser.add_argument("--alone", help=argparse.SUPPRESS)  # one arm's peak memory, in a child
    parser.add_argument("--checkpoint", help=argparse.SUPPRESS)
    options = parser.parse_args()
    outcome = importlib.import_module(f"benchmarks.speed.{NAMES[options.name]}").main(options)
    if outcome is not None:
        print(outcome.line())


if __name__ == "__main__":
    main()
