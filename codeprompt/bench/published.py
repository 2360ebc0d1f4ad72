"""Figures from the literature, as data (`published.toml`); never tested against, always marked."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path

import msgspec

from codeprompt.bench.results import Published


@functools.cache
def published() -> tuple[Published, ...]:
    """Every figure we know of."""
    text = Path(__file__).with_name("published.toml").read_text(encoding="utf-8")
    out: list[Published] = []
    for block in tomllib.loads(text)["figures"]:
        columns, common = block["columns"], {k: block[k] for k in block if k not in _SHAPE}
        for row in block["rows"]:
            *said, rest = row
            named = dict(zip(block["names"], said, strict=True))
            for column, value in zip(columns, rest, strict=True):
                if value == "":
                    continue
                values = {**common, **named, block["over"]: column, "value": value}
                out.append(msgspec.convert(values, Published))
    return tuple(out)


_SHAPE = ("names", "over", "columns", "rows")


def published_for(data: str, form: str) -> tuple[Published, ...]:
    """The figures of one data set, and the means over languages that it is part of.

    All of them fed joined tokens, so that none stands beside scores on source text.
    """
    names = (data, "csn-mean-of-six") if data.startswith("csn-") else (data,)
    found = [one for one in published() if one.data in names]
    if form == "text" and found and found[0].task == "summarize":
        return ()
    return tuple(found)
