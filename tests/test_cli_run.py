"""The command line with a whole (tiny) backbone: tune, eval, packs, doctor, the demo."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from codeprompt.cli import demo as demo_command
from codeprompt.cli.progress import Counter, TuneProgress
from codeprompt.metrics.seeds import seed_interval
from codeprompt.training.loop import Event
from tests.cli_place import (
    SOURCE,
    Place,
    labelled,
    made_place,  # noqa: F401 (a fixture)
)
from tests.test_cli import mistake, ok, run
from tests.tiny import tiny_t5, write_checkpoint


def test_tune_says_what_it_gave(place: Place) -> None:
    """Scores with signatures, a dev score for each seed, cost."""
    found = place.tuned
    assert found["method"] == "soft" and found["parameters"] == 3 * 32
    assert [one["seed"] for one in found["dev_scores"]] == [0, 1]
    assert found["scores"][0]["metric"] == "codexglue-sentence-bleu"
    assert found["bytes"] < 20_000 and found["seconds"] > 0 and found["peak_memory_mb"] > 0
    assert Path(found["pack"]) == place.summarize


def test_tune_shows_progress_on_stderr_and_the_pack_on_stdout(place: Place, tmp_path: Path) -> None:
    """Plain lines where stderr is no terminal."""
    result = run("tune", "summarize", "--data", place.functions, "--backbone", place.backbone,
                 "--out", tmp_path / "p", "--steps", 2, "--batch", 2, "--dev", 2, "--shots", 2,
                 "--seed", 5)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "seed 5  step 2/2  loss" in result.stderr and "left" in result.stderr
    assert result.stdout.startswith(f"Wrote {tmp_path / 'p'}")


def test_tune_says_what_there_was_before(place: Place, tmp_path: Path) -> None:
    """The untuned template on the same dev rows, and how few those are."""
    assert isinstance(place.tuned["untuned"], float)
    common = ("--backbone", place.backbone, "--steps", "1", "--shots", "2", "--offline")
    out = run(
        "tune", "summarize", "--data", place.functions, "--out", tmp_path / "p",
        "--set", "length=3", *common,
    )  # fmt: skip
    assert "untuned, the template alone has" in out.stdout
    assert "dev rows are all there were (asked: 64)" in out.stdout
    assert ok(
        "tune", "summarize", "--data", place.functions, "--out", tmp_path / "h",
        "--method", "hard", *common,
    )["untuned"] is None  # fmt: skip


def test_an_untrained_pack_is_made_by_the_hard_method(place: Place, tmp_path: Path) -> None:
    """`--method hard --shots 0`."""
    found = ok("tune", "defect", "--data", place.defects, "--backbone", place.backbone, "--method",
               "hard", "--shots", 0, "--dev", 4, "--out", tmp_path / "hard")  # fmt: skip
    assert found["parameters"] == 0


def test_several_packs_are_tuned_in_one_batch(place: Place, tmp_path: Path) -> None:
    """A plan in TOML: what stands before the tables is for all, and each pack is whole."""
    plan = tmp_path / "plan.toml"
    both = f'backbone = "{place.backbone}"\nsteps = 2\nbatch = 2\ndev = 4\nshots = 2\n'
    packs = [
        f'[[pack]]\ntask = "summarize"\ndata = "{place.functions}"\nset = {{ length = 3 }}\n'
        f'out = "{tmp_path / "s"}"\n',
        f'[[pack]]\ntask = "defect"\ndata = "{place.defects}"\nmethod = "lora"\n'
        f'out = "{tmp_path / "d"}"\n',
    ]
    plan.write_text(both + "".join(packs))
    found = ok("tune-many", plan, "--offline")["packs"]
    assert [(pack["task"], pack["method"]) for pack in found] == [
        ("summarize", "soft"),
        ("defect", "lora"),
    ]
    assert ok("pack", "show", tmp_path / "s")["settings"]["length"] == 3
    for text, message in {
        "= 1": "not valid TOML",
        both: "names no pack",
        both + "[[pack]]\n": "pack 1 does not say its task and data and out",
        both + packs[0] + "colour = 1\n": "'colour' is no setting",
        both + packs[0] + 'limit = "x"\n': "pack 1: a setting does not fit",
        both + packs[0] + 'head = "x"\n': "head is 'x'",
    }.items():
        plan.write_text(text)
        assert message in mistake("tune-many", plan, "--offline")


def test_tune_refuses_what_cannot_work(place: Place, tmp_path: Path) -> None:
    """Each with a way out, before anything is written."""
    out = tmp_path / "p"
    words = ("tune", "summarize", "--data", place.functions, "--backbone", place.backbone)
    assert "expected" in mistake(*words, "--out", out, "--seed", 1, "--seeds", 2).lower()
    assert "no setting 'lenght'" in mistake(*words, "--out", out, "--set", "lenght=3")
    assert "Unknown recipe 'fewshot'" in mistake(*words, "--out", out, "--recipe", "fewshot")
    assert "--columns got 'code'" in mistake(*words, "--out", out, "--columns", "code")
    assert "linear head cannot write" in mistake(*words, "--out", out, "--head", "linear")
    assert "500 shots" in mistake(*words, "--out", out, "--shots", 500)
    assert "asks for" in mistake(*words, "--out", out, "--template", "{code} {author}")
    assert "There is no data" in mistake("tune", "summarize", "--data", tmp_path / "none",
                                         "--backbone", place.backbone, "--out", out)  # fmt: skip
    assert "no folder" in mistake("tune", "summarize", "--data", place.functions, "--backbone",
                                  tmp_path / "none" / "x", "--out", out)  # fmt: skip
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("words")
    assert "is no pack" in mistake(*words, "--out", tmp_path / "mine")
    assert not out.exists()
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_one_class_only_is_refused(place: Place, tmp_path: Path) -> None:
    """There is nothing to tell apart."""
    data = tmp_path / "one.jsonl"
    data.write_text("".join(json.dumps({**row, "target": 0}) + "\n" for row in labelled()))
    message = mistake("tune", "defect", "--data", data, "--backbone", place.backbone, "--out",
                      tmp_path / "p")  # fmt: skip
    assert "one" in message and "two" in message


def test_eval_scores_and_keeps_every_prediction(place: Place, tmp_path: Path) -> None:
    """A run of each pack item; two evaluations are the same run, and compare as a tie."""
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    words = ("eval", place.summarize, "--data", place.functions, "--split", "all", "--limit", 6)
    found = ok(*words, "--out", one)
    again = ok(*words, "--out", two)
    names = [score["metric"] for score in found["scores"]]
    assert names == ["codexglue-sentence-bleu", "chrf"]
    assert all({"value", "n", "signature", "interval"} <= set(s) for s in found["scores"])
    assert found["n"] == 6 and found["signature"] == again["signature"]
    assert one.read_bytes() == two.read_bytes()
    run_file = json.loads(one.read_text())
    assert len(run_file["items"]) == 6 and all("prediction" in i for i in run_file["items"])
    tie = ok("compare", one, two, "--bootstrap", 50)
    assert [c["better"] for c in tie["comparisons"]] == ["tie", "tie"]


def test_eval_leaves_out_a_metric_that_is_undefined(place: Place, tmp_path: Path) -> None:
    """ROC-AUC on one class is told on stderr, the others are scored."""
    data = tmp_path / "one.jsonl"
    data.write_text("".join(json.dumps({**row, "target": 1}) + "\n" for row in labelled()[:3]))
    result = run("eval", place.defect, "--data", data, "--split", "all")
    assert result.exit_code == 0 and "accuracy" in result.stdout
    assert "Left out: roc-auc" in result.stderr


def test_eval_refuses_what_it_cannot_read(place: Place, tmp_path: Path) -> None:
    """No pack, no data, no such split, another backbone."""
    assert "No pack is called" in mistake("eval", "nowhere", "--data", place.functions)
    assert "There is no data" in mistake("eval", place.summarize, "--data", tmp_path / "none")
    assert "Unknown split 'tset'" in mistake(
        "eval", place.summarize, "--data", place.functions, "--split", "tset"
    )
    other = write_checkpoint(tiny_t5(seed=9), tmp_path / "other")
    assert "was made for" in mistake(
        "eval", place.summarize, "--data", place.functions, "--backbone", other
    )


def test_a_backbone_that_has_moved_is_found_by_its_option(place: Place, tmp_path: Path) -> None:
    """The card's folder is gone; --backbone says where it is."""
    old = write_checkpoint(tiny_t5(), tmp_path / "old")
    ok("tune", "summarize", "--data", place.functions, "--backbone", old, "--method", "hard",
       "--shots", 0, "--dev", 2, "--out", tmp_path / "p")  # fmt: skip
    shutil.move(old, tmp_path / "new")
    (tmp_path / "a.py").write_text("def f(x):\n    return x\n")
    assert "Say where it lies now with --backbone" in mistake(
        "predict", tmp_path / "p", tmp_path / "a.py"
    )
    found = ok("predict", tmp_path / "p", tmp_path / "a.py", "--backbone", tmp_path / "new")
    assert found["results"][0]["function"] == "f"


def test_a_pack_can_be_shown_verified_and_found_by_name(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card in short and whole, the nearest tokens, and the name in a project."""
    card = ok("pack", "show", place.summarize, "--tokens", 2)
    assert card["task"] == "summarize" and len(card["tokens"]) == 3
    shown = run("pack", "show", place.summarize, "--tokens", 1).stdout
    assert "the best of 2" in shown and "3 soft" not in shown
    assert ok("pack", "verify", place.summarize, "--backbone", place.backbone)["ok"] is True
    shutil.copytree(place.summarize, tmp_path / ".codeprompt" / "packs" / "mine")
    monkeypatch.chdir(tmp_path)
    assert "mine" in {item["name"] for item in ok("pack", "list")["items"]}
    assert "whole and unchanged" in run("pack", "verify", "mine").stdout


def test_a_changed_pack_is_refused(place: Place, tmp_path: Path) -> None:
    """Tensors cut or a card edited by hand."""
    cut, edited = tmp_path / "cut", tmp_path / "edited"
    shutil.copytree(place.summarize, cut)
    shutil.copytree(place.summarize, edited)
    tensors = cut / "prompt.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-8])
    assert "cut" in mistake("pack", "verify", cut)
    card = edited / "card.json"
    card.write_text(card.read_text().replace('"seed": 0', '"seed": 1').replace("}{", "}{"))
    card.write_text(card.read_text().replace("Summarize", "Sumarise"))
    assert "changed after it was written" in mistake("pack", "verify", edited)


def test_a_pack_goes_to_peft_and_back(place: Place, tmp_path: Path) -> None:
    """The same answer from what comes back."""
    out, back = tmp_path / "peft", tmp_path / "back"
    ok("pack", "export-peft", place.summarize, "--out", out)
    found = ok("pack", "import-peft", out, "--backbone", place.backbone, "--out", back)
    assert (found["method"], found["task"]) == ("soft", "summarize")
    (tmp_path / "a.py").write_text(SOURCE)
    one, two = (
        ok("predict", pack, tmp_path / "a.py")["results"] for pack in (place.summarize, back)
    )
    assert [r["text"] for r in one] == [r["text"] for r in two]


def test_doctor_answers_and_says_what_is_wrong() -> None:
    """One object with checks, versions, processor and folders; status 2 where a check fails."""
    result = run("doctor", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == (0 if found["ok"] else 2)
    assert {"checks", "versions", "processor", "folders"} <= set(found)
    named = {check["name"]: check["ok"] for check in found["checks"]}
    assert named["python"] and named["languages"] and "self-test" in named
    assert str(Path.home()) not in json.dumps(found["folders"])


def test_the_demo_prepares_rows_of_different_modules(tmp_path: Path) -> None:
    """Train, valid and test share no file, and the test rows are the same every time."""
    counts = demo_command._data("networkx", tmp_path, 20)
    groups = {}
    for name in counts:
        rows = (tmp_path / "data" / f"{name}.jsonl").read_text().splitlines()
        assert len(rows) == counts[name]
        groups[name] = {json.loads(row)["group"] for row in rows}
    assert not groups["train"] & groups["valid"] | groups["train"] & groups["test"]
    assert not groups["valid"] & groups["test"] and counts["test"] == 20
    before = (tmp_path / "data" / "test.jsonl").read_text()
    demo_command._data("networkx", tmp_path, 20)
    assert (tmp_path / "data" / "test.jsonl").read_text() == before


def test_the_demo_refuses_a_package_that_is_not_there() -> None:
    """Or one that is too small."""
    assert "no package 'nowhere_to_be_found'" in mistake("demo", "--package", "nowhere_to_be_found")


def test_an_interval_over_seeds_is_students() -> None:
    """Mean of 1, 2, 3: 2 plus or minus 4.303 / sqrt(3) (t table, 2 degrees of freedom)."""
    low, high = seed_interval([1.0, 2.0, 3.0]) or (0.0, 0.0)
    assert (low, high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), abs=1e-5)
    assert seed_interval([1.0]) is None


def test_progress_tells_loss_dev_best_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    """Only where there is news; a second seed is announced."""
    with TuneProgress((3, 4), "chrf") as progress:
        for seed in (3, 4):
            for step in (1, 2, 3, 4):
                dev = 10.0 + step if step % 2 == 0 else None
                progress(seed, Event(step, 4, 1.5, dev, dev, float(step)))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "seed 3: 1 of 2" and lines[3] == "seed 4: 2 of 2"
    assert lines[1].startswith("seed 3  step 2/4  loss 1.500  dev 12  best 12  ")
    assert len(lines) == 6


def test_a_counter_prints_answers_on_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """What is piped holds no progress."""
    with Counter("files", None) as counter:
        counter.reach(1, 2)
        counter.say("an answer")
        counter.advance()
    captured = capsys.readouterr()
    assert captured.out == "an answer\n" and captured.err == ""


@pytest.mark.slow
def test_the_demo_shows_three_arms_and_a_pack(place: Place, tmp_path: Path) -> None:
    """Each arm in a process of its own, on the same held-out rows; the pack answers."""
    found = ok("demo", "--backbone", place.backbone, "--quick", "--seeds", 2, "--steps", 2,
               "--out", tmp_path)  # fmt: skip
    assert [arm["method"] for arm in found["arms"]] == ["hard", "soft", "full"]
    assert [len(arm["runs"]) for arm in found["arms"]] == [1, 2, 2]
    hard, soft, full = found["arms"]
    assert 0 == hard["parameters"] < soft["parameters"] < full["parameters"]
    assert hard["interval"] is None and len(soft["interval"]) == 2
    runs = [Path(run["run"]) for arm in found["arms"] for run in arm["runs"]]
    items = [[i["id"] for i in json.loads(run.read_text())["items"]] for run in runs]
    assert all(ids == items[0] for ids in items) and len(items[0]) == 32
    assert set(found["example"]) == {"function", "reference", "before", "after"}
    assert ok("pack", "verify", found["pack"])["ok"] and found["bytes"] < 50_000
