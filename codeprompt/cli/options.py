"""Options and argument types that several commands share, with their shell completion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from codeprompt.errors import UsageError
from codeprompt.registry import Registry

F = TypeVar("F", bound=Callable[..., Any])
if TYPE_CHECKING:
    Text = click.ParamType[str]
else:  # older releases of click cannot be given the type at run time
    Text = click.ParamType


class Name(Text):
    """A name of a registry: checked before anything is imported, completed in the shell."""

    def __init__(self, registry: Registry) -> None:
        self.registry, self.name = registry, registry.kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        name = str(value).replace("_", "-")
        self.registry.check(name)
        return name

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [
            CompletionItem(name, help=self.registry.summary(name))
            for name in self.registry.names()
            if name.startswith(incomplete)
        ]


class Offered(Text):
    """Any text; some values are offered by the shell (packs, recipes, backbones)."""

    def __init__(self, name: str, values: Callable[[], Iterable[str]], *, paths: bool) -> None:
        self.name, self.values, self.paths = name, values, paths

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        found = [CompletionItem(v) for v in self.values() if v.startswith(incomplete)]
        if self.paths and not found:
            return [CompletionItem(incomplete, type="file")]
        return found


def recipes() -> list[str]:
    """Names of the recipes that ship."""
    from codeprompt.recipes import names

    return names()


def packs() -> list[str]:
    """Names of the packs that can be named without a path."""
    from codeprompt.cli.catalogue import pack_names

    return pack_names()


PACK = Offered("pack", packs, paths=True)
RECIPE = Offered("recipe", recipes, paths=True)
BACKBONE = Offered("backbone", lambda: ["builtin", "builtin-encoder"], paths=True)
IN_FILE = click.Path(path_type=Path)
OUT_FILE = click.Path(path_type=Path, writable=False)


def json_option(command: F) -> F:
    """`--json`: one object on one line on stdout."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object on one line."
    )(command)


def decode_options(command: F) -> F:
    """How an answer is chosen among several, where the task writes."""
    for option in (
        click.option(
            "--decode",
            type=click.Choice(["mbr", "rerank"]),
            help="Write several answers and choose one. mbr: of draws the one that agrees most "
            "with the others, by the task's first metric. rerank: of beams the best by its own "
            "likelihood and by how well the untuned backbone tells the code from it, which it can "
            "where it was taught to write code from a summary, as the built-in one was. Either "
            "takes several times as long; measure it with `eval` first (docs/decisions.md).",
        ),
        click.option(
            "--candidates",
            type=click.IntRange(min=2),
            default=8,
            show_default=True,
            help="How many answers --decode chooses from.",
        ),
        click.option(
            "--channel",
            type=click.FloatRange(min=0),
            default=0.25,
            show_default=True,
            help="What rerank counts the second likelihood beside the first; `eval` on dev rows "
            "tells which is best for a pack.",
        ),
    ):
        command = option(command)
    return command


def engine_options(command: F) -> F:
    """Options of every command that answers with a backbone."""
    for option in (
        click.option(
            "--backbone",
            type=BACKBONE,
            help="Where the pack's backbone lies now, if not where its card says.",
        ),
        click.option(
            "--precision",
            type=click.Choice(["auto", "float32", "bf16", "int8"]),
            default="auto",
            show_default=True,
            help="Of the serving copy.",
        ),
        click.option("--threads", type=click.IntRange(min=1), help="Processor threads to use."),
        click.option("--offline", is_flag=True, help="Never ask a model hub."),
    ):
        command = option(command)
    return command


def pairs(text: str | None, option: str) -> dict[str, str]:
    """`a=b,c=d` as a mapping. Raises `UsageError`."""
    return assignments([p for p in (text or "").split(",") if p.strip()], option)


def assignments(values: Sequence[str], option: str) -> dict[str, str]:
    """Each `name=value` as an entry of a mapping. Raises `UsageError`."""
    found: dict[str, str] = {}
    for value in values:
        name, equals, rest = value.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UsageError(f"{option} got '{value}'", expected="name=value")
        if name in found:
            raise UsageError(f"{option} names '{name}' twice")
        found[name] = rest.strip()
    return found


def setting(text: str) -> Any:
    """A method's setting as typed: numbers and true/false as such, a,b as a list."""
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text.split(",") if "," in text else text


def settings(values: Sequence[str]) -> Mapping[str, Any]:
    """`--set name=value`, repeated."""
    return {name: setting(value) for name, value in assignments(values, "--set").items()}
