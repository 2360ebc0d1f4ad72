"""What differs between families in training: the model, what it learns from, how it is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor, nn

from benchmarks.backbone import encoder, evaluate, translation
from benchmarks.backbone.device import DeviceObjectives
from benchmarks.backbone.loss import loss_of
from benchmarks.backbone.objectives import Objectives
from benchmarks.backbone.shape import SHAPE, new_model
from benchmarks.backbone.shards import Shard
from benchmarks.backbone.tokenizer import SENTINELS
from codeprompt.backbones.t5 import T5


@dataclass(frozen=True)
class Kit:
    """A family's parts.

    build: tokenizer and seed to a float32 model with `.config`. open: the data's folder and
    `train` or `held` to one of its splits. draw: shard, tokenizer, seed and
    device to what has `batches(stage)` and `pools`. loss: model, batch and cross-entropy to a
    scalar. judge: model, tokenizer and held-out shard to figures. start: a new model and earlier
    weights to weights for all of its parameters.
    """

    build: Callable[[Tokenizer, int], nn.Module]
    open: Callable[[Path, str], Any]
    draw: Callable[[Any, Tokenizer, int, str], Any]
    loss: Callable[[Any, Any, Callable[[Tensor, Tensor], Tensor]], Tensor]
    judge: Callable[[Any, Tokenizer, Any], dict[str, Any]]
    start: Callable[[Any, Mapping[str, Tensor]], Mapping[str, Tensor]]

    @staticmethod
    def shape(model: Any) -> dict[str, Any]:
        """A model's configuration as plain values."""
        return asdict(model.config)


def _t5(tokenizer: Tokenizer, seed: int) -> T5:
    shape = replace(SHAPE, vocab_size=tokenizer.get_vocab_size())
    words = [tokenizer.id_to_token(i) or "" for i in range(shape.vocab_size)]
    return new_model(shape, seed, words)


def _draw(shard: Shard, tokenizer: Tokenizer, seed: int, device: str) -> Any:
    if device == "cpu":
        return Objectives(shard, tokenizer, seed)
    return DeviceObjectives(shard, tokenizer, seed, device)


def _encoder(tokenizer: Tokenizer, seed: int) -> encoder.Tagged:
    size = tokenizer.get_vocab_size() - SENTINELS
    return encoder.new_encoder(replace(encoder.SHAPE, vocab_size=size), seed)


def _clozes(shard: Shard, tokenizer: Tokenizer, seed: int, device: str) -> Any:
    return encoder.Clozes(shard, tokenizer, seed)  # the batch goes to the device with its loss


def _pairs(pairs: translation.Pairs, tokenizer: Tokenizer, seed: int, device: str) -> Any:
    return translation.Translations(pairs, tokenizer, seed)


def _same(model: Any, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return weights


KITS = {
    "t5": Kit(_t5, Shard.open, _draw, loss_of, evaluate.held_out, _same),
    "encoder": Kit(
        _encoder, Shard.open, _clozes, encoder.loss_of, encoder.held_out, encoder.from_words
    ),
    "translation": Kit(_t5, translation.Pairs.open, _pairs, loss_of, translation.held_out, _same),
}
