"""Eight tasks' prompts on one backbone: requests a second and memory, mixed and one at a time.

Each task has a soft prompt of its own length; a round asks one request of each, with a source of
256 tokens (prompt included) and 20 tokens to make, greedy. Arms: `peft` prompt tuning with
`set_adapter` for every request; our engine asked one at a time, and asked all eight at once; for
memory alone one Hugging Face model that answers all eight, and eight. All have the same weights and
prompts, each in a process of its own, taking turns. In float64 `peft` and our pass must answer
token for token alike before anything is timed; how many tokens are those in the number formats
served, the table says.
"""

from __future__ import annotations

import os
import tempfile
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks.speed.measure import (
    Alone,
    Outcome,
    interleave,
    medians,
    ratio,
    signature,
    table,
)
from benchmarks.speed.mixed_arms import SOURCE, TASKS, TOKENS, be, make_prompts
from benchmarks.speed.shapes import checkpoint

TIMED = ("peft-switched", "ours-one", "ours-mixed")
ARMS = (*TIMED, "hf-one", "hf-eight")
EXACT = ("peft-float64", "ours-float64")


def main(options: Namespace) -> Outcome | None:
    """Run the benchmark; with `--alone` be one arm of it."""
    torch.set_num_threads(options.threads)
    if options.alone:
        be(options.alone, Path(options.checkpoint))
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint(options.shape, Path(folder) / "checkpoint", varied=True)
        os.environ["XDG_CACHE_HOME"] = str(Path(folder) / "cache")
        make_prompts(path)
        return _compare(options, path)


def _compare(options: Namespace, path: Path) -> Outcome:
    names = [arm for arm in ARMS if arm in (options.arms or ARMS)]
    more = ["--checkpoint", str(path), "--threads", str(options.threads)]
    for name in [n for n in names if n.startswith("ours")][:1]:  # int8 weights are made once
        first = Alone("mixed-batch", name, more)
        first.ask("answer")
        first.close()
    agreement = _agreement(names, more)
    arms = {name: Alone("mixed-batch", name, more) for name in names if name in TIMED}
    runs = {name: _timer(arm) for name, arm in arms.items()}
    found = interleave(runs, options.rounds, warm=2)
    own = {name: arm.ask("memory") for name, arm in arms.items()}
    for arm in arms.values():
        arm.close()
    for name in [name for name in names if name not in TIMED]:
        arm = Alone("mixed-batch", name, more)
        arm.ask("answer")
        own[name] = arm.ask("memory")
        arm.close()
    return _report(options, found, own, agreement)


def _report(
    options: Namespace,
    found: dict[str, list[float]],
    own: dict[str, dict[str, float]],
    agreement: dict[str, str],
) -> Outcome:
    middle = medians(found)
    one = own.get("hf-one", {}).get("peak")
    rows = [
        [
            name,
            f"{1e3 * TASKS / middle[name]:.1f}" if name in middle else "",
            agreement.get(name, ""),
            f"{told['peak']:.0f}",
            f"{told['peak'] / one:.2f}" if one else "",
            f"{told['own'] / told['weights']:.2f}",
            f"{(told['own'] - told['libraries']) / told['weights']:.2f}",
        ]
        for name, told in own.items()
    ]
    heads = ["8 tasks", "requests/s", "tokens as peft", "peak MB", "of one model"]
    heads += ["own/weights", "without code"]
    table(heads, rows)
    ratios = {}
    for slow in ("peft-switched", "ours-one"):
        if slow in found and "ours-mixed" in found:
            ratios[f"mixed over {slow}"] = ratio(found, slow, "ours-mixed")
    if one:
        for name in ("ours-mixed", "hf-eight"):
            if name in own:
                ratios[f"memory of {name} over one model"] = own[name]["peak"] / one
    if "ours-mixed" in own:
        told = own["ours-mixed"]
        ratios["own memory over weights"] = told["own"] / told["weights"]
        own_data = told["own"] - told["libraries"]  # beside torch, whose pages come as it is called
        ratios["own memory without libraries' code over weights"] = own_data / told["weights"]
    facts = signature(
        shape=options.shape, tasks=TASKS, source=SOURCE, tokens=TOKENS, rounds=options.rounds
    )
    extra: dict[str, object] = {
        "agreement": agreement,
        "memory_mb": {k: {n: round(v) for n, v in told.items()} for k, told in own.items()},
        "requests_per_second": {k: round(1e3 * TASKS / v, 2) for k, v in middle.items()},
    }
    return Outcome("mixed-batch", ratios, middle, facts, extra)


def _agreement(names: Sequence[str], more: Sequence[str]) -> dict[str, str]:
    """How many tokens each arm's answers share with peft's in float64; our float64 has them all."""
    answers = {}
    wanted = [*EXACT, "ours-float32", *[n for n in ("peft-switched", "ours-mixed") if n in names]]
    for name in wanted:
        arm = Alone("mixed-batch", name, more)
        answers[name] = [text.split() for text in arm.ask("answer")]
        arm.close()
    expected = answers.pop(EXACT[0])
    if answers[EXACT[1]] != expected:
        raise SystemExit("peft and our pass do not answer alike in float64; nothing was timed.")
    out = {}
    for name, found in answers.items():
        pairs = zip(found, expected, strict=True)
        same = sum(a == b for mine, theirs in pairs for a, b in zip(mine, theirs, strict=False))
        out[name] = f"{same} of {sum(map(len, expected))}"
    return out


def _timer(arm: Alone) -> Callable[[], float]:
    return lambda: float(arm.ask("time"))
