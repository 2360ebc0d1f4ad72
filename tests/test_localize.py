"""Labels of lines: from tokens to lines, through training, packs, the engine and every face."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from codeprompt.answer import Prompt, Row, answer
from codeprompt.check.items import as_items
from codeprompt.check.questions import questions
from codeprompt.data.sources import open_source
from codeprompt.engine import Engine, Request
from codeprompt.engine.loaded import prompt_of
from codeprompt.errors import DataError, PackError, UsageError
from codeprompt.labelling import groups, labelling_loss, lines_of, mean_by_line
from codeprompt.lines import Ranking, read_lines, read_ranking
from codeprompt.metrics.base import Item
from codeprompt.pack import load
from codeprompt.plan import Plan
from codeprompt.registry import METRICS
from codeprompt.template import parse, resolve
from codeprompt.training.labels import line_threshold
from codeprompt.training.setup import prepare
from codeprompt.training.tune import TuneRequest, tune
from codeprompt.types import Prediction
from tests.test_cli import mistake, ok, run
from tests.tiny import tiny_llama, tiny_roberta, tiny_t5
from tests.tuned import pack_of

TINY: dict[str, Any] = {"t5": tiny_t5, "roberta": tiny_roberta, "llama": tiny_llama}
CODE = "int f(char *p)\n{\n\n    int n = strlen(p);\n    return p[n + 1];\n}"
QUICK = {
    "steps": 4,
    "evaluate_every": 2,
    "batch": 3,
    "shots": 6,
    "dev": 4,
    "source_length": 96,
    "precision": "float32",
}


def plan_of(family: str, template: str = "{code}", length: int = 128) -> Plan:
    backbone = TINY[family]()
    resolved = resolve(parse(template), backbone.tokenizer)
    return Plan(backbone, resolved, "label", length, 1, ("clean", "defective"), "defective")


@pytest.mark.parametrize("family", TINY)
@pytest.mark.parametrize("template", ["{code}", "Look {soft:3}: {code} now"])
def test_every_token_of_the_code_has_its_line(family: str, template: str) -> None:
    """Decoded line by line, the tokens are the lines; blank lines have none."""
    plan = plan_of(family, template)
    rendered = plan.render({"code": CODE})[0]
    found = lines_of(rendered, plan.tokenizer)
    assert found.numbers == [1, 2, 4, 5, 6] and found.total == 6
    for line in found.numbers:
        ids = [
            rendered.ids[p] for p, n in zip(found.positions, found.lines, strict=True) if n == line
        ]
        text = plan.tokenizer.decode(ids)
        assert "".join(text.split()) == "".join(CODE.split("\n")[line - 1].split())


def test_a_line_counts_once_however_long_it_is() -> None:
    """Means within lines; the loss is the sum over lines of the mean over tokens."""
    plan = plan_of("t5")
    rows = [lines_of(plan.render({"code": c})[0], plan.tokenizer) for c in (CODE, "a;\nb;")]
    group = groups(rows)
    assert int(group.max()) + 1 == 5 + 2
    values = torch.arange(len(group)).float()
    means = mean_by_line(values, group)
    assert float(means[0]) == pytest.approx(float(values[group == 0].mean()))
    log_probs = torch.log(torch.tensor([[0.75, 0.25]])).expand(len(group), -1)
    loss = labelling_loss(log_probs, rows, [{5}, set()])
    expected = -(6 * torch.log(torch.tensor(0.75)) + torch.log(torch.tensor(0.25)))
    torch.testing.assert_close(loss, expected)


def test_a_ranking_survives_its_text() -> None:
    """Told lines, order and scores come back; a list from elsewhere is a ranking too."""
    ranking = Ranking.of({1: 0.02, 3: 0.81, 7: 0.64, 12: 0.1}, 0.5)
    assert str(ranking) == "3:0.81 7:0.64 | 12:0.1 1:0.02"
    assert read_ranking(str(ranking)) == ranking
    assert list(read_ranking("7 3 12").scores) == [7, 3, 12]
    assert read_lines("3 7") == {3, 7} and read_lines("") == frozenset()
    for bad in ("x", "0", "3:", "-1"):
        with pytest.raises(DataError, match="names no line"):
            read_ranking(bad)


def test_line_metrics_are_what_they_say() -> None:
    """Small cases computed by hand."""
    items = [
        Item("3:0.9 | 1:0.5 2:0.4 4:0.1", ("3",)),
        Item("2:0.8 1:0.7 | 3:0.3", ("3 1",)),
        Item("1:0.2 | 2:0.1", ("",)),
    ]
    values = {
        name: METRICS.get(name).score(items, bootstrap=0).value
        for name in ("line-auc", "line-top1", "line-top5", "line-f1", "line-effort")
    }
    assert values["line-auc"] == pytest.approx((1.0 + 0.0) / 2)
    assert values["line-top1"] == pytest.approx(100 / 3)
    assert values["line-top5"] == pytest.approx(200 / 3)
    assert values["line-f1"] == pytest.approx(200 * 2 / (4 + 3))
    assert values["line-effort"] == pytest.approx(100.0)  # 0.9 lines are read: the right one
    with pytest.raises(DataError, match="line-auc is undefined"):
        METRICS.get("line-auc").score([Item("1 2", ("",))])
    with pytest.raises(DataError, match="names no line"):
        METRICS.get("line-f1").score([Item("a bug", ("1",))])


def test_the_threshold_is_the_best_f1_of_the_dev_lines() -> None:
    """Told again at that threshold, the lines have the F1 that was promised."""
    items = [Item(str(Ranking.of({1: 0.3, 2: 0.2, 3: 0.1, 4: 0.25}, 0.5)), ("1 4",))]
    cut = line_threshold(items)
    assert 0.2 < cut <= 0.25
    assert Ranking.of({1: 0.3, 2: 0.2, 4: 0.25}, cut).told == {1, 4}
    assert line_threshold([Item("1:0.3 | 2:0.1", ("",))]) == 0.5


@pytest.mark.parametrize("family", TINY)
def test_a_mixed_batch_labels_as_each_alone(family: str) -> None:
    """Labelling rows beside rows that classify, padded and alone, in the engine and without."""
    backbone = TINY[family]()
    packs = [
        pack_of("soft", backbone, "localize", called="a", length=3),
        pack_of("ptuning-v2", backbone, "localize", called="b"),
        pack_of("soft", backbone, "defect", called="c"),
    ]
    prompts = [prompt_of(pack, backbone) for pack in packs]
    codes = [CODE, "a;\nb;", "", CODE.replace("strlen", "len")]
    rows = [Row(i % 3, {"code": c, "language": "c"}) for c in codes for i in range(3)]
    together = answer(backbone, prompts, rows)
    for row, found in zip(rows, together, strict=True):
        alone = answer(backbone, prompts, [row])[0]
        assert found.score == pytest.approx(alone.score, abs=1e-5)
        assert found.probabilities == pytest.approx(alone.probabilities, abs=1e-5)
    assert together[0].probabilities != together[1].probabilities
    with Engine(backbone, precision="float32") as engine:
        names = [engine.load(pack) for pack in packs]
        asked = [Request(names[row.prompt], row.fields) for row in rows]
        for found, own in zip(engine.predict(asked), together, strict=True):
            assert found.probabilities == pytest.approx(own.probabilities, abs=1e-5)
        [queued] = [engine.submit(asked[0]).result()]
        assert queued.probabilities == pytest.approx(together[0].probabilities, abs=1e-5)


def test_what_was_cut_away_is_ranked_last() -> None:
    """A function longer than the limit: the lines beyond have no probability, and are there."""
    backbone = tiny_t5()
    pack = pack_of("soft", backbone, "localize", length=2)
    prompt = prompt_of(pack, backbone)
    from dataclasses import replace

    short = Prompt(replace(prompt.plan, source_length=24), prompt.injection)
    code = "\n".join(f"int x{i} = {i};" for i in range(30))
    found = answer(backbone, [short], [Row(0, {"code": code})])[0]
    assert set(found.probabilities) == {str(n) for n in range(1, 31)}
    assert found.probabilities["30"] == 0.0 and found.probabilities["1"] > 0.0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("place")
    for family, make in TINY.items():
        make(root / family)
    for split, count in (("train", 12), ("valid", 6)):
        rows = [
            {"code": CODE.replace("f", f"f{i}"), "lines": "4 5", "language": "c"}
            for i in range(count)
        ]
        (root / "data").mkdir(exist_ok=True)
        (root / "data" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return root


def request_of(place: Path, out: Path, family: str = "t5", **more: Any) -> TuneRequest:
    given: dict[str, Any] = {"method": "soft", "options": {"length": 3}, **more}
    return TuneRequest(
        "localize",
        str(more.pop("data", place / "data")),
        out,
        str(place / family),
        overrides={**QUICK, **given.pop("overrides", {})},
        allow_hub=False,
        **{k: v for k, v in given.items() if k != "data"},
    )


@pytest.mark.parametrize("family", TINY)
@pytest.mark.parametrize("method", ["soft", "ptuning-v2", "lora"])
def test_a_tuned_pack_labels_lines(place: Path, tmp_path: Path, family: str, method: str) -> None:
    """From data to answers: scores, a threshold for lines, the base rate."""
    options = {"length": 3} if method != "lora" else {}
    result = tune(request_of(place, tmp_path / "pack", family, method=method, options=options))
    card = load(result.path).card
    assert {s.metric for s in card.scores} >= {"line-auc", "line-top1", "line-f1", "line-effort"}
    assert card.threshold is not None and card.base_rate == pytest.approx(2 / 6)
    assert card.head == "linear" and list(card.labels) == ["clean", "defective"]
    with Engine(str(place / family)) as engine:
        name = engine.load(result.path)
        [found] = engine.predict([Request(name, {"code": CODE, "language": "c"})])
    assert set(found.probabilities) == {"1", "2", "4", "5", "6"}
    assert read_ranking(found.text).told <= {1, 2, 4, 5, 6}


@pytest.mark.parametrize(
    ("lines", "match"),
    [("9", "line 9 is to blame, and the code has 6"), ("four", "'four' names no line")],
)
def test_references_that_name_no_line_are_refused(
    place: Path, tmp_path: Path, lines: str, match: str
) -> None:
    """Before any training, with the row."""
    rows = [{"code": CODE, "lines": lines, "language": "c"}] * 8
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "valid.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=match):
        tune(request_of(place, tmp_path / "out", data=tmp_path))


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"head": "verbalizer"}, "Label words cannot label lines"),
        ({"method": "hard", "options": {}}, "trains nothing, and a linear head must be trained"),
    ],
)
def test_what_cannot_label_is_refused(place: Path, tmp_path: Path, more: Any, match: str) -> None:
    """Words and untrained prompts have no place for a label of every token."""
    from codeprompt.backbones.load import load_backbone

    with pytest.raises(UsageError, match=match):
        prepare(request_of(place, tmp_path / "out", **more), load_backbone(str(place / "t5")))


def test_a_pack_without_its_head_is_refused() -> None:
    """A damaged pack is told, not answered for."""
    from dataclasses import replace

    backbone = tiny_t5()
    prompt = prompt_of(pack_of("soft", backbone, "localize"), backbone)
    bare = Prompt(prompt.plan, replace(prompt.injection, head=None))
    with pytest.raises(PackError, match="has no head"):
        answer(backbone, [bare], [Row(0, {"code": CODE})])


def test_lines_are_those_of_the_file() -> None:
    """Documentation inside a function is cut out for the pack, and counted in for the user."""
    text = 'import os\n\ndef f(p):\n    """Doc.\n\n    More.\n    """\n    x = 1\n    return x\n'
    [question] = questions(Path("a.py"), text.encode())
    bare = question.function.bare.split("\n")
    assert bare == ["def f(p):", "    x = 1", "    return x"]
    lines = text.split("\n")
    for number, line in enumerate(bare, 1):
        assert lines[question.function.file_line(number) - 1] == line
    found = as_items(question, Prediction("2:0.9 3:0.7 | 1:0.1", 0.9), "label")
    assert [(i["start_line"], i["end_line"], i["label"], i["score"]) for i in found] == [
        (8, 8, "defective", 0.9),
        (9, 9, "defective", 0.7),
    ]
    [none] = as_items(question, Prediction("| 2:0.3", 0.3), "label")
    assert (none["start_line"], none["end_line"], none["label"]) == (3, 9, "clean")


def test_predict_and_check_name_lines(place: Path, tmp_path: Path) -> None:
    """The faces on the command line: JSON, text, SARIF."""
    backbone = tiny_t5(place / "base")
    from codeprompt.pack import save

    save(pack_of("soft", backbone, "localize", threshold=0.0), tmp_path / "lines")
    save(pack_of("soft", backbone, "defect", threshold=0.0), tmp_path / "defect")
    (tmp_path / "a.c").write_text("// a file\n" + CODE + "\n")
    base = ("--backbone", place / "base", "--precision", "float32")
    results = ok("predict", tmp_path / "lines", tmp_path / "a.c", *base)["results"]
    assert sorted(r["start_line"] for r in results) == [2, 3, 5, 6, 7]
    assert all(r["label"] == "defective" and r["start_line"] == r["end_line"] for r in results)
    shown = run("predict", tmp_path / "lines", tmp_path / "a.c", *base).stdout
    assert "a.c:5: f: defective (" in shown
    asked = ("check", tmp_path / "a.c", "--pack", tmp_path / "defect", *base)
    found = ok(*asked, "--lines", tmp_path / "lines", "--threshold", 0)["results"]
    assert {one["line"] for one in found[0]["lines"]} == {2, 3, 5, 6, 7}
    text = run(*asked, "--lines", tmp_path / "lines", "--threshold", 0).stdout
    assert "(lines 2, 3, 5, 6, 7)" in text
    log = run(*asked, "--lines", tmp_path / "lines", "--threshold", 0, "--format", "sarif").stdout
    related = json.loads(log)["runs"][0]["results"][0]["relatedLocations"]
    assert [one["physicalLocation"]["region"]["startLine"] for one in related] == [2, 3, 5, 6, 7]
    assert "tells no lines" in mistake(*asked, "--lines", tmp_path / "defect")


def test_rows_of_the_task_are_read_from_a_folder(place: Path) -> None:
    """The column of lines is found by its name."""
    from codeprompt.registry import TASKS

    rows = open_source(str(place / "data"), TASKS.get("localize").columns).split("train")
    assert rows[0].target == "4 5"
