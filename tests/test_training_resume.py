"""A run that is killed and resumed ends as one that was left alone, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codeprompt.pack import load
from tests.killing import Moment, live_and_die, moments, request_for, write_data

CASES = [
    ("prefix", {"optimizer": "adamw", "dropout": True}),
    ("soft", {"optimizer": "adafactor", "lr": 0.3, "schedule": "constant"}),
    ("full", {"optimizer": "adamw", "dropout": True, "backbone_lr": 1e-3}),
    ("prompt-full", {"optimizer": "adafactor", "lr": 0.1, "backbone_lr": 1e-3}),
    ("lora", {"precision": "bf16", "clip": 0.1}),
    ("xprompt", {"optimizer": "adamw", "dropout": True, "steps": 8}),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def survive(
    place: Path, tmp_path: Path, method: str, overrides: dict[str, object], kills: int, seed: int
) -> None:
    """Run once undisturbed and once killed at every moment; compare the packs."""
    outs = []
    for name, fates in (("calm", []), ("killed", moments(kills, seed))):
        out = tmp_path / name / "pack"
        request = request_for(place, out, method, seeds=2, **overrides)
        for fate in fates:
            finished, told = live_and_die(request, fate)
            assert not finished, f"the run ended before {fate}: {told}"
            assert not out.exists()
        finished, _ = live_and_die(request, Moment("never"))
        assert finished
        assert not (out.parent / ".pack.tuning").exists(), "checkpoints were left behind"
        outs.append(out)
    calm, killed = outs
    one, other = ((out / "prompt.safetensors").read_bytes() for out in outs)
    assert one == other
    cards = [json.loads((out / "card.json").read_text(encoding="utf-8")) for out in outs]
    for key in ("dev_scores", "scores", "seed", "data", "recipe"):
        assert cards[0][key] == cards[1][key]
    load(killed)
    load(calm)


def test_killed_three_times_it_ends_with_the_same_pack(place: Path, tmp_path: Path) -> None:
    """After steps, inside a checkpoint's writing and inside the pack's, with dropout and AdamW."""
    survive(place, tmp_path, *CASES[0], kills=4, seed=1)


@pytest.mark.slow
def test_killed_between_stages_it_ends_with_the_same_pack(place: Path, tmp_path: Path) -> None:
    """What the first stage decided is in the checkpoint."""
    survive(place, tmp_path, *CASES[-1], kills=3, seed=2)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "overrides"), CASES, ids=[m for m, _ in CASES])
def test_killed_twenty_times_it_ends_with_the_same_pack(
    place: Path, tmp_path: Path, method: str, overrides: dict[str, object]
) -> None:
    """At twenty random moments, a third of them inside a checkpoint's writing."""
    steps = {"steps": 40, "evaluate_every": 5}
    survive(place, tmp_path, method, {**overrides, **steps}, kills=20, seed=len(method))


def test_seeds_that_were_finished_are_not_run_again(place: Path, tmp_path: Path) -> None:
    """Killed in the second seed, a resumed run takes no step of the first."""
    request = request_for(place, tmp_path / "pack", "soft", seeds=2)
    _, told = live_and_die(request, Moment("step", after=14))
    assert told[-1] == ("step", 1, 2)
    _, told = live_and_die(request, Moment("never"))
    assert {word[1] for word in told if word[0] == "step"} == {1}
    assert told[-1] == ("done",)
