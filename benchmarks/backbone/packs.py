"""The translation packs, from a run of `train --family translation`: whole weights in bfloat16.

Both packs hold the same weights, as one run learned both directions. Dev rows, scores and the card
are those of `codeprompt tune --method full-template`; its recipe is replaced by the run's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks.backbone.checkpoints import newest_checkpoint
from codeprompt.backbones.load import load_backbone
from codeprompt.errors import DataError
from codeprompt.inject import Injection
from codeprompt.pack import save
from codeprompt.pack.store import with_card
from codeprompt.training.finish import finish
from codeprompt.training.seed import SeedRun
from codeprompt.training.setup import TuneRequest, prepare

DIRECTIONS = {
    "translate-java-cs": {"code": "java", "target": "cs"},
    "translate-cs-java": {"code": "cs", "target": "java"},
}
LICENCE = {
    "weights": "Apache-2.0",
    "data": "C-UDA-1.0 (CodeXGLUE code-to-code-trans, Microsoft): computational use only; credit "
    "is kept, weights and scores carry no obligation",
}


def write(run: Path, data: Path, out: Path, dev: int = 400) -> Iterator[dict[str, Any]]:
    """Write `out/translate-*`; yields each pack's name and its scores on `dev` valid rows."""
    checkpoint = newest_checkpoint(run)
    if checkpoint is None:
        raise DataError(f"{run} holds no checkpoint", do="Train first, or give another folder")
    state = json.loads((checkpoint / "state.json").read_text())
    tensors = load_file(checkpoint / "model.safetensors")
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}
    backbone = load_backbone(state["lineage"][-1]["name"], allow_hub=False)
    for name, columns in DIRECTIONS.items():
        request = TuneRequest(
            "translate",
            str(data),
            out / name,
            backbone=backbone.name,
            method="full-template",
            recipe="full-data",
            columns=columns,
            overrides={"dev": dev},
            allow_hub=False,
        )
        setup = prepare(request, backbone)
        train, dev_rows = setup.rows(0)
        found = SeedRun(
            0,
            0.0,
            Injection(weights=weights),
            sum(tensor.numel() for tensor in tensors.values()),
            state["step"],
            state["step"],
            state["elapsed"],
            train,
            dev_rows,
        )
        pack, scores, _ = finish(setup, found, [])
        values = {score.metric: round(score.value, 2) for score in scores}
        save(with_card(pack, recipe=recipe(state), licence=LICENCE), out / name)
        yield {"pack": name, "rows": len(dev_rows), **values}


def recipe(state: dict[str, Any]) -> dict[str, Any]:
    """What the card says of the run: the preset, what was seen, where it started."""
    return {
        "name": "benchmarks.backbone train --family translation, both directions in one run",
        "preset": state["preset"],
        "steps": state["step"],
        "minutes": round(state["elapsed"] / 60, 1),
        "tokens": int(state["tokens"]),
        "data": state["data"],
        "lineage": state["lineage"],
    }
