"""The pass of a decoder-only model, shared by the backbone and its serving copy.

It speaks as an encoder-decoder does, so that training, search and engine need not know the
difference: `encode` puts the source's vectors in place, `remember` reads them and keeps the keys
and values of every layer, and the decoder goes on from there. The decoder's first token stands for
the source's own last position: it is never read, what follows the source is predicted from there.

Heads that share a key are queries of one head: [B,H,S,h] is read as [B,H_kv,G*S,h], so that the
hinge and its prompt columns [L,2,H_kv,P,h] know nothing of groups. Columns stand at position 0,
where turning changes nothing; real tokens are counted from the source's first on, whatever side it
is padded at (or after the columns, by the `past` convention).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from codeprompt.backbones._causal_state import CausalState
from codeprompt.backbones.base import Source
from codeprompt.inject import NOTHING, Injected, without


@dataclass(frozen=True)
class Memory:
    """Sources as the decoder sees them, their prompt columns included.

    keys, values: by layer [B,H_kv,S,h]; bias [B,1,1,S]; states [B,T,d]: what the last layer made
    of every source position; last [B]: the source's last position; next [B]: the position of what
    follows it.
    """

    keys: list[Tensor]
    values: list[Tensor]
    bias: Tensor
    states: Tensor
    last: Tensor
    next: Tensor

    def select(self, index: Tensor) -> Memory:
        """The sources of some rows: index [R] -> memory of R rows."""
        keys, values = ([t.index_select(0, index) for t in ts] for ts in (self.keys, self.values))
        bias, states = self.bias.index_select(0, index), self.states.index_select(0, index)
        return Memory(keys, values, bias, states, self.last[index], self.next[index])

    @property
    def ends(self) -> Tensor:
        """States at the sources' last positions [B,d]: the first answer token comes from them."""
        return self.states[torch.arange(len(self.last), device=self.last.device), self.last]


class Causal:
    """A decoder-only pass over whatever maps it is given; see `Llama` and `ServingLlama`.

    shape: H, H_kv and h. turns: frequencies [h/2] and the scale of cosine and sine. depth: L.
    """

    shape: tuple[int, int, int]
    turns: tuple[Tensor, float]
    depth: int

    @property
    def kinds(self) -> tuple[torch.dtype | None, torch.dtype | None]:
        """What sources, and the answer's own past, are attended to in; None for as they come."""
        return None, None

    def look_up(self, ids: Tensor) -> Tensor:
        """Embeddings [...,d]."""
        raise NotImplementedError

    def maps(self, layer: int, x: Tensor, injected: Injected) -> list[Tensor]:
        """Queries, keys and values of x [B,S,d], heads joined."""
        raise NotImplementedError

    def after(self, layer: int, x: Tensor, attended: Tensor, injected: Injected) -> Tensor:
        """The rest of a layer: residual x [B,S,d], attended [B,S,H*h] -> [B,S,d]."""
        raise NotImplementedError

    def finish(self, x: Tensor) -> Tensor:
        """The last norm."""
        raise NotImplementedError

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [...,d] -> logits [...,V]."""
        raise NotImplementedError

    def encode(self, source: Source, injected: Injected = NOTHING) -> Tensor:
        """ids [B,T] with slots -> vectors [B,T,d]; nothing has looked at them yet."""
        return injected.embed(self.look_up(source.ids), source.slots, source.mask)

    def remember(self, hidden: Tensor, source: Source, injected: Injected = NOTHING) -> Memory:
        """Read sources [B,T,d] through every layer, once."""
        mask, past = source.mask, injected.past("decoder")
        positions = (mask.long().cumsum(1) - 1).clamp(min=0)
        if past is not None:
            positions = positions + past[:, None]
        turn = self._turn(positions)
        bias = self._triangle(mask, hidden, injected.keys(source.slots, None))
        x, keys, values = hidden, [], []
        for layer in range(self.depth):
            q, k, v = self._heads(layer, x, turn, injected, self.kinds[0])
            out = injected.attend("decoder", layer, q, k, v, bias, scale=self.scale)
            x = self.after(layer, x, self._joined(out, x), injected)
            keys.append(k.to(self.kinds[1] or k.dtype))
            values.append(v.to(self.kinds[1] or v.dtype))
        over = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, float("-inf"))
        own = injected.keys(source.slots, over[:, None, None, :])
        assert own is not None  # `over` is there
        over = own.to(keys[0].dtype)
        rows = injected.sites.get("decoder")
        if rows is not None:
            count = mask.shape[0]
            for layer in range(self.depth):
                pair = (rows.key[layer], rows.value[layer])
                key, value = (t.to(keys[0].dtype).expand(count, -1, -1, -1) for t in pair)
                keys[layer] = torch.cat([key, keys[layer]], 2)
                values[layer] = torch.cat([value, values[layer]], 2)
            columns = rows.bias.to(over.dtype)[:, None, None, :].expand(count, -1, -1, -1)
            over = torch.cat([columns, over], -1)
        place = torch.arange(mask.shape[1], device=mask.device)
        last = (place * mask).amax(1)
        return Memory(keys, values, over, self.finish(x), last, positions.amax(1) + 1)

    def token_states(self, hidden: Tensor, source: Source, injected: Injected = NOTHING) -> Tensor:
        """What stands at every source position [B,T,d], for a head that labels tokens."""
        return self.remember(hidden, source, injected).states

    def decode(self, ids: Tensor, memory: Memory, injected: Injected = NOTHING) -> Tensor:
        """Teacher forcing: decoder input ids [B,U] -> hidden states [B,U,d] for `logits`.

        The first id stands for the source's last position, and is not read.
        """
        first = memory.ends[:, None]
        length = ids.shape[1] - 1
        if length == 0:
            return first
        x, joined = self.look_up(ids[:, 1:]), without(injected, "decoder")
        steps = torch.arange(length, device=ids.device)
        turn = self._turn(memory.next[:, None] + steps)
        ahead = torch.zeros(length, length, device=ids.device, dtype=memory.bias.dtype)
        ahead = ahead.masked_fill(steps[None, :] > steps[:, None], float("-inf"))
        rows = memory.bias.shape[0]
        over = memory.bias.expand(-1, -1, length, -1)
        bias = torch.cat([over, ahead[None, None].expand(rows, -1, -1, -1)], -1)
        bias = bias.repeat(1, 1, self.group, 1)
        for layer in range(self.depth):
            q, k, v = self._heads(layer, x, turn, joined, self.kinds[1])
            k = torch.cat([memory.keys[layer], k], 2)
            v = torch.cat([memory.values[layer], v], 2)
            out = joined.attend("decoder", layer, q, k, v, bias, scale=self.scale)
            x = self.after(layer, x, self._joined(out, x), joined)
        return torch.cat([first, self.finish(x)], 1)

    def state(self, beams: int, rows: int = 0) -> CausalState:
        """An empty state for rows with K = `beams`; rows: to lay out for at first."""
        return CausalState(self, beams, rows)

    def begin(self, memory: Memory, injected: Injected, beams: int, steps: int) -> CausalState:
        """A state for at most `steps` calls of `step` with K = `beams`."""
        state = self.state(beams)
        state.join(memory, steps)
        state.injected = without(injected, "decoder")
        return state

    def step(self, ids: Tensor, state: CausalState) -> Tensor:
        """One token for each beam: ids [B,K] -> logits [B,K,V]; the state moves on by one.

        Rows that have just joined answer from their source's last position.
        """
        fresh = state.fresh
        found = None
        if not all(fresh):
            turn = self._turn(state.positions[:, None].expand(-1, state.beams))
            keys, values, bias = state.open()
            bias = bias.repeat(1, 1, self.group, 1)
            x, injected = self.look_up(ids), state.injected
            for layer in range(self.depth):
                q, k, v = self._heads(layer, x, turn, injected, self.kinds[1])
                keys[layer][:, :, -state.beams :] = k
                values[layer][:, :, -state.beams :] = v
                out = injected.attend(
                    "decoder", layer, q, keys[layer], values[layer], bias, scale=self.scale
                )
                x = self.after(layer, x, self._joined(out, x), injected)
            found = self.logits(self.finish(x))
        if any(fresh):
            first = self.logits(state.ends)[:, None].expand(-1, state.beams, -1)
            new = torch.tensor(fresh, device=first.device)[:, None, None]
            found = first if found is None else torch.where(new, first, found)
            state.started()
        assert found is not None  # a state without rows is never stepped
        return found

    @property
    def group(self) -> int:
        """G: how many heads share one key and value."""
        return self.shape[0] // self.shape[1]

    @property
    def scale(self) -> float:
        return float(self.shape[2] ** -0.5)

    def columns_of(self, layer: int, vectors: Tensor, injected: Injected) -> tuple[Tensor, Tensor]:
        """Keys and values [H_kv,P,h] of vectors [P,d] at a layer's input, at position 0."""
        _, k, v = self.maps(layer, vectors[None], injected)
        return self._split(k)[0], self._split(v)[0]

    def _heads(
        self,
        layer: int,
        x: Tensor,
        turn: tuple[Tensor, Tensor],
        injected: Injected,
        dtype: torch.dtype | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """q [B,H_kv,G*S,h], k and v [B,H_kv,S,h], turned."""
        q, k, v = (self._split(t) for t in self.maps(layer, x, injected))
        cos, sin = (t.to(q.dtype) for t in turn)
        q, k = (t * cos + _half(t) * sin for t in (q, k))
        q = q.reshape(q.shape[0], self.shape[1], -1, self.shape[2])
        kind = dtype or q.dtype
        return q.to(kind), k.to(kind), v.to(kind)

    def _split(self, x: Tensor) -> Tensor:
        """[B,S,n*h] -> [B,n,S,h]."""
        return x.view(*x.shape[:-1], -1, self.shape[2]).transpose(1, 2)

    def _joined(self, out: Tensor, like: Tensor) -> Tensor:
        """[B,H_kv,G*S,h] -> [B,S,H*h]."""
        rows, length = like.shape[:2]
        out = out.reshape(rows, self.shape[0], length, self.shape[2])
        return out.transpose(1, 2).flatten(2).to(like.dtype)

    def _turn(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine [B,1,S,h] of positions [B,S]."""
        line, scale = self.turns
        angles = positions[..., None].float() * line.to(positions.device)
        angles = torch.cat([angles, angles], -1)[:, None]
        return angles.cos() * scale, angles.sin() * scale

    def _triangle(self, mask: Tensor, like: Tensor, slots: Tensor | None) -> Tensor:
        """[B|1,1,G*T,T]: -inf ahead of a query, and at padding before it.

        slots: [B,1,1,T], added where a position is a key for others: itself it always sees.
        """
        place = torch.arange(mask.shape[1], device=mask.device)
        shut = (place[None, :] > place[:, None])[None]
        if not bool((mask[:, 1:] <= mask[:, :-1]).all()):  # padded on the left, or within
            itself = (place[None, :] == place[:, None])[None]
            shut = shut | ~(mask[:, None, :] | itself)
        kind = self.kinds[0] or like.dtype
        bias = torch.zeros(shut.shape, device=mask.device, dtype=kind)
        if slots is not None:
            others = place[None, :] != place[:, None]
            bias = bias + torch.where(others, slots[:, 0].to(kind), 0.0)
        bias = bias.masked_fill(shut, float("-inf"))
        return bias[:, None].repeat(1, 1, self.group, 1)


def _half(x: Tensor) -> Tensor:
    """The second half of every head, negated, before the first."""
    first, second = x.chunk(2, -1)
    return torch.cat([-second, first], -1)
