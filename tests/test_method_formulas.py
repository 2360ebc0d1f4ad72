"""Each method's own formula, against peft with the same weights or plain numpy in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from codeprompt import recipes
from codeprompt.backbones.base import Backbone, Source
from codeprompt.errors import UsageError
from codeprompt.inject import NOTHING, Delta, Injection, collate
from codeprompt.methods.base import Context, PromptModule
from codeprompt.methods.dept import DeptSettings, shape
from codeprompt.registry import METHODS, TASKS
from codeprompt.template import parse, resolve
from tests.peft_pairs import TARGET, inputs, peft_t5, theirs
from tests.tiny import tiny_llama, tiny_roberta, tiny_t5

DELTAS = ("adapter", "bitfit", "ia3", "lora", "apt")
FAMILIES = {"t5": tiny_t5, "roberta": tiny_roberta, "llama": tiny_llama}


def built(name: str, backbone: Backbone, **options: Any) -> PromptModule:
    method = METHODS.get(name)
    settings = method.configure(options)
    template = resolve(method.template(parse("Say {code}"), settings), backbone.tokenizer)
    return method.build(Context(backbone, template), settings)


def states(backbone: Any, injection: Injection) -> Tensor:
    """What the encoder makes of 12 tokens."""
    ids = torch.randint(5, 90, (2, 12), generator=torch.Generator().manual_seed(3))
    source = Source(ids, torch.ones_like(ids, dtype=torch.bool))
    injected = collate([backbone.lower(injection)]) if injection.tensors() else NOTHING
    with torch.no_grad():
        found: Tensor = backbone.encode(source, injected)
    return found


@pytest.mark.parametrize("family", ["t5", "roberta"])
@pytest.mark.parametrize("name", DELTAS)
def test_training_starts_at_the_frozen_model(name: str, family: str) -> None:
    """Adapters at W_up = 0, shifts at 0, scalings at 1, LoRA at B = 0, APT at V = 0: no change."""
    backbone = FAMILIES[family]()
    started = states(backbone, built(name, backbone).export())
    torch.testing.assert_close(started, states(backbone, Injection()), rtol=0, atol=1e-6)


def moved(module: PromptModule, by: float = 0.3) -> Injection:
    """As if it had been trained."""
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in module.trained():
            parameter += by * torch.randn(parameter.shape, generator=generator)
    return module.export()


@pytest.mark.filterwarnings("ignore")
def test_ia3_is_pefts(tmp_path: Path) -> None:
    """With the same weights the logits are equal within 1e-4."""
    peft = pytest.importorskip("peft")
    backbone = tiny_t5()
    injection = moved(built("ia3", backbone))
    config = peft.IA3Config(
        task_type="SEQ_2_SEQ_LM",
        target_modules=["k", "v", "wo"],
        feedforward_modules=["wo"],
    )
    module: Any = peft.get_peft_model(
        theirs(backbone, tmp_path / "hf", "T5ForConditionalGeneration"), config
    ).eval()
    learned = {n: p for n, p in module.named_parameters() if "ia3_l" in n}
    assert len(learned) == len(injection.deltas)
    with torch.no_grad():
        for name, parameter in learned.items():
            linear = name.removeprefix("base_model.model.").partition(".ia3_l")[0]
            (value,) = injection.deltas[linear].parts.values()
            parameter.copy_(value.view_as(parameter))
    ids = inputs(backbone)
    rows = collate([injection])
    source = Source(ids, torch.ones_like(ids, dtype=torch.bool))
    with torch.no_grad():
        memory = backbone.remember(backbone.encode(source, rows), source, rows)
        ours = backbone.logits(backbone.decode(TARGET, memory, rows))
    torch.testing.assert_close(ours, peft_t5(module, ids), atol=1e-4, rtol=1e-4)


def test_bitfit_is_a_model_with_other_biases() -> None:
    """On an encoder the shifts added to its own biases give the same states."""
    backbone = tiny_roberta()
    injection = moved(built("bitfit", backbone))
    tuned = tiny_roberta()
    tuned.load_state_dict(backbone.state_dict())
    modules = dict(tuned.named_modules())
    with torch.no_grad():
        for name, delta in injection.deltas.items():
            modules[name].bias += delta.shift  # type: ignore[operator]
    torch.testing.assert_close(
        states(backbone, injection), states(tuned, Injection()), rtol=1e-4, atol=1e-5
    )


def test_an_adapter_stands_behind_the_sublayer() -> None:
    """Hooks on the plain model's output maps give the same states."""
    backbone = tiny_t5()
    injection = moved(built("adapter", backbone, bottleneck=3))
    hooked = tiny_t5()
    hooked.load_state_dict(backbone.state_dict())

    def behind(delta: Delta) -> Any:
        def hook(_: nn.Module, __: Any, y: Tensor) -> Tensor:
            assert delta.inner is not None and delta.outer is not None
            wide = nn.functional.linear(y, delta.inner, delta.inner_bias)
            wide = nn.functional.gelu(wide, approximate="tanh")
            return y + nn.functional.linear(wide, delta.outer, delta.outer_bias)

        return hook

    modules = dict(hooked.named_modules())
    for name, delta in injection.deltas.items():
        modules[name].register_forward_hook(behind(delta))
    torch.testing.assert_close(
        states(backbone, injection), states(hooked, Injection()), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("d", [32, 256, 512, 768])
def test_dept_spends_no_more_than_the_soft_prompt(d: int) -> None:
    """m*d + (s+d)*r <= l*d, and one more rank would be too much."""
    settings = DeptSettings()
    tokens, r = shape(settings, d)
    spent = settings.length * d + (tokens + d) * r
    assert spent <= settings.budget * d < spent + tokens + d
    assert r >= 4


def test_dept_adds_a_low_rank_table_to_the_words() -> None:
    """B A in numpy, added before the encoder reads; a budget too small is told."""
    backbone = tiny_t5()
    module = built("dept", backbone)
    assert sum(p.numel() for p in module.trained()) <= 20 * backbone.d_model
    injection = moved(module)
    table: Any = module.parts["table"]
    first, second = (p.detach().double().numpy() for p in (table.first, table.second))
    wanted = table.speed**2 * (second @ first)
    assert injection.added is not None
    np.testing.assert_allclose(injection.added.numpy(), wanted, atol=1e-5)
    with pytest.raises(UsageError, match="leaves no rank for 900 tokens"):
        built("dept", backbone, tokens=900)


def test_a_residual_prompt_is_its_formula() -> None:
    """LN(W_up relu(W_down P)) + P in numpy; the start is near the vocabulary's vectors."""
    backbone = tiny_t5()
    module = built("residual", backbone, bottleneck=5)
    start = module.export().slots
    part: Any = module.parts["prompt"]
    assert start is not None
    assert float((start - part.vectors.detach()).std()) < 0.2 * float(part.vectors.detach().std())
    found = moved(module).slots
    p, down, up, gain, bias = (
        t.detach().double().numpy()
        for t in (part.vectors, part.down, part.up, part.norm.weight, part.norm.bias)
    )
    y = np.maximum(p @ down.T, 0) @ up.T
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
    assert found is not None
    np.testing.assert_allclose(found.numpy(), y * gain + bias + p, atol=1e-4)


def test_p_tuning_is_pefts_prompt_encoder() -> None:
    """The same LSTM and MLP over the same pseudo-tokens give the same vectors."""
    peft = pytest.importorskip("peft")
    backbone = tiny_t5()
    module = built("ptuning", backbone, length=6, init="none")
    own: Any = module.parts["encoder"]
    size = backbone.d_model
    config = peft.PromptEncoderConfig(
        task_type="SEQ_2_SEQ_LM",
        num_virtual_tokens=6,
        token_dim=size,
        num_transformer_submodules=1,
        encoder_reparameterization_type="LSTM",
        encoder_hidden_size=size // 2,
        encoder_num_layers=2,
        encoder_dropout=0.0,
    )
    other = peft.tuners.p_tuning.PromptEncoder(config).eval()
    with torch.no_grad():
        other.embedding.weight.copy_(own.tokens)
        other.lstm_head.load_state_dict(own.network.state_dict())
        for layer, mine in ((other.mlp_head[0], own.inner), (other.mlp_head[2], own.outer)):
            layer.load_state_dict(mine.state_dict())
        theirs_are = other(torch.arange(6)[None])[0]
    found = module.export().slots
    assert found is not None
    torch.testing.assert_close(found, theirs_are, rtol=1e-5, atol=1e-6)


def test_p_tunings_tokens_stand_around_the_input() -> None:
    """Half before, half behind."""
    method = METHODS.get("ptuning")
    template = method.template(parse("Say {code}"), method.configure({"length": 5}))
    assert str(template) == "{soft:2}Say {code}{soft:3}"


@pytest.mark.parametrize("name", ["vpt-shallow", "vpt-deep"])
def test_vpt_starts_in_its_range_and_drops_out(name: str) -> None:
    """Uniform over sqrt(6/(2d)) of the embedding's scale; dropout while training alone."""
    backbone = tiny_t5()
    module = built(name, backbone)
    (values,) = module.export().tensors().values()
    scale = float(backbone.embedding.weight.std()) * backbone.d_model**0.5
    half = scale * (6 / (2 * backbone.d_model)) ** 0.5
    assert 0.9 * half < float(values.abs().max()) <= half
    module.train()
    (dropped,) = module().tensors().values()
    assert 0.02 < float((dropped == 0).float().mean()) < 0.25


def test_vpt_deep_overwrites_positions_before_every_layer() -> None:
    """On a pre-norm stack: positions put in front by hand in each layer give the same states."""
    backbone = tiny_t5()
    vectors = moved(built("vpt-deep", backbone, length=3)).layers["encoder"]
    ids = torch.randint(5, 90, (1, 7), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        x = backbone.shared(ids)
        places = torch.arange(7)
        bias = backbone.encoder.bias(places[None, :] - places[:, None]).permute(2, 0, 1)
        bias = torch.cat([bias.new_zeros(bias.shape[0], 7, 3), bias], -1)
        for index, block in enumerate(backbone.encoder.block):
            own, feed = block.layer
            wide = own.layer_norm(torch.cat([vectors[index][None], x], 1))
            attention = own.SelfAttention
            q, k, v = (attention.split(getattr(attention, m)(wide)) for m in "qkv")
            weights = (q[:, :, 3:] @ k.mT + bias).softmax(-1)
            x = x + attention.o((weights @ v).transpose(1, 2).flatten(2))
            x = x + feed.DenseReluDense(feed.layer_norm(x), NOTHING)
        expected = backbone.encoder.final_layer_norm(x)
        source = Source(ids, torch.ones_like(ids, dtype=torch.bool))
        rows = collate([backbone.lower(Injection(layers={"encoder": vectors}))])
        torch.testing.assert_close(backbone.encode(source, rows), expected, rtol=1e-4, atol=1e-5)


def test_ofa_leaves_cross_attention_alone() -> None:
    """Columns in both self-attentions, and nowhere else."""
    backbone = tiny_t5()
    assert set(built("ofa", backbone).export().columns) == {"encoder", "decoder"}


def test_apts_branch_is_its_formula() -> None:
    """Keys and values are products of the factors; the gate is trained by layer."""
    backbone = tiny_t5()
    module = built("apt", backbone, length=3, rank=2)
    branch = moved(module).branches["decoder"]
    factors: Any = module.parts["branches"].factors
    low, up = (factors[f"decoder-key-{part}"].detach().double().numpy() for part in ("low", "up"))
    layers, heads, _, h = branch.key.shape
    wanted = (low @ up).reshape(layers, 3, heads, h).transpose(0, 2, 1, 3)
    np.testing.assert_allclose(branch.key.numpy(), wanted, atol=1e-5)
    assert branch.gate.shape == (layers,)


@pytest.mark.parametrize("name", METHODS.names())
@pytest.mark.parametrize("recipe", recipes.names())
def test_every_method_has_sane_settings_in_every_recipe(name: str, recipe: str) -> None:
    """A rate of its own or its kind's; what its file says of a task is for that task."""
    for task in TASKS.names():
        found = recipes.load(recipe, task=task, method=name, kind=METHODS.get(name).kind)
        assert 0 < found.lr <= 0.3
    assert set(recipes.of_method(name).get("task", {})) <= set(TASKS.names())


def test_a_methods_file_is_for_a_method() -> None:
    """No file in `recipes/methods` is of nothing."""
    files = {path.stem for path in (recipes.FOLDER / "methods").glob("*.toml")}
    assert files <= set(METHODS.names())
