"""The T5 pass equals Hugging Face's module, and the hinge mixes prompts without a trace."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from codeprompt.backbones.base import Source
from codeprompt.backbones.t5 import T5, DecodeState, T5Config
from codeprompt.inject import (
    NOTHING,
    Branch,
    Columns,
    Delta,
    Injected,
    Injection,
    collate,
)
from tests.changing import every_delta

BASE = {
    "vocab_size": 99,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 16,
}
SWITCHES = {
    "relu, tied": {},
    "gated gelu, own head": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "gated silu": {"feed_forward_proj": "gated-silu"},
    "gelu": {"feed_forward_proj": "gelu"},
    "wide heads, default buckets": {
        "d_kv": 16,
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
    },
    "equal depths": {"num_decoder_layers": None},
}


def pair(**switches: object) -> tuple[torch.nn.Module, T5]:
    """Hugging Face's module with random weights, and ours with the same."""
    from transformers import T5Config as HFConfig
    from transformers import T5ForConditionalGeneration

    torch.manual_seed(0)
    settings = {**BASE, **switches}
    theirs = T5ForConditionalGeneration(HFConfig(**settings, initializer_factor=1.0)).eval()
    ours = T5(T5Config.from_json(settings))
    if settings.get("tie_word_embeddings") is False:
        theirs.lm_head.weight = torch.nn.Parameter(0.2 * torch.randn_like(theirs.lm_head.weight))
        ours.lm_head.weight = torch.nn.Parameter(torch.empty_like(theirs.lm_head.weight))
    state = {k: v for k, v in theirs.state_dict().items() if "embed_tokens" not in k}
    ours.load_state_dict(state)
    ours.freeze()
    return theirs, ours


def exact(**switches: object) -> T5:
    """Ours alone in float64, so that any difference is a fault and not rounding."""
    return pair(**switches)[1].double()


def sources(rows: int = 5, width: int = 30, seed: int = 1) -> Source:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 99, (rows, width), generator=generator)
    lengths = torch.tensor([width, 7, 21, 1, 12][:rows])
    mask = torch.arange(width) < lengths[:, None]
    return Source(ids.masked_fill(~mask, 0), mask)


@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
def test_logits_equal_hugging_face(switches: dict[str, object]) -> None:
    """Every switch of real configurations gives the reference's logits within 1e-4."""
    theirs, ours = pair(**switches)
    source = sources()
    target = torch.randint(3, 99, (5, 9), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = theirs(
            input_ids=source.ids, attention_mask=source.mask.long(), decoder_input_ids=target
        ).logits
        memory = ours.remember(ours.encode(source), source)
        logits = ours.logits(ours.decode(target, memory))
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_steps_equal_teacher_forcing() -> None:
    """Decoding step by step through the static cache gives the logits of the whole sequence."""
    ours = exact()
    source = sources()
    target = torch.randint(3, 99, (5, 6), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        memory = ours.remember(ours.encode(source), source)
        whole = ours.logits(ours.decode(target, memory))
        state = DecodeState(memory, NOTHING, 1, 6)
        stepped = torch.cat([ours.step(target[:, t : t + 1], state) for t in range(6)], 1)
    torch.testing.assert_close(stepped, whole)


def prompts(ours: T5) -> list[Injection]:
    """Each way in: soft, three prefixes, VPT-deep, APT, LoRA, past, other deltas, nothing."""
    torch.manual_seed(3)
    c = ours.config

    def columns(layers: int, length: int) -> Columns:
        shape = (layers, c.num_heads, length, c.d_kv)
        return Columns(torch.randn(shape), torch.randn(shape))

    out = ours.linear_maps("attention-out")
    deltas = {
        name: Delta(
            0.1 * torch.randn(2, dict(ours.named_modules())[name].in_features),
            torch.randn(dict(ours.named_modules())[name].out_features, 2),
        )
        for name in ours.lora_targets
    }
    return [
        Injection(slots=torch.randn(4, c.d_model)),
        Injection(
            columns={
                "encoder": columns(c.num_layers, 5),
                "decoder": columns(c.num_decoder_layers, 2),
                "cross": columns(c.num_decoder_layers, 3),
            }
        ),
        Injection(
            layers={
                "encoder": torch.randn(c.num_layers, 6, c.d_model),
                "decoder": torch.randn(c.num_decoder_layers, 1, c.d_model),
            }
        ),
        Injection(
            branches={
                "decoder": Branch(
                    torch.randn(c.num_decoder_layers, c.num_heads, 3, c.d_kv),
                    torch.randn(c.num_decoder_layers, c.num_heads, 3, c.d_kv),
                    torch.tensor([0.7, -0.4]),
                )
            }
        ),
        Injection(slots=torch.randn(2, c.d_model), deltas=deltas),
        Injection(
            columns={"decoder": replace(columns(c.num_decoder_layers, 4), convention="past")}
        ),
        Injection(deltas=every_delta(ours), added=torch.randn(3, c.d_model)),
        Injection(deltas={name: Delta(shift=torch.randn(c.d_model)) for name in out[:2]}),
        Injection(),
    ]


def beams(ours: T5, source: Source, injected: Injected, width: int, steps: int) -> Tensor:
    """A plain beam search without an end token; returns the summed scores and the last logits."""
    memory = ours.remember(ours.encode(source, injected), source, injected)
    state = DecodeState(memory, injected, width, steps)
    rows = source.ids.shape[0]
    token = torch.zeros(rows, width, dtype=torch.long)
    scores = torch.full((rows, width), -1e9, dtype=torch.float64)
    scores[:, 0] = 0
    for _ in range(steps):
        logits = ours.step(token, state)
        total = scores[..., None] + logits.log_softmax(-1)
        scores, best = total.flatten(1).topk(width)
        state.reorder(best // logits.shape[-1])
        token = best % logits.shape[-1]
    return torch.cat([scores[..., None], token[..., None].double()], -1)


def test_one_batch_mixes_every_way_in() -> None:
    """Soft, prefix, VPT-deep, APT, all deltas, a past prefix and none share a beam-4 batch."""
    ours = exact()
    lowered = [ours.lower(p.to(torch.float64)) for p in prompts(ours)]
    width = 24
    ids = torch.randint(3, 99, (len(lowered), width), generator=torch.Generator().manual_seed(5))
    slots = torch.full_like(ids, -1)
    lengths = torch.tensor([24, 9, 15, 24, 20, 6, 13, 8, 11])
    for row, prompt in enumerate(lowered):
        slots[row, : prompt.length] = torch.arange(prompt.length)
    mask = torch.arange(width) < lengths[:, None]
    with torch.no_grad():
        together = beams(ours, Source(ids, mask, slots), collate(lowered, range(9)), 4, 8)
        for row, prompt in enumerate(lowered):
            size = int(lengths[row])
            alone = Source(
                ids[row : row + 1, :size], mask[row : row + 1, :size], slots[row : row + 1, :size]
            )
            single = beams(ours, alone, collate([prompt]), 4, 8)
            torch.testing.assert_close(together[row : row + 1], single, atol=1e-9, rtol=1e-9)


def test_every_prompt_acts() -> None:
    """Each way in changes the logits of the frozen model."""
    _, ours = pair()
    source = sources(1)
    slots = torch.full_like(source.ids, -1)
    slots[:, :2] = torch.arange(2)
    target = torch.ones(1, 3, dtype=torch.long)

    def run(injected: Injected, with_slots: bool) -> Tensor:
        rows = Source(source.ids, source.mask, slots if with_slots else None)
        memory = ours.remember(ours.encode(rows, injected), rows, injected)
        return ours.logits(ours.decode(target, memory, injected))

    with torch.no_grad():
        plain = run(NOTHING, False)
        for prompt in prompts(ours)[:-1]:
            changed = run(collate([ours.lower(prompt)]), prompt.length > 0)
            assert (changed - plain).abs().max() > 1e-3


def test_log_scale_minus_infinity_is_the_frozen_model() -> None:
    """Columns at log-scale -inf change nothing; at zero they are the prompt."""
    _, ours = pair()
    source = sources(2)
    prompt = prompts(ours)[1]
    off = Injection(
        columns={
            site: Columns(c.key, c.value, torch.full((c.length,), float("-inf")))
            for site, c in prompt.columns.items()
        }
    )
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(source, collate([off])), ours.encode(source))


def test_injection_survives_flat_tensors() -> None:
    """Every part comes back from the names a pack stores."""
    _, ours = pair()
    for prompt in prompts(ours):
        again = Injection.from_tensors(prompt.tensors(), prompt.conventions())
        assert again.tensors().keys() == prompt.tensors().keys()
        assert again.conventions() == prompt.conventions()
