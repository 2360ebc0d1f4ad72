"""A tiny backbone, rows, and packs that the command line tuned: what its tests read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.test_cli import ok
from tests.tiny import tiny_t5, write_checkpoint

SOURCE = """class Box:
    def close(self):
        self.closed = True


def add(first, second):
    return first + second
"""


@dataclass(frozen=True)
class Place:
    """Files that all tests read and none writes to."""

    backbone: Path
    functions: Path
    defects: Path
    summarize: Path
    defect: Path
    tuned: dict[str, Any]


@pytest.fixture(name="place", scope="module")
def made_place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A checkpoint, two data sets, and a pack tuned on each by the command itself."""
    root = tmp_path_factory.mktemp("cli")
    backbone = write_checkpoint(tiny_t5(max_source=64), root / "backbone")
    functions, defects = root / "functions.jsonl", root / "defects.jsonl"
    functions.write_text("".join(json.dumps(row) + "\n" for row in documented()))
    defects.write_text("".join(json.dumps(row) + "\n" for row in labelled()))
    common = ("--backbone", backbone, "--steps", 2, "--batch", 2, "--dev", 4, "--offline")
    tuned = ok("tune", "summarize", "--data", functions, "--out", root / "packs" / "s",
               "--shots", 4, "--seeds", 2, "--set", "length=3", *common)  # fmt: skip
    ok("tune", "defect", "--data", defects, "--out", root / "packs" / "d", "--shots", 2, *common)
    packs = root / "packs"
    return Place(backbone, functions, defects, packs / "s", packs / "d", tuned)


def documented() -> list[dict[str, str]]:
    verbs = ("add", "sum", "join", "open", "close", "read", "write", "find")
    return [
        {
            "code": f"def {verb}_{i}(a, b):\n    return {verb}(a, b, {i})",
            "language": "python",
            "summary": f"{verb} the two given values, case {i}",
        }
        for i in range(5)
        for verb in verbs
    ]


def labelled() -> list[dict[str, Any]]:
    return [
        {"func": f"int f{i}(int a) {{ return a {'+' if i % 2 else '/'} {i}; }}",
         "target": i % 2, "language": "c"}
        for i in range(40)
    ]  # fmt: skip
