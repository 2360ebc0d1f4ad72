"""What a user can get wrong when tuning, and what a failing machine leaves behind."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codeprompt.errors import (
    BackboneError,
    CodepromptError,
    DataError,
    TemplateError,
    TrainingError,
    UsageError,
)
from codeprompt.pack import folder as pack_folder
from codeprompt.pack import load
from codeprompt.training.tune import checkpoint_folder, tune
from tests.tuning import (
    Ask,
    defects,
    jsonl,
    made_place,  # noqa: F401 (a fixture)
    quick_request,  # noqa: F401 (a fixture)
)

MISTAKES: list[tuple[str, dict[str, Any], type[CodepromptError], str]] = [
    ("summarize", {"overrides": {"shots": 21}}, DataError, r"21 shots .* there are 20 examples"),
    (
        "defect",
        {"overrides": {"shots": 11, "per_class": True}},
        DataError,
        r"11 shots .* 10 examples of the class",
    ),
    ("summarize", {"seeds": ()}, UsageError, r"The seeds are \[\]"),
    ("summarize", {"seeds": (1, 1)}, UsageError, r"all unlike"),
    ("summarize", {"head": "linear"}, UsageError, "linear head cannot write text"),
    ("defect", {"head": "linear", "method": "hard"}, UsageError, "a linear head must be trained"),
    ("summarize", {"template": "{code} {project}"}, DataError, r"asks for project.*--columns"),
    (
        "defect",
        {"template": "{code} {target_language}"},
        DataError,
        "Give --target-language NAME",
    ),
    ("summarize", {"on": "roberta"}, BackboneError, "is an encoder and cannot write text"),
    ("defect", {"on": "roberta", "template": "{code}"}, TemplateError, r"has no \{mask\}"),
    ("summarize", {"options": {"lenght": 3}}, UsageError, "no setting 'lenght'"),
    ("summarize", {"recipe": "few-shots"}, UsageError, "Did you mean 'few-shot'"),
    ("summarize", {"method": "sofd"}, UsageError, "Did you mean 'soft'"),
]


@pytest.mark.parametrize(("task", "given", "error", "text"), MISTAKES)
def test_a_mistake_is_told_before_any_work(
    ask: Ask, task: str, given: dict[str, Any], error: type[CodepromptError], text: str
) -> None:
    """Each has its own message and leaves nothing behind."""
    request = ask(task, **given)
    with pytest.raises(error, match=text):
        tune(request, lambda *_: pytest.fail("a step was taken"))
    assert not request.out.exists()


@pytest.mark.parametrize(
    ("train", "valid", "text"),
    [
        (defects(0, 6, (1,)), defects(9, 4), "All 6 rows .* have one label, 'defective'"),
        (defects(0, 6), [], r"valid.jsonl is empty"),
    ],
    ids=["one class", "empty dev"],
)
def test_data_that_is_too_little_is_told(
    ask: Ask, tmp_path: Path, train: list[Any], valid: list[Any], text: str
) -> None:
    """One class only, or nothing to select on."""
    jsonl(tmp_path / "d" / "train.jsonl", train)
    jsonl(tmp_path / "d" / "valid.jsonl", valid)
    with pytest.raises(DataError, match=text):
        tune(ask("defect", data=str(tmp_path / "d")))


def test_a_full_disk_while_the_pack_is_saved_keeps_the_run(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No half pack; with --resume the pack is written without a further step."""
    request = ask(method="lora")

    def full(path: Path, data: bytes) -> None:
        path.write_bytes(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pack_folder, "_write", full)
        with pytest.raises(CodepromptError, match=r"disk is full .*--resume"):
            tune(request)
    assert not request.out.exists()
    again = replace(request, resume=True)
    tune(again, lambda *_: pytest.fail("a step was taken"))
    load(request.out)


def test_a_pack_cannot_be_tuned_twice_at_once(ask: Ask) -> None:
    """The second run is told; the first goes on."""
    request = ask()
    with (
        checkpoint_folder(request),
        pytest.raises(TrainingError, match="Another run is tuning"),
    ):
        tune(request)
    tune(request)


def test_halves_of_killed_writers_are_cleared_away(ask: Ask) -> None:
    """They would fill the disk; whole checkpoints stay where they are to be resumed."""
    request = replace(ask(), resume=True)
    folder = request.out.parent / ".pack.tuning"
    folder.mkdir()
    for name in (".seed-0.safetensors.abc.tmp", "seed-0.safetensors"):
        (folder / name).write_bytes(b"x")
    with checkpoint_folder(request):
        assert {p.name for p in folder.iterdir()} - {"lock"} == {"seed-0.safetensors"}


def test_without_resume_a_run_starts_afresh(ask: Ask) -> None:
    """Checkpoints of an earlier run are thrown away; with it, another run's are refused."""
    request = ask()
    steps: list[int] = []
    for resume, settings in ((False, {}), (True, {"lr": 0.5}), (False, {"lr": 0.5})):
        asked = replace(request, resume=resume, overrides={**request.overrides, **settings})
        if resume:
            with pytest.raises(TrainingError, match="other settings"):
                tune(asked)
            continue
        events: list[int] = []
        with pytest.raises(KeyboardInterrupt):
            tune(asked, lambda _, e, seen=events: stop_at(e.step, 3, seen))  # type: ignore[misc]
        steps.append(len(events))
    assert steps == [3, 3]


def stop_at(step: int, last: int, seen: list[int]) -> None:
    seen.append(step)
    if step == last:
        raise KeyboardInterrupt


def test_a_folder_of_something_else_is_not_overwritten(ask: Ask) -> None:
    """Told before any work."""
    request = ask()
    request.out.mkdir()
    (request.out / "thesis.txt").write_text("mine")
    with pytest.raises(CodepromptError, match="is no pack"):
        tune(request, lambda *_: pytest.fail("a step was taken"))


def test_a_run_that_fails_before_its_first_checkpoint_leaves_nothing(ask: Ask) -> None:
    """No hidden folder stays beside where the pack would have been."""
    request = ask()
    with pytest.raises(ValueError, match="broken"), checkpoint_folder(request):
        raise ValueError("broken")
    assert not (request.out.parent / ".pack.tuning").exists()


def test_settings_outside_of_a_recipes_tables_are_refused(ask: Ask, tmp_path: Path) -> None:
    """They would change nothing, and the run would not be the one that was meant."""
    recipe = tmp_path / "mine.toml"
    recipe.write_text("steps = 500\n\n[default]\nlr = 0.01\n")
    with pytest.raises(UsageError, match=r"has steps outside of its tables\..* under \[default\]"):
        tune(ask("summarize", recipe=str(recipe)))
