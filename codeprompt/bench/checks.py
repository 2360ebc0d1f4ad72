"""What else must work with a tuned prompt: a mixed batch, beams, save and load, int8.

Each is tried on a few rows with the prompt that the cell chose, and compared with its own answers
row by row; what cannot be is said in words, and never fails the cell.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from codeprompt.answer import Prompt, Row, answer
from codeprompt.backbones.serving import int8_kernel, prepare
from codeprompt.bench.cost import pack_of
from codeprompt.bench.trials import Tried
from codeprompt.engine.loaded import prompt_of
from codeprompt.errors import CodepromptError
from codeprompt.pack import load, save
from codeprompt.template import parse, resolve
from codeprompt.training.evaluate import predictions
from codeprompt.training.seed import backbone_with
from codeprompt.training.setup import make_plan
from codeprompt.types import Example, Prediction

ROWS = 12
BEAMS = 4


def checks(tried: Tried, prompt: Prompt, rows: Sequence[Example]) -> dict[str, str]:
    """Name of each check to `yes`, to how many rows were answered alike, or to why not."""
    some = rows[:ROWS]
    usual = predictions(prompt, some)
    asked: dict[str, Callable[[], str]] = {
        "mixed batch": lambda: _mixed(tried, prompt, some, usual),
        "beams": lambda: _beams(prompt, some),
        "save, load": lambda: _kept(tried, prompt, some, usual),
        "int8": lambda: _int8(prompt, some, usual),
    }
    return {name: _said(check) for name, check in asked.items()}


def _said(check: Callable[[], str]) -> str:
    try:
        return check()
    except CodepromptError as error:
        return f"no: {str(error).partition('. ')[0]}"
    except Exception as error:
        return f"no: {type(error).__name__}: {error}"


def _mixed(
    tried: Tried, prompt: Prompt, rows: Sequence[Example], usual: Sequence[Prediction]
) -> str:
    """In one batch with a hard prompt on the same backbone, every other row."""
    setup = tried.setup
    if tried.run.injection.weights:
        return "no: a backbone of its own"
    if not setup.method.mixable:
        return "no: the method says so"
    backbone = prompt.plan.backbone
    template = resolve(parse(setup.task.templates[backbone.family]), backbone.tokenizer)
    plain = Prompt(make_plan(setup.task, backbone, template, setup.recipe, "verbalizer"))
    mixed = [Row(number, row.fields) for row in rows for number in (0, 1)]
    other = replace(plain, decoding=prompt.decoding)
    return _alike(answer(backbone, [prompt, other], mixed)[::2], usual)


def _beams(prompt: Prompt, rows: Sequence[Example]) -> str:
    """All rows together against each alone."""
    if prompt.plan.kind != "generate":
        return "–"
    wide = replace(prompt, decoding=replace(prompt.decoding, beams=BEAMS))
    alone = [predictions(wide, [row])[0] for row in rows[: ROWS // 2]]
    return _alike(predictions(wide, rows)[: ROWS // 2], alone)


def _kept(
    tried: Tried, prompt: Prompt, rows: Sequence[Example], usual: Sequence[Prediction]
) -> str:
    with tempfile.TemporaryDirectory() as folder:
        pack = load(save(pack_of(tried, prompt), Path(folder) / "pack"))
        backbone = backbone_with(tried.setup, pack.injection)
        return _alike(predictions(prompt_of(pack, backbone), rows), usual)


def _int8(prompt: Prompt, rows: Sequence[Example], usual: Sequence[Prediction]) -> str:
    if int8_kernel() is None:
        return "no fit product on this machine"
    model = prepare(prompt.plan.backbone, "int8", trace=False)
    return _alike(predictions(prompt, rows, model=model), usual)


def _alike(found: Sequence[Prediction], usual: Sequence[Prediction]) -> str:
    """int8 and other widths of a batch may turn a near tie: how many rows were the same."""
    same = sum(a.text == b.text for a, b in zip(found, usual, strict=True))
    return "yes" if same == len(usual) else f"yes, {same} of {len(usual)} alike"
