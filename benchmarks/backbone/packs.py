"""The translation packs, from a run of `train --family translation`: whole weights in bfloat16.

Both packs hold the same weights, as one run learned both directions. Dev rows, scores and the card
are those of `codeprompt tune --method full-template`; its recipe is replaced by the run's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks.backbone.checkpoints import newest_checkpoint
from codeprompt.backbones.load import load_backbone
from codeprompt.errors import DataError
from codeprompt.inject import Injection
from codeprompt.pack import Pack, load, save
from codeprompt.pack.store import with_card
from codeprompt.training.finish import finish
from codeprompt.training.seed import SeedRun
from codeprompt.training.setup import TuneRequest, prepare

DIRECTIONS = {
    "translate-java-cs": {"code": "java", "target": "cs"},
    "translate-cs-java": {"code": "cs", "target": "java"},
}
TERMS = "computational use only; credit is kept, weights and scores carry no obligation"
DATA = {
    "codetrans": f"C-UDA-1.0 (CodeXGLUE code-to-code-trans, Microsoft): {TERMS}",
    "devign": f"C-UDA-1.0 (Devign, Zhou et al. 2019; split by CodeXGLUE, Microsoft): {TERMS}",
}


def write(
    run: Path, data: Path, out: Path, dev: int = 400, beams: int = 4
) -> Iterator[dict[str, Any]]:
    """Write `out/translate-*`, answering by `beams`; yields names and scores on `dev` valid rows.

    Four beams by default: worth 2.0 and 0.6 BLEU on dev rows, a tenth slower on 20 tokens.
    """
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
        setup = replace(setup, task=replace(setup.task, beams=beams))
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
            setup.template,
        )
        pack, scores, _ = finish(setup, found, [])
        values = {score.metric: round(score.value, 2) for score in scores}
        save(with_card(pack, recipe=recipe(state), licence=licence(pack)), out / name)
        yield {"pack": name, "rows": len(dev_rows), **values}


def ship(tuned: Path, out: Path) -> Path:
    """Put a pack that `codeprompt tune` wrote among those that ship, its data's licence named."""
    pack = load(tuned)
    return save(with_card(pack, name=tuned.name, licence=licence(pack)), out / tuned.name)


def licence(pack: Pack) -> dict[str, str]:
    """Of weights and data. Raises `DataError` where the data's licence is not known here."""
    where = pack.card.data.where
    if where not in DATA:
        raise DataError(f"The licence of '{where}' is not known", expected=" or ".join(DATA))
    return {"weights": "Apache-2.0", "data": DATA[where]}


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
