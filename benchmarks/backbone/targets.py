"""What the built-in backbone was to reach, beside what was measured: one table, from result files.

Nothing is computed here. `backbone-test.json` is what `score` wrote; in `backbone-packs/` a pack's
file is the line that `codeprompt eval PACK --json` printed on test, `latency.json` that of
`python -m benchmarks.speed generate --shape builtin`; `low-resource/tables.json` is of
`codeprompt bench benchmarks/low-resource-builtin.toml`. What has no file was not measured, and the
table says so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"
CONSTANT = "best constant sentence, found on valid"
BM25 = "nearest pre-training pair (BM25)"
NO = "not measured"
ABOVE_CONSTANT = 2.0  # by the recipe for two cores; 5 by that for a GPU
LATENCY = "ours-int8 greedy"
FROZEN, FEW = ("soft", "lora"), 300


def table(results: Path = RESULTS) -> str:
    """The issue's targets and the measured values as Markdown."""
    rows = [*_summaries(results), *_translations(results), *_defects(results), _latency(results)]
    lines = ["| on the built-in backbone | to reach | measured |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _read(path: Path) -> dict[str, Any]:
    """A results file, or the last line of what a command printed; empty where there is none."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8").strip()
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = json.loads(text.splitlines()[-1])
    return dict(found)


def _score(found: dict[str, Any], metric: str) -> str:
    """`value [low, high], n rows` of one metric of `codeprompt eval --json`."""
    for score in found.get("scores", []):
        if score["metric"] == metric:
            scale = 100 if metric == "accuracy" and score["value"] <= 1 else 1
            value, (low, high) = score["value"] * scale, score["interval"]
            return f"{value:.2f} [{low * scale:.2f}, {high * scale:.2f}], {score['n']} rows"
    return NO


def _summaries(results: Path) -> list[tuple[str, str, str]]:
    kept = _read(results / "backbone-test.json").get("summaries", {})
    own = [t for t in kept if t.endswith("hard prompt") and not t.startswith("untrained")]
    if not own or CONSTANT not in kept:
        return [("summaries, hard prompt, csn_python test, BLEU", "", NO)]
    best = kept[own[-1]]
    constant = kept[CONSTANT]["bleu"]
    base = ", ".join(
        f"{name} {kept[title]['bleu']:.2f}"
        for name, title in (
            ("constant", CONSTANT),
            ("name", "the function's name"),
            ("BM25", BM25),
            ("copy", "copy of the input"),
            ("untrained", "untrained, hard prompt"),
        )
        if title in kept
    )
    return [
        (
            "summaries, hard prompt, csn_python test, BLEU",
            f"{constant + ABOVE_CONSTANT:.2f} ({constant:.2f} + {ABOVE_CONSTANT:g}); BM25 beaten",
            f"{best['bleu']:.2f}; {base}",
        ),
        ("the same, distinct of 300", "70%", f"{best['distinct']:.0f}%"),
        (
            "the same, chrF and content-word recall",
            "beside it",
            f"{best['chrf']:.2f}, {best['recall']:.2f}",
        ),
        (
            "summaries, 300 shots, frozen + prompt, BLEU over zero-shot",
            "+1.5, interval clear of 0",
            _few(_read(results / "low-resource" / "tables.json")) or NO,
        ),
    ]


def _few(found: dict[str, Any]) -> str:
    """Each frozen arm's paired difference to the hard prompt, where the grid has it."""
    told = []
    for table in found.get("tables", []):
        for one in table["contrasts"]:
            here = table["evaluation"] == "test" and one["metric"] == table["metrics"][0]
            if here and one["shots"] == FEW and one["a"] == "hard" and one["b"] in FROZEN:
                low, high = one["interval"]
                told.append(
                    f"{one['b']} {one['difference']:+.2f} [{low:+.2f}, {high:+.2f}], "
                    f"{one['n']} rows, {one['seeds']} seeds"
                )
    return "; ".join(told)


def _translations(results: Path) -> list[tuple[str, str, str]]:
    copied = _read(results / "backbone-test.json").get("others", {})
    copies = list(copied.get("translation, BLEU of a copy", {}).values())
    rows = []
    for index, (name, target) in enumerate((("java-cs", 75), ("cs-java", 70))):
        found = _read(results / "backbone-packs" / f"translate-{name}.json")
        told = _score(found, "codexglue-corpus-bleu")
        copy = f"; copy {copies[index]:.2f}" if index < len(copies) else ""
        rows.append((f"translation {name}, CodeTrans test, BLEU", str(target), told + copy))
    return rows


def _defects(results: Path) -> list[tuple[str, str, str]]:
    others = _read(results / "backbone-test.json").get("others", {}).get("defect, accuracy", {})
    told = _score(_read(results / "backbone-packs" / "defect.json"), "accuracy")
    base = "".join(f"; {name} {value:.2f}" for name, value in others.items())
    return [("defect, Devign test, accuracy", "61, well above never", told + base)]


def _latency(results: Path) -> tuple[str, str, str]:
    found = _read(results / "backbone-packs" / "latency.json")
    told = f"{found['medians'][LATENCY]:.0f} ms ({found['signature']})" if found else NO
    return ("one summary: 256 tokens, greedy 20 tokens, two cores, p50", "under 50 ms", told)
