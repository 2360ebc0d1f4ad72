"""Numbers as people read them: as many digits as they mean, and a minus that is one."""

from __future__ import annotations

import functools

from codeprompt.bench.results import Estimate, Interval
from codeprompt.registry import METRICS

NONE = "–"


@functools.cache
def digits(metric: str) -> int:
    """Decimals of a metric: two for percentages, three for what ends at 1 or 0."""
    if metric not in METRICS.names():
        return 2
    return 2 if abs(float(METRICS.get(metric).best)) > 1 else 3


def number(value: float | None, places: int = 2, sign: bool = False) -> str:
    """`13.30`, `+0.41`, `−2.10`; a dash for None."""
    if value is None:
        return NONE
    shown = f"{value:+.{places}f}" if sign else f"{value:.{places}f}"
    if float(shown) == 0:
        shown = shown.replace("-", "+" if sign else "")
    return shown.replace("-", "−")


def interval(found: Interval | None, places: int = 2, sign: bool = False) -> str:
    """`[12.79, 13.81]`; nothing for None."""
    if found is None:
        return ""
    return f"[{number(found[0], places, sign)}, {number(found[1], places, sign)}]"


def estimate(found: Estimate | None, metric: str) -> str:
    """`13.30 [12.79, 13.81]`."""
    if found is None or found.mean is None:
        return NONE
    places = digits(metric)
    return f"{number(found.mean, places)} {interval(found.interval, places)}".strip()


def probability(p: float | None) -> str:
    """`0.031`, `<0.001`."""
    if p is None:
        return NONE
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def share(value: float | None) -> str:
    """`+25.1%`, `−3.0%`."""
    return NONE if value is None else number(100 * value, 1, sign=True) + "%"


def count(value: int | None) -> str:
    """`5,120`."""
    return NONE if value is None else f"{value:,}"


def size(value: int | None) -> str:
    """Bytes: `23 kB`, `45.8 MB`."""
    if value is None:
        return NONE
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= scale:
            shown = value / scale
            return f"{shown:.1f} {unit}" if shown < 100 else f"{shown:.0f} {unit}"
    return f"{value} B"


def seconds(value: float | None) -> str:
    """`0.8 s`, `82 s`, `14 min`, `3.1 h`."""
    if value is None:
        return NONE
    if value < 10:
        return f"{value:.1f} s"
    if value < 300:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def shots_text(shots: int | str) -> str:
    """`100 shots`, `1% of the rows`, `no shots`."""
    if isinstance(shots, str):
        return f"{shots} of the rows"
    return "no shots" if shots == 0 else f"{shots:,} shots"
