"""The command line without a model: names, help, answers, exit status, messages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from codeprompt.cli.app import APP, COMMANDS
from codeprompt.cli.options import assignments, pairs, settings
from codeprompt.cli.output import duration, number, plain, size
from codeprompt.cli.tune import expectations
from codeprompt.errors import UsageError

EXPECTED = [
    "bench",
    "check",
    "compare",
    "completion",
    "convert",
    "demo",
    "doctor",
    "engine",
    "eval",
    "harvest",
    "list",
    "pack",
    "predict",
    "purge",
    "report",
    "score",
    "serve",
    "tune",
    "tune-many",
]


def run(*arguments: object, stdin: str | bytes | None = None) -> Result:
    """The command in this process."""
    return CliRunner().invoke(APP, [str(a) for a in arguments], input=stdin)


def mistake(*arguments: object, stdin: str | bytes | None = None) -> str:
    """The message of a command that a user got wrong: status 2, one paragraph, nothing else."""
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stdout == ""
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ") and "Traceback" not in result.stderr
    return last


def ok(*arguments: object, stdin: str | bytes | None = None) -> Any:
    """The one JSON object of a command that succeeds."""
    result = run(*arguments, "--json", stdin=stdin)
    assert result.exit_code == 0, (result.output, result.exception)
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


def test_the_commands_have_the_names_that_others_build_on() -> None:
    """No more, no fewer."""
    assert COMMANDS.names() == EXPECTED


@pytest.mark.parametrize("name", EXPECTED)
def test_every_command_has_help_with_examples(name: str) -> None:
    """`--help` leaves with 0 and shows how the command is called."""
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"codeprompt {name} " in result.stdout.split("Example")[-1] or name == "doctor"
    assert COMMANDS.summary(name) in " ".join(result.stdout.split())


@pytest.mark.parametrize("name", ["list", "show", "verify", "export-peft", "import-peft"])
def test_every_pack_command_has_help_with_an_example(name: str) -> None:
    """The group's commands are documented as the others are."""
    result = run("pack", name, "--help")
    assert result.exit_code == 0 and f"codeprompt pack {name}" in result.stdout.split("Example")[-1]


def test_help_lists_commands_and_imports_nothing_heavy() -> None:
    """Neither torch nor numpy nor rich nor a command's own module is loaded."""
    code = (
        "import sys\n"
        "from codeprompt.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'numpy', 'rich', 'transformers', 'tree_sitter', 'msgspec', 'datasets'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert 'codeprompt.cli.tune' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in EXPECTED)


@pytest.mark.parametrize("what", ["tasks", "methods", "metrics", "backbones", "recipes", "packs"])
def test_lists_are_answered_without_torch(what: str) -> None:
    """Listing reads text; a fresh process proves it."""
    code = (
        "import sys\n"
        "from codeprompt.cli import main\n"
        f"try: main(['list', '{what}', '--json'])\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    items = json.loads(done.stdout)["items"]
    assert all(set(item) == {"name", "summary"} for item in items)


def test_list_names_what_the_issue_fixes() -> None:
    """The names of metrics are part of the contract."""
    names = {item["name"] for item in ok("list", "metrics")["items"]}
    fixed = "accuracy f1 mcc roc-auc ece codexglue-sentence-bleu codexglue-corpus-bleu"
    assert {*fixed.split(), "exact-match", "sacrebleu", "chrf", "parse-rate"} <= names
    assert "python" in {item["name"] for item in ok("list", "languages")["items"]}


def test_a_list_for_people_has_aligned_columns() -> None:
    """Name and summary, one entry a line."""
    lines = run("list", "tasks").stdout.splitlines()
    assert lines[0].split() == ["name", "summary"]
    column = lines[0].index("summary")
    assert all(line[column - 1] == " " and line[column] != " " for line in lines)


def test_wrong_words_get_the_nearest_right_one() -> None:
    """Commands, tasks, methods, metrics, recipes."""
    assert "Did you mean 'list'?" in mistake("lst")
    assert "Did you mean 'summarize'?" in mistake("tune", "sumarize", "--data", "x", "--out", "y")
    wrong = ("tune", "defect", "--data", "x", "--out", "y", "--method", "prefx")
    assert "Did you mean 'prefix'?" in mistake(*wrong)
    assert "Did you mean 'sacrebleu'?" in mistake(
        "score", "sacreblue", "--predictions", "a", "--references", "b"
    )


def test_click_mistakes_are_one_paragraph_too() -> None:
    """A missing option, an unknown one and a wrong choice say where the help is."""
    assert "Missing option '--out'" in mistake("harvest", ".")
    assert "See 'codeprompt harvest --help'." in mistake("harvest", ".")
    assert "No such option" in mistake("list", "tasks", "--nope")
    assert "is not one of" in mistake("list", "task")
    assert run().exit_code == 2  # no command at all: the help, and a status that stops a script


SOURCE = '''
def add(first, second):
    """Return the sum of two given numbers."""
    return first + second


def silent(first):
    return first * 3


class Box:
    def close(self):
        """Close the box and forget its content."""
        self.content = None
        self.closed = True
'''


def test_harvest_writes_rows_and_says_what_was_left_out(tmp_path: Path) -> None:
    """Counts by reason and language; no row holds its own reference."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "box.py").write_text(SOURCE)
    out = tmp_path / "rows.jsonl"
    found = ok("harvest", tmp_path / "tree", "--task", "summarize", "--out", out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert found["examples"] == len(rows) == 2
    assert found["languages"] == {"python": 2} and found["functions"] == 3
    assert sum(found["left_out"].values()) == 1
    assert all(row["summary"] not in row["code"] for row in rows)
    shown = run("harvest", tmp_path / "tree", "--out", out, "--language", "python").stdout
    assert "2 examples of 3 functions" in shown and "left out: 1 x" in shown


def test_harvest_refuses_what_gives_nothing(tmp_path: Path) -> None:
    """No tree, no documentation, another task, another language; nothing is written."""
    out = tmp_path / "rows.jsonl"
    assert "no source tree" in mistake("harvest", tmp_path / "none", "--out", out)
    (tmp_path / "a.py").write_text("def f(x):\n    return x\n")
    assert "no documented function" in mistake("harvest", tmp_path, "--out", out)
    assert "no examples for the task 'defect'" in mistake(
        "harvest", tmp_path, "--task", "defect", "--out", out
    )
    assert "Unknown language 'cobol'" in mistake(
        "harvest", tmp_path, "--out", out, "--language", "cobol"
    )
    assert not out.exists()


def test_convert_says_why_it_cannot(tmp_path: Path) -> None:
    """A folder without a checkpoint, and a place that is taken."""
    (tmp_path / "empty").mkdir()
    assert "config.json" in mistake("convert", tmp_path / "empty", "--out", tmp_path / "out")
    assert "exists already" in mistake("convert", tmp_path / "empty", "--out", tmp_path)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_of_that_shell(shell: str) -> None:
    """It asks this very command for what may follow."""
    result = run("completion", shell)
    assert result.exit_code == 0 and "_CODEPROMPT_COMPLETE" in result.stdout


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("codeprompt ", "tune"),
        ("codeprompt tune ", "summarize"),
        ("codeprompt tune summarize --method ", "ptuning-v2"),
        ("codeprompt tune summarize --recipe ", "few-shot"),
        ("codeprompt score ", "exact-match"),
        ("codeprompt eval ", "known"),
        ("codeprompt pack ", "verify"),
    ],
)
def test_the_shell_completes_names(
    words: str, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands, tasks, methods, recipes, metrics and packs."""
    pack = tmp_path / ".codeprompt" / "packs" / "known"
    pack.mkdir(parents=True)
    (pack / "card.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    environment = {
        "_CODEPROMPT_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split())),
    }
    result = CliRunner(env=environment).invoke(APP, [], prog_name="codeprompt")
    assert wanted in [line.partition(",")[2] for line in result.stdout.splitlines()]


def test_a_pack_whose_card_is_broken_is_listed_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bad pack does not hide the others."""
    pack = tmp_path / ".codeprompt" / "packs" / "bad"
    pack.mkdir(parents=True)
    (pack / "card.json").write_text("{")
    monkeypatch.chdir(tmp_path)
    items = {item["name"]: item["summary"] for item in ok("list", "packs")["items"]}
    assert "not readable" in items["bad"]
    assert "bad" in run("pack", "list").stdout
    assert "not a readable card" in mistake("pack", "verify", "bad")
    assert "not a readable card" in mistake("pack", "show", "bad")
    assert "No pack is called 'bda'" in mistake("pack", "show", "bda")


def test_an_unexpected_error_is_short_and_says_how_to_see_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Status 1; the traceback only with CODEPROMPT_DEBUG."""

    def fails() -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(APP, "get_command", lambda ctx, name: click.Command("list", callback=fails))
    result = run("list")
    assert result.exit_code == 1 and "Traceback" not in result.stderr
    assert "RuntimeError: out of luck" in result.stderr and "CODEPROMPT_DEBUG=1" in result.stderr
    monkeypatch.setenv("CODEPROMPT_DEBUG", "1")
    assert isinstance(run("list").exception, RuntimeError)


def test_an_interrupt_leaves_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """As shells expect after Ctrl-C."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    command = click.Command("list", callback=interrupted)
    monkeypatch.setattr(APP, "get_command", lambda ctx, name: command)
    result = run("list")
    assert result.exit_code == 130 and "Traceback" not in result.output


@pytest.mark.skipif(os.name == "nt", reason="no SIGPIPE there")
def test_a_reader_that_goes_away_is_no_error() -> None:
    """`codeprompt list languages | head -1` says nothing more."""
    command = f"{sys.executable} -m codeprompt list languages | head -0"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_python_m_codeprompt_is_the_command() -> None:
    """The module and the script are one."""
    done = subprocess.run(
        [sys.executable, "-m", "codeprompt", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("codeprompt")


def test_settings_are_read_as_typed() -> None:
    """Numbers, truth values, lists and words."""
    found = settings(["length=8", "init=vocabulary", "sites=encoder,cross", "deep=true"])
    assert found == {
        "length": 8,
        "init": "vocabulary",
        "sites": ["encoder", "cross"],
        "deep": True,
    }
    assert pairs("code=java, target=cs", "--columns") == {"code": "java", "target": "cs"}
    with pytest.raises(UsageError, match="--set got 'length'"):
        settings(["length"])
    with pytest.raises(UsageError, match="names 'a' twice"):
        assignments(["a=1", "a=2"], "--set")


def test_numbers_are_shown_as_people_read_them() -> None:
    """Sizes, times, scores; and not-a-number is null in JSON."""
    assert [size(n) for n in (17, 5_400, 38_000_000)] == ["17 bytes", "5.4 KB", "38.0 MB"]
    assert [duration(s) for s in (4.23, 185, 3753)] == ["4.2 s", "3:05", "1:02:33"]
    assert [number(v) for v in (7.8e-78, 15.234567, -0.5)] == ["0", "15.23", "-0.5"]
    assert plain({"a": float("nan"), "b": (1, Path("x"))}) == {"a": None, "b": [1, "x"]}


def test_a_recipe_says_what_it_gave() -> None:
    """A user can tell whether a run went as it should; silent where nothing was measured."""
    (told,) = expectations("low-resource", "summarize", "soft")
    assert "codexglue-sentence-bleu 15.09 [14.36, 15.83] (builtin-2, csn_python" in told
    assert expectations("few-shot", "summarize", "lora") == []
