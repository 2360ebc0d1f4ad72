"""The serving pass of the T5 family: `T5`'s answers from fused maps and caches laid out once.

What differs from `backbones/t5.py`, which stays the reference: queries, keys and values are one
product; cross-attention keys and values of all layers are one product; prompt columns of the
decoder and of cross-attention join the caches once, not at every step; relative biases and the
beams' ancestry are tables that a step reads a slice of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codeprompt.backbones.base import Family, Source
from codeprompt.backbones.serving.copied import Copied, pieces, piecewise
from codeprompt.backbones.serving.kernels import Int8
from codeprompt.backbones.serving.layers import (
    Attention,
    FeedForward,
    Layer,
    make_layer,
    maps_of,
)
from codeprompt.backbones.serving.linear import Maker, size_of
from codeprompt.backbones.serving.state import Memory, State, columns_of
from codeprompt.backbones.serving.trace import Signature, Traces, flat, rebuilt, record, signature
from codeprompt.backbones.t5 import ACTIVATIONS, T5, bucket
from codeprompt.inject import NOTHING, Injected, Injection, Site, Stack, collate, without


class ServingT5(Copied):
    """A T5 ready to answer; made by `prepare`."""

    family: ClassVar[Family] = "t5"

    def __init__(self, backbone: T5, maker: Maker) -> None:
        super().__init__(backbone, maker)
        config = self.config = backbone.config
        self.heads, self.epsilon = config.num_heads, config.layer_norm_epsilon
        self.act = ACTIVATIONS[config.activation]
        self.rectified = config.activation == "relu" and not config.gated
        self.shared = backbone.shared
        table = "block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        self.tables = {s: maker.tensor(f"{s}.{table}") for s in ("encoder", "decoder")}
        self.layers = {
            stack: [make_layer(maker, stack, i, config.gated) for i in range(count)]
            for stack, count in backbone.stacks.items()
        }
        self.final = {s: maker.tensor(f"{s}.final_layer_norm.weight") for s in self.layers}
        sources = [
            f"decoder.block.{i}.layer.1.EncDecAttention" for i in range(config.num_decoder_layers)
        ]
        self.sources = [maker.linear(f"{path}.k", f"{path}.v", many=True) for path in sources]
        self.head = maker.linear("lm_head")
        self.traces = Traces() if maker.trace else None
        self.bytes = maker.bytes + size_of(self.shared.weight)

    @property
    def embedding(self) -> nn.Embedding:
        return self.shared

    def project_columns(
        self, site: Site, layer: int, vectors: Tensor, injection: Injection
    ) -> tuple[Tensor, Tensor]:
        rows = collate([Injection(deltas=injection.deltas)])
        vectors = vectors.to(self.kind)[None]
        if site == "cross":  # keys and values there come from the encoder's normed output
            mapped = self.sources[layer](self._norm(vectors, self.final["encoder"]), rows)
            k, v = self._maps(mapped, 2)
        else:
            _, k, v = self._first(self.layers[site][layer].own, vectors, rows)
        return k[0], v[0]

    def encode(self, source: Source, injected: Injected = NOTHING) -> Tensor:
        """ids [B,T] with slots -> hidden states [B,T,d], padding included."""
        return piecewise(self._encode, source, injected)

    def _encode(self, source: Source, injected: Injected) -> Tensor:
        length = source.ids.shape[1]
        x = injected.embed(self._embed(source.ids), source.slots, source.mask)
        bias = self._square("encoder", length)
        if (pad := injected.keys(source.slots, source.pad_bias)) is not None:
            bias = bias + pad.to(bias.dtype)
        own = bias = bias.to(self.many)
        over = self._column_bias("encoder", injected, torch.arange(length, device=x.device))
        for index, layer in enumerate(self.layers["encoder"]):
            if injected.late is not None:
                x, masked = injected.late.at(index, x, (source.slots, source.mask), (own, bias))
                bias = own if masked is None else masked
            maps = self._first(layer.own, x, injected)
            q, k, v = maps.to(self.many, memory_format=torch.contiguous_format)
            out = injected.attend("encoder", index, q, k, v, bias, scale=1.0, column_bias=over)
            x = x + self._out(layer.own, out, injected)
            x = x + self._feed(layer.feed, x, injected)
        return self._norm(x, self.final["encoder"])

    def remember(
        self,
        hidden: Tensor,
        source: Source,
        injected: Injected = NOTHING,
        place: Callable[[int, int], Tensor] | None = None,
    ) -> Memory:
        """Cross-attention keys and values of every layer, once per source: hidden [B,T,d].

        place: gives the tensor to put them in, for so many rows and slots (see `State.place`).
        """
        count, length = hidden.shape[:2]
        pad, rows = injected.keys(source.slots, source.pad_bias), injected.sites.get("cross")
        width = 0 if rows is None else rows.bias.shape[1]
        if place is None:
            shape = self.memory_shape(count, width + length)
            pairs = hidden.new_empty(shape, dtype=self.many)
        else:
            pairs = place(count, width + length)
        for some in pieces(count, length, hidden.device):  # in float32 they are large
            part, theirs = hidden[some], injected.select(some)
            spans = pairs.narrow(2, int(some[0]), len(some))
            for maps, span in zip(self.sources, spans, strict=True):
                span[..., width:, :] = self._maps(maps(part, theirs), 2)
        bias = pairs.new_zeros(count, 1, 1, length) if pad is None else pad.to(self.many)
        if rows is not None:
            pairs[..., :width, :] = columns_of(rows, pairs)
            over = rows.bias.to(self.many)[:, None, None, :].expand(count, -1, -1, -1)
            bias = torch.cat([over, bias], -1)
        return Memory(pairs, bias)

    def memory_shape(self, rows: int, length: int) -> list[int]:
        """[L,2,B,H,S,h]."""
        return [len(self.sources), 2, rows, self.heads, length, self.config.d_kv]

    def decode(self, ids: Tensor, memory: Memory, injected: Injected = NOTHING) -> Tensor:
        """Teacher forcing: decoder input ids [B,U] -> hidden states [B,U,d] for `logits`."""
        length = ids.shape[1]
        bias = self._square("decoder", length).to(self.few)
        positions = torch.arange(length, device=ids.device)
        bias = bias.masked_fill(positions[None, :] > positions[:, None], float("-inf"))
        over = self._column_bias("decoder", injected, positions)
        joined = without(injected, "cross")
        x = self._embed(ids)
        for index, layer in enumerate(self.layers["decoder"]):
            q, k, v = self._first(layer.own, x, injected).to(self.few)
            out = injected.attend("decoder", index, q, k, v, bias, scale=1.0, column_bias=over)
            x = x + self._out(layer.own, out, injected)
            x = self._after_self(layer, index, x, memory.pairs, memory.bias, joined)
        return self._norm(x, self.final["decoder"])

    def state(self, beams: int, rows: int = 0) -> State:
        """An empty state for rows with K = `beams`; rows: to lay out for at first."""
        return State(self, beams, rows)

    def begin(self, memory: Memory, injected: Injected, beams: int, steps: int) -> State:
        """A state for at most `steps` calls of `step` with K = `beams`."""
        state = self.state(beams)
        state.join(memory, injected, steps)
        state.injected = without(injected, "decoder", "cross")
        return state

    def step(self, ids: Tensor, state: State) -> Tensor:
        """One token for each beam: ids [B,K] -> logits [B,K,V]; the state moves on by one."""
        injected, memory = state.injected, state.memory
        x, (used, bias) = self._embed(ids), state.open()
        if self.traces is None:
            return self._advance(x, used, memory.pairs, bias, memory.bias, injected)
        kind = signature(injected)
        replay = self.traces.find(kind)
        if replay is None:
            self.traces.ask(kind, lambda: self._example(kind, memory, injected), self._record)
            return self._advance(x, used, memory.pairs, bias, memory.bias, injected)
        return replay(x, used, memory.pairs, bias, memory.bias, *flat(injected, kind))

    def _example(self, kind: Signature, memory: Memory, injected: Injected) -> list[Tensor]:
        """What a step of such prompts reads, small and shared with nobody."""
        index = torch.zeros(2, dtype=torch.long, device=self.device)
        some = Memory(memory.pairs[..., :9, :], memory.bias[..., :9]).select(index)
        state = State(self, 2)
        state.join(some, NOTHING)
        x = self._embed(index[:, None].expand(-1, 2))
        used, bias = state.open()
        return [x, used, some.pairs, bias, some.bias, *flat(injected.select(index), kind)]

    def _record(self, kind: Signature, example: Sequence[Tensor]) -> Callable[..., Tensor] | None:
        """The step for such prompts as a recording (see `trace`), or None where it cannot be."""

        def run(
            x: Tensor, used: Tensor, pairs: Tensor, bias: Tensor, over: Tensor, *left: Tensor
        ) -> Tensor:
            return self._advance(x, used, pairs, bias, over, rebuilt(kind, left))

        kernels = [m.kernel for m in (self.head, *maps_of(self.layers["decoder"]))]
        return record(run, [k.holder for k in kernels if isinstance(k, Int8)], example)

    def _advance(
        self,
        x: Tensor,
        pairs: Tensor,
        memory: Tensor,
        bias: Tensor,
        over: Tensor,
        injected: Injected,
    ) -> Tensor:
        """x [B,K,d], caches [L,2,B,H,S,h] whose last K slots this step fills -> logits [B,K,V]."""
        beams = x.shape[1]
        for index, layer in enumerate(self.layers["decoder"]):
            maps, pair = self._first(layer.own, x, injected).to(self.few), pairs[index]
            pair.narrow(3, pair.shape[3] - beams, beams).copy_(maps[1:])
            k, v = pair.unbind(0)
            out = injected.attend("decoder", index, maps[0], k, v, bias, scale=1.0)
            x = x + self._out(layer.own, out, injected)
            x = self._after_self(layer, index, x, memory, over, injected)
        return self.logits(self._norm(x, self.final["decoder"]))

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [...,d] -> logits [...,V]."""
        if self.config.scale_outputs:
            hidden = hidden * self.config.d_model**-0.5
        return self.head(hidden, NOTHING)

    def token_loss(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """Summed cross-entropy of `logits(hidden)`: hidden [N,d], tokens [N]."""
        return F.cross_entropy(self.logits(hidden).float(), tokens, reduction="sum")

    def column_bias(self, stack: Stack, past: Tensor, query: Tensor, width: int) -> Tensor:
        """Bias over columns under the `past` convention: query positions [Q] -> [B,H,Q,P]."""
        column = torch.arange(width, device=query.device)
        relative = column[None, None, :] - (past[:, None, None] + query[None, :, None])
        found = self.relative(stack, relative).permute(0, 3, 1, 2)
        return found * (past > 0)[:, None, None, None]

    def relative(self, stack: Stack, positions: Tensor) -> Tensor:
        """Relative position bias: key minus query position [...] -> [...,H]."""
        c = self.config
        number = bucket(
            positions,
            stack == "encoder",
            c.relative_attention_num_buckets,
            c.relative_attention_max_distance,
        )
        return self.tables[stack][number]

    def _column_bias(self, stack: Stack, injected: Injected, query: Tensor) -> Tensor | None:
        past = injected.past(stack)
        if past is None:
            return None
        return self.column_bias(stack, past, query, injected.sites[stack].bias.shape[1])

    def _square(self, stack: Stack, length: int) -> Tensor:
        """The bias of `length` queries over as many keys: [1,H,T,T]."""
        distances = torch.arange(1 - length, length, device=self.tables[stack].device)
        line = self.relative(stack, distances).T.contiguous()
        # Row i of the square is the line read from length-1-i on.
        return line.unfold(1, length, 1).flip(1)[None]

    def _after_self(
        self,
        layer: Layer,
        index: int,
        x: Tensor,
        memory: Tensor,
        over: Tensor,
        injected: Injected,
    ) -> Tensor:
        cross = layer.cross
        assert cross is not None  # a decoder's layer
        (q,) = self._first(cross, x, injected).to(memory.dtype)
        k, v = memory[index].unbind(0)
        out = injected.attend("cross", index, q, k, v, over, scale=1.0)
        x = x + self._out(cross, out, injected)
        return x + self._feed(layer.feed, x, injected)

    def _feed(self, feed: FeedForward, x: Tensor, injected: Injected) -> Tensor:
        x = self._norm(x, feed.norm)
        if self.rectified:
            return feed.wide.relu(x, feed.out, injected)
        wide = feed.wide(x, injected)
        if self.config.gated:
            gate, line = wide.chunk(2, -1)
            wide = self.act(gate) * line
        else:
            wide = self.act(wide)
        return feed.out(wide, injected)

    def _embed(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.shared.weight).to(self.kind)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), weight, self.epsilon)

    def _first(self, attention: Attention, x: Tensor, injected: Injected) -> Tensor:
        """Queries, keys and values (at the cross site queries alone): [3|1,B,H,S,h]."""
        mapped = attention.first(self._norm(x, attention.norm), injected)
        return self._maps(mapped, len(attention.first.slices))

    def _out(self, attention: Attention, out: Tensor, injected: Injected) -> Tensor:
        """What attention gives the residual: [B,H,Q,h] -> [B,Q,d]."""
        return attention.out(out.transpose(1, 2).flatten(2).to(self.kind), injected)

    def _maps(self, x: Tensor, count: int) -> Tensor:
        """[B,S,count*H*h] -> [count,B,H,S,h]."""
        return x.view(*x.shape[:2], count, self.heads, -1).permute(2, 0, 3, 1, 4)
