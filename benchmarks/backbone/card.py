"""The card of exported weights: recipe, data, licences, lineage, time, scores, limits.

`card.json` is what programs read, `README.md` the same for people. Scores come from the results
file that `score` wrote for exactly these weights; no figure is typed by hand.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.backbone.fetch import packages_of
from codeprompt.files import write_text

ERRATA = Path(__file__).with_name("errata.json")  # by the shards' fingerprint
LIMITS = {
    "t5": [
        "trained on two processor cores for minutes to hours: far behind models of GPU-days",
        "summaries are one sentence in English, often generic; content words can be wrong",
        "sources were cut at {source} tokens",
    ],
    "encoder": [
        "trained on two processor cores for minutes: a base for tuned clozes, no use untuned",
        "sources were cut at {source} tokens",
    ],
}


def make(name: str, state: Mapping[str, Any], run: Path, weights: Path) -> dict[str, Any]:
    """The card of a checkpoint's state, for weights exported from it; `run` holds its log."""
    preset = state["preset"]
    family = preset.get("family", "t5")
    packages = packages_of(state)
    lineage = list(state.get("lineage", []))
    before = sum(step["minutes"] for step in lineage), sum(step["tokens"] for step in lineage)
    log = run / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    judged = [x for x in lines if "held loss" in x and x["tokens"] <= state["tokens"] + 1]
    preset_name = "gpu" if preset.get("device") == "cuda" else "cpu"
    command = f"python -m benchmarks.backbone train --preset {preset_name} --family {family}"
    return {
        "name": name,
        "family": family,
        "licence": "Apache-2.0",
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "command": command,
        "lineage": lineage or ["from scratch"],
        "step": state["step"],
        "minutes": round(state["elapsed"] / 60, 1),
        "tokens": int(state["tokens"]),
        "minutes in all": round(state["elapsed"] / 60 + before[0], 1),
        "tokens in all": int(state["tokens"]) + before[1],
        "data": {
            "shards": state["data"],
            "packages": len(packages),
            "by index": dict(Counter(p.source for p in packages)),
            "languages": sorted({part for p in packages for part in p.language.split("+")}),
            "licences": "permissive only, package by package in NOTICE",
            "errata": json.loads(ERRATA.read_text()).get(state["data"], []),
            "kept out": "test data, exactly and nearly: benchmarks/backbone/exclude.py",
        },
        "recipe": preset,
        "shape": state["shape"],
        "held out": {k: v for k, v in judged[-1].items() if k != "sample"} if judged else {},
        "scores": {},
        "limits": [
            text.format(source=max(stage["source"] for stage in preset["stages"]))
            for text in LIMITS[family]
        ],
    }


def write(folder: Path, card: Mapping[str, Any]) -> None:
    """Put `card.json` and `README.md` into an exported folder."""
    write_text(folder / "card.json", json.dumps(card, indent=1) + "\n")
    write_text(folder / "README.md", readme(card))
    for name in ("card.json", "README.md"):
        (folder / name).chmod(0o644)


def add_scores(folder: Path, results: list[Path], title: str) -> dict[str, Any]:
    """Take over the rows of results files that belong to these weights (`title`)."""
    card: dict[str, Any] = json.loads((folder / "card.json").read_text())
    card["scores"] = {}
    for path in results:
        kept = json.loads(path.read_text()) if path.is_file() else {"summaries": {}}
        found = kept["summaries"].get(title)
        if found:
            rows = {"rows": kept["count"], **found}
            constant = kept["summaries"].get("best constant sentence, found on valid", {})
            rows["best constant sentence"] = constant.get("bleu")
            card["scores"][f"csn_python {kept['split']}, hard prompt, greedy"] = rows
    write(folder, card)
    return card


def readme(card: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    data, recipe = card["data"], card["recipe"]
    rows = {
        "family": card["family"],
        "licence": card["licence"],
        "weights": f"bfloat16, sha256 `{card['sha256']}`",
        "this run": f"{card['minutes']} minutes, {card['tokens']:,} tokens, step {card['step']}",
        "with what it started from": f"{card['minutes in all']} minutes, "
        f"{card['tokens in all']:,} tokens",
        "training text": f"{data['packages']} packages ("
        + ", ".join(f"{n} {index}" for index, n in data["by index"].items())
        + f"); {', '.join(data['languages'])}",
        "licences of the text": data["licences"],
        "kept out": data["kept out"],
        "errata": "; ".join(data["errata"]) or "none known",
        "optimiser": f"Muon {recipe['hidden_rate']}, AdamW {recipe['other_rate']}, peak "
        f"{recipe.get('peak', 1.0)}, decay over the last {100 * recipe['decay']:.0f}%",
    }
    lines = [f"# {card['name']}", "", f"Made by `{card['command']}`.", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows.items()]
    lines += ["", "## Lineage, oldest first", ""]
    for step in card["lineage"]:
        lines.append(f"- {json.dumps(step)}" if isinstance(step, dict) else f"- {step}")
    lines += ["", "## Held-out packages", "", f"`{json.dumps(card['held out'])}`"]
    if card["scores"]:
        lines += ["", "## Scores", "", "| | BLEU | chrF | content words | distinct | constant |"]
        lines.append("|---|---|---|---|---|---|")
        for title, row in card["scores"].items():
            lines.append(
                f"| {title}, {row['rows']} rows | {row['bleu']} | {row['chrf']} | {row['recall']} "
                f"| {row['distinct']}% | {row['best constant sentence']} |"
            )
    lines += ["", "## Limits", "", *[f"- {text}" for text in card["limits"]], ""]
    return "\n".join(lines)
