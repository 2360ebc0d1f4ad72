"""What a pack's card says that matters in an editor: rates, languages, licences.

The card is read as text from where the pack lies on this machine; a pack that lies elsewhere (an
engine behind an address) has no facts, and what needs them stays off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeprompt.languages.base import find_language, is_language

if TYPE_CHECKING:
    from codeprompt.client import PackInfo

CARD = "card.json"
LARGEST = 1_000_000


@dataclass(frozen=True)
class Facts:
    """threshold, base_rate: of defect packs, as probabilities. precision: of its warnings on the
    validation rows, accuracy (and its lower end) and never: that of saying "clean" to all.
    languages: of what it was tuned on. targets: languages it writes. weights, data: licences.
    imports: its template asks what a function's file imports.
    """

    task: str = ""
    threshold: float | None = None
    base_rate: float | None = None
    precision: float | None = None
    accuracy: float | None = None
    least: float | None = None
    rows: int = 0
    languages: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    weights: str = ""
    data: str = ""
    imports: bool = False

    @property
    def never(self) -> float | None:
        """The accuracy of a pack that never warns."""
        return None if self.base_rate is None else 1.0 - self.base_rate

    @property
    def beats_never(self) -> bool:
        """Whether warning is better than silence on the validation rows, beyond chance."""
        best = self.least if self.least is not None else self.accuracy
        return best is not None and self.never is not None and best > self.never


def facts_of(card: Mapping[str, Any]) -> Facts:
    """From a card's plain values; what is missing or of another type is left."""
    scores = {
        one.get("metric"): one for one in _list(card.get("scores")) if isinstance(one, Mapping)
    }
    accuracy, f1 = scores.get("accuracy", {}), scores.get("f1", {})
    interval = _list(accuracy.get("interval"))
    about = _mapping(card.get("data"))
    recipe, settings = _mapping(card.get("recipe")), _mapping(card.get("settings"))
    licence = _mapping(card.get("licence"))
    told = [recipe.get("target_language"), settings.get("target_language")]
    told += [about.get("target_language"), *_list(about.get("target_languages"))]
    return Facts(
        task=str(card.get("task", "")),
        threshold=_number(card.get("threshold")),
        base_rate=_number(card.get("base_rate")),
        precision=_share(_mapping(f1.get("parts")).get("precision")),
        accuracy=_share(accuracy.get("value")),
        least=_share(interval[0]) if interval else None,
        rows=int(_number(accuracy.get("n")) or _number(f1.get("n")) or 0),
        languages=_names(_list(about.get("languages"))),
        targets=_names(told),
        weights=str(licence.get("weights", "")),
        data=str(licence.get("data", "")),
        imports="{imports}" in str(card.get("template", "")),
    )


def read_card(folder: Path) -> dict[str, Any] | None:
    """A pack's card, None where there is none that can be read."""
    try:
        path = folder / CARD
        if path.stat().st_size > LARGEST:
            return None
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def facts_for(pack: PackInfo, projects: tuple[Path, ...] = ()) -> Facts | None:
    """What the card of a pack says; None where it does not lie on this machine."""
    for folder in _places(pack, projects):
        card = read_card(folder)
        if card is not None and (not pack.hash or card.get("integrity") == pack.hash):
            return facts_of(card)
    return None


def _places(pack: PackInfo, projects: tuple[Path, ...]) -> Iterator[Path]:
    import codeprompt
    from codeprompt.client import Home

    yield Home.own().folder / "packs" / pack.name / pack.version
    given = os.environ.get("CODEPROMPT_DATA")
    if given:
        yield Path(given).expanduser() / "packs" / pack.name
    else:
        from platformdirs import user_data_path

        yield user_data_path("codeprompt", appauthor=False) / "packs" / pack.name
    yield Path(codeprompt.__file__).parent / "packs" / pack.name
    for folder in projects:
        yield folder / pack.name


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _names(values: list[Any]) -> tuple[str, ...]:
    """Our own names of languages; what is none is left."""
    known = [find_language(x).name for x in values if isinstance(x, str) and is_language(x)]
    return tuple(dict.fromkeys(known))


def _number(value: Any) -> float | None:
    whole = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if whole else None


def _share(value: Any) -> float | None:
    """A score of 0-100 as 0-1."""
    number = _number(value)
    return None if number is None else number / 100.0
