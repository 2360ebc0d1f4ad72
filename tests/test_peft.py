"""Packs go to `peft` and come from it with equal logits; what one side cannot say is refused."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from codeprompt.backbones.base import Backbone, Source
from codeprompt.errors import PackError
from codeprompt.inject import Branch, Columns, Delta, Head, Injection, collate
from codeprompt.pack import Pack, export_peft, import_peft, make_pack
from codeprompt.pack.peft import CONFIG, MODEL, NOTE
from codeprompt.pack.store import seal
from codeprompt.template import parse, render
from tests.tiny import tiny_roberta, tiny_t5, write_checkpoint

peft = pytest.importorskip("peft")
CODE = "def add(first, second):\n    return first + second"
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Other libraries' warnings are theirs."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def marked(backbone: Backbone) -> Backbone:
    backbone.hash = backbone.hash or "ab" * 32
    return backbone


def bare(backbone: Backbone) -> Backbone:
    """The same backbone with a tokenizer that puts nothing before the input, as Google's T5."""
    backbone.tokenizer.prefix_ids = ()
    return backbone


def theirs(backbone: Backbone, folder: Path, kind: str) -> nn.Module:
    """The Hugging Face module of a tiny backbone."""
    import transformers

    write_checkpoint(backbone, folder)
    module: nn.Module = getattr(transformers, kind).from_pretrained(folder)
    return module.eval()


def make(injection: Injection, backbone: Backbone, template: str = "{code}", **more: Any) -> Pack:
    values: dict[str, Any] = {
        "name": "p",
        "task": "summarize",
        "method": "soft",
        "source_length": 128,
        "target_length": 8,
        **more,
    }
    return make_pack(injection=injection, backbone=backbone, template=parse(template), **values)


TARGET = torch.tensor([[0, 9, 17, 33, 5, 11]])


@torch.no_grad()
def ours_t5(pack: Pack, backbone: Any) -> Tensor:
    """Logits [1,U,V] of a pack on the code."""
    rendered = render(pack.template, {"code": CODE}, backbone.tokenizer, max_length=128)
    ids, slots = torch.tensor([rendered.ids]), torch.tensor([rendered.slots])
    source = Source(ids, torch.ones_like(ids, dtype=torch.bool), slots)
    injected = collate([pack.injection])
    memory = backbone.remember(backbone.encode(source, injected), source, injected)
    out: Tensor = backbone.logits(backbone.decode(TARGET, memory, injected))
    return out


@torch.no_grad()
def ours_roberta(pack: Pack, backbone: Any) -> tuple[Tensor, list[int]]:
    """Hidden states [T,d] of a pack on the code, and the slots."""
    rendered = render(pack.template, {"code": CODE}, backbone.tokenizer, max_length=128)
    ids, slots = torch.tensor([rendered.ids]), torch.tensor([rendered.slots])
    source = Source(ids, torch.ones_like(ids, dtype=torch.bool), slots)
    return backbone.encode(source, collate([pack.injection]))[0], list(rendered.slots)


def inputs(backbone: Backbone, template: str = "{code}", prefix: bool = True) -> Tensor:
    """What a user of peft feeds: [1,T]."""
    rendered = render(parse(template), {"code": CODE}, backbone.tokenizer, max_length=128)
    skip = 0 if prefix else len(backbone.tokenizer.prefix_ids)
    return torch.tensor([rendered.ids[skip:]])


@torch.no_grad()
def peft_t5(module: nn.Module, ids: Tensor) -> Tensor:
    module.eval()
    out: Tensor = module(
        input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=TARGET
    ).logits
    return out


def differs(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() > 1e-2)


def columns(backbone: Backbone, site: str, length: int = 3, **more: Any) -> Columns:
    shape = backbone.sites[site]  # type: ignore[index]
    size = (shape.layers, shape.heads, length, shape.head_dim)
    return Columns(torch.randn(size), torch.randn(size), **more)


# Export


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
    export_peft(pack, backbone, tmp_path / "out")
    base = theirs(backbone, tmp_path / "base", "T5ForConditionalGeneration")
    plain = peft_t5(base, inputs(backbone, rest))
    module = peft.PeftModel.from_pretrained(base, tmp_path / "out")
    found = peft_t5(module, inputs(backbone, rest, prefix=False))
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
    export_peft(pack, backbone, tmp_path / "out")
    base = theirs(backbone, tmp_path / "base", "T5ForConditionalGeneration")
    plain = peft_t5(base, inputs(backbone))
    module = peft.PeftModel.from_pretrained(base, tmp_path / "out")
    found = peft_t5(module, inputs(backbone))
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


def low_rank(backbone: Backbone, names: list[str], ranks: list[int]) -> Injection:
    linears = dict(backbone.named_modules())
    deltas = {}
    for name, rank in zip(names, ranks, strict=True):
        rows, inner = linears[name].weight.shape  # type: ignore[union-attr, misc]
        deltas[name] = Delta(torch.randn(rank, inner), 0.2 * torch.randn(rows, rank))
    return Injection(deltas=deltas)


def test_lora_exports_with_equal_logits(tmp_path: Path) -> None:
    """Ranks may differ from map to map; feed-forward maps go along."""
    torch.manual_seed(0)
    backbone = marked(tiny_t5())
    names = [*backbone.lora_targets, "decoder.block.0.layer.2.DenseReluDense.wo"]
    pack = make(low_rank(backbone, names, [2] * (len(names) - 2) + [3, 4]), backbone)
    export_peft(pack, backbone, tmp_path / "out")
    base = theirs(backbone, tmp_path / "base", "T5ForConditionalGeneration")
    plain = peft_t5(base, inputs(backbone))
    module = peft.PeftModel.from_pretrained(base, tmp_path / "out")
    found = peft_t5(module, inputs(backbone))
    torch.testing.assert_close(found, ours_t5(pack, backbone), **CLOSE)
    assert differs(found, plain)


@pytest.mark.parametrize(("head", "kind"), [(True, "RobertaForMaskedLM"), (False, "RobertaModel")])
def test_lora_exports_from_an_encoder(tmp_path: Path, head: bool, kind: str) -> None:
    """With the cloze head as no task type, without as FEATURE_EXTRACTION."""
    torch.manual_seed(0)
    backbone = marked(tiny_roberta(mask_head=head))
    names = [*backbone.lora_targets, *(["lm_head.dense"] if head else [])]
    pack = make(low_rank(backbone, names, [2] * len(names)), backbone)
    export_peft(pack, backbone, tmp_path / "out")
    base = theirs(backbone, tmp_path / "base", kind)
    module = peft.PeftModel.from_pretrained(base, tmp_path / "out").eval()
    hidden, _ = ours_roberta(pack, backbone)
    with torch.no_grad():
        found = module(input_ids=inputs(backbone))
        if head:
            everywhere = torch.arange(hidden.shape[0])[None]
            injected = collate([pack.injection])
            expected = backbone.mask_logits(hidden[None], everywhere, injected)  # type: ignore[operator]
            torch.testing.assert_close(found.logits, expected, **CLOSE)
        else:
            torch.testing.assert_close(found.last_hidden_state[0], hidden, **CLOSE)


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


def trained(backbone: Backbone, tmp_path: Path, kind: str, config: Any) -> tuple[nn.Module, Path]:
    """A peft model with random parameters, saved as peft saves it."""
    base = theirs(backbone, tmp_path / "base", kind)
    module: Any = peft.get_peft_model(base, config).eval()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                spread = 1.0 if "prompt" in name else 0.3
                parameter.copy_(spread * torch.randn_like(parameter))
    module.save_pretrained(tmp_path / "adapter")
    return module, tmp_path / "adapter"


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


@pytest.mark.parametrize("rslora", [False, True])
def test_lora_imports_with_equal_logits(tmp_path: Path, rslora: bool) -> None:
    """Alpha, ranks and their patterns fold into B."""
    torch.manual_seed(0)
    backbone = marked(tiny_t5())
    config = peft.LoraConfig(
        task_type="SEQ_2_SEQ_LM",
        r=4,
        lora_alpha=6,
        target_modules=["q", "v", "wo"],
        rank_pattern={"wo": 2},
        alpha_pattern={"block.1.layer.0.SelfAttention.v": 3},
        use_rslora=rslora,
    )
    module, folder = trained(backbone, tmp_path, "T5ForConditionalGeneration", config)
    pack = import_peft(folder, backbone, task="summarize", template="{code}")
    torch.testing.assert_close(ours_t5(pack, backbone), peft_t5(module, inputs(backbone)), **CLOSE)


def test_lora_imports_to_an_encoder(tmp_path: Path) -> None:
    """The names of a model without a head are found under the checkpoint's own."""
    torch.manual_seed(0)
    backbone = marked(tiny_roberta())
    config = peft.LoraConfig(task_type="FEATURE_EXTRACTION", r=2, target_modules=["query", "dense"])
    write_checkpoint(backbone, tmp_path / "base")
    from transformers import RobertaModel

    base = RobertaModel.from_pretrained(tmp_path / "base", add_pooling_layer=False).eval()
    module = peft.get_peft_model(base, config).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.copy_(0.3 * torch.randn_like(parameter))
    module.save_pretrained(tmp_path / "adapter")
    pack = import_peft(tmp_path / "adapter", backbone, task="defect", template="{code}{mask}")
    with torch.no_grad():
        found = module(input_ids=inputs(backbone, "{code}{mask}")).last_hidden_state[0]
    torch.testing.assert_close(ours_roberta(pack, backbone)[0], found, **CLOSE)


def scalings(backbone: Backbone) -> Injection:
    """IA3's three kinds, each unlike one."""
    known = dict(backbone.named_modules())

    def drawn(name: str, side: str) -> Tensor:
        return 1 + 0.5 * torch.randn(int(getattr(known[name], side)))

    deltas = {
        n: Delta(scale=drawn(n, "out_features")) for n in backbone.linear_maps("key", "value")
    }
    for name in backbone.linear_maps("feed-out"):
        deltas[name] = Delta(gain=drawn(name, "in_features"))
    return Injection(deltas=deltas)


def test_ia3_exports_with_equal_logits(tmp_path: Path) -> None:
    """Keys, values and what the feed-forward's output map reads; and it comes back the same."""
    torch.manual_seed(0)
    backbone = marked(tiny_t5())
    pack = make(scalings(backbone), backbone, method="ia3")
    export_peft(pack, backbone, tmp_path / "out")
    base = theirs(backbone, tmp_path / "base", "T5ForConditionalGeneration")
    plain = peft_t5(base, inputs(backbone))
    module = peft.PeftModel.from_pretrained(base, tmp_path / "out")
    found = peft_t5(module, inputs(backbone))
    torch.testing.assert_close(found, ours_t5(pack, backbone), **CLOSE)
    assert differs(found, plain)
    back = import_peft(tmp_path / "out", backbone)
    expected = pack.injection.tensors()
    assert back.card.method == "ia3" and back.injection.tensors().keys() == expected.keys()
    for name, tensor in back.injection.tensors().items():
        torch.testing.assert_close(tensor, expected[name])


@pytest.mark.parametrize(("head", "kind"), [(True, "RobertaForMaskedLM"), (False, "RobertaModel")])
def test_ia3_exports_from_an_encoder(tmp_path: Path, head: bool, kind: str) -> None:
    """With biases, which a scaling of the output takes along."""
    torch.manual_seed(0)
    backbone = marked(tiny_roberta(mask_head=head))
    pack = make(scalings(backbone), backbone, method="ia3")
    export_peft(pack, backbone, tmp_path / "out")
    base = theirs(backbone, tmp_path / "base", kind)
    module = peft.PeftModel.from_pretrained(base, tmp_path / "out").eval()
    with torch.no_grad():
        found = module(input_ids=inputs(backbone), output_hidden_states=True).hidden_states[-1][0]
    torch.testing.assert_close(found, ours_roberta(pack, backbone)[0], **CLOSE)


def test_ia3_imports_with_equal_logits(tmp_path: Path) -> None:
    """peft's own choice of maps on T5; on RoBERTa it also scales what no pack does."""
    torch.manual_seed(0)
    backbone = marked(tiny_t5())
    config = peft.IA3Config(task_type="SEQ_2_SEQ_LM")
    module, folder = trained(backbone, tmp_path, "T5ForConditionalGeneration", config)
    pack = import_peft(folder, backbone, task="summarize", template="{code}")
    torch.testing.assert_close(ours_t5(pack, backbone), peft_t5(module, inputs(backbone)), **CLOSE)
    encoder = marked(tiny_roberta())
    config = peft.IA3Config(task_type="FEATURE_EXTRACTION")
    folder = trained(encoder, tmp_path / "encoder", "RobertaModel", config)[1]
    with pytest.raises(PackError, match=r"scales what '.*attention.output.dense' reads"):
        import_peft(folder, encoder, task="defect", template="{code}{mask}")


def test_ia3_that_peft_or_a_pack_cannot_express_is_refused(tmp_path: Path) -> None:
    """Both sides of one map, scalings beside low-rank changes, modules saved whole, bad shapes."""
    torch.manual_seed(0)
    backbone = marked(tiny_t5())
    own = scalings(backbone)
    wo = backbone.linear_maps("feed-out")[0]
    both = Delta(scale=torch.ones(32), gain=own.deltas[wo].gain)
    rank = Delta(torch.randn(2, 32), torch.randn(32, 2))
    key = backbone.linear_maps("key")[0]
    for reason, deltas in {
        "both what": {**own.deltas, wo: both},
        "low-rank changes and scalings": {**own.deltas, key: rank},
    }.items():
        pack = make(Injection(deltas=deltas), backbone, method="ia3")
        with pytest.raises(PackError, match=reason):
            export_peft(pack, backbone, tmp_path / "out")
        assert not (tmp_path / "out").exists()
    out = export_peft(make(own, backbone, method="ia3"), backbone, tmp_path / "out")
    tensors = load_file(out / MODEL)
    first = next(iter(tensors))
    for reason, changed in {
        "has the shape": {**tensors, first: torch.ones(3, 3)},
        "changes 'lm_head.ia3_l'": {**tensors, "base_model.model.lm_head.ia3_l": torch.ones(5, 1)},
    }.items():
        save_file(changed, out / MODEL)
        with pytest.raises(PackError, match=reason):
            import_peft(out, backbone)
    config = json.loads((out / CONFIG).read_text())
    (out / CONFIG).write_text(json.dumps(config | {"modules_to_save": ["lm_head"]}))
    with pytest.raises(PackError, match="IA3 uses modules_to_save"):
        import_peft(out, backbone)


# Refusals


def t5_injections(backbone: Backbone) -> dict[str, tuple[Injection, str, str]]:
    shape = backbone.sites["decoder"]
    size = (shape.layers, shape.heads, 2, shape.head_dim)
    past = columns(backbone, "decoder", convention="past")
    slots = torch.randn(2, 32)
    scaled = replace(past, log_scale=torch.full((3,), -1.0))
    branch = Branch(torch.randn(size), torch.randn(size), torch.ones(shape.layers))
    layers = torch.randn(shape.layers, 2, 32)
    return {
        "two ways": (Injection(slots=slots, columns={"decoder": past}), "{soft:2}{code}", "and"),
        "kept": (Injection(columns={"decoder": columns(backbone, "decoder")}), "{code}", "move"),
        "encoder": (
            Injection(columns={"encoder": columns(backbone, "encoder", convention="past")}),
            "{code}",
            "columns in encoder",
        ),
        "own columns": (Injection(columns={"decoder": past}), "{code}", "reads the same columns"),
        "scaled": (Injection(columns={"decoder": scaled}), "{code}", "scaled"),
        "layers": (Injection(layers={"decoder": layers}), "{code}", "VPT-deep"),
        "branch": (Injection(branches={"decoder": branch}), "{code}", "parallel branch"),
        "nothing": (Injection(), "{code}", "hard prompt"),
        "slots behind": (Injection(slots=slots), "{code}{soft:2}", r"after \{code\}"),
        "slots apart": (Injection(slots=slots), "{soft:1}{code}{soft:1}", r"after \{code\}"),
        "weights": (
            Injection(weights={"shared.weight": backbone.embedding.weight}),
            "{code}",
            "no adapter",
        ),
    }


@pytest.mark.parametrize("case", list(t5_injections(tiny_t5())))
def test_what_peft_cannot_express_is_refused(tmp_path: Path, case: str) -> None:
    """At export, with the reason, and nothing is written."""
    backbone = marked(tiny_t5())
    injection, template, reason = t5_injections(backbone)[case]
    pack = make(injection, backbone, template)
    with pytest.raises(PackError, match=reason):
        export_peft(pack, backbone, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_linear_head_is_refused(tmp_path: Path) -> None:
    """A classifier of transformers has two layers."""
    backbone = marked(tiny_roberta())
    head = Head(torch.randn(2, 32), torch.zeros(2))
    pack = make(
        Injection(slots=torch.randn(2, 32), head=head),
        backbone,
        "{soft:2}{code}",
        head="linear",
        labels=("clean", "defective"),
        task="defect",
    )
    with pytest.raises(PackError, match="soft slots and a linear head, which peft cannot"):
        export_peft(pack, backbone, tmp_path / "out")


def test_an_export_overwrites_only_its_own(tmp_path: Path) -> None:
    """A folder with anything else in it is left alone."""
    backbone = marked(tiny_t5())
    pack = make(Injection(slots=torch.randn(2, 32)), backbone, "{soft:2}{code}")
    out = export_peft(pack, backbone, tmp_path / "out")
    export_peft(pack, backbone, out)
    (out / "mine.txt").write_text("x")
    with pytest.raises(PackError, match="no peft checkpoint of ours"):
        export_peft(pack, backbone, out)


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One good checkpoint of each kind, on the same tiny T5."""
    torch.manual_seed(0)
    backbone = marked(tiny_t5(num_layers=3, num_decoder_layers=3))
    out: dict[str, Path] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind, config in {
            "prefix": peft.PrefixTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=2),
            "lora": peft.LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q"]),
        }.items():
            place = tmp_path_factory.mktemp(kind)
            out[kind] = trained(backbone, place, "T5ForConditionalGeneration", config)[1]
    return out


CONFIGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "another kind": ("lora", {"peft_type": "VERA"}, "is a VERA checkpoint"),
    "dora": ("lora", {"use_dora": True}, "uses use_dora"),
    "pissa": ("lora", {"init_lora_weights": "pissa"}, "changed the backbone's own weights"),
    "biases": ("lora", {"bias": "all"}, "trains biases too"),
    "saved modules": ("lora", {"modules_to_save": ["lm_head"]}, "modules_to_save"),
    "expression": ("lora", {"alpha_pattern": {".*q": 3}}, "the expression"),
    "causal": ("prefix", {"task_type": "CAUSAL_LM"}, "was trained as CAUSAL_LM"),
    "one stack": ("prefix", {"num_transformer_submodules": 1}, "cannot run on"),
    "no length": ("prefix", {"num_virtual_tokens": None}, "num_virtual_tokens = None"),
    "other heads": ("prefix", {"num_attention_heads": 2}, "of 2 heads"),
    "fewer layers": ("prefix", {"num_layers": 2}, "for 2 layers"),
    "ill-typed": ("prefix", {"num_layers": "three"}, r"Expected `int \| null`.*num_layers"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_checkpoint_that_a_pack_cannot_express_is_refused(
    tmp_path: Path, adapters: dict[str, Path], case: str
) -> None:
    """With the reason, from its configuration."""
    kind, changes, reason = CONFIGS[case]
    folder = tmp_path / "adapter"
    shutil.copytree(adapters[kind], folder)
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | changes))
    backbone = marked(tiny_t5(num_layers=3, num_decoder_layers=3))
    with pytest.raises(PackError, match=reason):
        import_peft(folder, backbone, task="summarize", template="{code}")


def test_broken_checkpoints_are_refused(tmp_path: Path, adapters: dict[str, Path]) -> None:
    """Missing, cut, a pickle, with tensors that no pack has, or with slots in the template."""
    backbone = marked(tiny_t5(num_layers=3, num_decoder_layers=3))

    def copy(name: str, kind: str = "lora") -> Path:
        return Path(shutil.copytree(adapters[kind], tmp_path / name))

    def refused(folder: Path, reason: str, template: str = "{code}") -> None:
        with pytest.raises(PackError, match=reason):
            import_peft(folder, backbone, task="summarize", template=template)

    refused(tmp_path / "nowhere", "lacks adapter_config.json")
    cut = copy("cut")
    (cut / MODEL).write_bytes((cut / MODEL).read_bytes()[:-100])
    refused(cut, "is cut or no safetensors file")
    pickled = copy("pickled")
    (pickled / MODEL).rename(pickled / "adapter_model.bin")
    refused(pickled, "a pickle, which may run code")
    head = copy("head")
    tensors = load_file(head / MODEL)
    more = {"base_model.model.lm_head.lora_A.weight": torch.zeros(2, 32)}
    save_file(tensors | more, head / MODEL)
    refused(head, "changes 'lm_head.lora_A.weight', which a pack on")
    save_file({k: v for k, v in tensors.items() if "lora_A" in k}, head / MODEL)
    refused(head, "not a whole pair A, B")
    save_file({k: v * torch.nan for k, v in tensors.items()}, head / MODEL)
    refused(head, "not finite")
    refused(adapters["lora"], "The template has 3 soft slots", "{soft:3}{code}")
    refused(copy("none"), "soft slots", "{soft}{code}")
    with pytest.raises(PackError, match="does not say what it is for"):
        import_peft(adapters["lora"], backbone)


def test_an_export_for_another_backbone_is_refused(tmp_path: Path) -> None:
    """The note names the hash of the backbone."""
    backbone = marked(tiny_t5())
    pack = make(Injection(slots=torch.randn(2, 32)), backbone, "{soft:2}{code}")
    out = export_peft(pack, backbone, tmp_path / "out")
    assert (out / NOTE).exists()
    other = tiny_t5(seed=1)
    other.hash = "cd" * 32
    with pytest.raises(PackError, match="exported for another backbone"):
        import_peft(out, other)
    with pytest.raises(PackError, match="was made for"):
        export_peft(seal(pack.card, pack.injection), other, tmp_path / "other")
