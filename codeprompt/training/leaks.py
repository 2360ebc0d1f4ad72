"""Inputs that hold their own reference: metadata may repeat what is to be written."""

from __future__ import annotations

from collections.abc import Sequence

from codeprompt.errors import DataError
from codeprompt.template import Template
from codeprompt.types import Example

CODE = frozenset({"code", "raw_code"})
"""What is looked at elsewhere: `harvest` leaves out code that repeats its summary."""
WORDS = 3
"""Shorter references stand in other fields by chance."""
MOST = 0.02


def check_leaks(template: Template, rows: Sequence[Example], where: str) -> None:
    """Raise `DataError` where a field beside the code holds more than 2% of the references."""
    for name in template.fields:
        if name in CODE:
            continue
        told = [row for row in rows if _holds(row.fields.get(name, ""), row.target)]
        if len(told) > MOST * len(rows):
            raise DataError(
                f"In {len(told)} of {len(rows)} rows of {where} the field '{name}' holds the "
                f"reference, such as '{told[0].target[:60]}'",
                expected="inputs that do not give their answer away",
                do=f"Leave {{{name}}} out of the template, or map another column to it",
            )


def _holds(text: str, reference: str) -> bool:
    wanted = " ".join(reference.split()).casefold().rstrip(".!:; ")
    return len(wanted.split()) >= WORDS and wanted in " ".join(text.split()).casefold()
