"""Prompts and prefixes go to `peft` and come from it with equal logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from codeprompt.backbones.base import Source
from codeprompt.errors import PackError
from codeprompt.inject import Injection, collate
from codeprompt.pack import export_peft, import_peft
from codeprompt.pack.peft import MODEL
from codeprompt.template import parse, render
from tests.peft_pairs import (
    CLOSE,
    bare,
    columns,
    differs,
    exported_t5,
    inputs,
    low_rank,
    make,
    marked,
    ours_roberta,
    ours_t5,
    peft,
    peft_t5,
    quiet,  # noqa: F401 (a fixture)
    theirs,
    trained,
)
from tests.tiny import tiny_roberta, tiny_t5


@pytest.mark.parametrize(
    ("template", "rest"),
    [
        ("{soft:4}Summarize: {code}", "Summarize: {code}"),
        ("Summarize {soft:3}{soft:2} now: {code} {mask}", " now: {code} {mask}"),
        ('{soft:2 share="a"}and{soft:2 share="a"} {code}', " {code}"),
    ],
)
def test_a_soft_prompt_exports_with_equal_logits(tmp_path: Path, template: str, rest: str) -> None:
    """Special tokens and hard words before the last slot become virtual tokens too."""
    torch.manual_seed(0)
    backbone = marked(tiny_t5())
    slots = max(render(parse(template), {"code": ""}, backbone.tokenizer, max_length=99).slots) + 1
    pack = make(Injection(slots=2 * torch.randn(slots, 32)), backbone, template)
    found, plain = exported_t5(pack, backbone, tmp_path, rest, prefix=False)
    torch.testing.assert_close(found, ours_t5(pack, backbone), **CLOSE)
    assert differs(found, plain)
    assert rest in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_a_soft_prompt_exports_from_an_encoder(tmp_path: Path) -> None:
    """RoBERTa's hidden states are equal at every position, absolute positions included."""
    torch.manual_seed(0)
    backbone = marked(tiny_roberta())
    pack = make(Injection(slots=torch.randn(3, 32)), backbone, "{soft:3}Is {code} good?")
    export_peft(pack, backbone, tmp_path / "out")
    base = theirs(backbone, tmp_path / "base", "RobertaModel")
    module = peft.PeftModel.from_pretrained(base, tmp_path / "out").eval()
    with torch.no_grad():
        found = module(input_ids=inputs(backbone, "Is {code} good?", prefix=False))
    torch.testing.assert_close(found.last_hidden_state[0], ours_roberta(pack, backbone)[0], **CLOSE)


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
def test_a_prefix_exports_with_equal_logits(tmp_path: Path, layers: int) -> None:
    """Columns of the `past` convention go back to peft through the pairs that it really reads."""
    torch.manual_seed(0)
    backbone = marked(tiny_t5(num_layers=2, num_decoder_layers=layers))
    own = columns(backbone, "decoder", convention="past")
    if layers % 2 == 0:  # peft gives layers l and l + n/2 the same columns
        half = layers // 2
        own = replace(own, key=own.key[:half].repeat(2, 1, 1, 1))
        own = replace(own, value=own.value[:half].repeat(2, 1, 1, 1))
    pack = make(Injection(columns={"decoder": own}), backbone)
    found, plain = exported_t5(pack, backbone, tmp_path)
    torch.testing.assert_close(found, ours_t5(pack, backbone), **CLOSE)
    assert differs(found, plain)


def test_a_prefix_exports_from_an_encoder(tmp_path: Path) -> None:
    """RoBERTa's columns move the real tokens' positions in both."""
    torch.manual_seed(0)
    backbone = marked(tiny_roberta())
    own = columns(backbone, "encoder", convention="past")
    pack = make(Injection(columns={"encoder": own}), backbone)
    export_peft(pack, backbone, tmp_path / "out")
    base = theirs(backbone, tmp_path / "base", "RobertaModel")
    module = peft.PeftModel.from_pretrained(base, tmp_path / "out").eval()
    with torch.no_grad():
        found = module(input_ids=inputs(backbone)).last_hidden_state[0]
    torch.testing.assert_close(found, ours_roberta(pack, backbone)[0], **CLOSE)


@pytest.mark.parametrize("kind", ["soft", "prefix", "lora"])
def test_an_exported_pack_comes_back_the_same(tmp_path: Path, kind: str) -> None:
    """The note beside the checkpoint brings the template and all that peft has no place for."""
    torch.manual_seed(0)
    backbone = marked(tiny_t5(num_decoder_layers=3))
    parts: dict[str, tuple[Injection, str]] = {
        "soft": (Injection(slots=torch.randn(4, 32)), "Summarize{soft:4} {code}"),
        "prefix": (
            Injection(columns={"decoder": columns(backbone, "decoder", convention="past")}),
            "Summarize: {code}",
        ),
        "lora": (
            low_rank(backbone, list(backbone.lora_targets), [2] * len(backbone.lora_targets)),
            "Summarize: {code}",
        ),
    }
    injection, template = parts[kind]
    pack = make(injection, backbone, template, method=kind, source_length=77)
    back = import_peft(export_peft(pack, backbone, tmp_path / "out"), backbone)
    assert back.card.template == pack.card.template
    assert (back.card.method, back.card.source_length) == (kind, 77)
    assert back.card.conventions == pack.card.conventions
    expected = pack.injection.tensors()
    assert back.injection.tensors().keys() == expected.keys()
    for name, tensor in back.injection.tensors().items():
        torch.testing.assert_close(tensor, expected[name])


# Import


PROMPTS: dict[str, Callable[[], Any]] = {
    "prompt tuning": lambda: peft.PromptTuningConfig(
        task_type="SEQ_2_SEQ_LM", num_virtual_tokens=5
    ),
    "P-tuning": lambda: peft.PromptEncoderConfig(
        task_type="SEQ_2_SEQ_LM", num_virtual_tokens=5, encoder_hidden_size=16
    ),
    "P-tuning, LSTM": lambda: peft.PromptEncoderConfig(
        task_type="SEQ_2_SEQ_LM",
        num_virtual_tokens=5,
        encoder_hidden_size=16,
        encoder_reparameterization_type="LSTM",
    ),
}


@pytest.mark.parametrize("config", PROMPTS.values(), ids=PROMPTS)
def test_a_soft_prompt_imports_with_equal_logits(tmp_path: Path, config: Callable[[], Any]) -> None:
    """Of the 2P vectors that peft allocates on an encoder-decoder the first P are the prompt."""
    torch.manual_seed(0)
    backbone = bare(marked(tiny_t5()))
    module, folder = trained(backbone, tmp_path, "T5ForConditionalGeneration", config())
    assert load_file(folder / MODEL)["prompt_embeddings"].shape[0] == 10
    pack = import_peft(folder, backbone, task="summarize", template="Summarize: {code}")
    found = peft_t5(module, inputs(backbone, "Summarize: {code}"))
    torch.testing.assert_close(ours_t5(pack, backbone), found, **CLOSE)
    assert pack.card.template == "{soft:5}Summarize: {code}"
    assert pack.card.method == "soft"


def test_a_soft_prompt_imports_before_the_first_special_token(tmp_path: Path) -> None:
    """CodeT5's tokenizer begins every input with a token; peft's vectors stand before it."""
    torch.manual_seed(0)
    backbone = marked(tiny_t5())
    config = PROMPTS["prompt tuning"]()
    module, folder = trained(backbone, tmp_path, "T5ForConditionalGeneration", config)
    pack = import_peft(folder, backbone, task="summarize", template="Summarize: {code}")
    found = peft_t5(module, inputs(backbone, "Summarize: {code}"))
    torch.testing.assert_close(ours_t5(pack, backbone), found, **CLOSE)
    assert pack.card.template == "{soft:5}{start}Summarize: {code}"
    export_peft(pack, backbone, tmp_path / "again")
    again = load_file(tmp_path / "again" / MODEL)["prompt_embeddings"]
    assert torch.equal(again, load_file(folder / MODEL)["prompt_embeddings"][:5])


def test_a_soft_prompt_imports_to_an_encoder(tmp_path: Path) -> None:
    """RoBERTa counts positions over the virtual tokens, in both."""
    torch.manual_seed(0)
    backbone = marked(tiny_roberta())
    config = peft.PromptTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=4)
    module, folder = trained(backbone, tmp_path, "RobertaModel", config)
    pack = import_peft(folder, backbone, task="defect", template="{code} {mask}")
    with torch.no_grad():
        found = module(input_ids=inputs(backbone, "{code} {mask}")).last_hidden_state[0]
    torch.testing.assert_close(ours_roberta(pack, backbone)[0], found, **CLOSE)


def test_a_template_that_does_not_fit_the_vectors_is_refused(tmp_path: Path) -> None:
    """Another count, or hard words where trained vectors stand."""
    backbone = marked(tiny_t5())
    config = PROMPTS["prompt tuning"]()
    _, folder = trained(backbone, tmp_path, "T5ForConditionalGeneration", config)
    for template in ("{soft:4}{start}{code}", "{soft:5}{code}", "{soft:4}{code}"):
        with pytest.raises(PackError, match="has 5 vectors, and the template"):
            import_peft(folder, backbone, task="summarize", template=template)


@pytest.mark.parametrize(("encoder", "decoder"), [(2, 2), (3, 3), (3, 2), (5, 4), (1, 1)])
@pytest.mark.parametrize("projection", [False, True])
def test_a_prefix_imports_with_equal_logits(
    tmp_path: Path, encoder: int, decoder: int, projection: bool
) -> None:
    """Depths equal or not, with peft's MLP or without."""
    torch.manual_seed(0)
    backbone = marked(tiny_t5(num_layers=encoder, num_decoder_layers=decoder))
    config = peft.PrefixTuningConfig(
        task_type="SEQ_2_SEQ_LM",
        num_virtual_tokens=4,
        prefix_projection=projection,
        encoder_hidden_size=16,
    )
    module, folder = trained(backbone, tmp_path, "T5ForConditionalGeneration", config)
    pack = import_peft(folder, backbone, task="summarize", template="Summarize: {code}")
    found = peft_t5(module, inputs(backbone, "Summarize: {code}"))
    torch.testing.assert_close(ours_t5(pack, backbone), found, **CLOSE)
    assert pack.card.conventions == {"decoder": "past"}


def test_an_imported_prefix_generates_what_peft_generates(tmp_path: Path) -> None:
    """Greedy tokens through our static cache are those of peft's `generate`."""
    torch.manual_seed(0)
    backbone: Any = marked(tiny_t5(num_layers=3, num_decoder_layers=3))
    config = peft.PrefixTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=4)
    module, folder = trained(backbone, tmp_path, "T5ForConditionalGeneration", config)
    pack = import_peft(folder, backbone, task="summarize", template="{code}")
    ids = inputs(backbone)
    with torch.no_grad():
        expected = module.generate(  # type: ignore[operator]
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, min_new_tokens=8
        )
        injected = collate([pack.injection])
        source = Source(ids, torch.ones_like(ids, dtype=torch.bool))
        memory = backbone.remember(backbone.encode(source, injected), source, injected)
        state, token, out = backbone.begin(memory, injected, 1, 8), torch.tensor([[0]]), [0]
        for _ in range(8):
            logits = backbone.step(token, state)
            logits[..., backbone.tokenizer.eos_id] = -torch.inf
            token = logits.argmax(-1)
            out.append(int(token))
    assert expected[0].tolist() == out


def test_a_prefix_imports_to_an_encoder(tmp_path: Path) -> None:
    """RoBERTa as FEATURE_EXTRACTION."""
    torch.manual_seed(0)
    backbone = marked(tiny_roberta())
    config = peft.PrefixTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=4)
    module, folder = trained(backbone, tmp_path, "RobertaModel", config)
    pack = import_peft(folder, backbone, task="defect", template="{code} {mask}")
    with torch.no_grad():
        found = module(input_ids=inputs(backbone, "{code} {mask}")).last_hidden_state[0]
    torch.testing.assert_close(ours_roberta(pack, backbone)[0], found, **CLOSE)
    assert pack.card.conventions == {"encoder": "past"}
    assert pack.verbalizer is not None
