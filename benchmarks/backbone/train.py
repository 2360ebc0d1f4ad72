"""Pre-training: one loop, timed by the clock, that can stop and go on at any checkpoint.

The schedule is warm-up, stable, decay (Hu et al. 2024, MiniCPM) over the minutes given: of the wall
on a GPU, of the cores on a CPU, which other work may share. Parameters and activations are
bfloat16, masters float32 (`muon.py`). A checkpoint is a folder of safetensors and JSON, put in
place by one rename; the newest whole one is where `--resume` goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks.backbone import checkpoints, tokenizer
from benchmarks.backbone.checkpoints import newest_checkpoint
from benchmarks.backbone.fused import compiled, cross_entropy, fuse
from benchmarks.backbone.kits import KITS
from benchmarks.backbone.muon import Optimiser
from benchmarks.backbone.presets import Preset, factor
from benchmarks.backbone.shards import packages_of
from codeprompt.errors import TrainingError


class Run:
    """One pre-training run in a folder: log.jsonl, checkpoints, the loss plot."""

    def __init__(
        self, preset: Preset, data: Path, out: Path, resume: bool, start: Path | None = None
    ) -> None:
        self.preset, self.data, self.out = preset, data, out
        out.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(preset.threads)
        self.tokenizer = tokenizer.load(data)
        self.kit = KITS[preset.family]
        self.train, self.held = (self.kit.open(data, split) for split in ("train", "held"))
        if preset.device != "cpu" and not torch.cuda.is_available():
            raise TrainingError(
                "There is no GPU here", expected="a CUDA device", do="Train with --preset cpu"
            )
        model = self.kit.build(self.tokenizer, preset.seed)
        self.model = model.to(preset.device, torch.bfloat16).train()
        self.entropy = cross_entropy
        if preset.device == "cpu":
            fuse(self.model)
            self.entropy = compiled(cross_entropy)
        self.optimiser = Optimiser(
            self.model.named_parameters(),
            hidden_rate=preset.hidden_rate,
            other_rate=preset.other_rate,
        )
        self.objectives = self.kit.draw(self.train, self.tokenizer, preset.seed, preset.device)
        self.elapsed = self.seen = 0.0
        newest = newest_checkpoint(out)
        if newest is not None and not resume:
            raise TrainingError(
                f"{out} already holds {newest.name}", do="Add --resume, or give another folder"
            )
        self.lineage: list[dict[str, Any]] = []
        if newest is not None:
            self._resume(newest)
        elif start is not None:
            weights, self.lineage = checkpoints.earlier(start, data)
            self.optimiser.load_weights(self.kit.start(self.model, weights))

    def _resume(self, folder: Path) -> None:
        state = json.loads((folder / "state.json").read_text())
        if state["data"] != self.train.fingerprint():
            raise TrainingError(
                f"{folder} was trained on the data {state['data']}",
                expected=self.train.fingerprint(),
                do="Give the same --data, or another --out",
            )
        self.optimiser.load_tensors(load_file(folder / "optimiser.safetensors"))
        self.elapsed, self.seen = state["elapsed"], state["tokens"]
        self.objectives.pools, self.lineage = state["pools"], state.get("lineage", [])

    def batches(self) -> Iterator[Any]:
        """Batches of the stage that the clock stands in, without end."""
        while True:
            progress = self.elapsed / (60 * self.preset.minutes)
            stage = next(s for s in self.preset.stages if progress < s.until)
            yield from self.objectives.batches(stage)

    def _clock(self) -> float:
        """Seconds of the cores given: a busy machine stretches a run and takes no learning away."""
        if self.preset.device == "cpu":
            return time.process_time() / self.preset.threads
        return time.monotonic()

    def go(self, minutes: float | None = None) -> bool:
        """Train until the time is used up, or for so long by the wall; says whether all is done."""
        total = 60 * self.preset.minutes
        if self.elapsed >= total:
            return True
        began = time.monotonic()
        saved = self.elapsed
        # Segments may be shorter than the time between evaluations.
        evaluated = self.elapsed - self.elapsed % (60 * self.preset.evaluate_every)
        recent: list[float] = []
        last = self._clock()
        for batch in self.batches():
            loss = self.kit.loss(self.model, batch, self.entropy)
            loss.backward()  # type: ignore[no-untyped-call]
            rate = factor(self.preset, self.elapsed / total)
            norm = self.optimiser.step(rate)
            recent.append(float(loss.detach()))
            self.seen += batch.tokens
            now = self._clock()
            self.elapsed, last = self.elapsed + now - last, now
            step = self.optimiser.steps
            if step % 20 == 0:
                self._log(step=step, loss=sum(recent) / len(recent), rate=rate, norm=norm)
                recent.clear()
            done = self.elapsed >= total
            if done or self.elapsed - evaluated >= 60 * self.preset.evaluate_every:
                evaluated = self.elapsed
                self._log(step=step, **self.kit.judge(self.model, self.tokenizer, self.held))
            paused = minutes is not None and time.monotonic() - began >= 60 * minutes
            if done or paused or self.elapsed - saved >= 60 * self.preset.checkpoint_every:
                saved = self.elapsed
                self.save()
            if done or paused:
                return done
        return True

    def _log(self, **entry: Any) -> None:
        head = {"minutes": round(self.elapsed / 60, 2), "tokens": int(self.seen)}
        line = {k: round(v, 4) if isinstance(v, float) else v for k, v in (head | entry).items()}
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    def save(self) -> Path:
        """Write a checkpoint; the two newest are kept."""
        weights = {n: m.clone() for n, m in self.optimiser.masters.items() if n != "lm_head.weight"}
        state = {
            "step": self.optimiser.steps,
            "elapsed": self.elapsed,
            "tokens": self.seen,
            "pools": self.objectives.pools,
            "data": self.train.fingerprint(),
            "packages": packages_of(self.data),
            "lineage": self.lineage,
            "preset": asdict(self.preset),
            "shape": self.kit.shape(self.model),
        }
        tensors = self.optimiser.state_tensors()
        return checkpoints.write(self.out, self.optimiser.steps, weights, tensors, state, self.data)
