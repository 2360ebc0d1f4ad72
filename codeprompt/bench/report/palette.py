"""Colours of arms, and figures that follow the page from light to dark.

A figure is drawn once, in the light theme's colours; in the page, each of these colours becomes a
CSS variable of the same name, so that one SVG serves both themes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LIGHT = {
    "ink": "#1d2330",
    "faint": "#667085",
    "rule": "#d9dee7",
    "paper": "#fefefe",
    "s0": "#2463a6",
    "s1": "#c2570d",
    "s2": "#2c7d50",
    "s3": "#7a4bb4",
    "s4": "#b2283f",
    "s5": "#0d7c87",
    "s6": "#7b6a02",
    "s7": "#b04680",
}
DARK = {
    "ink": "#e6e9f0",
    "faint": "#98a2b5",
    "rule": "#333b4b",
    "paper": "#151922",
    "s0": "#72b2f4",
    "s1": "#f3a566",
    "s2": "#71d09a",
    "s3": "#be9cf2",
    "s4": "#f28c9b",
    "s5": "#62d1db",
    "s6": "#d6c44e",
    "s7": "#ef95c6",
}
SERIES = tuple(name for name in LIGHT if re.fullmatch(r"s\d", name))
MARKERS = "osD^vPX*"
INK, FAINT, RULE = LIGHT["ink"], LIGHT["faint"], LIGHT["rule"]
KEPT = 2  # answers without a model that a scale must hold
WIDTH, HEIGHT = 4.8, 3.5  # inches: still legible across a phone


@dataclass(frozen=True)
class Look:
    """How an arm is drawn, in every figure of a report."""

    colour: str
    marker: str
    dashes: str = "-"


def looks(arms: Iterable[tuple[str, str]]) -> dict[str, Look]:
    """(name, kind) of every arm to its look; what needs no model is grey and dashed."""
    out: dict[str, Look] = {}
    coloured = grey = 0
    for name, kind in arms:
        if name in out:
            continue
        if kind == "baseline":
            out[name] = Look(FAINT, "x", ("--", ":", "-.")[grey % 3])
            grey += 1
        else:
            turn = coloured // len(SERIES)
            colour = LIGHT[SERIES[coloured % len(SERIES)]]
            marker = MARKERS[(coloured + 3 * turn) % len(MARKERS)]
            out[name] = Look(colour, marker, ("-", "--", ":", "-.")[turn % 4])
            coloured += 1
    return out


@contextmanager
def drawing(width: float = WIDTH, height: float = HEIGHT) -> Iterator[Figure]:
    """A figure under the report's style; no window and no global state is left behind."""
    import matplotlib
    from matplotlib.figure import Figure

    style: dict[str, object] = {
        "font.family": "sans-serif",
        "font.size": 9.5,
        "axes.edgecolor": RULE,
        "axes.labelcolor": FAINT,
        "axes.titlesize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": RULE,
        "grid.linewidth": 0.6,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
        "text.color": INK,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "legend.handlelength": 1.8,
        "lines.linewidth": 1.6,
        "lines.markersize": 4.5,
        "svg.fonttype": "none",
    }
    with matplotlib.rc_context(style):  # type: ignore[arg-type]  # any rc value
        yield Figure(figsize=(width, height), layout="constrained")


def frame(
    axes: Axes, means: Sequence[float], lows: Sequence[float], highs: Sequence[float]
) -> None:
    """Limits of y that show every mean; an interval of two seeds may be cut, not set the scale."""
    axes.set_ylim(*limits(means, lows, highs))


def limits(
    means: Sequence[float], lows: Sequence[float], highs: Sequence[float]
) -> tuple[float, float]:
    """Of an axis: every mean, and of the intervals what is in proportion to them."""
    spread = max(max(means) - min(means), 0.1 * max(abs(mean) for mean in means), 1e-9)
    low = max(min(lows), min(means) - 0.3 * spread)
    high = min(max(highs), max(means) + 0.3 * spread)
    margin = 0.06 * max(high - low, spread)
    return low - margin, high + margin


def on_scale(tops: Mapping[str, float], look: Mapping[str, Look]) -> list[str]:
    """Names of all that have a model and of the best that have none.

    A copy of the input must not flatten what one looks at.
    """
    free = sorted((n for n in tops if look[n].colour == FAINT), key=lambda n: -tops[n])
    return [name for name in tops if name not in free[KEPT:]]


def ticks(axes: Axes) -> None:
    """Plain numbers along a logarithmic x: 5, 200, 1k, 10M."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axes.get_xlim()
    wide = high / max(low, 1e-12) > 200
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def short(value: float) -> str:
    """`0.5`, `20`, `5k`, `10M`."""
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:g}{unit}"
    return f"{value:g}"


def svg(figure: Figure, name: str) -> str:
    """A figure as SVG text; equal figures are equal bytes."""
    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def png(figure: Figure) -> bytes:
    """A figure as PNG, 160 dots an inch, on white."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=160, metadata={"Software": None})
    return out.getvalue()


def inline(text: str, title: str) -> str:
    """SVG for the page: as wide as its place, its colours the theme's, with a title to be read."""
    from html import escape

    start = text.index("<svg")
    body = text[start:]
    head, tail = body[: body.index(">") + 1], body[body.index(">") + 1 :]
    box = re.search(r'viewBox="([^"]+)"', head)
    assert box is not None  # matplotlib always gives one
    head = f'<svg viewBox="{box[1]}" role="img" xmlns="http://www.w3.org/2000/svg"'
    head += ' xmlns:xlink="http://www.w3.org/1999/xlink">'
    tail = re.sub(r"<metadata>.*?</metadata>", "", tail, flags=re.DOTALL)
    for variable, colour in LIGHT.items():
        tail = tail.replace(colour, f"var(--{variable})")
    tail = tail.replace("#ffffff", "none")
    tail = re.sub(r"font: ([0-9.]+px) [^;\"]*", r"font: \1 var(--font)", tail)
    return f"{head}<title>{escape(title)}</title>{tail}"
