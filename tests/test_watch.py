"""Attention mass: what the vectors of a prompt get, by the softmax itself."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codeprompt.answer import Row, answer
from codeprompt.engine.loaded import prompt_of
from codeprompt.inject import NOTHING, Columns
from codeprompt.pack import save
from codeprompt.pack.samples import sample_rows
from codeprompt.plan import to_source
from codeprompt.watch import watch
from tests.test_cli import run
from tests.tiny import tiny_llama, tiny_roberta, tiny_t5
from tests.tuned import pack_of

TINY: dict[str, Any] = {"t5": tiny_t5, "roberta": tiny_roberta, "llama": tiny_llama}
SITES = {"t5": {"encoder", "cross"}, "roberta": {"encoder"}, "llama": {"decoder"}}
ROWS = [{**row, "code": row["code"][:60]} for row in sample_rows()[:2]]


def seen(method: str, family: str, task: str, **options: Any) -> tuple[Any, Any]:
    backbone = TINY[family]()
    prompt = prompt_of(pack_of(method, backbone, task, **options), backbone)
    return prompt, watch(prompt, ROWS)


@pytest.mark.parametrize("family", TINY)
@pytest.mark.parametrize("kind", ["classify", "generate"])
def test_soft_vectors_are_seen_at_every_site_that_reads_them(family: str, kind: str) -> None:
    """Each slot has a share at each site and layer; all shares and the rest make one."""
    if family == "roberta" and kind == "generate":
        return
    task = "defect" if kind == "classify" else "summarize"
    prompt, found = seen("soft", family, task, length=4)
    assert set(found) == SITES[family]
    for site, sums in found.items():
        assert sums.columns == 0
        assert sums.mass.shape == (prompt.plan.backbone.sites[site].layers, 4)
        assert bool((sums.mass > 0).all())
        assert float(sums.mass.sum(1).max()) < 1.0
        assert sums.key > 0 and sums.value > 0


def test_the_mass_of_columns_is_the_softmax() -> None:
    """One layer computed by hand gives the share that is told."""
    backbone = tiny_roberta(num_hidden_layers=1)
    prompt = prompt_of(pack_of("ptuning-v2", backbone, "defect", length=3), backbone)
    found = watch(prompt, ROWS[:1])["encoder"]
    rendered = prompt.plan.render(ROWS[0])[0]
    source = to_source([rendered], backbone.tokenizer.pad_id)
    layer: Any = backbone.roberta.encoder.layer[0]
    with torch.no_grad():
        x = backbone.roberta.embeddings(source, NOTHING)
        q, k = (layer.attention.self.split(n, x, NOTHING) for n in ("query", "key"))
        own = prompt.injection.columns["encoder"].key[0][None]
        keys = torch.cat([own, k], 2)
        share = (q @ keys.mT * q.shape[-1] ** -0.5).softmax(-1)
    if len(prompt.plan.mask_counts) == 1:
        torch.testing.assert_close(found.mass[0], share[..., :3].mean((0, 1, 2)))
    else:  # words of several lengths: a cloze each, which the mean is over
        assert found.mass[0] == pytest.approx(share[..., :3].mean((0, 1, 2)), rel=0.2)


def test_a_column_at_minus_infinity_gets_nothing() -> None:
    """Log-scales count: alpha = 0 is no attention at all."""
    backbone = tiny_t5()
    pack = pack_of("ptuning-v2", backbone, "summarize", length=2)
    columns = dict(pack.injection.columns)
    for site, one in columns.items():
        columns[site] = Columns(one.key, one.value, torch.tensor([-math.inf, 0.0]))
    prompt = prompt_of(replace(pack, injection=replace(pack.injection, columns=columns)), backbone)
    for sums in watch(prompt, ROWS).values():
        assert bool((sums.mass[:, 0] == 0).all()) and bool((sums.mass[:, 1] > 0).all())


def test_watching_changes_no_answer() -> None:
    """The pass that is watched is the pass that answers."""
    backbone = tiny_t5()
    prompt = prompt_of(pack_of("soft", backbone, "summarize"), backbone)
    before = answer(backbone, [prompt], [Row(0, ROWS[0])])
    watch(prompt, ROWS)
    assert answer(backbone, [prompt], [Row(0, ROWS[0])]) == before


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("place")
    backbone = tiny_t5(root / "base")
    for method in ("soft", "prefix", "hard", "full"):
        save(pack_of(method, backbone, "summarize"), root / method)
    return root


def shown(place: Path, name: str, *more: str) -> Any:
    base = ["--backbone", str(place / "base")]
    return run("pack", "show", place / name, *base, *more)


def test_show_tells_tokens_norms_and_attention(place: Path, tmp_path: Path) -> None:
    """As text and as JSON, for slots and for columns, on the samples and on a user's file."""
    text = shown(place, "soft", "--tokens", "2").output
    assert "over 4 sample functions" in text and "cross" in text
    (tmp_path / "a.py").write_text("def f(x):\n    return x\n\ndef g():\n    pass\n")
    text = shown(place, "prefix", "--inputs", str(tmp_path / "a.py")).output
    assert "over 2 of your functions" in text
    assert text.count("decoder ") >= 16
    found = json.loads(shown(place, "soft", "--tokens", "2", "--json").output)
    assert len(found["tokens"][0]["nearest"]) == 2
    assert 0 < found["tokens"][0]["mass"]["encoder"] < 1
    assert found["attention"]["encoder"]["columns"] == 0 and found["inputs"] == 4
    assert "none" in shown(place, "hard", "--tokens", "1").output


def test_show_draws_a_plot(place: Path, tmp_path: Path) -> None:
    """A PNG or an SVG, for slots and for columns."""
    pytest.importorskip("matplotlib")
    for name, file in (("soft", "a.png"), ("prefix", "b.svg")):
        result = shown(place, name, "--plot", str(tmp_path / file))
        assert result.exit_code == 0, result.output
        assert (tmp_path / file).stat().st_size > 5000
    assert "soft vectors" not in (tmp_path / "b.svg").read_text()
    assert "columns, decoder self-attention" in (tmp_path / "b.svg").read_text()


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("soft", ("--plot", "x.jpeg2"), "names no picture"),
        ("hard", ("--plot", "x.png"), "no soft vectors and no columns"),
        ("full", ("--tokens", "1"), "weights of a tuned backbone"),
        ("soft", ("--inputs", "missing.py"), "cannot be read"),
    ],
)
def test_mistakes_are_told(
    place: Path, name: str, more: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """What cannot be shown says why and what to do."""
    monkeypatch.chdir(tmp_path)
    result = shown(place, name, *more)
    assert result.exit_code != 0
    assert said in result.output
