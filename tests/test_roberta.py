"""The RoBERTa pass equals Hugging Face's module, and the hinge mixes prompts without a trace."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from codeprompt.backbones.base import Source
from codeprompt.backbones.roberta import Roberta, RobertaConfig
from codeprompt.errors import BackboneError
from codeprompt.inject import NOTHING, Branch, Columns, Delta, Injected, Injection, collate
from tests.changing import every_delta

BASE = {
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 66,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
}
SWITCHES: dict[str, dict[str, Any]] = {
    "gelu": {},
    "gelu_new": {"hidden_act": "gelu_new"},
    "relu": {"hidden_act": "relu"},
    "silu, own decoder": {"hidden_act": "silu", "tie_word_embeddings": False},
    "ten token types, as UniXcoder": {"type_vocab_size": 10},
    "another pad id and epsilon": {"pad_token_id": 0, "layer_norm_eps": 1e-12},
}


def pair(**switches: Any) -> tuple[Any, Roberta]:
    """Hugging Face's module with random weights, and ours with the same."""
    from transformers import RobertaConfig as HFConfig
    from transformers import RobertaForMaskedLM

    torch.manual_seed(0)
    settings = {**BASE, **switches}
    config = HFConfig(**{"initializer_range": 0.2, **settings})
    config._attn_implementation = "eager"
    theirs = RobertaForMaskedLM(config).eval()
    ours = Roberta(RobertaConfig.from_json(settings))
    assert ours.lm_head is not None
    with torch.no_grad():
        for parameter in theirs.parameters():  # biases and norms are not trivial
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
        if settings.get("tie_word_embeddings") is False:
            theirs.lm_head.decoder.bias.copy_(theirs.lm_head.bias)
            weight = theirs.lm_head.decoder.weight
            ours.lm_head.decoder.weight = torch.nn.Parameter(torch.empty_like(weight))
    ours.load_state_dict(theirs.state_dict())
    ours.freeze()
    return theirs, ours


def exact(**switches: Any) -> Roberta:
    """Ours alone in float64, so that any difference is a fault and not rounding."""
    return pair(**switches)[1].double()


def sources(rows: int = 5, width: int = 30, seed: int = 1, pad: int = 1) -> Source:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 99, (rows, width), generator=generator)
    lengths = torch.tensor([width, 7, 21, 1, 12][:rows])
    mask = torch.arange(width) < lengths[:, None]
    return Source(ids.masked_fill(~mask, pad), mask)


@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
def test_states_and_logits_equal_hugging_face(switches: dict[str, Any]) -> None:
    """Every switch of real configurations gives the reference's states and logits within 1e-4."""
    theirs, ours = pair(**switches)
    source = sources(pad=ours.config.pad_token_id)
    positions = torch.tensor([[0, 5], [6, 2], [20, 20], [0, 0], [11, 3]])
    with torch.no_grad():
        mask = source.mask.long()
        states = theirs.roberta(input_ids=source.ids, attention_mask=mask).last_hidden_state
        expected = theirs(input_ids=source.ids, attention_mask=mask).logits
        hidden = ours.encode(source)
        logits = ours.mask_logits(hidden, positions)
    real = source.mask
    torch.testing.assert_close(hidden[real], states[real], atol=1e-4, rtol=1e-4)
    rows = torch.arange(5)[:, None]
    torch.testing.assert_close(logits, expected[rows, positions], atol=1e-4, rtol=1e-4)


def test_soft_slots_equal_inputs_embeds() -> None:
    """Soft vectors get position and type embeddings and the norm, as inputs_embeds do."""
    theirs, ours = pair()
    ids = sources(1, 12).ids
    slots = torch.full_like(ids, -1)
    slots[0, [1, 2, 9]] = torch.tensor([0, 1, 2])
    ids = ids.masked_fill(slots >= 0, ours.config.pad_token_id)  # as rendered rows have it
    soft = torch.randn(3, 32)
    vectors = theirs.roberta.embeddings.word_embeddings(ids).detach().clone()
    vectors[0, [1, 2, 9]] = soft
    with torch.no_grad():
        expected = theirs.roberta(inputs_embeds=vectors).last_hidden_state
        source = Source(ids, torch.ones_like(ids, dtype=torch.bool), slots)
        hidden = ours.encode(source, collate([Injection(slots=soft)]))
    torch.testing.assert_close(hidden, expected, atol=1e-4, rtol=1e-4)


def columns(ours: Roberta, length: int) -> Columns:
    site = ours.sites["encoder"]
    shape = (site.layers, site.heads, length, site.head_dim)
    return Columns(torch.randn(shape), torch.randn(shape))


def test_past_columns_equal_hugging_face_cache() -> None:
    """Columns under the `past` convention are Hugging Face's past_key_values, padding rows too."""
    from transformers import DynamicCache

    theirs, ours = pair()
    source = sources()
    torch.manual_seed(4)
    prompt = replace(columns(ours, 6), convention="past")
    cache = DynamicCache()
    for layer in range(3):
        k, v = (t[layer].expand(5, -1, -1, -1).clone() for t in (prompt.key, prompt.value))
        cache.update(k, v, layer)
    mask = torch.cat([torch.ones(5, 6, dtype=torch.long), source.mask.long()], 1)
    with torch.no_grad():
        expected = theirs.roberta(
            input_ids=source.ids, attention_mask=mask, past_key_values=cache
        ).last_hidden_state
        hidden = ours.encode(source, collate([Injection(columns={"encoder": prompt})]))
        kept = replace(prompt, convention="kept")
        other = ours.encode(source, collate([Injection(columns={"encoder": kept})]))
    real = source.mask
    torch.testing.assert_close(hidden[real], expected[real], atol=1e-4, rtol=1e-4)
    assert (other[real] - expected[real]).abs().max() > 1e-2


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft reads a name transformers renamed
def test_past_columns_equal_peft_prefix_tuning() -> None:
    """A peft prefix on RobertaModel gives our hidden states under the `past` convention."""
    peft = pytest.importorskip("peft")
    theirs, ours = pair()
    settings = peft.PrefixTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=5)
    torch.manual_seed(5)
    tuned = peft.get_peft_model(theirs.roberta, settings).eval()
    with torch.no_grad():
        flat = tuned.get_prompt_embedding_to_save("default")  # [P, L*2*H*h], layer by layer k, v
        both = flat.view(5, 3, 2, 4, 8).permute(1, 2, 3, 0, 4)
        prompt = Columns(both[:, 0], both[:, 1], convention="past")
        source = sources()
        mask = source.mask.long()
        expected = tuned(input_ids=source.ids, attention_mask=mask).last_hidden_state
        hidden = ours.encode(source, collate([Injection(columns={"encoder": prompt})]))
    real = source.mask
    torch.testing.assert_close(hidden[real], expected[real], atol=1e-4, rtol=1e-4)


def test_layer_vectors_equal_overwritten_positions() -> None:
    """VPT-deep lowered to columns equals P positions that are overwritten before every layer."""
    ours = exact()
    torch.manual_seed(6)
    deep = torch.randn(3, 4, 32, dtype=torch.float64)
    source = sources(1, 10)
    with torch.no_grad():
        lowered = ours.lower(Injection(layers={"encoder": deep}))
        hidden = ours.encode(source, collate([lowered]))
        x = ours.roberta.embeddings(source, NOTHING)
        for index, layer in enumerate(ours.roberta.encoder.layer):
            x = layer(torch.cat([deep[index][None], x[:, -10:]], 1), None, NOTHING)
    torch.testing.assert_close(hidden, x[:, -10:], atol=1e-9, rtol=1e-9)


def linears(ours: Roberta) -> dict[str, torch.nn.Linear]:
    found = ours.named_modules()
    return {n: m for n, m in found if isinstance(m, torch.nn.Linear) and n.startswith("roberta")}


def changes(ours: Roberta, names: list[str]) -> dict[str, Delta]:
    modules = linears(ours)
    return {
        n: Delta(
            0.1 * torch.randn(2, modules[n].in_features), torch.randn(modules[n].out_features, 2)
        )
        for n in names
    }


def test_changes_of_every_linear_equal_changed_weights() -> None:
    """A low-rank change of every linear map equals the same maps with the change added."""
    ours = exact()
    torch.manual_seed(7)
    deltas = changes(ours, list(linears(ours)))
    assert len(deltas) == 3 * 6
    source = sources()
    injection = Injection(deltas=deltas).to(torch.float64)
    with torch.no_grad():
        hidden = ours.encode(source, collate([injection]))
        for name, linear in linears(ours).items():
            linear.weight += injection.deltas[name].up @ injection.deltas[name].down
        expected = ours.encode(source)
    torch.testing.assert_close(hidden, expected, atol=1e-9, rtol=1e-9)


def prompts(ours: Roberta) -> list[Injection]:
    """Each way in: soft, prefix, VPT-deep, APT, LoRA, past, other deltas, nothing."""
    torch.manual_seed(3)
    site = ours.sites["encoder"]
    shape = (site.layers, site.heads, 3, site.head_dim)
    branch = Branch(torch.randn(shape), torch.randn(shape), torch.tensor([0.7, -0.4, 0.2]))
    norms = ours.shifted_norms[:2]
    return [
        Injection(slots=torch.randn(4, ours.d_model)),
        Injection(columns={"encoder": columns(ours, 5)}),
        Injection(layers={"encoder": torch.randn(site.layers, 6, ours.d_model)}),
        Injection(branches={"encoder": branch}),
        Injection(
            slots=torch.randn(2, ours.d_model), deltas=changes(ours, list(ours.lora_targets))
        ),
        Injection(columns={"encoder": replace(columns(ours, 4), convention="past")}),
        Injection(deltas=every_delta(ours), added=torch.randn(3, ours.d_model)),
        Injection(deltas={name: Delta(shift=torch.randn(ours.d_model)) for name in norms}),
        Injection(),
    ]


def test_one_batch_mixes_every_way_in() -> None:
    """Soft, prefix, VPT-deep, APT, all deltas, a past prefix and none share a padded batch."""
    ours = exact()
    lowered = [ours.lower(p.to(torch.float64)) for p in prompts(ours)]
    width = 24
    ids = torch.randint(3, 99, (len(lowered), width), generator=torch.Generator().manual_seed(5))
    slots = torch.full_like(ids, -1)
    lengths = torch.tensor([24, 9, 15, 24, 20, 6, 13, 8, 11])
    for row, prompt in enumerate(lowered):
        slots[row, 1 : 1 + prompt.length] = torch.arange(prompt.length)
    mask = torch.arange(width) < lengths[:, None]
    ids = ids.masked_fill(~mask | (slots >= 0), 1)
    positions = torch.tensor([[n - 1, 0] for n in lengths])

    def run(rows: Source, injected: Injected, at: Tensor) -> Tensor:
        return ours.mask_logits(ours.encode(rows, injected), at, injected)

    with torch.no_grad():
        together = run(Source(ids, mask, slots), collate(lowered, range(9)), positions)
        for row, prompt in enumerate(lowered):
            part = slice(row, row + 1), slice(int(lengths[row]))
            alone = Source(ids[part], mask[part], slots[part])
            single = run(alone, collate([prompt]), positions[row : row + 1])
            torch.testing.assert_close(together[row : row + 1], single, atol=1e-9, rtol=1e-9)


def test_every_prompt_acts() -> None:
    """Each way in changes the states of the frozen model."""
    _, ours = pair()
    source = sources(1)
    slots = torch.full_like(source.ids, -1)
    slots[:, :2] = torch.arange(2)
    with torch.no_grad():
        plain = ours.encode(source)
        for prompt in prompts(ours)[:-1]:
            rows = Source(source.ids, source.mask, slots if prompt.length else None)
            changed = ours.encode(rows, collate([ours.lower(prompt)]))
            assert (changed - plain).abs().max() > 1e-3


def test_log_scale_minus_infinity_is_the_frozen_model() -> None:
    """Columns at log-scale -inf change nothing."""
    _, ours = pair()
    source = sources(2)
    off = replace(columns(ours, 5), log_scale=torch.full((5,), float("-inf")))
    with torch.no_grad():
        hidden = ours.encode(source, collate([Injection(columns={"encoder": off})]))
        torch.testing.assert_close(hidden, ours.encode(source))


def test_gradients_reach_a_prompt_and_not_the_backbone() -> None:
    """A frozen backbone passes gradients to slots and columns and takes none itself."""
    _, ours = pair()
    source = sources(2)
    slots = torch.full_like(source.ids, -1)
    slots[:, 0] = 0
    soft = torch.randn(1, 32, requires_grad=True)
    prefix = columns(ours, 2)
    prefix.key.requires_grad_()
    injected = collate([Injection(slots=soft, columns={"encoder": prefix})])
    ours.encode(Source(source.ids, source.mask, slots), injected)[:, 3].square().sum().backward()
    for tensor in (soft, prefix.key):
        assert tensor.grad is not None and tensor.grad.abs().max() > 0
    assert all(p.grad is None for p in ours.parameters())


def test_dropout_acts_only_in_training_mode() -> None:
    """A frozen backbone repeats itself; one in training mode drops at the checkpoint's rates."""
    _, ours = pair()
    source = sources(2)
    with torch.no_grad():
        first = ours.encode(source)
        torch.testing.assert_close(first, ours.encode(source), atol=0, rtol=0)
        ours.train()
        assert (first - ours.encode(source)).abs().max() > 1e-3
    still = exact(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    with torch.no_grad():
        calm = still.encode(source)
        torch.testing.assert_close(still.train().encode(source), calm)


def test_the_table_ends_where_the_checkpoint_says() -> None:
    """A 66-position table takes 64 positions, prompt included, and says so beyond."""
    _, ours = pair()
    assert ours.max_length == 64
    full = Source(torch.full((1, 64), 5), torch.ones(1, 64, dtype=torch.bool))
    with torch.no_grad():
        assert ours.encode(full).shape == (1, 64, 32)
        kept = Injection(columns={"encoder": columns(ours, 4)})
        assert ours.encode(full, collate([kept])).shape == (1, 64, 32)
        past = Injection(columns={"encoder": replace(columns(ours, 4), convention="past")})
        with pytest.raises(BackboneError, match=r"ends at position 68, and the backbone has 64"):
            ours.encode(full, collate([past]))
        longer = Source(torch.full((1, 65), 5), torch.ones(1, 65, dtype=torch.bool))
        with pytest.raises(BackboneError, match=r"at most 64 positions, prompt included"):
            ours.encode(longer)
        padded = Source(longer.ids, torch.arange(65)[None] < 60)
        assert ours.encode(padded).shape == (1, 65, 32)


def test_a_cloze_needs_a_mask_head() -> None:
    """Without lm_head the states are the same, and a cloze is refused with the way out."""
    _, ours = pair()
    bare = Roberta(RobertaConfig.from_json(BASE), mask_head=False)
    bare.load_state_dict({k: v for k, v in ours.state_dict().items() if "lm_head" not in k})
    bare.freeze()
    bare.name = "microsoft/codebert-base"
    assert ours.has_mask_head and not bare.has_mask_head
    hidden = bare.encode(sources())
    torch.testing.assert_close(hidden, ours.encode(sources()))
    with pytest.raises(
        BackboneError,
        match=r"A cloze on a checkpoint without a mask head: microsoft/codebert-base has no lm_head"
        r".*--head linear.*codebert-base-mlm",
    ):
        bare.mask_logits(hidden, torch.zeros(5, 1, dtype=torch.long))


@pytest.mark.parametrize(
    ("switch", "message"),
    [
        ({"position_embedding_type": "relative_key"}, "'relative_key' position embeddings"),
        ({"is_decoder": True}, "RoBERTa decoder .is_decoder is true.*Expected an encoder"),
        ({"hidden_act": "mish"}, "activation is 'mish'.*gelu, gelu_new, relu, silu"),
    ],
)
def test_unfit_configurations_are_refused(switch: dict[str, Any], message: str) -> None:
    """What this pass does not compute is refused, never computed wrongly."""
    with pytest.raises(BackboneError, match=message):
        RobertaConfig.from_json({**BASE, **switch})


@pytest.mark.slow
def test_full_size_equals_hugging_face(shared_data: Path) -> None:
    """CodeBERT's own configuration with random weights gives the reference's logits within 1e-4."""
    path = shared_data / "tokenizers" / "codebert-base" / "config.json"
    theirs, ours = pair(**json.loads(path.read_text(encoding="utf-8")))
    assert ours.max_length == 512
    ids = torch.randint(3, 50000, (2, 512), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(512) < torch.tensor([[512], [300]])
    source = Source(ids.masked_fill(~mask, 1), mask)
    positions = torch.tensor([[0, 511], [0, 299]])
    with torch.no_grad():
        expected = theirs(input_ids=source.ids, attention_mask=mask.long()).logits
        logits = ours.mask_logits(ours.encode(source), positions)
    want = expected[torch.arange(2)[:, None], positions]
    torch.testing.assert_close(logits, want, atol=1e-4, rtol=1e-4)
