"""RoBERTa family: CodeBERT, GraphCodeBERT and UniXcoder shapes (encoder with a cloze head).

Liu et al. 2019, as in Hugging Face's `RobertaForMaskedLM`, whose parameter names are kept. Ours
differs in what it leaves out: no pooler, token types are always 0, and the cloze head reads only
the positions that are asked for. Soft slots are real positions: their position and type embeddings
are added and the LayerNorm applied, as Hugging Face treats `inputs_embeds`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch.nn.functional as F
from torch import Tensor, nn

from codeprompt.backbones.base import WHOLE, Backbone, Family, Role, SiteShape, Source, Span
from codeprompt.backbones.t5 import ACTIVATIONS
from codeprompt.errors import BackboneError
from codeprompt.inject import NOTHING, Injected, Injection, Site, Stack, collate


@dataclass(frozen=True)
class RobertaConfig:
    """The switches of a RoBERTa checkpoint's `config.json` that change its numbers.

    Defaults are those of Hugging Face's configuration class.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    pad_token_id: int = 1
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1

    @staticmethod
    def from_json(config: Mapping[str, Any]) -> RobertaConfig:
        """Read a Hugging Face configuration. Raises `BackboneError` on what this pass has not."""
        positions = config.get("position_embedding_type") or "absolute"
        if positions != "absolute":
            raise BackboneError(
                f"The checkpoint has '{positions}' position embeddings",
                expected="'absolute', as CodeBERT, GraphCodeBERT and UniXcoder have",
                do="Choose another checkpoint",
            )
        if config.get("is_decoder"):
            raise BackboneError(
                "The checkpoint is a RoBERTa decoder (is_decoder is true)",
                expected="an encoder",
                do="Choose another checkpoint, or set is_decoder to false in its config.json "
                "where it was trained in both directions (UniXcoder)",
            )
        known = {
            k: config[k] for k in RobertaConfig.__dataclass_fields__ if config.get(k) is not None
        }
        made = RobertaConfig(**known)
        if made.hidden_act not in ACTIVATIONS:
            raise BackboneError(
                f"The checkpoint's activation is '{made.hidden_act}'",
                expected="one of: " + ", ".join(sorted(ACTIVATIONS)),
                do="Choose another checkpoint",
            )
        return made


class Embeddings(nn.Module):
    """Words, positions and token types, summed and normed."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, size)
        self.LayerNorm = nn.LayerNorm(size, config.layer_norm_eps)
        self.pad, self.dropout = config.pad_token_id, config.hidden_dropout_prob

    def forward(self, source: Source, injected: Injected) -> Tensor:
        """ids [B,T] with slots -> [B,T,d]."""
        x = injected.embed(self.word_embeddings(source.ids), source.slots, source.mask)
        x = x + self.token_type_embeddings.weight[0]
        x = x + self.position_embeddings(self.positions(source.mask, injected.past("encoder")))
        x = injected.shifted("roberta.embeddings.LayerNorm", self.LayerNorm(x))
        return F.dropout(x, self.dropout, self.training)

    def positions(self, mask: Tensor, past: Tensor | None) -> Tensor:
        """Position ids [B,T]: counted over real positions after `past` [B], the pad id at padding.

        The mask counts, never the ids: a soft slot holds the pad id and is a real position.
        """
        width, room = mask.shape[1], self.position_embeddings.num_embeddings - self.pad - 1
        count = mask.long().cumsum(1)
        if past is not None:
            count = count + past[:, None]
            width += int(past.max())
        if width > room and (last := int((count * mask).max())) > room:
            raise BackboneError(
                f"A row ends at position {last}, and the backbone has {room}",
                expected=f"at most {room} positions, prompt included",
                do="Lower the length limit",
            )
        return count * mask + self.pad


class SelfAttention(nn.Module):
    """Queries, keys and values; `name` is its path in the checkpoint."""

    def __init__(self, config: RobertaConfig, name: str) -> None:
        super().__init__()
        size = config.hidden_size
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size)
        self.name, self.heads = name, config.num_attention_heads

    def split(self, linear: str, x: Tensor, injected: Injected) -> Tensor:
        """One of the three maps of x [B,S,d] -> [B,H,S,h]."""
        y = injected.linear(f"{self.name}.{linear}", getattr(self, linear), x)
        return y.view(*y.shape[:-1], self.heads, -1).transpose(1, 2)


class Output(nn.Module):
    """A linear map, the residual and the LayerNorm after them (post-norm)."""

    def __init__(self, config: RobertaConfig, name: str, size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.name, self.norm = f"{name}.dense", f"{name}.LayerNorm"
        self.dropout = config.hidden_dropout_prob

    def forward(self, x: Tensor, residual: Tensor, injected: Injected) -> Tensor:
        x = F.dropout(injected.linear(self.name, self.dense, x), self.dropout, self.training)
        return injected.shifted(self.norm, self.LayerNorm(x + residual))


class Attention(nn.Module):
    """Self-attention with its output map, under the checkpoint's own attribute names."""

    def __init__(self, config: RobertaConfig, name: str, layer: int) -> None:
        super().__init__()
        self.self = SelfAttention(config, f"{name}.self")
        self.output = Output(config, f"{name}.output", config.hidden_size)
        self.layer, self.dropout = layer, config.attention_probs_dropout_prob
        self.scale = (config.hidden_size // config.num_attention_heads) ** -0.5

    def forward(self, x: Tensor, bias: Tensor | None, injected: Injected) -> Tensor:
        """x [B,T,d] -> [B,T,d]."""
        q, k, v = (self.self.split(name, x, injected) for name in ("query", "key", "value"))
        out = injected.attend(
            "encoder",
            self.layer,
            q,
            k,
            v,
            bias,
            scale=self.scale,
            dropout=self.dropout if self.training else 0.0,
        )
        attended: Tensor = self.output(out.transpose(1, 2).flatten(2), x, injected)
        return attended


class Intermediate(nn.Module):
    """The widening half of the feed-forward layer."""

    def __init__(self, config: RobertaConfig, name: str) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.name = f"{name}.dense"
        self.act: Callable[[Tensor], Tensor] = ACTIVATIONS[config.hidden_act]

    def forward(self, x: Tensor, injected: Injected) -> Tensor:
        return self.act(injected.linear(self.name, self.dense, x))


class Layer(nn.Module):
    """One layer of the encoder."""

    def __init__(self, config: RobertaConfig, layer: int) -> None:
        super().__init__()
        name = f"roberta.encoder.layer.{layer}"
        self.attention = Attention(config, f"{name}.attention", layer)
        self.intermediate = Intermediate(config, f"{name}.intermediate")
        self.output = Output(config, f"{name}.output", config.intermediate_size)

    def forward(self, x: Tensor, bias: Tensor | None, injected: Injected) -> Tensor:
        x = self.attention(x, bias, injected)
        out: Tensor = self.output(self.intermediate(x, injected), x, injected)
        return out


class Encoder(nn.Module):
    """The layers, under the checkpoint's `encoder`."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config, i) for i in range(config.num_hidden_layers))


class Body(nn.Module):
    """Embeddings and encoder, under the checkpoint's `roberta`."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)


class MaskHead(nn.Module):
    """The cloze head; its decoder is the word embedding unless the checkpoint brings its own."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = self.decoder.bias

    def forward(self, x: Tensor, injected: Injected) -> Tensor:
        """[B,M,d] -> [B,M,V]; always the exact GELU, whatever the layers use."""
        x = F.gelu(injected.linear("lm_head.dense", self.dense, x))
        x = injected.shifted("lm_head.layer_norm", self.layer_norm(x))
        return injected.linear("lm_head.decoder", self.decoder, x)


class Roberta(Backbone):
    """An encoder of the RoBERTa family, with or without its cloze head."""

    family: ClassVar[Family] = "roberta"
    roles: ClassVar[Mapping[Role, str]] = {
        "query": r"\.query$",
        "key": r"\.key$",
        "value": r"\.value$",
        "attention-out": r"\.attention\.output\.dense$",
        "feed-in": r"\.intermediate\.dense$",
        "feed-out": r"\d\.output\.dense$",
    }
    lm_head: MaskHead | None

    def __init__(self, config: RobertaConfig, mask_head: bool = True) -> None:
        super().__init__()
        self.config = config
        self.d_model = config.hidden_size
        self.max_length = config.max_position_embeddings - config.pad_token_id - 1
        self.roberta = Body(config)
        self.lm_head = MaskHead(config) if mask_head else None
        if self.lm_head is not None:
            self.lm_head.decoder.weight = self.roberta.embeddings.word_embeddings.weight

    @property
    def has_mask_head(self) -> bool:
        return self.lm_head is not None

    @property
    def sites(self) -> Mapping[Site, SiteShape]:
        c = self.config
        head = c.hidden_size // c.num_attention_heads
        return {"encoder": SiteShape(c.num_hidden_layers, c.num_attention_heads, head)}

    @property
    def stacks(self) -> Mapping[Stack, int]:
        return {"encoder": self.config.num_hidden_layers}

    @property
    def shifted_norms(self) -> tuple[str, ...]:
        return tuple(n for n, m in self.named_modules() if isinstance(m, nn.LayerNorm))

    @property
    def embedding(self) -> nn.Embedding:
        return self.roberta.embeddings.word_embeddings

    def project_columns(
        self, site: Site, layer: int, vectors: Tensor, injection: Injection
    ) -> tuple[Tensor, Tensor]:
        # Post-norm: a layer's input feeds its keys and values as it is.
        own = cast(Layer, self.roberta.encoder.layer[layer]).attention.self
        rows = collate([Injection(deltas=injection.deltas)])
        x = vectors.to(self.dtype)[None]
        return own.split("key", x, rows)[0], own.split("value", x, rows)[0]

    def encode(self, source: Source, injected: Injected = NOTHING, span: Span = WHOLE) -> Tensor:
        """ids [B,T] with slots -> hidden states [B,T,d], padding included; see `Span`.

        Raises `BackboneError` where a row is longer than the position table.
        """
        x = self.roberta.embeddings(source, injected) if span.states is None else span.states
        pad = injected.keys(source.slots, source.pad_bias)
        own = bias = None if pad is None else pad.to(x.dtype)
        for index, layer in enumerate(self.roberta.encoder.layer):
            if index not in span:
                continue
            if injected.late is not None:
                x, bias = injected.late.at(index, x, (source.slots, source.mask), (own, bias))
            x = layer(x, bias, injected)
        return x

    def mask_logits(
        self, hidden: Tensor, positions: Tensor, injected: Injected = NOTHING
    ) -> Tensor:
        """The cloze head at some positions: hidden [B,T,d], positions [B,M] -> logits [B,M,V].

        Raises `BackboneError` where the checkpoint has no such head.
        """
        if self.lm_head is None:
            raise BackboneError(
                f"A cloze on a checkpoint without a mask head: {self.name or 'this backbone'} "
                "has no lm_head",
                expected="a checkpoint trained with masked language modelling",
                do="Use --head linear, or a backbone with the head, such as "
                "microsoft/codebert-base-mlm",
            )
        index = positions.unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
        logits: Tensor = self.lm_head(hidden.gather(1, index), injected)
        return logits


FAMILY = Roberta
