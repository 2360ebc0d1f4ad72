"""`pack show --plot`: attention mass and norms of a prompt's vectors, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeprompt.errors import UsageError
from codeprompt.files import write_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMS = (".png", ".svg", ".pdf")
WHERE = {
    "encoder": "encoder self-attention",
    "decoder": "decoder self-attention",
    "cross": "cross-attention",
}
LABELLED = 40
"""Vectors up to which each gets its own label."""


def check_plot(path: Path) -> None:
    """Raise `UsageError` where there is no matplotlib, or the file's ending names no picture."""
    if path.suffix.lower() not in FORMS:
        raise UsageError(f"{path} names no picture", expected="an ending of " + ", ".join(FORMS))
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UsageError(
            "A plot needs matplotlib, which is not installed",
            do='Install it with: pip install "codeprompt[bench]"',
        ) from None


def plot(found: Mapping[str, Any], name: str, path: Path) -> None:
    """Draw what `vectors_of` found. Raises `UsageError` where the prompt has no vectors."""
    from codeprompt.bench.report.palette import drawing

    panels = list(_panels(found))
    if not panels:
        raise UsageError(
            f"'{name}' has no soft vectors and no columns to draw", do="Leave --plot out"
        )
    with drawing(width=9.0, height=0.5 + 2.9 * len(panels)) as figure:
        figure.suptitle(f"{name}: attention over {found['inputs']} functions", x=0.02, ha="left")
        _draw(figure, panels)
        try:
            figure.savefig(path, dpi=150)
        except OSError as error:
            raise write_error(path, error) from error


def _panels(found: Mapping[str, Any]) -> Any:
    """(title, labels, mass by layer, what a real token gets, norms, what they are held against)."""
    for site, one in found["attention"].items():
        own = [c for c in found["columns"] if c["site"] == site]
        by_layer = one["by_layer"]
        if own:
            yield (
                f"columns, {WHERE[site]}",
                [str(c["column"]) for c in own],
                [row[: one["columns"]] for row in by_layer],
                one["token_mass"],
                [c["value_norm"] / max(one["value_norm"], 1e-9) for c in own],
                "value norm / real tokens'",
            )
        if by_layer and len(by_layer[0]) > one["columns"]:
            tokens = found["tokens"]
            yield (
                f"soft vectors, {WHERE[site]}",
                [f"{t['slot']} {t['nearest'][0]['token']!r}" for t in tokens],
                [row[one["columns"] :] for row in by_layer],
                one["token_mass"],
                [t["norm"] / t["median_norm"] for t in tokens],
                "norm / vocabulary's median",
            )


def _draw(figure: Figure, panels: list[Any]) -> None:
    """A row a panel: bars of the whole mass with norms as dots, and the mass layer by layer."""
    from codeprompt.bench.report.palette import INK, LIGHT

    grid = figure.subplots(len(panels), 2, squeeze=False, width_ratios=(1.35, 1))
    for (left, right), (title, labels, layers, usual, norms, against) in zip(
        grid, panels, strict=True
    ):
        places = range(len(labels))
        total = [100 * sum(row[i] for row in layers) / len(layers) for i in places]
        left.bar(places, total, color=LIGHT["s0"], width=0.75)
        left.axhline(100 * usual, color=INK, linestyle="--", linewidth=0.9)
        left.set_ylabel("attention, %")
        left.set_title(f"{title} (dashes: a real token)", loc="left")
        left.grid(axis="x", visible=False)
        _label(left, labels)
        other = left.twinx()
        other.plot(places, norms, "o", color=LIGHT["s1"], markersize=3.5)
        other.set_ylim(0, 1.15 * max([1.0, *norms]))
        other.set_ylabel(against, color=LIGHT["s1"])
        other.grid(visible=False)
        shown = [[100 * value for value in row] for row in layers]
        image = right.imshow(shown, aspect="auto", cmap="Blues", vmin=0)
        right.set_xlabel("vector")
        right.set_ylabel("layer")
        right.set_yticks(range(len(layers)) if len(layers) <= 12 else [0, len(layers) - 1])
        right.grid(visible=False)
        figure.colorbar(image, ax=right, label="attention, %")


def _label(axes: Any, labels: list[str]) -> None:
    step = 1 if len(labels) <= LABELLED else -(-len(labels) // LABELLED)
    shown = range(0, len(labels), step)
    long = max(map(len, labels)) > 3
    # A dollar sign would begin a formula.
    texts = [labels[i].replace("$", r"\$") for i in shown]
    axes.set_xticks(list(shown), texts, rotation=90 if long else 0, fontsize=7)
