"""Changes of maps: their formula, their sums, their way to the frozen model."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from codeprompt.errors import BackboneError, PackError
from codeprompt.inject import Delta, Injection, collate, join
from codeprompt.inject.delta import PARTS
from codeprompt.pack.fit import check_shapes
from tests.tiny import tiny_t5


def whole() -> Delta:
    """Every part at once, for a map of 5 to 4."""
    torch.manual_seed(1)
    shapes = [(2, 5), (4, 2), (4,), (4,), (5,), (3, 4), (3,), (4, 3), (4,)]
    return Delta(*[torch.randn(shape, dtype=torch.float64) for shape in shapes])


def run(delta: Delta, layer: nn.Module, x: Tensor) -> Tensor:
    return collate([Injection(deltas={"m": delta})]).linear("m", layer, x)


def test_a_change_is_its_formula() -> None:
    """In numpy: gain, product and low rank, scale, shift, adapter, in that order."""
    delta, layer = whole(), nn.Linear(5, 4, dtype=torch.float64)
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    d = {name: tensor.numpy() for name, tensor in delta.parts.items()}
    assert tuple(d) == PARTS
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    fed = x.numpy() * d["gain"]
    y = fed @ weight.T + bias + fed @ d["down"].T @ d["up"].T
    y = y * d["scale"] + d["shift"]
    wide = y @ d["inner"].T + d["inner_bias"]
    gelu = 0.5 * wide * (1 + np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)))
    y = y + gelu @ d["outer"].T + d["outer_bias"]
    with torch.no_grad():
        torch.testing.assert_close(run(delta, layer, x), torch.from_numpy(y), rtol=0, atol=1e-12)


@pytest.mark.parametrize("part", ["low rank", "shift", "scale", "gain", "adapter"])
def test_alpha_zero_is_the_frozen_map_and_one_the_changed(part: str) -> None:
    """Each kind of change by itself has a way to the frozen model."""
    every = whole().parts
    names = {"low rank": ("down", "up"), "adapter": PARTS[5:]}.get(part, (part,))
    delta, layer = Delta(**{n: every[n] for n in names}), nn.Linear(5, 4, dtype=torch.float64)
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(run(delta.scaled(0.0), layer, x), layer(x), rtol=0, atol=0)
        changed = run(delta, layer, x)
        torch.testing.assert_close(run(delta.scaled(1.0), layer, x), changed, rtol=0, atol=0)
        assert (changed - layer(x)).abs().max() > 1e-3


def test_two_changes_of_a_map_add_up() -> None:
    """Low ranks, shifts and adapters of two prompts act as their sum; scalings as their product."""
    layer, x = nn.Linear(5, 4, dtype=torch.float64), torch.randn(1, 3, 5, dtype=torch.float64)
    other = Delta(**{name: 0.5 * tensor for name, tensor in whole().parts.items()})
    for names in (("down", "up"), ("shift",), PARTS[5:], ("inner", "outer")):
        a, b = (Delta(**{n: d.parts[n] for n in names}) for d in (whole(), other))
        both = join(Injection(deltas={"m": a}), Injection(deltas={"m": b})).deltas["m"]
        with torch.no_grad():
            wanted = run(a, layer, x) + run(b, layer, x) - layer(x)
            torch.testing.assert_close(run(both, layer, x), wanted)
    a, b = Delta(scale=whole().scale), Delta(scale=other.scale)
    both = join(Injection(deltas={"m": a}), Injection(deltas={"m": b})).deltas["m"]
    assert both.scale is not None and a.scale is not None and b.scale is not None
    torch.testing.assert_close(both.scale, a.scale * b.scale)


def test_one_adapter_with_biases_joins_one_without() -> None:
    """The other's biases are zero."""
    parts = whole().parts
    bare = Delta(inner=parts["inner"], outer=parts["outer"])
    with_bias = Delta(**{name: parts[name] for name in PARTS[5:]})
    layer, x = nn.Linear(5, 4, dtype=torch.float64), torch.randn(1, 2, 5, dtype=torch.float64)
    for a, b in ((bare, with_bias), (with_bias, bare)):
        both = join(Injection(deltas={"m": a}), Injection(deltas={"m": b})).deltas["m"]
        with torch.no_grad():
            wanted = run(a, layer, x) + run(b, layer, x) - layer(x)
            torch.testing.assert_close(run(both, layer, x), wanted)


def test_embeddings_of_the_first_tokens_alone_are_changed() -> None:
    """Counted over real tokens: slots and padding are passed over."""
    table = torch.arange(1.0, 3.0)[:, None].expand(2, 3)
    injected = collate([Injection(added=table)])
    slots = torch.tensor([[0, -1, -1, -1, -1], [-1, -1, -1, -1, -1]])
    mask = torch.tensor([[True] * 5, [True, False, False, False, False]])
    found = injected.embed(torch.zeros(2, 5, 3), slots, mask)
    assert found[..., 0].tolist() == [[0, 1, 2, 0, 0], [1, 0, 0, 0, 0]]


def test_tensors_come_back_by_their_names() -> None:
    """As a pack keeps them; half a pair is refused."""
    injection = Injection(deltas={"a.b": whole()}, added=torch.ones(2, 3))
    named = injection.tensors()
    again = Injection.from_tensors(named)
    assert again.tensors().keys() == named.keys()
    assert all(torch.equal(again.tensors()[name], named[name]) for name in named)
    del named["deltas.a.b.outer"]
    with pytest.raises(PackError, match=r"lacks the tensor 'deltas.a.b.outer'"):
        Injection.from_tensors(named)


def test_what_does_not_fit_the_backbone_is_refused() -> None:
    """A gain where maps read as one, a shape that is another's."""
    backbone = tiny_t5()
    query, out = backbone.linear_maps("query")[0], backbone.linear_maps("feed-out")[0]
    with pytest.raises(PackError, match=r"gain' is no change of that map.*feed-forward's output"):
        check_shapes(Injection(deltas={query: Delta(gain=torch.ones(32))}), backbone)
    with pytest.raises(PackError, match=r"shift' has the shape \[3\]"):
        check_shapes(Injection(deltas={out: Delta(shift=torch.ones(3))}), backbone)
    with pytest.raises(PackError, match=r"added' has the shape \[2, 3\]"):
        check_shapes(Injection(added=torch.ones(2, 3)), backbone)


def test_a_serving_copy_refuses_a_gain_for_one_of_several_maps() -> None:
    """Queries, keys and values read as one there."""
    from codeprompt.backbones.serving import prepare

    backbone = tiny_t5()
    copy = prepare(backbone, "float32", trace=False)
    query = backbone.linear_maps("query")[0]
    injected = collate([Injection(deltas={query: Delta(gain=torch.ones(32))})])
    with pytest.raises(BackboneError, match="which are computed as one"):
        copy.layers["encoder"][0].own.first(torch.zeros(1, 2, 32), injected)
