"""The prompt agent equals its formula in plain float64, and stands behind the code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from codeprompt.errors import UsageError
from codeprompt.methods._network import Written
from codeprompt.methods.agent import METHOD, AgentSettings, written
from codeprompt.template import parse, resolve
from tests.tiny import tiny_llama

Weights = dict[str, Any]


def weights_of(agent: Written) -> Weights:
    with torch.no_grad():  # away from the small start, so that every part shows
        for parameter in agent.trained():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return {name: p.detach().double().numpy() for name, p in agent.named_parameters()}


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def bilstm(x: Any, w: Weights, layers: int) -> Any:
    """x [P,d] through torch's gates: input, forget, cell, output; both ways, joined."""
    for layer in range(layers):
        ways = []
        for suffix in ("", "_reverse"):
            names = [f"network.{n}_l{layer}{suffix}" for n in ("weight_ih", "weight_hh")]
            size = w[names[1]].shape[1]
            bias = sum(w[f"network.{n}_l{layer}{suffix}"] for n in ("bias_ih", "bias_hh"))
            h, c, out = np.zeros(size), np.zeros(size), []
            for step in x if not suffix else x[::-1]:
                gates = w[names[0]] @ step + w[names[1]] @ h + bias
                i, f, g, o = np.split(gates, 4)
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
                out.append(h)
            ways.append(np.array(out if not suffix else out[::-1]))
        x = np.concatenate(ways, 1)
    return x


def norm(x: Any, w: Weights, name: str) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return centred / spread * w[f"{name}.weight"] + w[f"{name}.bias"]


def transformer(x: Any, w: Weights, layers: int, heads: int = 4) -> Any:
    """Pre-norm encoder layers (Vaswani et al. 2017), without dropout."""
    size = x.shape[1] // heads
    for layer in range(layers):
        at = f"network.layers.{layer}"
        y = norm(x, w, f"{at}.norm1")
        mapped = y @ w[f"{at}.self_attn.in_proj_weight"].T + w[f"{at}.self_attn.in_proj_bias"]
        q, k, v = (t.reshape(len(x), heads, size).swapaxes(0, 1) for t in np.split(mapped, 3, 1))
        scores = np.exp(q @ k.swapaxes(1, 2) / np.sqrt(size))
        mixed = (scores / scores.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(x.shape)
        out = f"{at}.self_attn.out_proj"
        x = x + mixed @ w[f"{out}.weight"].T + w[f"{out}.bias"]
        y = norm(x, w, f"{at}.norm2")
        inner = np.maximum(y @ w[f"{at}.linear1.weight"].T + w[f"{at}.linear1.bias"], 0)
        x = x + inner @ w[f"{at}.linear2.weight"].T + w[f"{at}.linear2.bias"]
    return x


@pytest.mark.parametrize("network", ["lstm", "transformer"])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_vectors_are_the_papers_formula(network: Any, layers: int) -> None:
    """start + W2 relu(W1 net(E)), computed by hand in float64."""
    torch.manual_seed(1)
    agent = written(torch.randn(5, 16), AgentSettings(network=network, layers=layers), 3)
    w = weights_of(agent)
    run = bilstm if network == "lstm" else transformer
    states = run(w["tokens"], w, layers)
    inner = np.maximum(states @ w["inner.weight"].T + w["inner.bias"], 0)
    expected = w["start"] + inner @ w["outer.weight"].T + w["outer.bias"]
    found = agent.double().eval()().slots
    assert found is not None
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-9)


def test_training_starts_near_words() -> None:
    """At first the vectors are the embeddings they start from, but for a little."""
    start = torch.randn(6, 16)
    found = written(start, AgentSettings(), 0)().slots
    assert found is not None
    assert 0 < float((found - start).detach().abs().max()) < 0.5


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("back", "{code} now:{soft:20}"),
        ("front", "{soft:20}{code} now:"),
        ("both", "{soft:20}{code} now:{soft:20}"),
    ],
)
def test_the_prompt_stands_where_it_is_asked_for(place: Any, expected: str) -> None:
    """After the code and its words by default; a template with slots of its own stays."""
    assert str(METHOD.template(parse("{code} now:"), AgentSettings(place=place))) == expected
    own = parse("{soft:3}{code}")
    assert METHOD.template(own, AgentSettings(place=place)) == own


def test_a_template_without_slots_or_an_odd_size_is_refused() -> None:
    """Said before any training."""
    from codeprompt.methods.base import Context

    backbone = tiny_llama()
    hard = resolve(parse("{code}"), backbone.tokenizer)
    with pytest.raises(UsageError, match="no soft slot"):
        METHOD.build(Context(backbone, hard), AgentSettings())
    with pytest.raises(UsageError, match="hidden size is 12"):
        written(torch.randn(2, 12), AgentSettings(), 0)
    with pytest.raises(UsageError, match="does not fit"):
        METHOD.configure({"network": "gru"})
