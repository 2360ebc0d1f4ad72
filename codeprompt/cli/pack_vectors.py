"""`pack show --tokens`: every vector of a prompt, what it resembles and what attends to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeprompt.cli.output import say
from codeprompt.errors import UsageError

if TYPE_CHECKING:
    from codeprompt.pack import Card, Pack

MOST = 32
"""Functions of the user's files that are looked at; more change no digit that is shown."""


def vectors_of(
    folder: Path, card: Card, k: int, backbone: str | None, inputs: Sequence[str]
) -> dict[str, Any]:
    """Slot vectors and columns with their norms, nearest tokens and attention mass.

    Keys: `tokens` (slots), `columns`, `attention` (by site: what a real token gets, mass by
    layer) and `inputs`. Raises `UsageError` where the files have no functions.
    """
    from codeprompt.backbones.load import load_backbone
    from codeprompt.engine.loaded import prompt_of
    from codeprompt.pack import load, nearest_tokens
    from codeprompt.watch import watch

    pack = load(folder)
    if pack.injection.weights:
        raise UsageError(
            f"'{card.name}' holds the weights of a tuned backbone, and no vectors to show",
            do="Leave --tokens, --inputs and --plot out",
        )
    model = load_backbone(backbone or card.backbone.name)
    near = [one.as_json() for one in nearest_tokens(pack, model, k)]
    rows = _rows(pack, inputs)
    prompt = prompt_of(pack, model)
    seen = watch(prompt, rows)
    for one in near:
        one["mass"] = {
            site: float(sums.mass[:, sums.columns + one["slot"]].mean())
            for site, sums in seen.items()
            if sums.mass.shape[1] > sums.columns
        }
    return {
        "tokens": near,
        "columns": [
            {
                "site": site,
                "column": place,
                "key_norm": float(columns.key[:, :, place].norm(dim=-1).mean()),
                "value_norm": float(columns.value[:, :, place].norm(dim=-1).mean()),
                "mass": float(seen[site].mass[:, place].mean()),
            }
            for site, columns in prompt.injection.columns.items()
            if site in seen
            for place in range(columns.length)
        ],
        "attention": {
            site: {
                "token_mass": sums.token,
                "key_norm": sums.key,
                "value_norm": sums.value,
                "columns": sums.columns,
                "by_layer": sums.mass.tolist(),
            }
            for site, sums in seen.items()
        },
        "inputs": len(rows),
    }


def _rows(pack: Pack, inputs: Sequence[str]) -> list[dict[str, str]]:
    """Fields of the functions to look at: of the user's files, else the samples that ship."""
    from codeprompt.check.questions import questions, read_source
    from codeprompt.pack.samples import sample_rows

    if not inputs:
        return sample_rows()
    asked = [q for name in inputs for q in questions(Path(name), read_source(Path(name)))]
    if not asked:
        raise UsageError(
            f"{', '.join(inputs)} has no functions", do="Name a source file that has some"
        )
    form = pack.card.data.form or "text"
    return [q.fields({"target_language": "csharp"}, form) for q in asked[:MOST]]


def say_vectors(found: Mapping[str, Any], given: bool) -> None:
    """The same as text: norms against what is usual, masses in percent."""
    whose = "of your" if given else "sample"
    tokens, columns, attention = found["tokens"], found["columns"], found["attention"]
    if not tokens and not columns:
        say("vectors      none: this prompt has no soft vectors and no columns")
        return
    usual = ", ".join(f"{site} {_percent(one['token_mass'])}" for site, one in attention.items())
    say(f"attention    over {found['inputs']} {whose} functions; a real token gets {usual}")
    if tokens:
        say("tokens       (slot, norm against the vocabulary's median, attention, nearest)")
    for one in tokens:
        words = ", ".join(f"{n['token']!r} {n['cosine']:.2f}" for n in one["nearest"])
        mass = "  ".join(f"{site} {_percent(value)}" for site, value in one["mass"].items())
        say(f"  {one['slot']:>3}  {one['norm'] / one['median_norm']:.2f}  {mass}  {words}")
    if columns:
        say("columns      (site, number, norms of key and value against real tokens', attention)")
    for one in columns:
        real = attention[one["site"]]
        key, value = (one[n] / max(real[n], 1e-9) for n in ("key_norm", "value_norm"))
        place = f"{one['site']:<7} {one['column']:>3}"
        say(f"  {place}  {key:.2f}  {value:.2f}  {_percent(one['mass'])}")


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"
