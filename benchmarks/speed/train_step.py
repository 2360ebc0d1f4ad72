"""One training step of a frozen model under a soft prompt: 20 prompt tokens, batch 8.

T5 shapes: source 256, target 32, loss over the target. RoBERTa shape: source 400, two classes by a
linear head. Arms: `peft` prompt tuning on the Hugging Face module as it comes (train mode, dropout
in the frozen model), in eval mode, in eval mode with bf16 weights; our pass in float32 and in bf16,
with the prompt in float32. Before anything is timed, the float32 arms without dropout must give the
same loss, and bf16 gradients of the prompt must point where float32's do.
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.speed.measure import (
    Alone,
    Outcome,
    interleave,
    medians,
    ratio,
    serve,
    signature,
    table,
    timed,
)
from benchmarks.speed.shapes import checkpoint

BATCH, TARGET, PROMPT, CLASSES = 8, 32, 20, 2
SOURCE = {"roberta": 400}
ARMS = ("peft", "peft-eval", "peft-eval-bf16", "ours-float32", "ours-bf16")
COSINE = 0.998
"""How near a bf16 gradient of the prompt must be to float32's."""


@dataclass
class Arm:
    """A step that updates the prompt, and the loss and gradient of the prompt it starts from."""

    prompt: nn.Parameter
    loss: Callable[[], Tensor]
    optimizer: torch.optim.Optimizer

    def step(self) -> float:
        """Forward, backward, update."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.item()

    def look(self) -> tuple[float, Tensor]:
        """The loss and the prompt's gradient, without an update."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss()
        loss.backward()  # type: ignore[no-untyped-call]
        assert self.prompt.grad is not None
        return loss.item(), self.prompt.grad.float().flatten().clone()


def main(options: Namespace) -> Outcome | None:
    """Run the benchmark; with `--alone` print one arm's peak memory."""
    torch.set_num_threads(options.threads)
    if options.alone:
        arm = build(options.alone, options.shape, Path(options.checkpoint))
        serve(lambda kind: arm.step())
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint(options.shape, Path(folder) / "checkpoint")
        return _compare(options, path)


def _compare(options: Namespace, path: Path) -> Outcome:
    names = list(options.arms or ARMS)
    arms = {name: build(name, options.shape, path) for name in names}
    cosines = _alike(arms)
    found = interleave({name: timed(arm.step) for name, arm in arms.items()}, options.rounds)
    middle = medians(found)
    memory: dict[str, float] = {}
    if options.memory:
        more = ["--checkpoint", str(path), "--threads", str(options.threads)]
        more += ["--shape", options.shape]
        for name in names:
            alone = Alone("train-step", name, more)
            for question in ("step", "step", "peak"):
                memory[name] = alone.ask(question)
            alone.close()
    rows = [
        [
            name,
            f"{middle[name]:.0f}",
            f"{memory[name]:.0f}" if memory else "",
            f"{cosines[name]:.4f}" if name in cosines else "",
        ]
        for name in names
    ]
    table(["arm", "ms a step", "peak MB", "gradient's cosine"], rows)
    pairs = [
        ("bf16 over peft", "peft", "ours-bf16"),
        ("bf16 over peft in eval mode", "peft-eval", "ours-bf16"),
        ("bf16 over peft in eval mode and bf16", "peft-eval-bf16", "ours-bf16"),
        ("no dropout (peft)", "peft", "peft-eval"),
        ("the pass (float32, no dropout)", "peft-eval", "ours-float32"),
        ("bf16 weights (our pass)", "ours-float32", "ours-bf16"),
    ]
    ratios = {t: ratio(found, a, b) for t, a, b in pairs if a in found and b in found}
    if memory and {"peft", "ours-bf16"} <= memory.keys():
        ratios["memory of bf16 over peft"] = memory["ours-bf16"] / memory["peft"]
    told = signature(
        shape=options.shape,
        batch=BATCH,
        source=SOURCE.get(options.shape, 256),
        target=CLASSES if options.shape == "roberta" else TARGET,
        prompt=PROMPT,
        rounds=options.rounds,
    )
    extra: dict[str, object] = {"cosine": {k: round(v, 5) for k, v in cosines.items()}}
    if memory:
        extra["peak_mb"] = {k: round(v) for k, v in memory.items()}
    return Outcome("train-step", ratios, middle, told, extra)


def _alike(arms: dict[str, Arm]) -> dict[str, float]:
    """Cosine of each arm's gradient with the float32 one; arms with dropout are left out."""
    looks = {name: arm.look() for name, arm in arms.items() if name != "peft"}
    reference = next((a for a in ("peft-eval", "ours-float32") if a in looks), None)
    if reference is None:
        return {}
    loss, gradient = looks[reference]
    cosines = {}
    for name, (own, slope) in looks.items():
        cosines[name] = float(F.cosine_similarity(slope, gradient, dim=0))
        if name == "ours-float32" and abs(own - loss) > 1e-3 * abs(loss):
            raise SystemExit(f"The float32 arms give other losses: {own} and {loss}.")
        if name == "ours-bf16" and cosines[name] < COSINE:
            raise SystemExit(f"The bf16 gradient strays: cosine {cosines[name]:.5f}.")
    return cosines


def batch(shape: str) -> tuple[Tensor, Tensor]:
    """Source ids [B,T] without padding, and the labels: [B,U] or [B]."""
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(300, 8000, (BATCH, SOURCE.get(shape, 256)), generator=generator)
    if shape == "roberta":
        # Six to two: an untrained model's rows are alike, and the gradients of an even batch nearly
        # cancel; what is left is rounding, for any bf16 arm.
        return ids, (torch.arange(BATCH) < 6).long()
    return ids, torch.randint(300, 8000, (BATCH, TARGET), generator=generator)


def build(name: str, shape: str, path: Path) -> Arm:
    """An arm, loaded and ready; every arm starts from the same prompt and head."""
    if name not in ARMS:
        raise SystemExit(f"Unknown arm '{name}'. Expected one of: {', '.join(ARMS)}.")
    dtype = torch.bfloat16 if name.endswith("bf16") else torch.float32
    if name.startswith("peft"):
        return _peft(shape, path, dtype, train="eval" not in name)
    return _ours(shape, path, dtype)


def _start(embedding: Tensor) -> Tensor:
    """The prompt's initial values [P,d]: vocabulary vectors."""
    return embedding[500 : 500 + PROMPT].detach().float().clone()


def _head(size: int) -> tuple[Tensor, Tensor]:
    """Initial values of the linear head."""
    generator = torch.Generator().manual_seed(3)
    return 0.02 * torch.randn(CLASSES, size, generator=generator), torch.zeros(CLASSES)


def _peft(shape: str, path: Path, dtype: torch.dtype, *, train: bool) -> Arm:
    """`peft` prompt tuning; in bf16 the prompt stays float32, as `autocast_adapter_dtype` does."""
    import transformers
    from peft import PromptTuningConfig, TaskType, get_peft_model

    inner: Any
    if shape == "roberta":
        inner = transformers.RobertaForSequenceClassification.from_pretrained(
            path, dtype=dtype, num_labels=CLASSES
        )
        weight, bias = _head(inner.config.hidden_size)
        inner.classifier = _FirstState(weight.to(dtype), bias.to(dtype))
        task = TaskType.SEQ_CLS
    else:
        inner = transformers.T5ForConditionalGeneration.from_pretrained(path, dtype=dtype)
        task = TaskType.SEQ_2_SEQ_LM
    # One set of virtual tokens, before the source: peft's own default for encoder-decoders is two,
    # the second before the target, which other prompt tuning has not.
    more: dict[str, Any] = {} if shape == "roberta" else {"num_transformer_submodules": 1}
    config = PromptTuningConfig(task_type=task, num_virtual_tokens=PROMPT, **more)
    model: Any = get_peft_model(inner, config)
    prompt = model.prompt_encoder["default"].embedding.weight
    with torch.no_grad():
        prompt.copy_(_start(inner.get_input_embeddings().weight))
    model.train(train)
    ids, labels = batch(shape)
    mask = torch.ones_like(ids)
    trained = [p for p in model.parameters() if p.requires_grad]
    return Arm(
        prompt,
        lambda: model(input_ids=ids, attention_mask=mask, labels=labels).loss,
        torch.optim.AdamW(trained, lr=0.3),
    )


class _FirstState(nn.Module):
    """A linear head on the first state, in place of Hugging Face's two layers."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, states: Tensor) -> Tensor:
        return F.linear(states[:, 0], self.weight, self.bias)


def _ours(shape: str, path: Path, dtype: torch.dtype) -> Arm:
    from codeprompt.backbones.base import Source
    from codeprompt.backbones.load import load_backbone
    from codeprompt.forward import generation_loss
    from codeprompt.inject import Injection, collate

    backbone: Any = load_backbone(str(path), dtype=dtype)
    prompt = nn.Parameter(_start(backbone.embedding.weight))
    ids, labels = batch(shape)
    slots = torch.full_like(ids, -1)
    ids = F.pad(ids, (PROMPT, 0), value=backbone.tokenizer.pad_id)
    slots = torch.cat([torch.arange(PROMPT).expand(BATCH, -1), slots], 1)
    source = Source(ids, torch.ones_like(ids, dtype=torch.bool), slots)
    trained = [prompt]
    if shape == "roberta":
        weight, bias = (nn.Parameter(x) for x in _head(backbone.d_model))
        trained += [weight, bias]

    def loss() -> Tensor:
        injected = collate([Injection(slots=prompt)])
        hidden = backbone.encode(source, injected)
        if shape == "roberta":
            return F.cross_entropy(F.linear(hidden[:, 0].float(), weight, bias), labels)
        return generation_loss(backbone, source, hidden, labels, injected)

    return Arm(prompt, loss, torch.optim.AdamW(trained, lr=0.3))
