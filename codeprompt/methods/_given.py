"""A method that is about one tuned pack: named by `of`, or else tuned first by `base`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol, TypeVar

from codeprompt.errors import UsageError
from codeprompt.methods.base import Given, HeadKind, Method
from codeprompt.template import Template


class Named(Protocol):
    """Settings that name a pack."""

    @property
    def of(self) -> str:
        """By path or name; empty for none."""

    @property
    def base(self) -> str:
        """The method to tune first where there is none."""


N = TypeVar("N", bound=Named)


class GivenMethod(Method[N]):
    """The pack's own template and head."""

    trains = False

    def given(self, settings: N) -> tuple[str, ...]:
        return (settings.of,) if settings.of else ()

    def grows(self, settings: N) -> tuple[str, ...]:
        return () if settings.of else (settings.base,)

    def fitted(self, hard: Template, settings: N, given: Sequence[Given]) -> Template:
        return the_pack(given).template

    def inherited(self, settings: N, given: Sequence[Given]) -> HeadKind | None:
        return "verbalizer" if the_pack(given).injection.head is None else "linear"

    def recorded(self, settings: N, given: Sequence[Given]) -> dict[str, Any]:
        return {**asdict(settings), "of": str(the_pack(given))}  # type: ignore[call-overload]


def the_pack(given: Sequence[Given]) -> Given:
    """The one that is there. Raises `UsageError` where none is."""
    if not given:
        raise UsageError("There is no pack to build on", do="Name a tuned one: --set of=PACK")
    return given[0]
