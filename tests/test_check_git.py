"""`--changed-since`: which functions git says have changed."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from codeprompt.check.changes import Span, changed_since, touched
from codeprompt.check.files import files_to_check
from codeprompt.errors import UsageError

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
NAMES = ("core.hooksPath=/dev/null", "user.name=t", "user.email=t@t", "commit.gpgsign=false")


def git(folder: Path, *arguments: str) -> None:
    """Run git in a folder, with no settings of the user's."""
    settings = [part for name in NAMES for part in ("-c", name)]
    subprocess.run(["git", *settings, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One commit of one file with two functions of four lines."""
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("def f(x):\n    a = 1\n    b = 2\n    return x\n\n\n"
                                   "def g(x):\n    a = 1\n    b = 2\n    return x\n")  # fmt: skip
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    return tmp_path


def edit(path: Path, old: str, new: str, count: int = 1) -> None:
    """Replace text in a file."""
    path.write_text(path.read_text().replace(old, new, count))


def test_only_functions_with_changed_lines_are_touched(repository: Path) -> None:
    """A line of the first function, committed or not."""
    path = repository / "a.py"
    edit(path, "a = 1", "a = 7")
    for stage in ("working tree", "index", "commit"):
        changes = changed_since("HEAD~1" if stage == "commit" else "HEAD", [repository])
        assert touched(changes, path, 1, 4), stage
        assert not touched(changes, path, 7, 10), stage
        git(repository, "add", ".")
        if stage == "index":
            git(repository, "commit", "-qm", "two")


def test_a_removed_line_touches_the_function_around_it(repository: Path) -> None:
    """Only where the function goes on at both sides."""
    path = repository / "a.py"
    edit(path, "    b = 2\n", "")
    changes = changed_since("HEAD", [path])
    assert touched(changes, path, 1, 3) and not touched(changes, path, 6, 9)


def test_lines_added_between_functions_touch_none(repository: Path) -> None:
    """An import above, a constant between."""
    path = repository / "a.py"
    edit(path, "\n\n\ndef g", "\n\nX = 1\n\n\ndef g")
    changes = changed_since("HEAD", [path])
    assert path.resolve() in changes
    assert not touched(changes, path, 1, 4) and not touched(changes, path, 10, 13)


def test_a_new_file_is_changed_as_a_whole(repository: Path) -> None:
    """Untracked or added, but not where git ignores it."""
    (repository / "b.py").write_text("def h(x):\n    return x\n")
    (repository / ".gitignore").write_text("c.py\n")
    (repository / "c.py").write_text("def h(x):\n    return x\n")
    for _ in range(2):
        changes = changed_since("HEAD", [repository])
        assert touched(changes, repository / "b.py", 1, 2)
        assert (repository / "c.py").resolve() not in changes
        git(repository, "add", "b.py")


def test_names_with_blanks_quotes_and_other_letters(repository: Path) -> None:
    """git writes some of them quoted."""
    names = ["a b.py", "ä.py", 'q"uote.py', "tab\t.py"]
    for name in names:
        (repository / name).write_text("def h(x):\n    return x\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "two")
    for name in names:
        edit(repository / name, "return x", "return -x")
    changes = changed_since("HEAD", [repository])
    assert all(touched(changes, repository / name, 1, 2) for name in names)


def test_lines_that_look_like_a_diff_do_not_confuse(repository: Path) -> None:
    """Content that begins with `++ b/` or `-- `."""
    path = repository / "a.py"
    path.write_text("++ b/other.py\n@@ -1 +1 @@\ndiff --git a/x b/x\n" + path.read_text())
    assert set(changed_since("HEAD", [repository])) == {path.resolve()}


def test_user_settings_of_diff_do_not_change_the_answer(repository: Path) -> None:
    """Prefixes, colours and external programs."""
    for name, value in (
        ("diff.noprefix", "true"),
        ("diff.mnemonicPrefix", "true"),
        ("color.ui", "always"),
        ("diff.external", "false"),
    ):
        git(repository, "config", name, value)
    edit(repository / "a.py", "a = 1", "a = 7")
    assert touched(changed_since("HEAD", [repository]), repository / "a.py", 1, 4)


def test_a_folder_below_the_root_sees_its_own_changes(repository: Path) -> None:
    """Paths are those of the caller, not of the repository's root."""
    (repository / "sub").mkdir()
    (repository / "sub" / "d.py").write_text("def h(x):\n    return x\n")
    edit(repository / "a.py", "a = 1", "a = 7")
    changes = changed_since("HEAD", [repository / "sub"])
    assert set(changes) == {(repository / "sub" / "d.py").resolve()}


@pytest.mark.parametrize("revision", ["nowhere", "--output=x", "", "HEAD~99"])
def test_a_wrong_revision_is_explained(repository: Path, revision: str) -> None:
    """Among them one that would be an option."""
    with pytest.raises(UsageError, match="a commit, a branch or a tag"):
        changed_since(revision, [repository])
    assert not (repository / "x").exists()


def test_without_a_repository_git_says_why(tmp_path: Path) -> None:
    """Its own words, and what to do."""
    with pytest.raises(UsageError, match=r"not a git repository.*Leave out --changed-since"):
        changed_since("HEAD", [tmp_path])


def test_without_git_the_option_is_refused(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a traceback."""
    monkeypatch.setenv("PATH", str(repository))
    with pytest.raises(UsageError, match="git, which is not installed"):
        changed_since("HEAD", [repository])


def test_what_git_ignores_above_a_path_is_left_out(repository: Path) -> None:
    """`.gitignore` at the root holds for a folder given below it."""
    (repository / "sub").mkdir()
    (repository / ".gitignore").write_text("sub/made.py\n")
    for name in ("made.py", "own.py"):
        (repository / "sub" / name).write_text("def h(x):\n    return x\n")
    left_out: Counter[str] = Counter()
    found = files_to_check([repository / "sub"], left_out)
    assert [path.name for path in found] == ["own.py"]
    assert left_out["file ignored by git"] == 1


def test_a_span_of_removed_lines_has_no_length() -> None:
    """Between lines 4 and 5: a function that ends at 4, or starts at 5, is untouched."""
    gap = Span(5, 4)
    assert gap.touches(3, 6) and gap.touches(4, 5)
    assert not gap.touches(1, 4) and not gap.touches(5, 9)
