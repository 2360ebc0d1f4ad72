"""CodeBLEU: words, keywords, syntax and data flow, 0-100 (Ren et al. 2020, arXiv:2009.10297).

The mean of four parts, each in the score's `parts`: `ngram` (BLEU), `weighted_ngram` (its recall,
keywords weighing five times), `syntax` (subtrees), `dataflow`. The definitions of the script in
CodeXGLUE's code-to-code-trans; the n-gram parts agree with it to the last digit. Syntax and data
flow depend on tree-sitter's grammar, whose version the signature therefore names. Where no
reference has any data flow, that part is left out and the rest counts a third each (the script
counts 0). Every difference, with what it is worth: `docs/codebleu.md`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codeprompt.errors import DataError, UsageError
from codeprompt.metrics.base import Array, Item, Measure, Measured, of_totals
from codeprompt.metrics.codebleu_parts import flow, syntax, words
from codeprompt.metrics.codebleu_parts.flows import FLOWS
from codeprompt.metrics.codebleu_parts.keywords import KEYWORDS

PARTS = ("ngram", "weighted_ngram", "syntax", "dataflow")


def measure(items: Sequence[Item], positive: str | None, language: str | None) -> Measured:
    """CodeBLEU of code in one language. Raises `UsageError` without a language that it knows,
    `DataError` where every reference is empty, or one is binary.
    """
    from codeprompt.languages.base import find_language
    from codeprompt.languages.functions.reading import parse, source_bytes

    if not language:
        raise UsageError(
            "codebleu needs to know the language of the predictions",
            expected="one of: " + ", ".join(sorted(FLOWS)),
            do="Name it with --language",
        )
    chosen = find_language(language)
    if chosen.name not in FLOWS:
        raise UsageError(
            f"codebleu does not know the data flow of {chosen.name}",
            expected="one of: " + ", ".join(sorted(FLOWS)),
        )
    if not any(reference.strip() for item in items for reference in item.references):
        raise DataError("Every reference is empty", expected="code to compare with")
    shapes, reader = syntax.Shapes(chosen), flow.Reader(chosen)
    rows = []
    for item in items:
        found = parse(source_bytes(item.prediction.replace("\0", " ")), chosen)
        wanted = [parse(source_bytes(reference), chosen) for reference in item.references]
        rows.append(
            [
                *words.count(item.prediction, item.references, KEYWORDS[chosen.name]),
                *syntax.match(shapes, found, wanted),
                *flow.match(reader, found, wanted),
            ]
        )
    statistics = np.array(rows, dtype=np.float64)
    values = _parts(statistics.sum(axis=0, keepdims=True))[:, 0]
    parts = {name: float(100.0 * value) for name, value in zip(PARTS, values, strict=True)}
    missing = bool(np.isnan(values[3]))
    if missing:
        del parts["dataflow"]
    tags = (f"lang:{chosen.name}", "tok:none", f"grammar:{_grammar(chosen.grammars[0])}")
    return of_totals(statistics, _codebleu, tags + ("dataflow:none",) * missing, parts)


def _parts(totals: Array) -> Array:
    """Totals [R, k] to the four parts [4, R], 0..1; data flow is nan where there is none."""
    ngram, weighted = words.ratios(totals[:, : words.WIDTH])
    trees, of_trees, flows, of_flows = totals[:, words.WIDTH :].T
    dataflow = np.where(of_flows > 0, flows / np.maximum(of_flows, 1.0), np.nan)
    return np.stack([ngram, weighted, trees / np.maximum(of_trees, 1.0), dataflow])


def _codebleu(totals: Array) -> Array:
    """Totals [R, k] to CodeBLEU [R]: the mean of the parts that there are."""
    value: Array = 100.0 * np.nanmean(_parts(totals), axis=0)
    return value


def _grammar(reader: str) -> str:
    """The release of the package that a grammar comes from."""
    from importlib.metadata import PackageNotFoundError, version

    package = reader.partition(":")[0].replace("_", "-")
    try:
        return f"{package}-{version(package)}"
    except PackageNotFoundError:
        return package


METRIC = Measure(name="codebleu", kinds=("generate",), measure=measure)
