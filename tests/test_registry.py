"""Registries and errors: what a user meets before anything else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from codeprompt.errors import CodepromptError, UnknownNameError
from codeprompt.registry import FAMILIES, LANGUAGES, METHODS, METRICS, TASKS, Registry

ALL = [METHODS, TASKS, METRICS, LANGUAGES, FAMILIES]


@pytest.mark.parametrize("registry", ALL, ids=lambda r: r.kind)
def test_every_file_defines_its_symbol_and_has_a_summary(registry: Registry) -> None:
    """Whatever stands in a folder can be listed, described and imported."""
    assert registry.names()
    for name in registry.names():
        summary = registry.summary(name)
        assert 10 < len(summary) < 110, f"{name}: {summary!r}"
        assert registry.get(name) is not None


def test_a_wrong_name_offers_the_nearest() -> None:
    """A typing error is answered with the right name."""
    with pytest.raises(UnknownNameError, match=r"Unknown method 'prefx'.*Did you mean 'prefix'\?"):
        METHODS.get("prefx")


def test_listing_imports_no_torch() -> None:
    """Names and summaries are read as text."""
    code = (
        "import sys\n"
        "from codeprompt.registry import METHODS, TASKS, METRICS, LANGUAGES, FAMILIES\n"
        "for r in (METHODS, TASKS, METRICS, LANGUAGES, FAMILIES):\n"
        "    [r.summary(n) for n in r.names()]\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_error_says_found_expected_and_what_to_do() -> None:
    """The three parts stand in one paragraph."""
    error = CodepromptError("Found this", expected="that", do="Do so")
    assert str(error) == "Found this. Expected that. Do so."
