"""Collect documented functions from a source tree as training data."""

from __future__ import annotations

import json
from pathlib import Path

import click

from codeprompt.cli.options import OUT_FILE, Name, json_option
from codeprompt.cli.output import answer, counts, say
from codeprompt.registry import TASKS

EXAMPLES = """\b
Examples:
  codeprompt harvest src --task summarize --out functions.jsonl
  codeprompt harvest . --language python --language go --out functions.jsonl
  codeprompt tune summarize --data functions.jsonl --out packs/ours

Generated, vendored, git-ignored and test files are left out, and so are functions whose
documentation says nothing; each is counted by its reason.
"""


@click.command("harvest", epilog=EXAMPLES)
@click.argument("tree", type=click.Path(path_type=Path))
@click.option("--task", type=Name(TASKS), default="summarize", show_default=True)
@click.option("--out", type=OUT_FILE, required=True, metavar="FILE.jsonl", help="File to write.")
@click.option("--language", "languages", multiple=True, help="Only this one (repeat for more).")
@json_option
def harvest_tree(
    tree: Path, task: str, out: Path, languages: tuple[str, ...], as_json: bool
) -> None:
    """Collect documented functions from a source tree as training data.

    Each row has the function without its documentation and the documentation's first sentence.
    Near-duplicates are dropped; rows of one file carry one group, so that no split parts them.
    """
    from collections import Counter as Count

    from codeprompt.cli.progress import Counter
    from codeprompt.data.harvest import as_row, harvest, need_examples
    from codeprompt.files import write_text

    with Counter("files", None) as counter:
        report = harvest(
            tree,
            task=task,
            languages=languages or None,
            progress=lambda done, total: counter.reach(done, total),
        )
    examples = need_examples(report, tree)
    lines = (json.dumps(as_row(example), ensure_ascii=False) for example in examples)
    write_text(out, "".join(line + "\n" for line in lines))
    by_language = Count(example.fields["language"] for example in examples)
    if as_json:
        answer(
            {
                "out": str(out),
                "examples": len(examples),
                "files": report.files,
                "functions": report.functions,
                "languages": dict(by_language.most_common()),
                "left_out": dict(report.left_out),
            }
        )
        return
    say(f"Wrote {out}: {len(examples)} examples of {report.functions} functions")
    say(f"  files: {report.files}; languages: {counts(by_language)}")
    if report.left_out:
        say(f"  left out: {counts(report.left_out)}")


COMMAND = harvest_tree
