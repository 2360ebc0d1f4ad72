"""A tiny suite over a tiny backbone and two data sets, for every test of the benchmark runner."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeprompt.bench.load import load_suite
from codeprompt.bench.plan import Plan, begin, make_plan
from codeprompt.bench.suite import Suite
from tests.tiny import tiny_t5

VERBS = ("add", "sum", "join", "open", "close", "read", "write", "find")
SUITE = """
summary = "tiny"
question = "Does anything work at all?"
seeds = 2
select = "{select}"
backbone = "{backbone}"
recipe = "few-shot"
overrides = {{ dev = 5, steps = 4, evaluate_every = 2, batch = 3, source_length = 48, target_length = 6, precision = "float32" }}
against = ["constant", "hard"]
bootstrap = 20

[data.functions]
task = "summarize"
path = "functions"
notes = ["Made up for a test."]

[data.defects]
task = "defect"
path = "defects"
language = "c"

[evaluate.test]
rows = 9

[arms.constant]
baseline = "constant"

[arms.majority]
baseline = "majority"

[arms.retrieval]
baseline = "retrieval"

[arms.hard]
method = "hard"

[arms.soft]
method = "soft"
rates = [0.01, 0.1]
options = {{ length = 3 }}

[arms.full]
method = "full"

[[grid]]
data = {data}
arms = {arms}
shots = 6
"""  # noqa: E501
ARMS = ("constant", "majority", "retrieval", "hard", "soft", "full")


def functions(start: int, count: int) -> list[dict[str, str]]:
    return [
        {
            "code": f"def {verb}_{i}(a, b):\n    return {verb}(a, b, {i})",
            "language": "python",
            "summary": f"{verb} the two given values, case {i} .",
        }
        for i in range(start, start + count)
        for verb in VERBS
    ]


def defects(start: int, count: int) -> list[dict[str, Any]]:
    return [
        {"func": f"int f{i}(int a) {{ return a {'+' if i % 2 else '/'} {i}; }}", "target": i % 2}
        for i in range(start, start + count)
    ]


def jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@dataclass(frozen=True)
class Bench:
    """Files that tests read and none writes to."""

    root: Path
    backbone: Path

    def suite_text(
        self,
        arms: tuple[str, ...] = ARMS,
        data: tuple[str, ...] = ("functions", "defects"),
        select: str = "each-seed",
    ) -> str:
        """The suite's TOML."""
        return SUITE.format(
            backbone=self.backbone, arms=json.dumps(arms), data=json.dumps(data), select=select
        )

    def suite(self, folder: Path, **given: Any) -> Suite:
        """The suite, read from a file as a user's."""
        path = folder / "tiny.toml"
        path.write_text(self.suite_text(**given), encoding="utf-8")
        return load_suite(str(path))

    def plan(self, folder: Path, *, out: str = "run", **given: Any) -> Plan:
        """A plan with its folder begun."""
        plan = make_plan(self.suite(folder, **given), folder / out, self.root)
        begin(plan, self.root)
        return plan


def make_bench(root: Path) -> Bench:
    """Write the data and the backbone."""
    tiny_t5(root / "backbone")
    for name, make in (("functions", functions), ("defects", defects)):
        jsonl(root / name / "train.jsonl", make(0, 24 if make is defects else 3))
        jsonl(root / name / "valid.jsonl", make(50, 8 if make is defects else 1))
        jsonl(root / name / "test.jsonl", make(80, 12 if make is defects else 2))
    return Bench(root, root / "backbone")
