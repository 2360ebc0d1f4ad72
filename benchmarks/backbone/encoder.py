"""`builtin-encoder`: a RoBERTa-shaped encoder with its cloze head, small enough for 15 MB.

tokens      20% of the tokens are to be told from the rest: 80% behind `<mask>`, 10% replaced, 10%
            left (Liu et al. 2019). Code stands alone or beside its summary, before or after it, as
            a cloze puts words around code (Feng et al. 2020, CodeBERT's bimodal rows).
names       which tokens belong to identifiers, told at every position (Wang et al. 2021, section
            3.2.1, CodeT5's identifier tagging), by a head that does not ship.

The tokenizer is the T5's without its sentinels, so that `<mask>` is the mask. Word vectors may
start from those of a T5 of the same tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from benchmarks.backbone.fused import PLAIN, cross_entropy
from benchmarks.backbone.identifiers import Identifiers
from benchmarks.backbone.objectives import LANGUAGE_WEIGHTS, POOL, Ids, Stage
from benchmarks.backbone.shards import Shard
from benchmarks.backbone.tokenizer import END, MASK, PAD, SENTINELS, SPECIAL, START
from codeprompt.backbones.base import Source
from codeprompt.backbones.roberta import Roberta, RobertaConfig

RATE = 0.2
WITH_SUMMARY = 0.4  # of the documented rows
SHAPE = RobertaConfig(
    vocab_size=16_000 - SENTINELS,
    hidden_size=256,
    intermediate_size=768,
    num_hidden_layers=4,
    num_attention_heads=4,
    layer_norm_eps=1e-5,
    max_position_embeddings=513,
    type_vocab_size=1,
    pad_token_id=PAD,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
WORDS = "roberta.embeddings.word_embeddings.weight"


class Tagged(nn.Module):
    """The encoder, and the head that tells names, which is left behind at export."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Roberta(config)
        self.tag_bias = nn.Parameter(torch.zeros(config.hidden_size))


def new_encoder(config: RobertaConfig, seed: int) -> Tagged:
    """Weights with residual branches at zero and first logits near uniform."""
    torch.manual_seed(seed)
    model = Tagged(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("output.dense.weight") or name.endswith(".bias"):
                weight.zero_()
            elif "embeddings" in name and weight.ndim == 2:
                weight.normal_(0, 0.3 if "word" in name else 0.05)
            elif weight.ndim == 2:
                weight.normal_(0, config.hidden_size**-0.5)
        assert model.backbone.lm_head is not None
        model.backbone.lm_head.layer_norm.weight.fill_(0.1)
    return model


def from_words(model: Tagged, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All weights of the model: an encoder's own, or new ones beside the word vectors of a T5."""
    own = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    if "shared.weight" in weights:
        own[f"backbone.{WORDS}"] = weights["shared.weight"][: model.config.vocab_size].float()
        return own
    return own | {k: v for k, v in weights.items() if k in own}


@dataclass(frozen=True)
class Cloze:
    """source, mask, names [B,T]; labels [B,T] with -100 where nothing is asked."""

    source: Tensor
    mask: Tensor
    labels: Tensor
    names: Tensor
    tokens: int


class Clozes:
    """Draws batches from a shard, as `Objectives` does."""

    def __init__(self, shard: Shard, tokenizer: Tokenizer, seed: int) -> None:
        self.shard, self.seed, self.pools = shard, seed, 0
        self.words = tokenizer.get_vocab_size() - SENTINELS
        self.identifiers = Identifiers(tokenizer)
        self.rows = np.flatnonzero(shard.lengths("raw") >= 24)
        self.documented = shard.lengths("summary") > 0
        share = [LANGUAGE_WEIGHTS.get(name, 1.0) for name in shard.languages]
        self.weights = np.array(share)[shard.language[self.rows]]
        self.weights /= self.weights.sum()

    def batches(self, stage: Stage) -> Iterator[Cloze]:
        """One pool of batches with rows of at most `stage.source` tokens."""
        rng = np.random.default_rng([self.seed, self.pools])
        self.pools += 1
        count = stage.budget * POOL // stage.source
        chosen = rng.choice(self.rows, count, p=self.weights)
        rows = sorted((self.text(int(row), stage.source, rng) for row in chosen), key=len)
        groups: list[list[Ids]] = [[]]
        for ids in rows:
            if len(ids) * (len(groups[-1]) + 1) > stage.budget:
                groups.append([])
            groups[-1].append(ids)
        for index in rng.permutation(len(groups)):
            if groups[index]:
                yield self.cloze(groups[index], rng)

    def text(self, row: int, room: int, rng: np.random.Generator) -> Ids:
        """A row's code, at times with its summary before or behind it, as ids."""
        part = "joined" if rng.random() < 0.5 else "raw"
        code = self.shard.ids(row, part).astype(np.int64)
        around = [START], [END]
        if self.documented[row] and rng.random() < WITH_SUMMARY:
            summary = self.shard.ids(row, "summary").astype(np.int64)
            room -= len(summary)
            if rng.random() < 0.5:
                return np.concatenate([around[0], summary, code[: room - 2], around[1]])
            return np.concatenate([around[0], code[: room - 2], summary, around[1]])
        return np.concatenate([around[0], code[: room - 2], around[1]])

    def cloze(self, rows: list[Ids], rng: np.random.Generator, rate: float = RATE) -> Cloze:
        """Pad the rows and hide a share of their tokens."""
        wide = -(-max(map(len, rows)) // 8) * 8
        ids = np.full((len(rows), wide), PAD)
        names = np.zeros((len(rows), wide), bool)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            for run in self.identifiers.runs(row):
                for start, stop in run:
                    names[index, start:stop] = True
        asked = (rng.random(ids.shape) < rate) & (ids >= len(SPECIAL))
        asked[0, 1] = True  # a batch asks at least once
        dice = rng.random(ids.shape)
        drawn = rng.integers(len(SPECIAL), self.words, ids.shape)
        shown = np.where(asked & (dice < 0.8), MASK, np.where(asked & (dice > 0.9), drawn, ids))
        return Cloze(
            torch.from_numpy(shown),
            torch.from_numpy(ids != PAD),
            torch.from_numpy(np.where(asked, ids, -100)),
            torch.from_numpy(names),
            sum(map(len, rows)),
        )


def loss_of(
    model: Tagged, batch: Cloze, entropy: Callable[[Tensor, Tensor], Tensor] = cross_entropy
) -> Tensor:
    """Cross-entropy over the hidden tokens, and a tenth of that over names."""
    device = model.tag_bias.device
    mask, labels = batch.mask.to(device), batch.labels.to(device)
    hidden = model.backbone.encode(Source(batch.source.to(device), mask), PLAIN)
    asked = labels >= 0
    head = model.backbone.lm_head
    assert head is not None
    told = entropy(head(hidden[asked], PLAIN), labels[asked])
    tags = (hidden[mask] @ model.tag_bias).float()
    names = batch.names.to(device)[mask].float()
    return told + 0.1 * F.binary_cross_entropy_with_logits(tags, names)


@torch.no_grad()
def held_out(model: Tagged, tokenizer: Tokenizer, held: Shard, rows: int = 192) -> dict[str, Any]:
    """Loss and accuracy at hidden tokens of held-out packages, beside the commonest token's."""
    model.eval()
    clozes = Clozes(held, tokenizer, seed=7)
    rng = np.random.default_rng(7)
    texts = [clozes.text(int(row), 160, rng) for row in rng.permutation(clozes.rows)[:rows]]
    texts.sort(key=len)
    head = model.backbone.lm_head
    assert head is not None
    losses, right, labels = 0.0, 0, []
    for at in range(0, len(texts), 32):
        batch = clozes.cloze(texts[at : at + 32], rng, rate=0.15)
        device = model.tag_bias.device
        source = Source(batch.source.to(device), batch.mask.to(device))
        hidden, labels_here = model.backbone.encode(source), batch.labels.to(device)
        asked = labels_here >= 0
        logits, wanted = head(hidden[asked], PLAIN).float(), labels_here[asked]
        losses += float(F.cross_entropy(logits, wanted, reduction="sum"))
        right += int((logits.argmax(-1) == wanted).sum())
        labels.append(wanted)
    all_labels = torch.cat(labels)
    model.train()
    return {
        "held loss": losses / len(all_labels),
        "accuracy": 100 * right / len(all_labels),
        "commonest token": 100 * float(all_labels.bincount().max()) / len(all_labels),
    }


def configuration(shape: Mapping[str, Any]) -> dict[str, Any]:
    """The shape as Hugging Face's `RobertaConfig`."""
    return {
        "architectures": ["RobertaForMaskedLM"],
        "model_type": "roberta",
        **shape,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "position_embedding_type": "absolute",
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
        "bos_token_id": START,
        "eos_token_id": END,
        "torch_dtype": "bfloat16",
    }
