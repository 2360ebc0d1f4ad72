"""Tune a prompt: shots, seeds, selection, guard, pack."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from codeprompt.backbones.load import load_backbone
from codeprompt.errors import TrainingError
from codeprompt.files import write_error
from codeprompt.pack import Pack, check_target, save
from codeprompt.training.evaluate import is_better
from codeprompt.training.finish import finish, untuned
from codeprompt.training.keeping import Keeping
from codeprompt.training.measure import peak_memory_mb
from codeprompt.training.seed import OnEvent, SeedRun, backbone_with, run_seed
from codeprompt.training.setup import Setup, TuneRequest, prepare
from codeprompt.types import Score

__all__ = ["SeedRun", "TuneRequest", "TuneResult", "backbone_with", "run_seed", "tune"]


@dataclass(frozen=True)
class TuneResult:
    """A tuned pack and how it came about; scores are those of the best dev seed on its dev rows.

    untuned: what the hard template has on these rows by the first metric, trained by nothing; None
    where there is no such thing. left_out: metrics of the task that the dev rows leave undefined,
    and why.
    """

    pack: Pack
    path: Path
    scores: list[Score]
    dev_scores: list[tuple[int, float]]
    parameters: int
    seconds: float
    peak_memory_mb: float
    untuned: float | None = None
    left_out: tuple[str, ...] = ()


def tune(
    request: TuneRequest, on_event: OnEvent | None = None, keeping: Keeping | None = None
) -> TuneResult:
    """Tune one prompt a seed, keep the one with the best dev score, and write its pack.

    on_event: called with the seed and an `Event` after every step. keeping: when checkpoints are
    written, and whether to stop (see `Keeping`).
    Raises a `CodepromptError` for whatever the user can mend; the pack is whole or not there.
    """
    started = time.monotonic()
    check_target(request.out)
    backbone = load_backbone(request.backbone, allow_hub=request.allow_hub)
    setup = prepare(request, backbone)
    best = Best(setup)
    with checkpoint_folder(request) as folder:
        for seed in request.seeds:
            path = folder / f"seed-{seed}.safetensors"
            best.take(run_seed(setup, seed, path, on_event, keeping))
        return best.packed(started)


@dataclass
class Best:
    """The best seed so far of a request, and the dev scores of all."""

    setup: Setup
    run: SeedRun | None = None
    scores: tuple[tuple[int, float], ...] = ()

    def take(self, run: SeedRun) -> None:
        """One more seed; of equals the first is kept."""
        self.scores += ((run.seed, run.dev),)
        if self.run is None or is_better(self.setup.task.metrics[0], run.dev, self.run.dev):
            self.run = run

    def packed(self, started: float) -> TuneResult:
        """Write the best seed's pack. started: a moment of the monotonic clock."""
        assert self.run is not None  # `prepare` refuses an empty list of seeds
        return _packed(self.setup, self.run, list(self.scores), started)


def _packed(
    setup: Setup, best: SeedRun, dev_scores: list[tuple[int, float]], started: float
) -> TuneResult:
    pack, scores, left_out = finish(setup, best, dev_scores)
    path = save(pack, setup.request.out)
    before = untuned(setup, best.dev_rows)
    return TuneResult(
        pack,
        path,
        scores,
        dev_scores,
        best.parameters,
        time.monotonic() - started,
        peak_memory_mb(),
        before,
        tuple(left_out),
    )


@contextmanager
def checkpoint_folder(request: TuneRequest) -> Iterator[Path]:
    """Where a run keeps its checkpoints until the pack is written: beside it, hidden, its own.

    Raises `TrainingError` where another run writes the same pack.
    """
    from filelock import FileLock, Timeout

    folder = request.out.parent / f".{request.out.name}.tuning"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise TrainingError(
            f"Another run is tuning {request.out} right now",
            do="Wait for it, or choose another --out",
        ) from None
    except OSError as error:
        raise write_error(folder, error) from error
    keep = True
    try:
        for left in folder.iterdir():  # what a killed writer left, and a run not to be gone on with
            if left.suffix == ".tmp" or (left.suffix == ".safetensors" and not request.resume):
                left.unlink()
        yield folder
        keep = False
    except BaseException:
        keep = any(left.suffix == ".safetensors" for left in folder.iterdir())  # for --resume
        raise
    finally:
        lock.release()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
