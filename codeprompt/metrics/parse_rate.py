"""Share of predictions that parse in their language (tree-sitter), 0-100.

A bare method counts where its language wants it in a class; blank text does not count. The
references are not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

from codeprompt.errors import UsageError
from codeprompt.metrics.base import Item, Measure, Measured, mean_of
from codeprompt.registry import LANGUAGES


def measure(items: Sequence[Item], positive: str | None, language: str | None) -> Measured:
    """An item counts 100 where it parses. Raises `UsageError` without a language, `DataError`
    for one that is not known.
    """
    if not language:
        raise UsageError(
            "parse-rate needs to know the language of the predictions",
            expected="one of: " + ", ".join(LANGUAGES.names()),
            do="Name it with --language",
        )
    from codeprompt.languages.base import find_language
    from codeprompt.languages.functions import parses

    chosen = find_language(language)
    found = [float(parses(item.prediction, chosen)) for item in items]
    return mean_of(found, (f"lang:{chosen.name}",))


METRIC = Measure(name="parse-rate", kinds=("generate",), measure=measure, test="mcnemar")
