"""Rows from CVE patches: diffs applied as `patch` does, and the lines they blame."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.cve.__main__ import split, stats
from benchmarks.cve.fetch import licence_of, read_manifest
from benchmarks.cve.mine import Row, mine, series, sources, touches_c
from benchmarks.cve.patches import FilePatch, apply, read_patch
from benchmarks.cve.score import first, items_by, longest, scores_of, words
from codeprompt.errors import DataError
from codeprompt.types import Example

BEFORE = """#include <string.h>

/* Copies a name. */
static char *copy(const char *name, size_t size)
{
    char *out = malloc(size);

    strcpy(out, name);
    out[size] = 0;
    return out;
}

int add(int a, int b)
{
    return a + b;
}
"""
FIX = """Description: no overflow
Bug: CVE-2024-0001
--- a/src/x.c
+++ b/src/x.c
@@ -5,11 +5,13 @@
 {
     char *out = malloc(size);
 
-    strcpy(out, name);
-    out[size] = 0;
+    strncpy(out, name, size);
+    out[size - 1] = 0;
     return out;
 }
 
 int add(int a, int b)
 {
+    if (a > LIMIT)
+        return 0;
     return a + b;
"""


def test_a_patch_is_read_and_applied() -> None:
    """The new text, the lines that are gone, the lines in front of which something came."""
    [patch] = read_patch(FIX)
    assert (patch.old, patch.new) == ("src/x.c", "src/x.c")
    done = apply(BEFORE, patch)
    assert done is not None
    assert "strncpy" in done.text and "strcpy(" not in done.text
    lines = BEFORE.split("\n")
    assert [lines[n].strip() for n in sorted(done.removed)] == [
        "strcpy(out, name);",
        "out[size] = 0;",
    ]
    assert [lines[n].strip() for n in sorted(done.before)] == ["return a + b;"]


@pytest.mark.skipif(shutil.which("patch") is None, reason="no patch program here")
@pytest.mark.parametrize("moved", ["", "\n" * 7, "int x;\n" * 30])
@pytest.mark.parametrize("worn", [False, True])
def test_the_outcome_is_that_of_patch(tmp_path: Path, moved: str, worn: bool) -> None:
    """Hunks that moved and context that changed at the edge: byte for byte the program's text."""
    text = moved + BEFORE
    if worn:  # the last line of context is another: fuzz
        text = text.replace("    return a + b;\n}", "    return a - b;\n}")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "x.c").write_text(text)
    (tmp_path / "fix").write_text(FIX)
    ran = subprocess.run(
        ["patch", "-p1", "-s", "--no-backup-if-mismatch", "-i", "fix"],
        cwd=tmp_path,
        capture_output=True,
    )
    done = apply(text, read_patch(FIX)[0])
    assert (done is not None) == (ran.returncode == 0)
    if done is not None:
        assert done.text == (tmp_path / "src" / "x.c").read_text()


def test_a_hunk_that_fits_nowhere_is_told() -> None:
    """Nothing is forced."""
    assert apply("int y;\n", read_patch(FIX)[0]) is None


def test_odd_diffs_are_read_as_far_as_they_go() -> None:
    """Prose, cut hunks, stripped blank context, no newline at the end, new and deleted files."""
    assert read_patch("just a text\n") == []
    new = "--- /dev/null\n+++ b/n.c\n@@ -0,0 +1,1 @@\n+int n;\n"
    assert read_patch(new) == [FilePatch("", "n.c", read_patch(new)[0].hunks)]
    assert read_patch("--- a/x.c\n+++ b/x.c\n@@ -1,3 +1,3 @@\n a\n-b\n")[0].hunks[0].lines
    text = "--- a/x.c\n+++ b/x.c\n@@ -1,3 +1,2 @@\n a\n\n-b\n\\ No newline at end of file\n"
    done = apply("a\n\nb", read_patch(text)[0])
    assert done is not None and done.text == "a\n"


def rows_of(before: str, patch: str, name: str = "CVE-2024-0001.patch") -> list[Row]:
    return list(mine("pkg", "1-1", {"src/x.c": before}, [(name, patch)], Counter()))


def test_rows_are_vulnerable_functions_with_their_lines() -> None:
    """Removed lines are `changed`; where a fix only adds, the line behind it is `added`."""
    one, two = rows_of(BEFORE, FIX)
    assert (one.name, one.cve, one.kinds) == ("copy", "CVE-2024-0001", ("changed", "changed"))
    assert [one.code.split("\n")[n - 1].strip() for n in one.lines] == [
        "strcpy(out, name);",
        "out[size] = 0;",
    ]
    assert "strncpy" in one.fixed and "/* Copies" not in one.code
    assert (two.name, two.kinds) == ("add", ("added",))
    assert two.code.split("\n")[two.lines[0] - 1].strip() == "return a + b;"
    assert one.as_json()["lines"] == " ".join(map(str, one.lines))


def test_patches_without_a_cve_change_the_text_and_give_no_row() -> None:
    """The series is applied in order: a CVE patch meets what earlier ones left."""
    earlier = FIX.replace("CVE-2024-0001", "none")
    texts = {"src/x.c": BEFORE}
    counts: Counter[str] = Counter()
    assert list(mine("p", "1", texts, [("01-build.patch", earlier)], counts)) == []
    assert "strncpy" in texts["src/x.c"]
    assert list(mine("p", "1", texts, [("CVE-2024-0001.patch", FIX)], counts)) == []
    assert counts["patches that did not apply"] == 1


def test_comments_blank_lines_and_tests_are_not_blamed() -> None:
    """A fix of a comment names no line; files of tests are passed over."""
    patch = FIX[: FIX.index("@@")] + "@@ -3,1 +3,1 @@\n-/* Copies a name. */\n+/* Copies. */\n"
    assert rows_of(BEFORE, patch) == []
    tests = {"tests/x.c": BEFORE}
    moved = FIX.replace("src/x.c", "tests/x.c")
    assert list(mine("p", "1", tests, [("CVE-2024-0001.patch", moved)], Counter())) == []


def archive(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return path


def test_archives_are_read_in_memory(tmp_path: Path) -> None:
    """Patches in the order of the series, C files without the top folder, the licence's name."""
    debian = archive(
        tmp_path / "d.tar.gz",
        {
            "debian/patches/series": "# one\na.patch\nCVE-2024-0001.patch -p1 # two\nlost.patch\n",
            "debian/patches/CVE-2024-0001.patch": FIX,
            "debian/patches/a.patch": "nothing\n",
            "debian/copyright": "Format: x\n\nFiles: *\nCopyright: y\nLicense: GPL-2+\n text\n",
        },
    )
    orig = archive(tmp_path / "o.tar.gz", {"pkg-1/src/x.c": BEFORE, "pkg-1/readme": "x"})
    found = series(debian)
    assert [name for name, _ in found] == ["a.patch", "CVE-2024-0001.patch"]
    assert touches_c(found) and not touches_c(found[:1])
    assert sources(orig) == {"src/x.c": BEFORE}
    assert licence_of(debian) == "GPL-2+"
    (tmp_path / "bad.tar.gz").write_text("no archive")
    with pytest.raises(DataError, match="cannot be read"):
        series(tmp_path / "bad.tar.gz")


def test_projects_never_fall_into_two_splits() -> None:
    """Shares near what was asked for, whole projects in each."""
    rows = [
        Row("a;\nb;", (1,), ("changed",), "", f"f{i}", "CVE", f"p{i % 9}", "1", "x.c")
        for i in range(90)
    ]
    parts = split(rows, 0)
    owners = [{row.package for row in part} for part in parts.values()]
    assert sum(map(len, parts.values())) == 90
    assert not owners[0] & owners[1] and not owners[0] & owners[2] and not owners[1] & owners[2]
    assert len(parts["train"]) > 50 and parts["valid"] and parts["test"]
    assert stats(parts, Counter())["train"]["rows"] == len(parts["train"])  # type: ignore[index]


def test_the_manifest_pins_every_package() -> None:
    """Versions, licences and both sums; none of the projects that Devign took its rows from."""
    found = read_manifest()
    assert len(found) >= 50
    assert all(one.version and one.licence for one in found)
    assert all(len(one.orig_sha256) == len(one.debian_sha256) == 64 for one in found)
    assert not {"qemu", "ffmpeg"} & {one.name for one in found}


def test_baselines_rank_lines_without_a_model() -> None:
    """First, longest and naive Bayes on a case where each is known."""
    rows = [Example({"code": "int a;\n\nstrcpy(a, b, c, d);\nx;"}, "3")]
    assert scores_of(items_by(rows, first), 0)[0].value == pytest.approx(0.5)
    assert scores_of(items_by(rows, longest), 0)[0].value == 1.0
    train = [Example({"code": "strcpy(q);\nint a;\nx;"}, "1")] * 3
    assert scores_of(items_by(rows, words(train)), 0)[1].value == 100.0
