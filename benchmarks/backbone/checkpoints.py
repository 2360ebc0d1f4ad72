"""A run's folder: whole checkpoints only, the weights a run may start from, the plot of its log."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.backbone import tokenizer
from codeprompt.errors import TrainingError
from codeprompt.files import sync_folder

Tensors = dict[str, Tensor]


def write(
    out: Path, step: int, weights: Tensors, optimiser: Tensors, state: dict[str, Any], data: Path
) -> Path:
    """Put `out/checkpoint-STEP` in place by one rename; the two newest are kept."""
    target, scratch = out / f"checkpoint-{step:07d}", out / f".part-{step}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    save_file(weights, scratch / "model.safetensors")
    save_file(optimiser, scratch / "optimiser.safetensors")
    (scratch / "state.json").write_text(json.dumps(state, indent=1))
    for name in tokenizer.FILES:
        shutil.copy(data / name, scratch / name)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(scratch, target)
    sync_folder(out)
    for old in sorted(out.glob("checkpoint-*"))[:-2]:
        shutil.rmtree(old, ignore_errors=True)
    plot(out)
    return target


def earlier(folder: Path, data: Path) -> tuple[Tensors, list[dict[str, Any]]]:
    """The weights in a run's folder, a checkpoint or an exported folder, and how they came to be.

    Raises `TrainingError` where there are none, or where their tokenizer is not the data's.
    """
    found = newest_checkpoint(folder) or folder
    path = found / "model.safetensors"
    if not path.is_file():
        raise TrainingError(f"{folder} holds no weights", expected="a checkpoint or a backbone")
    for name in ("vocab.json", "merges.txt"):
        if (found / name).read_bytes() != (data / name).read_bytes():
            raise TrainingError(
                f"{found} has another {name} than {data}",
                do=f"Write the shards with tokenize --tokenizer {found}",
            )
    mark = hashlib.sha256(path.read_bytes()).hexdigest()
    if (found / "card.json").is_file():
        card = json.loads((found / "card.json").read_text())
        lineage = card["lineage"] if isinstance(card["lineage"][-1], dict) else []
        own = {k: card[k] for k in ("name", "step", "minutes", "tokens")} | {"sha256": mark}
    else:
        state = json.loads((found / "state.json").read_text())
        lineage = state.get("lineage", [])
        own = {
            "step": state["step"],
            "minutes": round(state["elapsed"] / 60, 1),
            "tokens": int(state["tokens"]),
            "sha256": mark,
        }
    return load_file(path), [*lineage, own]


def newest_checkpoint(out: Path) -> Path | None:
    """The newest whole checkpoint of a run's folder."""
    found = sorted(out.glob("checkpoint-*"))
    return found[-1] if found else None


def plot(out: Path) -> None:
    """The loss over time as `loss.png`, where matplotlib is installed."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return
    if not (out / "log.jsonl").is_file():
        return
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for key, label in (("loss", "training"), ("held loss", "held-out summaries")):
        points = [(x["minutes"], x[key]) for x in lines if key in x and math.isfinite(x[key])]
        if points:
            axes.plot(*zip(*points, strict=True), label=label)
    axes.set(xlabel="minutes", ylabel="loss, nats per target token")
    axes.legend()
    figure.tight_layout()
    figure.savefig(out / "loss.png", dpi=100)
    pyplot.close(figure)
