"""What the documents tell a reader to type exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from codeprompt.cli.app import APP

ROOT = Path(__file__).parents[1]
TARGET = re.compile(r"(?:^|`)make ([a-z][a-z-]+)\b", re.MULTILINE)
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks" / "README.md",
    *sorted(ROOT.glob("docs/*.md")),
]


def commands(path: Path) -> list[list[str]]:
    """The `codeprompt ...` lines of a document's shell blocks, as words."""
    blocks = re.findall(r"```sh\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [w[1:] for w in words if w and w[0] == "codeprompt"]


CASES = [(path.name, words) for path in DOCUMENTS for words in commands(path)]


@pytest.mark.parametrize(("name", "words"), CASES, ids=[" ".join(w) for _, w in CASES])
def test_a_command_in_a_document_has_the_options_it_is_given(name: str, words: list[str]) -> None:
    """Commands and options are spelled as the program knows them."""
    context = click.Context(APP)
    command: click.Command | None = APP
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        command = command.get_command(context, rest.pop(0))
    assert command is not None, f"{name} names a command that does not exist"
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    for word in rest:
        if word.startswith("--"):
            assert word.partition("=")[0] in known, f"{name}: {word} is no option"


def test_make_targets_in_documents_exist() -> None:
    """Every `make NAME` that is told stands in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in DOCUMENTS:
        for target in re.findall(TARGET, path.read_text(encoding="utf-8")):
            assert target in targets, f"{path.name}: make {target}"
