"""`tune`: data, shots, seeds, the guard, the pack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from codeprompt.backbones.base import Backbone
from codeprompt.backbones.load import load_backbone
from codeprompt.backbones.variant import own_copy, with_weights
from codeprompt.engine import Engine, Request
from codeprompt.errors import (
    BackboneError,
    TrainingError,
)
from codeprompt.inject import NOTHING, Injection
from codeprompt.pack import load
from codeprompt.pack.card import DataCard
from codeprompt.registry import METHODS
from codeprompt.training import guard, seed
from codeprompt.training.finish import _form
from codeprompt.training.setup import Setup, prepare
from codeprompt.training.tune import TuneRequest, run_seed, tune
from codeprompt.types import Example
from tests.tiny import tiny_roberta, tiny_t5, write_checkpoint
from tests.tuned import ABOUT, FIELDS, TOGETHER, module_of, source_packs
from tests.tuning import (
    Ask,
    defects,
    jsonl,
    made_place,  # noqa: F401 (a fixture)
    quick_request,  # noqa: F401 (a fixture)
    summaries,
)


def sourced(method: str, folder: Path, backbone: Path) -> dict[str, Any]:
    """Packs to build on, for a method that asks for some."""
    wanted = METHODS.get(method).settings.__dataclass_fields__
    if not {"sources", "of"} & set(wanted):
        return {}
    packs = source_packs(folder, load_backbone(str(backbone)))
    return {"sources": packs} if "sources" in wanted else {"of": packs[0]}


def setup_of(request: TuneRequest) -> Setup:
    return prepare(request, load_backbone(request.backbone))


@pytest.mark.parametrize(
    ("task", "on", "method"),
    [
        (task, family, name)
        for task, family in (("summarize", "t5"), ("defect", "roberta"), ("summarize", "llama"))
        for name in [*METHODS.names(), *TOGETHER]
        if family in METHODS.get(name).families
    ]
    + [("defect", "t5", "soft"), ("defect", "llama", "soft")],
)
def test_a_tuned_pack_answers_in_the_engine(
    ask: Ask, task: str, on: str, method: str, tmp_path: Path, place: Path
) -> None:
    """Every method on every family, from data to answers; nothing is left beside the pack."""
    request = ask(task, on=on, method=method, options=sourced(method, tmp_path, place / on))
    result = tune(request)
    assert result.path == request.out
    assert not (request.out.parent / ".pack.tuning").exists()
    card = load(request.out).card
    assert card.method == method
    assert (card.holds == "weights") is not setup_of(request).freezes
    assert [s.metric for s in card.scores] == [s.metric for s in result.scores]
    assert all(s.split == "dev" and s.n == 5 for s in card.scores)
    assert card.parameters == result.parameters
    assert bool(card.parameters) == METHODS.get(method).trains
    with Engine(request.backbone) as engine:
        name = engine.load(result.path)
        [found] = engine.predict([Request(name, {"code": "int f() {}", "language": "c", **ABOUT})])
    if task == "defect":
        assert sum(found.probabilities.values()) == pytest.approx(1.0)
        assert card.threshold is not None
        assert card.base_rate == 0.5


def test_the_best_seed_on_dev_is_packed(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """All seeds' dev scores are on its card; a tie goes to the first."""
    real = seed.Loop.run
    scores = iter([1.0, 7.0, 7.0])
    monkeypatch.setattr(seed.Loop, "run", lambda self: replace(real(self), best_score=next(scores)))
    result = tune(ask(seeds=(3, 4, 5)))
    assert result.dev_scores == [(3, 1.0), (4, 7.0), (5, 7.0)]
    card = load(result.path).card
    assert (card.seed, card.seeds) == (4, [3, 4, 5])
    assert [(s.seed, s.value, s.metric) for s in card.dev_scores] == [
        (n, v, "codexglue-sentence-bleu") for n, v in result.dev_scores
    ]


def test_shots_are_drawn_anew_for_each_seed(ask: Ask) -> None:
    """The same for one seed; per class or in total; dev rows too; never one row in both."""
    setup = setup_of(ask("defect", overrides={"shots": 3, "per_class": True}))
    train, dev = setup.rows(0)
    assert sorted(e.target for e in train) == ["clean"] * 3 + ["defective"] * 3
    assert setup.rows(0) == (train, dev)
    others = [setup.rows(number) for number in range(1, 4)]
    assert any({e.id for e in one} != {e.id for e in train} for one, _ in others)
    total = setup_of(ask("defect", overrides={"shots": 5, "per_class": False})).rows(0)[0]
    assert len(total) == 5
    assert {e.target for e in total} == {"clean", "defective"}
    codes = {e.fields["code"] for e in train}
    assert not codes & {e.fields["code"] for e in dev}


def test_all_rows_are_used_where_shots_is_zero(ask: Ask) -> None:
    """`--shots 0` is the whole training split."""
    train, dev = setup_of(ask(overrides={"shots": 0, "dev": 0})).rows(0)
    assert (len(train), len(dev)) == (20, 8)


def test_a_single_file_is_split_for_training_dev_and_test(ask: Ask, tmp_path: Path) -> None:
    """Test rows never reach a pool."""
    jsonl(tmp_path / "rows.jsonl", summaries(0, 60))
    setup = setup_of(ask(data=str(tmp_path / "rows.jsonl")))
    assert 40 <= len(setup.pool) <= 52
    assert len(setup.pool) + len(setup.dev_pool) < 60


def test_dev_rows_may_come_from_a_file_of_their_own(ask: Ask, tmp_path: Path) -> None:
    """The whole file is the dev set."""
    jsonl(tmp_path / "mine.jsonl", summaries(90, 7))
    setup = setup_of(ask(dev_data=str(tmp_path / "mine.jsonl"), overrides={"dev": 0}))
    assert len(setup.rows(0)[1]) == 7


def test_seeds_of_a_frozen_backbone_share_it(ask: Ask) -> None:
    """In float32 nothing is copied; in bf16 one copy serves all seeds."""
    setup = setup_of(ask())
    assert setup.frozen_backbone is setup.backbone
    half = setup_of(ask(overrides={"precision": "bf16"}))
    assert half.frozen_backbone is half.frozen_backbone
    assert half.frozen_backbone.dtype == torch.bfloat16
    assert half.backbone.dtype == torch.float32


@pytest.mark.parametrize(("task", "on"), [("summarize", "t5"), ("defect", "roberta")])
def test_tuned_weights_stay_float32_under_products_in_bf16(
    ask: Ask, tmp_path: Path, task: str, on: str
) -> None:
    """`--precision bf16` casts products alone: the weights learn in float32, to about the same."""

    def weights(precision: str) -> Mapping[str, torch.Tensor]:
        given = {"method": "full", "overrides": {"precision": precision}}
        return tune(ask(task, on=on, out=tmp_path / precision, **given)).pack.injection.weights

    plain, half = weights("float32"), weights("bf16")
    assert plain.keys() == half.keys()
    assert all(tensor.dtype == torch.float32 for tensor in half.values())
    moved = torch.cat([(half[name] - plain[name]).flatten() for name in plain])
    assert 0 < moved.norm() < 0.1 * torch.cat([t.flatten() for t in plain.values()]).norm()


@pytest.mark.parametrize("make", [tiny_t5, tiny_roberta])
def test_tuned_weights_are_shared_and_not_copied(make: Callable[[], Backbone]) -> None:
    """A backbone that holds a pack's weights has no second copy of them, and ties stay ties."""
    backbone = make()
    first = next(iter(backbone.state_dict()))
    tensor = backbone.state_dict()[first] + 1
    tuned = with_weights(backbone, {first: tensor})
    assert tuned.state_dict()[first].data_ptr() == tensor.data_ptr()
    untouched = [n for n, t in tuned.state_dict().items() if t.data_ptr() != tensor.data_ptr()]
    assert untouched
    for name in untouched:
        assert tuned.state_dict()[name].data_ptr() == backbone.state_dict()[name].data_ptr()
    count = sum(p.numel() for p in backbone.parameters())
    assert sum(p.numel() for p in tuned.parameters()) == count
    assert tuned.tokenizer is backbone.tokenizer
    assert guard.fingerprint(own_copy(tuned)) == guard.fingerprint(tuned)


def test_the_library_leaves_a_callers_backbone_as_it_was(ask: Ask) -> None:
    """Full fine-tuning works on a copy; its guard sees that the weights moved."""
    request = ask(method="full")
    setup = setup_of(request)
    before = guard.fingerprint(setup.backbone)
    run = run_seed(setup, 0)
    assert guard.fingerprint(setup.backbone) == before
    assert not any(p.requires_grad for p in setup.backbone.parameters())
    assert run.injection.weights


def test_a_prompt_that_does_not_act_is_caught(ask: Ask) -> None:
    """Slots that no template position reads, and weights that never moved."""
    setup = setup_of(ask(method="hard"))
    idle = Injection(slots=torch.randn(4, setup.backbone.d_model))
    with pytest.raises(TrainingError, match="does not act"):
        guard.check_acts(setup.plan, idle, setup.pool[0])
    same = {n: t.clone() for n, t in setup.backbone.state_dict().items()}
    with pytest.raises(TrainingError, match="are those of the backbone"):
        guard.check_tuned(setup.backbone, same)


@pytest.mark.parametrize("family", ["t5", "roberta"])
@pytest.mark.parametrize("name", [n for n in METHODS.names() if METHODS.get(n).trains])
def test_every_prompt_acts(name: str, family: str) -> None:
    """The guard sees each method's change of the logits."""
    backbone: Backbone = tiny_t5() if family == "t5" else tiny_roberta()
    plan, module = module_of(name, backbone, "defect")
    prompt = replace(module.export(), weights={})
    example = Example(FIELDS[0], "clean")
    if replace(prompt, head=None).tensors():
        assert guard.check_acts(plan, prompt, example) > 0


def test_a_backbone_that_changed_is_caught(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pack is written then."""
    request = ask()
    real = seed.Loop.run

    def careless(self: Any) -> Any:
        outcome = real(self)
        with torch.no_grad():
            next(self.backbone.parameters()).view(-1)[0] += 1
        return outcome

    monkeypatch.setattr(seed.Loop, "run", careless)
    with pytest.raises(TrainingError, match="weights changed while a prompt was tuned"):
        tune(request)
    assert not request.out.exists()


def test_generation_that_disagrees_with_training_is_caught(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a decoder prompt is used by one of the two only."""
    setup = setup_of(ask(method="prefix"))
    plan, module = module_of("prefix", setup.backbone, "summarize")
    example = replace(setup.pool[0], fields={**FIELDS[0]})
    assert guard.check_agrees(plan, module.export(), example) < 1e-4
    real = guard.generate
    monkeypatch.setattr(
        guard, "generate", lambda m, mem, inj, *a, **k: real(m, mem, NOTHING, *a, **k)
    )
    with pytest.raises(TrainingError, match="Generating gives an answer the log-probability"):
        guard.check_agrees(plan, module.export(), example)


def test_a_dev_set_of_one_class_leaves_out_what_it_leaves_undefined(
    ask: Ask, tmp_path: Path
) -> None:
    """ROC-AUC is told to be undefined; the run goes on."""
    jsonl(tmp_path / "d" / "train.jsonl", defects(0, 12))
    jsonl(tmp_path / "d" / "valid.jsonl", defects(20, 6, labels=(1,)))
    result = tune(ask("defect", data=str(tmp_path / "d"), overrides={"dev": 0}))
    assert any(text.startswith("roc-auc: ROC-AUC is undefined") for text in result.left_out)
    assert "roc-auc" not in {s.metric for s in result.scores}


def test_a_backbone_without_a_mask_head_takes_a_linear_head(ask: Ask, tmp_path: Path) -> None:
    """The cloze is refused with the way out, and the way out works."""
    bare = write_checkpoint(tiny_roberta(mask_head=False), tmp_path / "bare")
    with pytest.raises(BackboneError, match=r"without a mask head.*--head linear"):
        tune(ask("defect", backbone=str(bare), method="soft"))
    result = tune(ask("defect", backbone=str(bare), method="soft", head="linear"))
    assert result.pack.card.head == "linear"


def test_an_untrained_pack_needs_no_shots(ask: Ask) -> None:
    """`--method hard` reads data for calibration and scores alone, however few there are."""
    result = tune(ask("defect", on="roberta", method="hard", overrides={"shots": 500}))
    assert (result.pack.card.data.shots, result.pack.card.data.rows) == (0, 0)
    assert result.parameters == 0
    prior = result.pack.card.prior
    assert prior is not None
    assert sum(torch.tensor(prior).exp().tolist()) == pytest.approx(1.0)


def test_a_card_names_the_languages_of_its_rows(ask: Ask) -> None:
    """Those that the rows say, or the user; a card without them is as before."""
    told = tune(ask(method="hard", language="go", target_language="java")).pack.card.data
    assert (told.languages, told.target_languages) == (["go"], ["java"])
    silent = DataCard()
    assert "languages" not in msgspec.to_builtins(silent)


def test_a_card_says_that_its_rows_are_on_one_line() -> None:
    """Where a text is written in answer, in a language that does not need its lines."""
    line, lines = ({"code": code, "language": "java"} for code in ("int f(){}", "int f() {\n}"))
    rows = [Example(line, "x", str(n)) for n in range(3)]
    assert _form(rows, "generate") == "line"
    assert _form([*rows, Example(lines, "x")], "generate") == "text"
    assert _form([Example({**line, "language": "python"}, "x")] * 2, "generate") == "text"
    assert _form(rows, "classify") == "text"
    assert _form([Example({**line, "raw_code": "int f() {}"}, "x")], "generate") == "tokens"


@pytest.mark.parametrize(("method", "grown"), [("sesom", 2), ("wise-ft", 0)])
def test_what_is_built_on_is_tuned_first_where_no_pack_is_named(
    ask: Ask, method: str, grown: int
) -> None:
    """On the very rows of the seed; nothing is left beside the pack, and resuming goes on."""
    options: dict[str, Any] = {"grown": 2} if grown else {"alphas": [0.0, 0.5, 1.0]}
    result = tune(ask(method=method, options=options, resume=True))
    pack = load(result.path)
    assert pack.card.data.shots == 6 and pack.card.data.rows == 6
    if grown:
        gate = pack.injection.gate
        assert gate is not None and gate.count == 2
        assert pack.card.settings["sources"] == ["soft-0", "soft-1"]
    else:
        assert pack.card.holds == "weights"
        assert pack.card.settings["alpha"] in (0.0, 0.5, 1.0)
        assert pack.card.settings["of"] == "full-template-0"
    assert not (result.path.parent / ".pack.tuning").exists()
