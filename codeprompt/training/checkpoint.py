"""A training run's state in one safetensors file, written atomically: never a pickle.

Tensors carry a prefix: `module.`, `best.`, `optimizer.<index>.<name>`, `rng`. Everything else is
JSON in the file's metadata. A finished run keeps its best tensors alone.
"""

from __future__ import annotations

import errno
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from codeprompt.errors import TrainingError
from codeprompt.files import atomic_path

VERSION = 2


@dataclass
class Progress:
    """Where a run is, beside its tensors.

    step: of the stage. done: steps of the stages before. stage_score: the best of this stage;
    best_score, best_step: of all stages whose outcome may be packed. stale: evaluations since the
    stage's best one. loss_sum, loss_steps: since the last evaluation.
    """

    fingerprint: str
    step: int = 0
    best_step: int = -1
    best_score: float = float("-inf")
    stale: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    loss_steps: int = 0
    finished: bool = False
    stage: int = 0
    done: int = 0
    stage_score: float = float("-inf")
    history: list[dict[str, float]] = field(default_factory=list)


def save(
    path: Path,
    progress: Progress,
    module: nn.Module,
    best: dict[str, Tensor],
    optimizer: Optimizer,
) -> None:
    """Write the state of a run; a crash at any moment leaves the file before or the file after.

    Raises `CodepromptError` where the disk is full or the folder cannot be written.
    """
    tensors = {f"best.{n}": t for n, t in best.items()}
    if not progress.finished:
        tensors |= {f"module.{n}": t.detach() for n, t in trained_state(module).items()}
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
        tensors["rng"] = torch.get_rng_state()
    meta = json.dumps({"version": VERSION, "progress": asdict(progress)})
    with atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"codeprompt": meta})
        except SafetensorError as error:  # the library's word for what the system said
            full = "os error 28" in str(error) or "No space left" in str(error)
            raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error


def load(
    path: Path, fingerprint: str, module: nn.Module, optimizer: Optimizer
) -> tuple[Progress, dict[str, Tensor], Tensor | None]:
    """Put a saved run's state back; returns its progress, its best tensors and its generator.

    Raises `TrainingError` where the file is cut or belongs to another run.
    """
    progress, tensors = _read(path)
    if progress is None or progress.fingerprint != fingerprint:
        raise TrainingError(
            f"The checkpoint {path} belongs to a run with other settings, data, backbone or "
            "versions",
            do="Give the settings it was started with, or leave out --resume to start again",
        )
    best = _pick(tensors, "best.")
    if progress.finished:
        return progress, best, None
    restore(module, _pick(tensors, "module."))
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in _pick(tensors, "optimizer.").items():
        index, _, field_name = name.partition(".")
        state.setdefault(int(index), {})[field_name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return progress, best, tensors["rng"]


def _read(path: Path) -> tuple[Progress | None, dict[str, Tensor]]:
    """The progress (None: of another version) and all tensors of a checkpoint."""
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {})["codeprompt"])
            if meta["version"] != VERSION:
                return None, {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Progress(**meta["progress"]), tensors
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(
            f"The checkpoint {path} cannot be read: {error}",
            do="Run the same command without --resume to start again",
        ) from error


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the trained tensors and of what a stage decided."""
    return {name: tensor.detach().clone() for name, tensor in trained_state(module).items()}


def restore(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put a `snapshot` back."""
    with torch.no_grad():
        for name, tensor in trained_state(module).items():
            tensor.copy_(tensors[name])


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """Trained parameters, each once, and buffers: what is fixed is rebuilt from the same seed."""
    trained = {n: p for n, p in module.named_parameters() if p.requires_grad}
    return {**trained, **dict(module.named_buffers())}


def _pick(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
