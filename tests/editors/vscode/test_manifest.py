"""The VS Code extension's manifest agrees with the server and the languages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from codeprompt import __version__
from codeprompt.languages.base import languages
from lsp_server.docstrings import NAMES
from lsp_server.documents import language_for
from lsp_server.settings import Settings, camel, read

EXTENSION = Path(__file__).parents[3] / "editors" / "vscode"
MANIFEST = json.loads((EXTENSION / "package.json").read_text(encoding="utf-8"))
OWN = ("server.", "setup.", "python")
"""What only the extension reads."""


def told() -> dict[str, dict[str, Any]]:
    """The manifest's settings, by name without the section."""
    groups = MANIFEST["contributes"]["configuration"]
    found = {name: about for group in groups for name, about in group["properties"].items()}
    return {name.removeprefix("codeprompt."): about for name, about in found.items()}


def known(settings: Any = None, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Name, type and default of each of the server's settings."""
    settings = settings or Settings()
    hints = get_type_hints(type(settings))
    for field in fields(settings):
        value = getattr(settings, field.name)
        name = f"{place}{camel(field.name)}"
        if is_dataclass(value):
            yield from known(value, f"{name}.")
        else:
            yield name, hints[field.name], value


def test_every_setting_of_the_server_is_offered_and_no_other() -> None:
    """By the very name."""
    offered = {name for name in told() if not name.startswith(OWN)}
    assert offered == {name for name, _, _ in known()}


@pytest.mark.parametrize(("name", "kind", "default"), list(known()), ids=lambda one: str(one)[:40])
def test_defaults_and_choices_are_the_server_s(name: str, kind: Any, default: Any) -> None:
    """An editor that sends all its settings changes nothing."""
    offered = told()[name]
    assert offered["default"] == (list(default) if isinstance(default, tuple) else default)
    if get_origin(kind) is Literal:
        assert sorted(offered["enum"]) == sorted(get_args(kind))


def test_the_defaults_as_vs_code_sends_them_fit_the_server() -> None:
    """Nested, with `null` where nothing is set: no message."""
    values: dict[str, Any] = {}
    for name, about in told().items():
        if not name.startswith(OWN):
            place = values
            *parts, last = name.split(".")
            for part in parts:
                place = place.setdefault(part, {})
            place[last] = about["default"]
    assert read(values) == (Settings(), [])


def test_styles_and_languages_are_all_there() -> None:
    """Choices that the manifest spells out."""
    assert set(told()["docstring.style"]["enum"]) == {"auto", *NAMES}
    offered = told()["translate.targets"]["items"]["enum"]
    assert offered == sorted(language.name for language in languages())


def test_every_language_that_wakes_the_extension_is_the_server_s() -> None:
    """And every language of the server's wakes it."""
    ids = [event.removeprefix("onLanguage:") for event in MANIFEST["activationEvents"]]
    found = {one: language_for(one, None) for one in ids}
    assert all(found.values()), found
    assert {one.name for one in found.values() if one} == {one.name for one in languages()}


def test_extension_and_server_have_one_version() -> None:
    """They come out together."""
    assert MANIFEST["version"] == __version__


def test_the_lock_file_names_no_registry() -> None:
    """npm takes the one that is configured."""
    text = (EXTENSION / "package-lock.json").read_text(encoding="utf-8")
    assert not re.search(r'"resolved"|registry', text)
