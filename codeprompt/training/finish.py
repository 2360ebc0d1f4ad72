"""From the best seed to a pack: calibration, scores as the pack will answer, the card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from codeprompt.answer import Prompt
from codeprompt.data.fingerprint import fingerprint
from codeprompt.inject import Injection
from codeprompt.languages.functions import FREE, is_spaced
from codeprompt.pack import Pack, make_pack
from codeprompt.plan import Plan
from codeprompt.training.calibrate import label_prior, threshold
from codeprompt.training.evaluate import dev_score, items_of, predictions, task_scores
from codeprompt.training.labels import blamed_share, line_threshold
from codeprompt.training.seed import SeedRun, backbone_with
from codeprompt.training.setup import Setup, hard_plan
from codeprompt.types import Example, Kind, Score


def finish(
    setup: Setup, best: SeedRun, dev_scores: list[tuple[int, float]]
) -> tuple[Pack, list[Score], list[str]]:
    """The pack, its scores on the dev rows, and what they leave undefined."""
    task, decoding = setup.task, setup.decoding(final=True)
    answering = backbone_with(setup, best.injection)
    lowered = answering.lower(replace(best.injection, weights={}))
    plan = replace(setup.plan, backbone=answering, template=best.template)
    if plan.verbalizer is not None and setup.recipe.calibrate:
        bare = Prompt(plan, lowered, decoding)
        plan = replace(plan, prior=label_prior(bare, best.dev_rows[0]))
    items = items_of(best.dev_rows, predictions(Prompt(plan, lowered, decoding), best.dev_rows))
    cut = threshold(items, task.positive) if task.positive and task.kind == "classify" else None
    if task.kind == "label":
        cut = line_threshold(items)
        plan = replace(plan, threshold=cut)
        items = items_of(best.dev_rows, predictions(Prompt(plan, lowered, decoding), best.dev_rows))
    scores, left_out = task_scores(task, best.dev_rows, items)
    pack = make_pack(
        injection=best.injection,
        backbone=setup.backbone,
        scores=[{**score.as_json(), "split": "dev"} for score in scores],
        threshold=cut,
        base_rate=_rate(setup, task.positive),
        decoding=decoding.as_json(),
        **_card(setup, plan, best, dev_scores),
    )
    return pack, scores, left_out


def untuned(setup: Setup, dev: Sequence[Example]) -> float | None:
    """What the hard template alone has on the dev rows; None where it cannot be asked.

    Few shots can do harm: whoever tuned must see what there was before.
    """
    plan = hard_plan(setup)
    if plan is None:
        return None
    bare = Prompt(plan, Injection(), setup.decoding(final=True))
    return dev_score(bare, dev, setup.task.metrics[0])


def _card(
    setup: Setup, plan: Plan, best: SeedRun, dev_scores: list[tuple[int, float]]
) -> dict[str, Any]:
    """What the card says of the request, the data and the seeds."""
    request, metric = setup.request, setup.task.metrics[0]
    return {
        "name": request.out.name,
        "task": setup.task.name,
        "method": request.method,
        "settings": {**setup.method.recorded(setup.settings, setup.given), **best.chosen},
        "template": best.template,
        "verbalizer": plan.verbalizer,
        "prior": plan.prior,
        "head": setup.head,
        "labels": plan.labels,
        "positive": plan.positive,
        "data": {
            "where": request.data if request.data.startswith("hub:") else Path(request.data).name,
            "form": _form(best.train or best.dev_rows, setup.task.kind),
            "fingerprint": fingerprint(best.train),
            "shots": (setup.recipe.shots or None) if setup.method.trains or setup.grown else 0,
            "rows": len(best.train),
            "dev_rows": len(best.dev_rows),
            **_languages([*best.train, *best.dev_rows]),
        },
        "seed": best.seed,
        "seeds": list(request.seeds),
        "dev_scores": [{"seed": s, "metric": metric, "value": v} for s, v in dev_scores],
        "source_length": plan.source_length,
        "target_length": plan.target_length,
        "parameters": best.parameters,
        "recipe": {**asdict(setup.recipe), "precision": setup.precision},
    }


def _form(rows: Sequence[Example], kind: Kind) -> str:
    """`tokens` where the rows' code is not the source text as it stands; `line` where all of it is
    on one line, and a text is written in answer (a label may be a line's); `spaced` where an empty
    line stands behind every line."""
    fields = rows[0].fields if rows else {}
    code = fields.get("code", "")
    if fields.get("raw_code", code) != code:
        return "tokens"
    texts = [row.fields.get("code", "").strip() for row in rows]
    lines = [text for text in texts if "\n" in text]
    if len(lines) > 1 and all(is_spaced(text) for text in lines):
        return "spaced"
    free = all(row.fields.get("language") in FREE for row in rows)
    return "line" if kind == "generate" and len(rows) > 1 and free and not lines else "text"


def _languages(rows: Sequence[Example]) -> dict[str, list[str]]:
    """The languages that rows are in, and are turned into, where they say so."""
    found = {
        f"{field}s": sorted({row.fields[field] for row in rows if row.fields.get(field)})
        for field in ("language", "target_language")
    }
    return {name: listed for name, listed in found.items() if listed}


def _rate(setup: Setup, positive: str | None) -> float | None:
    """How often the positive label stands in the pool."""
    if positive is None:
        return None
    if setup.task.kind == "label":
        return blamed_share(setup.pool)
    return sum(row.target == positive for row in setup.pool) / len(setup.pool)
