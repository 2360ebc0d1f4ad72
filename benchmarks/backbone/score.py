"""What a backbone is worth without tuning, beside everything that needs no backbone.

Summaries on `csn_python` by the hard prompt, greedy: CodeXGLUE BLEU, chrF, content-word recall and
the share of distinct answers among 300, with the same figures for the best constant sentence (found
on the valid rows), the function's name, a copy, the nearest neighbour of the pre-training pairs and
the same model untrained; translation by copying; Devign by length and by a bag of words.

The choice between weights is made on `--split valid`; `--split test` is for the end. Baselines are
computed once for a split and kept in the results file.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.backbone import baselines
from benchmarks.backbone.constant import best_constant
from codeprompt.data.fingerprint import fingerprint
from codeprompt.data.sources import load_data
from codeprompt.data.split import shots
from codeprompt.files import write_text
from codeprompt.metrics.base import Item
from codeprompt.registry import METRICS, TASKS
from codeprompt.types import Example

RESULTS = Path(__file__).parents[1] / "results"
DISTINCT = 300  # of so many outputs the share of distinct ones is taken
LETTERS = re.compile(r"[a-z]{3,}")


def content_words(text: str) -> set[str]:
    """Lower-cased words of three letters and more that are no stop words."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return {word for word in LETTERS.findall(text.lower()) if word not in ENGLISH_STOP_WORDS}


def recall(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Percent of a reference's content words that its prediction has, mean over rows with any."""
    shares = [
        len(wanted & content_words(text)) / len(wanted)
        for text, reference in zip(predictions, references, strict=True)
        if (wanted := content_words(reference))
    ]
    return 100 * sum(shares) / max(1, len(shares))


def summary_scores(texts: Sequence[str], rows: Sequence[Example]) -> dict[str, float]:
    """BLEU, chrF, content-word recall, percent distinct."""
    items = [
        Item(prediction=text, references=(row.target,), score=0.0, id=row.id)
        for text, row in zip(texts, rows, strict=True)
    ]
    out = {
        "bleu": METRICS.get("codexglue-sentence-bleu").score(items, bootstrap=0).value,
        "chrf": METRICS.get("chrf").score(items, bootstrap=0).value,
        "recall": recall(texts, [row.target for row in rows]),
        "distinct": 100 * len(set(texts[:DISTINCT])) / min(DISTINCT, len(texts)),
    }
    return {name: round(float(value), 2) for name, value in out.items()}


def summaries(name: str, rows: Sequence[Example], untrained: bool = False) -> list[str]:
    """Greedy answers of the hard prompt; `untrained` keeps the shape and draws the weights."""
    from benchmarks.backbone.shape import new_model
    from codeprompt.answer import Prompt
    from codeprompt.backbones.base import Backbone
    from codeprompt.backbones.decoding import Decoding
    from codeprompt.backbones.load import load_backbone
    from codeprompt.backbones.t5 import T5
    from codeprompt.plan import Plan
    from codeprompt.template import parse
    from codeprompt.training.evaluate import predictions

    backbone: Backbone = load_backbone(name, allow_hub=False)
    if untrained and isinstance(backbone, T5):
        words = sorted(backbone.tokenizer.vocab, key=lambda w: backbone.tokenizer.vocab[w])
        fresh = new_model(backbone.config, 1, words)
        backbone.load_state_dict(fresh.state_dict())
    task = TASKS.get("summarize")
    template = parse(task.templates["t5"])
    plan = Plan(backbone, template, "generate", task.source_length, task.target_length)
    prompt = Prompt(plan, decoding=Decoding(max_new_tokens=task.target_length))
    return [found.text for found in predictions(prompt, rows)]


def valid_rows(data: Path, task: str) -> list[Example]:
    """All rows that are not test: what a tuning run would split into a pool and a dev set."""
    columns = TASKS.get(task).columns
    return [
        row for split in ("train", "valid") for row in load_data(str(data), columns, split=split)
    ]


def no_model(
    data: Path, rows: Sequence[Example], split: str, corpus: Path | None
) -> dict[str, Callable[[], list[str]]]:
    """The baselines of the summary table, as what computes their texts."""

    def constant() -> list[str]:
        found = best_constant([row.target for row in valid_rows(data, "summarize")])
        return [found] * len(rows)

    made: dict[str, Callable[[], list[str]]] = {
        "best constant sentence, found on valid": constant,
        '"Return a list of the given ."': lambda: ["Return a list of the given ."] * len(rows),
        "the function's name": lambda: baselines.own_names(rows),
        "copy of the input": lambda: [row.fields["code"] for row in rows],
    }
    if corpus is not None:
        pairs = baselines.pairs_of(corpus)
        made["nearest pre-training pair (BM25)"] = lambda: baselines.nearest(pairs, rows)
    return made


def other_tasks(folder: Path) -> dict[str, dict[str, float]]:
    """Accuracy on Devign test and BLEU of a copied input on CodeTrans, without any backbone."""
    out: dict[str, dict[str, float]] = {}
    if (folder / "devign").is_dir():
        columns = TASKS.get("defect").columns
        test = load_data(str(folder / "devign"), columns, split="test")
        guesses = baselines.defects(valid_rows(folder / "devign", "defect"), test)
        out["defect, accuracy"] = {
            name: round(
                100 * sum(g == e.target for g, e in zip(texts, test, strict=True)) / len(test), 2
            )
            for name, texts in guesses.items()
        }
    if (folder / "codetrans").is_dir():
        metric, columns = METRICS.get("codexglue-corpus-bleu"), TASKS.get("translate").columns
        copied = {}
        for title, mapped in (
            ("java -> c-sharp", {"code": "java", "target": "cs"}),
            ("c-sharp -> java", {"code": "cs", "target": "java"}),
        ):
            rows = load_data(str(folder / "codetrans"), columns, split="test", columns=mapped)
            items = [Item(e.fields["code"], (e.target,), 0.0, e.id) for e in rows]
            copied[title] = round(float(metric.score(items, bootstrap=0).value), 2)
        out["translation, BLEU of a copy"] = copied
    return out


def score(
    name: str, data: Path, split: str, corpus: Path | None, count: int, out: Path | None = None
) -> dict[str, Any]:
    """The table of one backbone on one split; kept beside the baselines in `out`."""
    source = data / "csn_python"
    if split == "test":
        rows: Sequence[Example] = load_data(
            str(source), TASKS.get("summarize").columns, split=split
        )
    else:
        rows = valid_rows(source, "summarize")
    if 0 < count < len(rows):
        rows = shots(rows, count, seed=0)
    path = out or RESULTS / f"backbone-{split}.json"
    kept: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    mark = fingerprint(rows)
    if kept.get("rows") != mark:
        kept = {"rows": mark, "split": split, "count": len(rows), "summaries": {}, "samples": {}}
    jobs = no_model(source, rows, split, corpus)
    backbone = exact_name(name)
    jobs["untrained, hard prompt"] = lambda: summaries(name, rows, untrained=True)
    jobs[f"{backbone}, hard prompt"] = lambda: summaries(name, rows)
    for title, make in jobs.items():
        if title in kept["summaries"]:
            continue
        started = time.monotonic()
        texts = make()
        found: dict[str, Any] = summary_scores(texts, rows)
        kept["summaries"][title] = found | {"seconds": round(time.monotonic() - started, 1)}
        pairs = zip(texts[:6], rows[:6], strict=True)
        kept["samples"][title] = [[row.target, text] for text, row in pairs]
        write_text(path, json.dumps(kept, indent=1) + "\n")
    if split == "test" and "others" not in kept:
        kept["others"] = other_tasks(data)
    write_text(path, json.dumps(kept, indent=1) + "\n")
    return kept


def exact_name(name: str) -> str:
    """`builtin` and a folder as what they are: the name and hash in the weights' own card."""
    from codeprompt.backbones.checkpoint import hash_folder, resolve

    folder = resolve(name, allow_hub=False)
    return f"{folder.name} {hash_folder(folder)[:12]}"


def table(kept: dict[str, Any]) -> str:
    """The results as a Markdown table."""
    lines = [
        f"csn_python {kept['split']}, {kept['count']} rows, greedy",
        "",
        "| | BLEU | chrF | content-word recall | distinct of 300 |",
        "|---|---|---|---|---|",
    ]
    ordered = sorted(kept["summaries"].items(), key=lambda item: item[1]["bleu"])
    for title, row in ordered:
        figures = " | ".join(f"{row[k]:.2f}" for k in ("bleu", "chrf", "recall"))
        lines.append(f"| {title} | {figures} | {row['distinct']:.0f}% |")
    for task, found in kept.get("others", {}).items():
        lines += ["", f"| {task} | |", "|---|---|"]
        lines += [f"| {title} | {value:.2f} |" for title, value in found.items()]
    return "\n".join(lines)
