"""Labels of classification items: stripped text, and which one counts as positive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from codeprompt.errors import DataError, UsageError
from codeprompt.metrics.base import Array, Item

USUAL = ("1", "true", "yes", "positive", "defective", "vulnerable", "buggy", "insecure")


def predicted(items: Sequence[Item]) -> list[str]:
    """The predicted label of each item."""
    return [item.prediction.strip() for item in items]


def right(items: Sequence[Item]) -> list[str]:
    """The reference label of each item (the first, where there are several)."""
    return [item.references[0].strip() for item in items]


def counted(labels: Sequence[str]) -> str:
    """Labels with their counts, for messages: `0 (14), 1 (3)`."""
    counts = sorted(Counter(labels).items())
    shown = ", ".join(f"{label or '(empty)'} ({count})" for label, count in counts[:8])
    return shown + (f" and {len(counts) - 8} more" if len(counts) > 8 else "")


def positive_or_none(items: Sequence[Item], asked: str | None) -> str | None:
    """The positive label: the one asked for, or the usual name for it; None where neither is there.

    Raises `DataError` for a label that no reference and no prediction has.
    """
    references = right(items)
    known = {*references, *predicted(items)}
    if asked is not None:
        if asked.strip() not in known:
            raise DataError(
                f"No item has the positive label '{asked}'; "
                f"the references are {counted(references)}"
            )
        return asked.strip()
    if len(known) > 2:
        return None
    usual = [label for label in known if label.lower() in USUAL]
    return usual[0] if len(usual) == 1 else None


def positive_of(items: Sequence[Item], asked: str | None, name: str) -> str:
    """As `positive_or_none`, for metrics that cannot do without. Raises `UsageError`."""
    label = positive_or_none(items, asked)
    if label is None:
        raise UsageError(
            f"{name} cannot tell which label is the positive one; "
            f"the references are {counted(right(items))}",
            do="Name it (--positive LABEL)",
        )
    return label


def per_class(items: Sequence[Item]) -> tuple[list[str], Array, Array]:
    """All labels, sorted, with one-hot references [N, C] and predictions [N, C]."""
    labels = sorted({*right(items), *predicted(items)})
    place = {label: index for index, label in enumerate(labels)}
    eye = np.eye(len(labels))
    return (
        labels,
        eye[[place[label] for label in right(items)]],
        eye[[place[label] for label in predicted(items)]],
    )
