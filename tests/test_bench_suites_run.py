"""Every kind of cell of every suite that ships can be run: on tiny backbones, for one step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codeprompt.backbones.roberta import Roberta, RobertaConfig
from codeprompt.backbones.t5 import T5, T5Config
from codeprompt.bench.cell import Cell
from codeprompt.bench.expand import expand
from codeprompt.bench.load import load_suite, suite_names
from codeprompt.bench.place import Place
from codeprompt.bench.suite import DataSpec, EvaluationSpec
from codeprompt.bench.work import attempt
from codeprompt.registry import METHODS
from tests.benching import defects, functions, jsonl
from tests.tiny import tiny_roberta, tiny_t5

QUICK: dict[str, Any] = {
    "steps": 1, "evaluate_every": 1, "batch": 2, "accumulate": 1, "dev": 2,
    "source_length": 160, "target_length": 6, "precision": "float32",
}  # fmt: skip


def pairs(start: int, count: int) -> list[dict[str, Any]]:
    return [{"java": f"int f() {{ return {i}; }}", "cs": f"int F() {{ return {i}; }}"}
            for i in range(start, start + count)]  # fmt: skip


def placed(start: int, count: int) -> list[dict[str, Any]]:
    return [{**row, "path": "a/b.py", "repo": "c/d"} for row in functions(start, count)]


def of_projects(start: int, count: int) -> list[dict[str, Any]]:
    return [{**row, "project": "e"} for row in defects(start, count)]


DATA = {"summarize": placed, "defect": of_projects, "translate": pairs}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both families of backbones, and a data set for each task."""
    root = tmp_path_factory.mktemp("suites")
    tiny_t5(root / "t5")
    tiny_roberta(root / "roberta")
    for task, make in DATA.items():
        for name, start in (("train", 0), ("valid", 50), ("test", 80)):
            jsonl(root / task / f"{name}.jsonl", make(start, 8))
    return root


def quick(cell: Cell, backbone: Path | str) -> Cell:
    """The same cell with tiny data and one step, its method's settings and template as they are."""
    language = "c" if cell.task == "defect" else ""
    # A prefix of 200 columns is as long for a tiny backbone; a wide MLP only costs time.
    return replace(
        cell,
        backbone="" if cell.baseline else str(backbone),
        data=DataSpec(name="tiny", task=cell.task, path=(cell.task,), language=language),
        evaluations=(EvaluationSpec(name="test", rows=2),) if cell.evaluations else (),
        shots=4,
        rates=cell.rates[:1],
        rates_from="",
        overrides={**cell.overrides, **QUICK},
        beams=2,
        threads=1,
        bootstrap=0,
    )


def unlike(name: str) -> Iterator[Cell]:
    """One cell of each arm, variant and task."""
    seen: set[tuple[str, ...]] = set()
    for cell in expand(load_suite(name)):
        key = cell.arm, cell.variant, cell.task, cell.backbone
        if key not in seen:
            seen.add(key)
            yield cell


LONG = {"methods": pytest.mark.slow}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=LONG.get(name, ())) for name in suite_names()]
)
def test_every_kind_of_cell_runs(name: str, place: Path) -> None:
    """Templates parse, options fit, label words are the task's, baselines answer."""
    failed = {}
    for cell in unlike(name):
        backbone = place / ("roberta" if "codebert" in cell.backbone else "t5")
        found = attempt(quick(cell, backbone), Place(place)).result
        if found.status != "ok":
            failed[cell.label] = found.error
        elif cell.method and METHODS.get(cell.method).trains:
            stages = {"xprompt": 2, "e2vpt": 4}.get(cell.method, 1)
            assert found.trials[0].steps == stages  # one step each
    assert not failed


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["codet5-base-hf", "codebert-base"])
def test_the_papers_cells_run_on_the_real_tokenizers(
    folder: str, place: Path, shared_data: Path, tmp_path: Path
) -> None:
    """The real vocabulary and special tokens on a small shape with random weights."""
    checkpoint = write_small(shared_data / "tokenizers" / folder, tmp_path / folder)
    wanted = "codebert" if folder == "codebert-base" else "codet5"
    cells = [cell for cell in unlike("paper") if wanted in cell.backbone]
    assert cells
    for cell in cells:
        found = attempt(quick(cell, checkpoint), Place(place)).result
        assert found.status == "ok", (cell.label, found.error)


def write_small(source: Path, target: Path) -> Path:
    """A checkpoint with the files of `source` and a small shape."""
    from safetensors.torch import save_file

    shutil.copytree(source, target)
    config: dict[str, Any] = json.loads((source / "config.json").read_text(encoding="utf-8"))
    generator = torch.Generator().manual_seed(0)
    if config["model_type"] == "t5":
        config |= {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4,
                   "num_decoder_layers": 2}  # fmt: skip
        backbone: torch.nn.Module = T5(T5Config.from_json(config))
    else:
        config |= {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                   "num_attention_heads": 4, "architectures": ["RobertaForMaskedLM"]}  # fmt: skip
        backbone = Roberta(RobertaConfig.from_json(config), mask_head=True)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    tensors: dict[str, torch.Tensor] = {}
    known: dict[int, str] = {}
    for key, tensor in backbone.state_dict().items():  # a tied tensor is stored once
        if tensor.data_ptr() not in known:
            known[tensor.data_ptr()] = key
            tensors[key] = tensor.contiguous()
    target.chmod(0o755)
    (target / "config.json").unlink()
    (target / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    return target
