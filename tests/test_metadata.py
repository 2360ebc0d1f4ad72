"""Metadata beside the code: imports in every language, the template, and no leaked reference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from codeprompt.check.questions import questions
from codeprompt.data.harvest import harvest
from codeprompt.data.sources import open_source
from codeprompt.engine import Engine, Request
from codeprompt.errors import DataError, UsageError
from codeprompt.languages import find_language
from codeprompt.languages.functions import imports, parse
from codeprompt.methods.metadata import METHOD, MetadataSettings
from codeprompt.registry import TASKS
from codeprompt.template import parse as template
from codeprompt.training.leaks import check_leaks
from codeprompt.training.tune import TuneRequest, tune
from codeprompt.types import Example
from tests.tiny import tiny_t5

FILES = {
    "python": (
        "import os, re as r\nfrom a.b import c, d\ntry:\n    import json\nexcept X:\n    pass\n",
        ("os", "re", "a.b", "json"),
    ),
    "java": (
        "import java.util.List;\nimport static a.B.*;\nclass C {}",
        ("java.util.List", "a.B.*"),
    ),
    "c": ('#ifndef X\n#include <stdio.h>\n#include "a/b.h"\n#endif\n', ("stdio.h", "a/b.h")),
    "cpp": ("#include <vector>\nusing namespace std;", ("vector",)),
    "go": ('package m\nimport (\n "fmt"\n o "os/exec"\n)\nimport "io"\n', ("fmt", "os/exec", "io")),
    "javascript": ("import a, {b} from 'x/y';\nimport 'side';", ("x/y", "side")),
    "typescript": ("import type {A} from './a';", ("./a",)),
    "php": ("<?php\nuse A\\B\\C;\nuse function D\\e;\n", ("A\\B\\C", "D\\e")),
    "ruby": ("require 'json'\nputs 'x'\n", ("json",)),
    "c-sharp": ("using System.Text;\nusing X = System.IO;\n", ("System.Text", "System.IO")),
}


@pytest.mark.parametrize("language", FILES)
def test_imports_are_names_in_the_order_of_the_file(language: str) -> None:
    """Every language, nested in guards, lists and fallbacks."""
    text, expected = FILES[language]
    known = find_language(language)
    assert imports(parse(text.encode(), known), known) == expected


def test_imports_of_odd_texts_are_none_and_quick() -> None:
    """Empty files, broken ones, and a list of a hundred thousand items."""
    python = find_language("python")
    for text in ("", "import", "def f(:", "x = [" + "1," * 100_000 + "]"):
        assert imports(parse(text.encode(), python), python) in ((), ("import",))


def test_harvest_and_questions_tell_the_same_metadata(tmp_path: Path) -> None:
    """Path, class and imports reach training and serving alike, and survive JSONL."""
    (tmp_path / "src").mkdir()
    text = 'import os\n\nclass A:\n    def f(self):\n        """Remove every old file."""\n'
    text += "        for name in os.listdir():\n            os.remove(name)\n"
    (tmp_path / "src" / "a.py").write_text(text)
    [example] = harvest(tmp_path).examples
    wanted = {"path": "src/a.py", "class": "A", "imports": "os"}
    assert wanted.items() <= dict(example.fields).items()
    [question] = questions(Path("src/a.py"), text.encode())
    assert wanted.items() <= question.fields().items()
    row = {**example.fields, "summary": example.target}
    (tmp_path / "train.jsonl").write_text(json.dumps(row))
    read = open_source(str(tmp_path / "train.jsonl"), TASKS.get("summarize").columns)
    assert read.split("all")[0].fields["imports"] == "os"


def test_the_template_has_a_line_for_each_field() -> None:
    """Soft tokens start as the field's name; a field that stands there already is not doubled."""
    made = METHOD.template(
        template("Do {language}: {code}"), MetadataSettings(("path", "class"), 2)
    )
    assert str(made) == (
        '{soft:2 init="path"}Path: {path:cut}\n{soft:2 init="class"}Class: {class:cut}\n'
        "{soft:2}Do {language}: {code}"
    )
    once = METHOD.template(template("{path} {code}"), MetadataSettings())
    assert str(once).count("{path") == 1
    with pytest.raises(UsageError, match="one or more, all unlike"):
        METHOD.template(template("{code}"), METHOD.configure({"fields": []}))
    with pytest.raises(UsageError, match="does not fit"):
        METHOD.configure({"fields": ["docstring"]})


def test_a_field_that_holds_the_reference_is_refused() -> None:
    """Metadata must not give the answer away; short references stand in paths by chance."""
    plain = template("{path} {code}")

    def rows(path: str, target: str = "Opens the main window.") -> list[Example]:
        return [Example({"code": "x", "path": path}, target)] * 3

    check_leaks(plain, rows("src/window.py"), "data")
    check_leaks(plain, rows("src/open.py", "Open."), "data")
    with pytest.raises(DataError, match=r"In 3 of 3 rows of data the field 'path' holds"):
        check_leaks(plain, rows("notes: opens the  main window"), "data")


def request_of(folder: Path, rows: list[dict[str, Any]], **more: Any) -> TuneRequest:
    tiny_t5(folder / "base")
    for split, some in (("train", rows), ("valid", rows[:4])):
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, some)))
    quick = {"steps": 2, "evaluate_every": 1, "batch": 2, "shots": 4, "dev": 2}
    sizes = {"source_length": 96, "target_length": 6, "precision": "float32"}
    return TuneRequest(
        "summarize", str(folder), folder / "pack", str(folder / "base"), "metadata",
        overrides={**quick, **sizes}, allow_hub=False, **more,
    )  # fmt: skip


def test_a_metadata_prompt_is_tuned_and_answers(tmp_path: Path) -> None:
    """From rows with metadata to an answer that depends on it."""
    rows = [
        {
            "code": f"def f{i}(x):\n    return x + {i}",
            "summary": f"Adds the number {i}.",
            "language": "python",
            "path": f"src/m{i}.py",
            "class": "Adder",
            "imports": "os, re",
        }
        for i in range(8)
    ]
    result = tune(request_of(tmp_path, rows))
    with Engine(str(tmp_path / "base"), precision="float32") as engine:
        name = engine.load(result.path)
        fields = {k: v for k, v in rows[0].items() if k != "summary"}
        one, two = engine.predict(
            [Request(name, fields), Request(name, {**fields, "imports": "socket", "path": "a"})]
        )
    assert one.score != two.score


def test_rows_without_metadata_say_how_to_go_on(tmp_path: Path) -> None:
    """What the data lacks is named."""
    rows = [{"code": "int f;", "summary": f"One {i} two.", "language": "c"} for i in range(6)]
    with pytest.raises(DataError, match="asks for path, which the data does not"):
        tune(request_of(tmp_path, rows))
