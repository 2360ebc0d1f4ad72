"""The Llama pass equals Hugging Face's modules, and the hinge mixes prompts without a trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from codeprompt.answer import Prompt, Row, answer
from codeprompt.backbones.base import Source
from codeprompt.backbones.decoding import Decoding
from codeprompt.backbones.generation import generate
from codeprompt.backbones.llama import Llama, LlamaConfig
from codeprompt.backbones.load import load_backbone
from codeprompt.backbones.serving import int8_kernel, prepare
from codeprompt.errors import BackboneError
from codeprompt.inject import NOTHING, Branch, Columns, Delta, Injected, Injection, collate
from codeprompt.plan import Plan
from codeprompt.template import parse, resolve
from tests.tiny import tiny_llama, write_checkpoint

EOS, PAD, START = 2, 0, 1
BASE = {
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": EOS,
    "pad_token_id": PAD,
}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
SWITCHES: dict[str, dict[str, Any]] = {
    "qwen2, tied": {"model_type": "qwen2", "tie_word_embeddings": True, "rope_theta": 1e6},
    "qwen2, own head": {"model_type": "qwen2"},
    "llama": {},
    "llama, tied": {"tie_word_embeddings": True},
    "one key for each head": {"num_key_value_heads": 4},
    "one key for all": {"num_key_value_heads": 1},
    "wide heads": {"head_dim": 16},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "gelu, another epsilon": {"hidden_act": "gelu", "rms_norm_eps": 1e-5},
    "linear": {"rope_scaling": {"type": "linear", "factor": 4.0}},
    "llama3": {"rope_scaling": {**LLAMA3, "original_max_position_embeddings": 16}},
    "yarn": {
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 16,
        }
    },
    "yarn, scaled": {
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 16,
            "mscale": 0.7,
            "mscale_all_dim": 1.0,
            "beta_fast": 16,
        }
    },
    "as transformers 5 writes it": {
        "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5}
    },
}


def pair(seed: int = 0, **switches: Any) -> tuple[Any, Llama]:
    """Hugging Face's module with random weights, and ours with the same."""
    import transformers

    torch.manual_seed(seed)
    settings: dict[str, Any] = {"model_type": "llama", **BASE, **switches}
    kind = {"llama": "Llama", "qwen2": "Qwen2"}[settings["model_type"]]
    given = {k: v for k, v in settings.items() if k != "model_type"}
    config = getattr(transformers, f"{kind}Config")(**json.loads(json.dumps(given)))
    theirs = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(parameter + 0.15 * torch.randn_like(parameter))
    ours = Llama(LlamaConfig.from_json(settings))
    ours.load_state_dict(theirs.state_dict())
    ours.freeze()
    return theirs, ours


def exact(**switches: Any) -> Llama:
    """Ours alone in float64, so that any difference is a fault and not rounding."""
    return pair(**switches)[1].double()


def sources(rows: int = 5, width: int = 20, seed: int = 1, left: bool = False) -> Source:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 99, (rows, width), generator=generator)
    lengths = torch.tensor([width, 7, 13, 1, 12][:rows])
    mask = torch.arange(width) < lengths[:, None]
    if not left:
        return Source(ids.masked_fill(~mask, PAD), mask)
    turned = torch.zeros_like(ids)
    for row, length in enumerate(lengths.tolist()):
        turned[row, width - length :] = ids[row, :length]
    return Source(turned, mask.flip(1))


@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
def test_logits_equal_hugging_face(switches: dict[str, Any]) -> None:
    """Every switch of real configurations gives the reference's logits within 1e-4."""
    theirs, ours = pair(**switches)
    target = torch.randint(3, 99, (5, 9), generator=torch.Generator().manual_seed(2))
    left, right = sources(left=True), sources()
    whole = torch.cat([left.ids, target], 1)
    mask = torch.cat([left.mask.long(), torch.ones_like(target)], 1)
    places = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        expected = theirs(input_ids=whole, attention_mask=mask, position_ids=places).logits
        read = torch.cat([torch.full((5, 1), START), target], 1)
        for source in (left, right):
            memory = ours.remember(ours.encode(source), source)
            logits = ours.logits(ours.decode(read, memory))
            torch.testing.assert_close(logits, expected[:, 19:], atol=1e-4, rtol=1e-4)
            states = ours.token_states(ours.encode(source), source)
            own = ours.logits(states[source.mask])
            theirs_at = expected[:, :20][left.mask]
            torch.testing.assert_close(own, theirs_at, atol=1e-4, rtol=1e-4)


def test_steps_equal_teacher_forcing() -> None:
    """Decoding step by step through the caches gives the logits of the whole sequence."""
    ours, source = exact(), sources()
    target = torch.randint(3, 99, (5, 40), generator=torch.Generator().manual_seed(2))
    target[:, 0] = START
    with torch.no_grad():
        memory = ours.remember(ours.encode(source), source)
        whole = ours.logits(ours.decode(target, memory))
        state = ours.begin(memory, NOTHING, 1, 40)
        stepped = torch.cat([ours.step(target[:, t : t + 1], state) for t in range(40)], 1)
    torch.testing.assert_close(stepped, whole)


def answers(ours: Any, source: Source, decoding: Decoding, injected: Injected = NOTHING) -> Any:
    with torch.no_grad():
        memory = ours.remember(ours.encode(source, injected), source, injected)
    return generate(ours, memory, injected, decoding, eos=EOS, pad=PAD, start=START)


DECODINGS = {
    "greedy": Decoding(max_new_tokens=24),
    "greedy, at least 9": Decoding(max_new_tokens=24, min_new_tokens=9),
    "beams": Decoding(max_new_tokens=24, beams=4, candidates=4),
    "short beams": Decoding(max_new_tokens=24, beams=3, length_penalty=-1.0, early_stopping=True),
    "long beams": Decoding(max_new_tokens=24, beams=5, length_penalty=2.0, early_stopping="never"),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("decoding", DECODINGS.values(), ids=DECODINGS)
def test_answers_equal_hugging_face(decoding: Decoding, seed: int) -> None:
    """Greedy and beam search give the reference's tokens and scores in float64."""
    theirs, ours = pair(seed, model_type=("llama", "qwen2")[seed % 2])
    theirs, ours = theirs.double(), ours.double()
    restless(theirs, ours)
    source, left = sources(seed=seed), sources(seed=seed, left=True)
    expected = theirs.generate(
        input_ids=left.ids,
        attention_mask=left.mask.long(),
        max_new_tokens=decoding.max_new_tokens,
        min_new_tokens=decoding.min_new_tokens or None,
        num_beams=decoding.beams,
        num_return_sequences=decoding.candidates,
        length_penalty=decoding.length_penalty,
        early_stopping=decoding.early_stopping,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
    )
    flat = [h for row in answers(ours, source, decoding) for h in row]
    wanted = []
    for sequence in expected.sequences[:, 20:].tolist():
        ended = EOS in sequence
        wanted.append((tuple(sequence[: sequence.index(EOS)] if ended else sequence), ended))
    assert [(h.ids, h.finished) for h in flat] == wanted
    if decoding.beams > 1:
        found = [h.score for h in flat]
        assert found == pytest.approx(expected.sequences_scores.tolist(), abs=1e-6, rel=1e-6)
    assert len(set(wanted)) >= 3
    assert decoding.beams > 1 or len({len(ids) for ids, _ in wanted}) > 1  # some end early


def restless(theirs: Any, ours: Llama) -> None:
    """Make answers wander, and end now and then."""
    with torch.no_grad():
        hidden = theirs.model(input_ids=torch.randint(3, 99, (16, 16))).last_hidden_state
        shared = hidden.flatten(0, 1).mean(0)
        shared = shared / shared.norm()
        head = theirs.lm_head.weight
        head -= torch.outer(head @ shared, shared)
        logits = hidden.flatten(0, 1) @ head.T
        gap = (logits.amax(-1) - logits[:, EOS]) / (hidden.flatten(0, 1) @ shared)
        head[EOS] += gap.quantile(0.35) * shared
    ours.load_state_dict(theirs.state_dict())


def prompts(ours: Llama) -> list[Injection]:
    """One of each way into the backbone: soft, prefix, VPT-deep, APT, LoRA, `past`, nothing."""
    torch.manual_seed(3)
    _, shared, size = ours.shape
    layers, d = ours.depth, ours.d_model

    def columns(length: int, **more: Any) -> Columns:
        shape = (layers, shared, length, size)
        return Columns(torch.randn(shape), torch.randn(shape), **more)

    linears = dict(ours.named_modules())
    deltas = {
        name: Delta(
            0.1 * torch.randn(2, linears[name].in_features),
            torch.randn(linears[name].out_features, 2),
        )
        for name in (*ours.lora_targets, "model.layers.1.mlp.down_proj")
    }
    apt = columns(4)
    return [
        Injection(slots=torch.randn(3, d)),
        Injection(columns={"decoder": columns(5)}),
        Injection(layers={"decoder": torch.randn(layers, 2, d)}),
        Injection(branches={"decoder": Branch(apt.key, apt.value, torch.rand(layers))}),
        Injection(deltas=deltas),
        Injection(columns={"decoder": columns(2, convention="past")}),
        Injection(),
    ]


def slotted(source: Source, rows: list[int]) -> Source:
    """The first three positions of the soft prompt's rows are its slots."""
    slots = torch.full_like(source.ids, -1)
    for index, row in enumerate(rows):
        if row == 0:
            slots[index, :3] = torch.arange(3)
    return Source(source.ids, source.mask, slots)


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("form", ["backbone", "serving"])
def test_a_mixed_batch_equals_single_rows(form: str, beams: int) -> None:
    """Soft, prefix, VPT-deep, APT, LoRA and nothing in one batch answer as each does alone."""
    ours = exact(model_type="qwen2")
    model: Any = ours
    if form == "serving":
        model = prepare(ours.float(), "float32")
    made = [ours.lower(p.to(ours.dtype)) for p in prompts(ours)]
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(3, 99, (7, 15), generator=generator)
    mask = torch.arange(15) < torch.tensor([15, 4, 9, 15, 5, 8, 11])[:, None]
    source = slotted(Source(ids.masked_fill(~mask, PAD), mask), list(range(7)))
    decoding = Decoding(max_new_tokens=12, beams=beams)
    together = answers(model, source, decoding, collate(made, range(7)))
    for row in range(7):
        width = int(mask[row].sum())
        alone = source.select(torch.tensor([row]))
        slots = alone.slots[:, :width] if row == 0 and alone.slots is not None else None
        alone = Source(alone.ids[:, :width], alone.mask[:, :width], slots)
        single = answers(model, alone, decoding, collate([made[row]]))
        assert single[0][0].ids == together[row][0].ids
        assert single[0][0].score == pytest.approx(together[row][0].score, abs=1e-5)
    assert len({together[row][0].ids for row in range(7)}) > 3


def test_the_past_convention_is_hugging_faces_cache() -> None:
    """Columns under `past` give what the reference makes of them as past keys and values."""
    from transformers import DynamicCache

    theirs, ours = pair()
    torch.manual_seed(5)
    shape = (3, 2, 4, 8)
    columns = Columns(torch.randn(shape), torch.randn(shape), convention="past")
    injected = collate([Injection(columns={"decoder": columns})])
    source = sources(2, 7)
    source = Source(source.ids, torch.ones_like(source.mask))
    cache = DynamicCache()
    for layer in range(3):
        pairs = (t[layer].expand(2, -1, -1, -1) for t in (columns.key, columns.value))
        cache.update(*pairs, layer)
    with torch.no_grad():
        expected = theirs(input_ids=source.ids, past_key_values=cache).logits
        found = ours.logits(ours.token_states(ours.encode(source), source, injected))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bf16", "int8"])
def test_the_serving_copy_answers_as_the_backbone(precision: Any) -> None:
    """The float32 copy equals the backbone; narrower ones stay near, label for label."""
    if precision == "int8" and int8_kernel() is None:
        pytest.skip("no int8 product here")
    _, ours = pair(model_type="qwen2")
    source = sources()
    copy = prepare(ours, precision)
    read = torch.randint(3, 99, (5, 6), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected, found = (
            m.logits(m.decode(read, m.remember(m.encode(source), source))).float()
            for m in (ours, copy)
        )
    tolerance = {"float32": 1e-4, "bf16": 0.05, "int8": 0.05}[precision]
    scale = float(expected.abs().max())
    assert float((found - expected).abs().max()) <= tolerance * scale


def test_a_folder_loads_as_hugging_face_reads_it(tmp_path: Path) -> None:
    """A written checkpoint gives the same logits through both, and one hash in both spellings."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    first = tiny_llama(tmp_path / "one", model_type="llama")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "one").eval()
    text = "int add(int a, int b) { return a + b; } // 12345"
    ids = AutoTokenizer.from_pretrained(tmp_path / "one")(text)["input_ids"]
    assert first.tokenizer.encode(text) == ids
    source = Source(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool))
    with torch.no_grad():
        found = first.logits(first.token_states(first.encode(source), source))
        expected = theirs(input_ids=source.ids).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    config = {"rope_theta": None, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
    write_checkpoint(first, tmp_path / "two", **config)
    assert load_backbone(str(tmp_path / "two")).hash == first.hash
    assert first.start_id != first.tokenizer.eos_id


def test_qwens_tokenizer_is_read_from_its_parts(tmp_path: Path) -> None:
    """vocab.json and merges.txt alone are cut by Qwen2's own rule."""
    from transformers import Qwen2Tokenizer

    backbone = tiny_llama(tmp_path)
    whole = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.json").write_text(json.dumps(whole["vocab"]))
    merges = [" ".join(m) if isinstance(m, list) else m for m in whole["merges"]]
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    theirs = Qwen2Tokenizer.from_pretrained(tmp_path)
    ours = load_backbone(str(tmp_path)).tokenizer
    for text in ("x = 12345;\n\n  return x;", "it's  fine", "é\tü<|im_end|>"):
        assert ours.encode(text) == theirs(text)["input_ids"]
    assert ours.hash != backbone.tokenizer.hash


BAD = {
    "sliding window": ({"model_type": "qwen2", "use_sliding_window": True}, "sliding window"),
    "dynamic": ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "scaled by 'dynamic'"),
    "no factor": ({"rope_scaling": {"type": "linear"}}, "does not say factor"),
    "half a head": ({"partial_rotary_factor": 0.5}, "only 50% of each head"),
    "heads": ({"num_key_value_heads": 3}, "cannot share 3"),
}


@pytest.mark.parametrize(("switches", "said"), BAD.values(), ids=BAD)
def test_what_the_pass_has_not_is_refused(switches: dict[str, Any], said: str) -> None:
    """A switch that would change the numbers is named, never ignored."""
    with pytest.raises(BackboneError, match=said):
        LlamaConfig.from_json({"model_type": "llama", **BASE, **switches})


def test_a_sentencepiece_tokenizer_is_refused(tmp_path: Path) -> None:
    """Templates are tokenised piece by piece, which only byte-level BPE allows."""
    tiny_llama(tmp_path)
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text())
    content["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}
    path.write_text(json.dumps(content))
    with pytest.raises(BackboneError, match="no byte-level tokenizer"):
        load_backbone(str(tmp_path))


def test_a_head_of_another_width_is_named(tmp_path: Path) -> None:
    """Tensors that do not fit the configuration are told leaf by leaf."""
    backbone = tiny_llama()
    write_checkpoint(backbone, tmp_path, num_key_value_heads=1)
    with pytest.raises(BackboneError, match=r"k_proj\.weight \(expected \[8, 32\]"):
        load_backbone(str(tmp_path))


def planned(backbone: Llama, kind: Any, template: str, **more: Any) -> Plan:
    return Plan(backbone, resolve(parse(template), backbone.tokenizer), kind, 64, 8, **more)


def test_tasks_of_both_kinds_share_a_batch() -> None:
    """Labels by the next token and generated text come from one batch, as from two."""
    from codeprompt.verbalizers import Verbalizer

    backbone = tiny_llama()
    verbalizer = Verbalizer.of({"clean": ("no",), "defective": ("yes", "bad code")})
    labels = {"labels": ("clean", "defective"), "positive": "defective"}
    first = planned(backbone, "classify", "{code}\nBad?", verbalizer=verbalizer, **labels)
    second = planned(backbone, "generate", "{soft:3}{code}\nIt")
    slots = Injection(slots=torch.randn(3, 32, generator=torch.Generator().manual_seed(1)))
    made = [Prompt(first), Prompt(second, slots, Decoding(max_new_tokens=6, beams=2))]
    rows = [Row(i % 2, {"code": "return x" * (i + 1)}) for i in range(4)]
    together = answer(backbone, made, rows)
    alone = [answer(backbone, made, [row])[0] for row in rows]
    for a, b in zip(together, alone, strict=True):
        assert a.text == b.text
        assert a.score == pytest.approx(b.score, abs=1e-5)
    assert set(together[0].probabilities) == {"clean", "defective"}
