"""`docs/tutorial.md` does what it says: its own command blocks, in order, in one shell."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from codeprompt.client import Home, state, stop
from codeprompt.languages.functions import parses
from codeprompt.pack import load
from tests.living import ROOT
from tests.real_editors import needed

pytestmark = pytest.mark.slow
TUTORIAL = ROOT / "docs" / "tutorial.md"
MARK = "@@@ line"
LIMIT = 3600


def blocks() -> list[tuple[int, str]]:
    """The command blocks of the tutorial, with the line of each."""
    text = TUTORIAL.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, found.start()) + 1, found[1])
        for found in re.finditer(r"^```sh\n(.*?)^```$", text, re.M | re.S)
    ]


@dataclass(frozen=True)
class Day:
    """What became of it. said: the output of each block, by its line in the tutorial."""

    project: Path
    said: dict[int, str]
    home: Path

    def of(self, word: str) -> str:
        """The output of the first block with a word."""
        return self.said[next(line for line, text in blocks() if word in text)]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """The whole tutorial, with fewer steps of tuning as it says itself."""
    needed("nvim", "neovim")
    place = tmp_path_factory.mktemp("day")
    home = place / "home"
    env = {
        **os.environ,
        "HOME": str(home),
        "TMPDIR": str(place),
        "CODEPROMPT_HOME": str(home / "engine"),
        "CODEPROMPT_DATA": str(home / "data"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org",
        "OMP_NUM_THREADS": "1",
        "STEPS": "4",
    }  # fmt: skip
    home.mkdir()
    # An editor's last word ends no line.
    marked = (f"printf '\\n%s\\n' '{MARK} {line}'\n{text}" for line, text in blocks())
    script = "set -eu\n" + "".join(marked)
    try:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
        )
        assert done.returncode == 0, done.stdout[-5000:]
        parts = re.split(rf"\n{MARK} (\d+)\n", done.stdout, flags=re.M)
        said = {int(line): text for line, text in zip(parts[1::2], parts[2::2], strict=True)}
        (project,) = place.glob("tmp.*/graphs")
        yield Day(project, said, home)
    finally:
        stop(home=Home(home / "engine"))


def test_every_block_is_a_command_that_ran(day: Day) -> None:
    """None is left out."""
    assert list(day.said) == [line for line, _ in blocks()]
    assert len(day.said) >= 10


def test_the_project_s_documented_functions_are_found(day: Day) -> None:
    """Enough of them to tune on."""
    rows = (day.project / "functions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(rows) > 500


def test_a_module_gets_docstrings_and_still_parses(day: Day) -> None:
    """By a real editor, shown as a diff; taken back afterwards."""
    said = day.of("CodepromptDocumentFile!")
    written = re.search(r"codeprompt: (\d+) written", said)
    assert written is not None, said
    assert int(written[1]) > 10
    assert re.search(r'^\+ +"""', said, re.M)
    assert "classes/coreviews.py" in said
    assert parses((day.project / "classes/coreviews.py").read_text(), "python")


def test_the_pack_was_tuned_on_64_of_the_project_s_own_functions(day: Day) -> None:
    """And lies where the project's packs do."""
    card = load(day.project / ".codeprompt/packs/summarize").card
    assert (card.data.shots, card.data.rows) == (64, 64)
    assert "score        dev " in day.of("tune summarize")


def test_summaries_are_others_than_before(day: Day) -> None:
    """The same functions, by the project's pack."""
    before, after = (
        (day.project / name).read_text().splitlines() for name in ("before.txt", "after.txt")
    )
    assert [line.split(": ")[0] for line in before] == [line.split(": ")[0] for line in after]
    assert before != after
    assert before[0] in day.of("paste -d")


def test_the_tree_was_checked_into_a_file_for_ci(day: Day) -> None:
    """SARIF, with the pack as the tool's rule."""
    told = json.loads((day.project / "defects.sarif").read_text(encoding="utf-8"))
    assert told["version"] == "2.1.0"
    assert told["runs"][0]["tool"]["driver"]["name"] == "codeprompt"


def test_the_hook_ran_before_the_commit(day: Day) -> None:
    """On the files that the commit changes; the pack is part of it."""
    said = day.of("pre-commit install")
    assert re.search(r"codeprompt check\.+Passed", said), said
    listed = subprocess.run(
        ["git", "ls-files", ".codeprompt"], cwd=day.project, capture_output=True, text=True
    )
    assert ".codeprompt/packs/summarize/card.json" in listed.stdout


def test_nothing_runs_on_afterwards(day: Day) -> None:
    """The engine that the editor started has left."""
    assert not state(Home(day.home / "engine")).running
