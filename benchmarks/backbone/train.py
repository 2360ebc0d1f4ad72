"""Pre-training: one loop, timed by the clock, that can stop and go on at any checkpoint.

The schedule is warm-up, stable, decay (Hu et al. 2024, MiniCPM) over the minutes given, so that a
run ends when it was told to, whatever the machine's speed. Parameters and activations are bfloat16,
masters float32 (`muon.py`). A checkpoint is a folder of safetensors and JSON, put in place by one
rename; the newest whole one is where `--resume` goes on.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.backbone import evaluate, tokenizer
from benchmarks.backbone.fused import PLAIN, compiled, cross_entropy, fuse
from benchmarks.backbone.muon import Optimiser
from benchmarks.backbone.objectives import Batch, Objectives, Stage
from benchmarks.backbone.shards import Shard
from codeprompt.backbones.base import Source
from codeprompt.backbones.t5 import T5, T5Config
from codeprompt.errors import TrainingError
from codeprompt.files import sync_folder


@dataclass(frozen=True)
class Preset:
    """A recipe's numbers. Stages count shares of the run's time; rates are for a factor of 1."""

    minutes: float
    stages: tuple[Stage, ...]
    hidden_rate: float = 0.02
    other_rate: float = 3e-3
    warm_up: float = 0.01
    decay: float = 0.35
    threads: int = 2
    seed: int = 1
    checkpoint_every: float = 3.0  # minutes
    evaluate_every: float = 6.0


PRESETS = {
    "cpu": Preset(
        minutes=60,
        stages=(
            Stage(0.20, 24, 4_000, summarize=0.7, name=0.3, spans=0, carry_on=0),
            Stage(0.40, 48, 6_000, summarize=0.8, name=0.2, spans=0, carry_on=0),
            Stage(0.70, 80, 10_000, summarize=0.76, name=0.08, spans=0.12, carry_on=0.04),
            Stage(1.01, 144, 12_000, summarize=0.74, name=0.06, spans=0.14, carry_on=0.06),
        ),
    ),
}
SHAPE = T5Config(
    vocab_size=16_000,
    d_model=256,
    d_kv=64,
    d_ff=1024,
    num_layers=4,
    num_decoder_layers=4,
    num_heads=4,
    dropout_rate=0.0,
)


EMBEDDING = 0.3  # deviation at the start


def new_model(shape: T5Config, seed: int, tokens: Sequence[str] = ()) -> T5:
    """Weights whose first logits are near uniform, with residual branches that start at zero.

    T5 starts its tied embedding at deviation 1, so that a token predicts itself with a logit of 16
    and the first thousand steps unlearn that; here the decoder's last norm starts small.
    tokens: the vocabulary by id; forms of one word then start alike (`alike`).
    """
    torch.manual_seed(seed)
    model = T5(shape)
    width, inner = shape.d_model, shape.num_heads * shape.d_kv
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("bias.weight", "Attention.o.weight", "DenseReluDense.wo.weight")):
                weight.zero_()
            elif name.endswith("Attention.q.weight"):
                weight.normal_(0, (width * inner / shape.num_heads) ** -0.5)
            elif name == "shared.weight":
                weight.normal_(0, EMBEDDING)
                if tokens:
                    weight.copy_(alike(weight, tokens))
            elif name == "decoder.final_layer_norm.weight":
                weight.fill_(0.5)
            elif weight.ndim == 2:
                weight.normal_(0, width**-0.5)
    return model


def alike(embedding: Tensor, tokens: Sequence[str]) -> Tensor:
    """The embedding [V,d] with a part shared by the forms of a word: `node`, ` node`, `Node`.

    Byte-level BPE makes other tokens of a word in a name and of the same word in a sentence. Where
    their vectors start unrelated, copying must be learned word by word, and is not within the time
    that two cores have; where they share a part, one map copies them all. Words with the same five
    first letters (`delete`, `deleted`) share a little more.
    """
    width = embedding.shape[1]
    parts: dict[str, Tensor] = {}

    def part(key: str) -> Tensor:
        if key not in parts:
            parts[key] = torch.randn(width) * EMBEDDING
        return parts[key]

    out = embedding.clone()
    for index, token in enumerate(tokens):
        word = token.lstrip("\u0120").lower()  # the byte-level alphabet's space
        if word.isalpha() and len(word) > 1:
            shared = 0.75 * part(word) + 0.4 * part(word[:5] + "*")
            out[index] = shared + 0.5 * embedding[index]
    return out


def loss_of(
    model: T5, batch: Batch, entropy: Callable[[Tensor, Tensor], Tensor] = cross_entropy
) -> Tensor:
    """Mean cross-entropy over the batch's target tokens."""
    source = Source(batch.source, batch.mask)
    memory = model.remember(model.encode(source, PLAIN), source, PLAIN)
    labels = batch.labels
    inputs = F.pad(labels[:, :-1].clamp(min=0), (1, 0), value=tokenizer.PAD)
    hidden = model.decode(inputs, memory, PLAIN)
    real = labels >= 0
    return entropy(model.logits(hidden[real]), labels[real])


def factor(preset: Preset, progress: float) -> float:
    """The learning rate's factor at a share of the time."""
    if progress < preset.warm_up:
        return 0.05 + 0.95 * progress / preset.warm_up
    if progress > 1 - preset.decay:
        left = max(0.0, (1 - progress) / preset.decay)
        return max(left, 0.01)
    return 1.0


class Run:
    """One pre-training run in a folder: log.jsonl, checkpoints, the loss plot."""

    def __init__(self, preset: Preset, data: Path, out: Path, resume: bool) -> None:
        self.preset, self.data, self.out = preset, data, out
        out.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(preset.threads)
        self.tokenizer = tokenizer.load(data)
        self.train, self.held = Shard.open(data, "train"), Shard.open(data, "held")
        shape = replace(SHAPE, vocab_size=self.tokenizer.get_vocab_size())
        words = [self.tokenizer.id_to_token(i) or "" for i in range(shape.vocab_size)]
        self.model = new_model(shape, preset.seed, words).to(torch.bfloat16)
        self.model.train()
        fuse(self.model)
        self.optimiser = Optimiser(
            self.model.named_parameters(),
            hidden_rate=preset.hidden_rate,
            other_rate=preset.other_rate,
        )
        self.objectives = Objectives(self.train, self.tokenizer, preset.seed)
        self.elapsed = self.seen = 0.0
        newest = newest_checkpoint(out)
        if newest is not None and not resume:
            raise TrainingError(
                f"{out} already holds {newest.name}", do="Add --resume, or give another folder"
            )
        if newest is not None:
            self._resume(newest)

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
        self.objectives.pools = state["pools"]

    def batches(self) -> Iterator[Batch]:
        """Batches of the stage that the clock stands in, without end."""
        while True:
            progress = self.elapsed / (60 * self.preset.minutes)
            stage = next(s for s in self.preset.stages if progress < s.until)
            yield from self.objectives.batches(stage)

    def go(self) -> None:
        """Train until the time is used up."""
        total = 60 * self.preset.minutes
        saved = evaluated = self.elapsed
        recent: list[float] = []
        entropy = compiled(cross_entropy)
        last = time.monotonic()
        for batch in self.batches():
            loss = loss_of(self.model, batch, entropy)
            loss.backward()  # type: ignore[no-untyped-call]
            rate = factor(self.preset, self.elapsed / total)
            norm = self.optimiser.step(rate)
            recent.append(float(loss.detach()))
            self.seen += batch.tokens
            now = time.monotonic()
            self.elapsed, last = self.elapsed + now - last, now
            step = self.optimiser.steps
            if step % 20 == 0:
                self._log(step=step, loss=sum(recent) / len(recent), rate=rate, norm=norm)
                recent.clear()
            done = self.elapsed >= total
            if done or self.elapsed - evaluated >= 60 * self.preset.evaluate_every:
                evaluated = self.elapsed
                self._log(step=step, **evaluate.held_out(self.model, self.tokenizer, self.held))
                self.model.train()
            if done or self.elapsed - saved >= 60 * self.preset.checkpoint_every:
                saved = self.elapsed
                self.save()
            if done:
                return

    def _log(self, **entry: Any) -> None:
        head = {"minutes": round(self.elapsed / 60, 2), "tokens": int(self.seen)}
        line = {k: round(v, 4) if isinstance(v, float) else v for k, v in (head | entry).items()}
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    def save(self) -> Path:
        """Write a checkpoint; the two newest are kept."""
        step = self.optimiser.steps
        target = self.out / f"checkpoint-{step:07d}"
        scratch = self.out / f".part-{step}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        weights = {n: m.clone() for n, m in self.optimiser.masters.items() if n != "lm_head.weight"}
        save_file(weights, scratch / "model.safetensors")
        save_file(self.optimiser.state_tensors(), scratch / "optimiser.safetensors")
        state = {
            "step": step,
            "elapsed": self.elapsed,
            "tokens": self.seen,
            "pools": self.objectives.pools,
            "data": self.train.fingerprint(),
            "preset": asdict(self.preset),
            "shape": asdict(self.model.config),
        }
        (scratch / "state.json").write_text(json.dumps(state, indent=1))
        for name in tokenizer.FILES:
            shutil.copy(self.data / name, scratch / name)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(scratch, target)
        sync_folder(self.out)
        for old in sorted(self.out.glob("checkpoint-*"))[:-2]:
            shutil.rmtree(old, ignore_errors=True)
        plot(self.out)
        return target


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
