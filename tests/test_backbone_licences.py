"""What Debian's copyright files say decides which files may be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.backbone import licences
from benchmarks.backbone.fetch import Package

DEP5 = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: Some
License: Apache-2.0

Files: lib/gnu/*.c
       tool.py
Copyright: Others
License: GPL-2+ with Bison exception
 Text of it.

Files: lib/gnu/free.c
Copyright: Others
License: Expat

Files: debian/*
Copyright: Packager
License: GPL-3+
"""


@pytest.mark.parametrize(
    ("licence", "fits"),
    [
        ("Apache-2.0", True),
        ("GPL-2+ or BSD-3-clause", True),
        ("MPL-1.1 | LGPL-2.1", False),
        ("BSD-3-clause and GPL-2", False),
        ("GPL-3+ with Autoconf exception", False),
        ("Custom-thing", False),
        ("Expat", True),
    ],
)
def test_a_choice_is_enough_and_a_condition_is_not(licence: str, fits: bool) -> None:
    """`or` lets one choose; `and`, exceptions and unknown names do not pass."""
    assert licences.Stanza(("*",), licence).fits is fits


def test_files_under_other_licences_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A glob keeps its files out of the harvest, a later permissive stanza brings some back."""
    found = licences.judge("thing", DEP5)
    assert (found.form, found.main, len(found.unfit)) == ("dep5", "Apache-2.0", 1)
    licences.write([found], tmp_path / "unfit.tsv")
    monkeypatch.setattr(licences, "UNFIT", tmp_path / "unfit.tsv")
    known = licences._unfit.__wrapped__(tmp_path / "unfit.tsv")
    monkeypatch.setattr(licences, "_unfit", lambda: known)
    package = Package("debian", "thing", "1", "Apache-2.0", "c", "", "")
    assert licences.is_unfit(package, "thing-1.0/lib/gnu/a.c")
    assert licences.is_unfit(package, "thing-1.0/tool.py")
    assert not licences.is_unfit(package, "thing-1.0/lib/gnu/free.c")
    assert not licences.is_unfit(package, "thing-1.0/main.c")


def test_prose_is_judged_by_the_licences_it_names() -> None:
    """`implied` is no MPL; the General Public License is found."""
    assert licences.judge("a", "There is no implied warranty. MIT.\n").unfit == ()
    assert licences.judge("b", "Under the GNU General Public License.\n").unfit


def test_the_committed_list_names_packages_of_the_manifest() -> None:
    """Every line of `unfit.tsv` belongs to a Debian package that is read."""
    from benchmarks.backbone.fetch import read_manifest

    names = {p.name for p in read_manifest() if p.source == "debian"}
    lines = licences.UNFIT.read_text(encoding="utf-8").splitlines()[1:]
    assert lines
    assert {line.split("\t")[0] for line in lines} <= names
