"""A tiny backbone of each family, rows, and quick requests to tune on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codeprompt.training.tune import TuneRequest
from tests.tiny import tiny_llama, tiny_roberta, tiny_t5

QUICK: dict[str, Any] = {
    "steps": 4,
    "evaluate_every": 2,
    "batch": 3,
    "shots": 6,
    "dev": 5,
    "source_length": 48,
    "precision": "float32",
}


def jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def summaries(start: int, count: int) -> list[dict[str, Any]]:
    return [
        {
            "code": f"def f{i}(x):\n    return x + {i}",
            "docstring": f"Adds {i}.",
            "language": "python",
            "path": f"src/f{i}.py",
        }
        for i in range(start, start + count)
    ]


def defects(start: int, count: int, labels: tuple[int, ...] = (0, 1)) -> list[dict[str, Any]]:
    return [
        {
            "func": f"int f{i}(int *p) {{ return *p + {i}; }}",
            "target": labels[i % len(labels)],
            "path": f"src/f{i}.c",
        }
        for i in range(start, start + count)
    ]


@pytest.fixture(name="place", scope="module")
def made_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Backbones of all families and a data set for each kind of task."""
    root = tmp_path_factory.mktemp("place")
    tiny_t5(root / "t5")
    tiny_roberta(root / "roberta")
    tiny_llama(root / "llama")
    jsonl(root / "sum" / "train.jsonl", summaries(0, 20))
    jsonl(root / "sum" / "valid.jsonl", summaries(50, 8))
    jsonl(root / "defect" / "train.jsonl", defects(0, 20))
    jsonl(root / "defect" / "valid.jsonl", defects(50, 8))
    return root


Ask = Callable[..., TuneRequest]


@pytest.fixture(name="ask")
def quick_request(place: Path, tmp_path: Path) -> Ask:
    """A quick request; recipe settings go through `overrides`."""

    def make(task: str = "summarize", *, on: str = "t5", **given: Any) -> TuneRequest:
        overrides = {**QUICK, **given.pop("overrides", {})}
        if on == "llama" or given.get("method") == "metadata":  # templates of more words
            overrides["source_length"] = 96
        if task == "summarize":
            overrides.setdefault("target_length", 6)
        elif "language" not in given:
            given["language"] = "c"
        values = {
            "data": str(place / ("sum" if task == "summarize" else "defect")),
            "out": tmp_path / "pack",
            "backbone": str(place / on),
            "allow_hub": False,
            **given,
        }
        return TuneRequest(task, overrides=overrides, **values)

    return make
