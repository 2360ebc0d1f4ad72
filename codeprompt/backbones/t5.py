"""T5 family: CodeT5, CodeT5+ and `builtin` shapes (encoder-decoder).

Raffel et al. 2020, as in Hugging Face's `T5ForConditionalGeneration`, whose parameter names are
kept. Ours differs in how it runs: fused attention, cross-attention keys and values computed once
per source and shared by all its beams, and beams folded into the query axis: the K beams of a row
are K queries over one static cache of K*U slots under an ancestry mask, so that nothing is
reordered or copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codeprompt.backbones._loss import summed_cross_entropy
from codeprompt.backbones._t5_layers import ACTIVATIONS, T5Config, T5Stack, bucket
from codeprompt.backbones._t5_state import DecodeState, Memory
from codeprompt.backbones.base import WHOLE, Backbone, Family, Role, SiteShape, Source, Span
from codeprompt.inject import NOTHING, Injected, Injection, Site, Stack, collate

__all__ = ["ACTIVATIONS", "FAMILY", "T5", "DecodeState", "Memory", "T5Config", "bucket"]


class T5(Backbone):
    """An encoder-decoder of the T5 family."""

    family: ClassVar[Family] = "t5"
    roles: ClassVar[Mapping[Role, str]] = {
        "query": r"\.q$",
        "key": r"\.k$",
        "value": r"\.v$",
        "attention-out": r"\.o$",
        "feed-in": r"\.wi(_[01])?$",
        "feed-out": r"\.wo$",
    }

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.config = config
        self.d_model = config.d_model
        self.max_length, self.start_id = config.n_positions, config.decoder_start_token_id
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = T5Stack(config, "encoder")
        self.decoder = T5Stack(config, "decoder")
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.lm_head.weight = self.shared.weight  # tied unless the checkpoint brings its own

    @property
    def sites(self) -> Mapping[Site, SiteShape]:
        c = self.config
        encoder = SiteShape(c.num_layers, c.num_heads, c.d_kv)
        decoder = SiteShape(c.num_decoder_layers, c.num_heads, c.d_kv)
        return {"encoder": encoder, "decoder": decoder, "cross": decoder}

    @property
    def stacks(self) -> Mapping[Stack, int]:
        return {"encoder": self.config.num_layers, "decoder": self.config.num_decoder_layers}

    @property
    def embedding(self) -> nn.Embedding:
        return self.shared

    def project_columns(
        self, site: Site, layer: int, vectors: Tensor, injection: Injection
    ) -> tuple[Tensor, Tensor]:
        rows = collate([Injection(deltas=injection.deltas)])
        vectors = vectors.to(self.dtype)[None]
        if site == "cross":  # keys and values there come from the encoder's normed output
            normed = self.encoder.final_layer_norm(vectors)
            attention = self.decoder.block[layer].layer[1].EncDecAttention
        else:
            sublayer = getattr(self, site).block[layer].layer[0]
            normed, attention = sublayer.layer_norm(vectors), sublayer.SelfAttention
        k, v = attention.keys_values(normed, rows)
        return k[0], v[0]

    def encode(self, source: Source, injected: Injected = NOTHING, span: Span = WHOLE) -> Tensor:
        """ids [B,T] with slots -> hidden states [B,T,d], padding included; see `Span`."""
        stack, x = self.encoder, span.states
        if x is None:
            x = self._drop(injected.embed(self.shared(source.ids), source.slots, source.mask))
        positions = torch.arange(source.ids.shape[1], device=x.device)
        bias = stack.bias(positions[None, :] - positions[:, None])
        bias = bias.permute(2, 0, 1)[None].contiguous()
        if (pad := injected.keys(source.slots, source.pad_bias)) is not None:
            bias = bias + pad.to(bias.dtype)
        over, own_bias = self._column_bias(stack, "encoder", injected, positions), bias
        for index, block in enumerate(stack.block):
            if index not in span:
                continue
            if injected.late is not None:
                places = (source.slots, source.mask)
                x, masked = injected.late.at(index, x, places, (own_bias, bias))
                bias = own_bias if masked is None else masked
            own, feed = block.layer
            normed = own.layer_norm(x)
            k, v = own.SelfAttention.keys_values(normed, injected)
            x = x + self._drop(own.SelfAttention(normed, k, v, bias, over, injected))
            x = x + self._drop(feed.DenseReluDense(feed.layer_norm(x), injected))
        return x if span.stop is not None else self._drop(stack.final_layer_norm(x))

    def remember(self, hidden: Tensor, source: Source, injected: Injected = NOTHING) -> Memory:
        """Cross-attention keys and values, once per source: hidden [B,T,d]."""
        pairs = [
            block.layer[1].EncDecAttention.keys_values(hidden, injected)
            for block in self.decoder.block
        ]
        pad = injected.keys(source.slots, source.pad_bias)
        bias = None if pad is None else pad.to(hidden.dtype)
        return Memory([k for k, _ in pairs], [v for _, v in pairs], bias)

    def decode(self, ids: Tensor, memory: Memory, injected: Injected = NOTHING) -> Tensor:
        """Teacher forcing: decoder input ids [B,U] -> hidden states [B,U,d] for `logits`."""
        length = ids.shape[1]
        positions = torch.arange(length, device=ids.device)
        relative = positions[None, :] - positions[:, None]
        bias = self.decoder.bias(relative).permute(2, 0, 1)[None].contiguous()
        bias = bias.masked_fill(relative > 0, float("-inf"))
        over = self._column_bias(self.decoder, "decoder", injected, positions)
        x = self._drop(self.shared(ids))
        for index, block in enumerate(self.decoder.block):
            own = block.layer[0]
            normed = own.layer_norm(x)
            k, v = own.SelfAttention.keys_values(normed, injected)
            x = x + self._drop(own.SelfAttention(normed, k, v, bias, over, injected))
            x = self._after_self(block, index, x, memory, injected)
        return self._drop(self.decoder.final_layer_norm(x))

    def begin(self, memory: Memory, injected: Injected, beams: int, steps: int) -> DecodeState:
        """A state for at most `steps` calls of `step` with K = `beams`."""
        return DecodeState(memory, injected, beams, steps)

    def step(self, ids: Tensor, state: DecodeState) -> Tensor:
        """One token for each beam: ids [B,K] -> logits [B,K,V]; the state moves on by one."""
        t, beams, injected = state.step, state.beams, state.injected
        used = slice(t * beams, (t + 1) * beams)
        own_slot = torch.arange(beams, device=ids.device).expand(ids.shape[0], -1)
        state.ancestors = torch.cat([state.ancestors, own_slot[..., None]], 2)
        positions = torch.arange(t + 1, device=ids.device)
        bias = self.decoder.bias(positions - t).T.repeat_interleave(beams, 1)[None, :, None, :]
        if beams > 1:
            allowed = state.ancestors[..., None] == torch.arange(beams, device=ids.device)
            bias = bias.masked_fill(~allowed.flatten(2)[:, None], float("-inf"))
        over = self._column_bias(self.decoder, "decoder", injected, positions[-1:])
        x = self.shared(ids)
        for index, block in enumerate(self.decoder.block):
            own = block.layer[0]
            normed = own.layer_norm(x)
            k, v = own.SelfAttention.keys_values(normed, injected)
            state.keys[index][:, :, used] = k
            state.values[index][:, :, used] = v
            keys = state.keys[index][:, :, : used.stop]
            values = state.values[index][:, :, : used.stop]
            x = x + own.SelfAttention(normed, keys, values, bias, over, injected)
            x = self._after_self(block, index, x, state.memory, injected)
        state.step += 1
        return self.logits(self.decoder.final_layer_norm(x))

    def _after_self(
        self, block: Any, index: int, x: Tensor, memory: Memory, injected: Injected
    ) -> Tensor:
        _, cross, feed = block.layer
        normed = cross.layer_norm(x)
        attended = cross.EncDecAttention(
            normed, memory.keys[index], memory.values[index], memory.bias, None, injected
        )
        x = x + self._drop(attended)
        return x + self._drop(feed.DenseReluDense(feed.layer_norm(x), injected))

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [...,d] -> logits [...,V]."""
        if self.config.scale_outputs:
            hidden = hidden * self.config.d_model**-0.5
        out: Tensor = self.lm_head(hidden)
        return out

    def token_loss(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """Summed cross-entropy of `logits(hidden)`: hidden [N,d], tokens [N]."""
        if self.config.scale_outputs:
            hidden = hidden * self.config.d_model**-0.5
        return summed_cross_entropy(hidden, self.lm_head.weight, tokens)

    def _column_bias(
        self, stack: T5Stack, site: Site, injected: Injected, query: Tensor
    ) -> Tensor | None:
        past = injected.past(site)
        if past is None:
            return None
        return stack.column_bias(past, query, injected.sites[site].bias.shape[1])

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.config.dropout_rate, self.training) if self.training else x


FAMILY = T5
