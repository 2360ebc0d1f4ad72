"""Canonical names: the same tensors from every way a checkpoint writes them down."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from codeprompt.backbones._state import roberta_shapes
from codeprompt.backbones.checkpoint import canonical_state, has_mask_head, roberta_state, t5_state
from codeprompt.errors import BackboneError

T5: dict[str, Any] = {
    "model_type": "t5",
    "vocab_size": 40,
    "d_model": 8,
    "d_kv": 4,
    "d_ff": 16,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 3,
    "relative_attention_num_buckets": 12,
}
ROBERTA: dict[str, Any] = {
    "model_type": "roberta",
    "vocab_size": 40,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 34,
    "type_vocab_size": 1,
}
WORDS = "roberta.embeddings.word_embeddings.weight"


def theirs(config: dict[str, Any]) -> dict[str, Tensor]:
    """The state dict of a random Hugging Face model."""
    import transformers

    torch.manual_seed(0)
    arguments = {k: v for k, v in config.items() if k != "model_type"}
    if config["model_type"] == "t5":
        model = transformers.T5ForConditionalGeneration(transformers.T5Config(**arguments))
    else:
        model = transformers.RobertaForMaskedLM(transformers.RobertaConfig(**arguments))
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


@pytest.mark.parametrize("gate", ["relu", "gated-gelu"])
def test_a_t5_module_gives_each_tensor_once(gate: str) -> None:
    """Tied copies go; everything else stays under its name."""
    config = {**T5, "feed_forward_proj": gate}
    full = theirs(config)
    state = t5_state(full, config)
    copies = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"}
    assert set(full) - set(state) == copies
    assert all(torch.equal(v, full[k]) for k, v in state.items())


@pytest.mark.parametrize(
    "only", ["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]
)
def test_t5_embeddings_under_any_one_name(only: str) -> None:
    """Whichever of the tied names the file has, it becomes `shared.weight`."""
    full = theirs(T5)
    state = t5_state(full, T5)
    bare = {k: v for k, v in state.items() if k != "shared.weight"}
    assert t5_state({**bare, only: full["shared.weight"]}, T5).keys() == state.keys()


def test_t5_keeps_a_head_of_its_own_and_drops_what_is_never_read() -> None:
    """An untied `lm_head.weight` stays; the old cross-attention bias goes."""
    full = theirs(T5)
    head = torch.randn(40, 8)
    unused = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    state = t5_state({**full, "lm_head.weight": head, unused: torch.zeros(12, 3)}, T5)
    assert torch.equal(state["lm_head.weight"], head)
    assert unused not in state


def test_a_roberta_module_gives_each_tensor_once() -> None:
    """The tied decoder goes, the mask head's own tensors stay."""
    full = theirs(ROBERTA)
    state = roberta_state(full, ROBERTA)
    assert has_mask_head(state)
    assert set(full) - set(state) <= {
        "lm_head.decoder.weight",
        "lm_head.decoder.bias",
        "roberta.embeddings.position_ids",
        "roberta.embeddings.token_type_ids",
    }
    assert canonical_state(full, ROBERTA).keys() == state.keys()


def test_roberta_without_prefix_or_head() -> None:
    """CodeBERT's own file: bare names, a pooler, a buffer, old LayerNorm names, no mask head."""
    full = theirs(ROBERTA)
    bare = {
        k.removeprefix("roberta.")
        .replace("LayerNorm.weight", "LayerNorm.gamma")
        .replace("LayerNorm.bias", "LayerNorm.beta"): v
        for k, v in full.items()
        if not k.startswith("lm_head")
    }
    bare["pooler.dense.weight"] = torch.zeros(8, 8)
    bare["embeddings.position_ids"] = torch.arange(34)
    state = roberta_state(bare, ROBERTA)
    assert state.keys() == roberta_shapes(ROBERTA).keys()
    assert all(torch.equal(v, full[k]) for k, v in state.items())
    assert not has_mask_head(state)


def test_roberta_head_bias_under_the_decoders_name() -> None:
    """Some files have the bias only as `lm_head.decoder.bias`."""
    full = theirs(ROBERTA)
    full["lm_head.decoder.bias"] = full.pop("lm_head.bias") + 1
    state = roberta_state(full, ROBERTA)
    assert torch.equal(state["lm_head.bias"], full["lm_head.decoder.bias"])
    untied = roberta_state({**full, "lm_head.decoder.weight": full[WORDS] + 1}, ROBERTA)
    assert set(untied) - set(state) == {"lm_head.decoder.weight"}


def test_what_does_not_fit_is_named_leaf_by_leaf() -> None:
    """Missing, unexpected and misshapen tensors, with the shapes expected and found."""
    full = theirs(ROBERTA)
    del full["roberta.encoder.layer.1.output.dense.bias"]
    full["roberta.encoder.layer.0.attention.self.query.scales"] = torch.zeros(8)
    full["roberta.embeddings.position_embeddings.weight"] = torch.zeros(20, 8)
    with pytest.raises(
        BackboneError,
        match=re.escape(
            "do not fit its config.json; "
            "missing: roberta.encoder.layer.1.output.dense.bias; "
            "unexpected: roberta.encoder.layer.0.attention.self.query.scales; "
            "of another shape: roberta.embeddings.position_embeddings.weight "
            "(expected [34, 8], found [20, 8])"
        ),
    ):
        roberta_state(full, ROBERTA)
    with pytest.raises(BackboneError, match=r"missing: shared\.weight, .* and \d+ more"):
        t5_state({}, T5)


def test_half_a_mask_head_is_not_one() -> None:
    """A head with tensors missing is refused, rather than answered with random numbers."""
    full = theirs(ROBERTA)
    del full["lm_head.dense.weight"]
    with pytest.raises(BackboneError, match=r"missing: lm_head\.dense\.weight"):
        roberta_state(full, ROBERTA)
