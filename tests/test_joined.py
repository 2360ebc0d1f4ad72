"""Methods put together: settings, rates, slots, and what one part adds to the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codeprompt import recipes
from codeprompt.backbones.load import load_backbone
from codeprompt.errors import PackError, UnknownNameError, UsageError
from codeprompt.inject import Branch, Injection, join
from codeprompt.pack import load, save
from codeprompt.registry import METHODS
from codeprompt.training.setup import prepare
from codeprompt.training.tune import TuneRequest, tune
from tests.killing import write_data
from tests.tiny import tiny_roberta, tiny_t5
from tests.tuned import module_of, pack_of

QUICK: dict[str, Any] = {
    "steps": 4, "evaluate_every": 2, "batch": 3, "shots": 6, "dev": 3,
    "source_length": 48, "target_length": 6, "precision": "float32",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows, and a backbone beside them."""
    return write_data(tmp_path_factory.mktemp("data"))


def asked(place: Path, out: Path, method: str, **given: Any) -> TuneRequest:
    return TuneRequest(
        "summarize", str(place), out, str(place / "backbone"), method,
        overrides=QUICK, allow_hub=False, **given,
    )  # fmt: skip


def test_a_setting_goes_to_the_part_that_has_it() -> None:
    """By its bare name where one part alone has it, else by the part's."""
    method = METHODS.get("soft+lora")
    settings = method.configure({"rank": 2, "soft.length": 7, "init": "random"})
    assert (settings.lora.rank, settings.soft.length, settings.soft.init) == (2, 7, "random")
    assert method.configure({"lora": {"rank": 3}, "lora.alpha": 9}).lora.alpha == 9
    with pytest.raises(UsageError, match=r"'length' is one of soft and of prefix.*soft\.length"):
        METHODS.get("soft+prefix").configure({"length": 3})
    with pytest.raises(UsageError, match=r"no setting 'lenght'.*lora\.rank"):
        method.configure({"lenght": 3})


def test_what_cannot_be_one_method_is_refused() -> None:
    """Weights, one method twice, a name that is not there."""
    with pytest.raises(UsageError, match=r"'full' in 'soft.full' is about the backbone's own"):
        METHODS.get("soft+full")
    with pytest.raises(UsageError, match="names a method twice"):
        METHODS.get("lora+lora")
    with pytest.raises(UnknownNameError, match="'lorra'"):
        METHODS.get("soft+lorra")
    assert METHODS.knows("soft+lora")
    assert not METHODS.knows("soft+lorra")


def test_two_sets_of_slots_are_refused(place: Path, tmp_path: Path) -> None:
    """Before anything is trained, since no template could hold both."""
    request = asked(place, tmp_path / "pack", "soft+mixed")
    with pytest.raises(UsageError, match="soft and mixed both bring soft slots"):
        prepare(request, load_backbone(request.backbone))


def test_every_part_keeps_its_own_rate(place: Path, tmp_path: Path) -> None:
    """The first part's recipe, and each part's rate as a share of its; `--lr` moves both."""
    one = recipes.load("few-shot", task="summarize", method="soft+lora", kind="prompt+delta")
    soft = recipes.load("few-shot", task="summarize", method="soft", kind="prompt")
    lora = recipes.load("few-shot", task="summarize", method="lora", kind="delta")
    assert (one.lr, one.steps) == (soft.lr, soft.steps)
    assert one.lr * one.rates["lora"] == pytest.approx(lora.lr)
    alone = recipes.load("few-shot", task="summarize", method="tuned+lora", kind="given+delta")
    assert alone == replace(lora, rates={"lora": 1.0})


def test_parts_are_trained_at_their_rates(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the optimiser is given says so."""
    from codeprompt.training import loop

    seen: list[Any] = []
    real = loop.optimizer_for

    def watched(*given: Any) -> Any:
        made = real(*given)
        seen.append([(len(g["params"]), g["base"]) for g in made.param_groups])
        return made

    monkeypatch.setattr(loop, "optimizer_for", watched)
    tune(asked(place, tmp_path / "pack", "soft+lora"))
    (groups,) = seen
    assert [base for _, base in groups] == pytest.approx([0.03, 0.001])
    assert groups[0][0] == 1


@pytest.mark.parametrize("family", ["t5", "roberta"])
def test_together_is_the_sum_of_its_parts(family: str) -> None:
    """The joined module starts as each of its parts does."""
    backbone = tiny_t5() if family == "t5" else tiny_roberta()
    both = module_of("soft+lora", backbone, "defect", nudge=0.0)[1].export().tensors()
    soft = module_of("soft", backbone, "defect", nudge=0.0)[1].export().tensors()
    lora = module_of("lora", backbone, "defect", nudge=0.0)[1].export().tensors()
    assert both.keys() == soft.keys() | lora.keys()
    for name, tensor in {**soft, **lora}.items():
        assert torch.equal(both[name], tensor), name


def test_a_pack_stays_as_it_was_under_what_is_tuned_on_it(place: Path, tmp_path: Path) -> None:
    """Sequential: one pack holds both, its template is the first one's, the card names it."""
    first = tune(asked(place, tmp_path / "first", "soft", options={"length": 3}))
    request = asked(place, tmp_path / "both", "tuned+lora", options={"of": str(first.path)})
    both = tune(request)
    was, now = first.pack.injection, load(both.path).injection
    assert was.slots is not None and now.slots is not None
    assert torch.equal(was.slots, now.slots)
    assert now.deltas
    assert any(bool(d.up.abs().sum() > 0) for d in now.deltas.values() if d.up is not None)
    assert both.pack.template == first.pack.template
    assert both.pack.card.settings["tuned"]["of"].startswith("first@")
    assert both.parameters == sum(
        p.numel() for p in module_of("lora", tiny_t5(), "summarize")[1].trained()
    )


def test_the_head_of_the_pack_is_kept(tmp_path: Path) -> None:
    """A second one is not trained beside it; a head of other labels is refused."""
    backbone = tiny_roberta()
    pack = pack_of("ptuning-v2", backbone, "defect")
    assert pack.injection.head is not None
    save(pack, tmp_path / "pack")
    method = METHODS.get("tuned+lora")
    settings = method.configure({"of": str(tmp_path / "pack")})
    from codeprompt.methods.base import Context
    from codeprompt.training.setup import read_given

    given = read_given(method.given(settings), backbone)
    assert method.inherited(settings, given) == "linear"
    context = Context(backbone, given[0].template, 0, (), 2, "linear", given)
    made = method.build(context, settings).export()
    assert made.head is not None
    assert torch.equal(made.head.weight, pack.injection.head.weight)
    with pytest.raises(UsageError, match="tells 2 labels apart"):
        method.build(replace(context, labels=3), settings)


def test_layer_vectors_join_side_by_side_and_branches_do_not() -> None:
    """Nothing is lost in silence."""
    one, two = torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    both = join(Injection(layers={"encoder": one}), Injection(layers={"encoder": two}))
    assert torch.equal(both.layers["encoder"], torch.cat([one, two], 1))
    branch = Branch(torch.randn(2, 2, 3, 4), torch.randn(2, 2, 3, 4), torch.ones(2))
    apt = Injection(branches={"encoder": branch})
    with pytest.raises(PackError, match="parallel branch at 'encoder'"):
        join(apt, apt)
