"""What a VS Code that is driven needs: `python -m tests.editors.vscode.world FOLDER`.

FOLDER/project: a small real project, modules of Python's standard library.
FOLDER/data/packs/defect: a pack that was really tuned, on functions of other such modules, each as
it is and with one comparison or operator turned; of so few rows it learns next to nothing, which
its card says.
FOLDER/settings.json: a threshold at which that pack warns about one function of the files that are
opened, the most suspect; its own, chosen on 8 rows, may be anywhere.
"""

from __future__ import annotations

import ast
import json
import math
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

MODULES = ("graphlib", "queue", "heapq", "bisect", "textwrap", "shlex", "sched", "statistics")
OPENED = ("graphlib", "heapq")
OTHERS = ("calendar", "fractions", "configparser", "argparse", "zipfile", "tarfile", "csv")
ROWS = 96
TURNED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def main(folder: Path) -> None:
    """Make both; the engine's folders are those that CODEPROMPT_HOME and CODEPROMPT_DATA name."""
    write_project(folder / "project")
    data, pack = folder / "defect.jsonl", folder / "data" / "packs" / "defect"
    rows = [json.dumps({"func": code, "target": wrong}) for code, wrong in defect_rows()]
    data.write_text("\n".join(rows[:ROWS]) + "\n", encoding="utf-8")
    codeprompt(
        "tune", "defect", "--data", data, "--language", "python", "--shots", 16, "--dev", 8,
        "--steps", 8, "--out", pack,
    )  # fmt: skip
    opened = [folder / "project" / f"{name}.py" for name in OPENED]
    told = json.loads(codeprompt("check", *opened, "--pack", pack, "--threshold", 0, "--json"))
    highest = max(finding["score"] for finding in told["results"])
    settings = {"codeprompt.diagnostics.threshold": math.floor(100 * highest - 0.5) / 100}
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")


def codeprompt(*arguments: object) -> str:
    """Run the command line; what it prints."""
    command = [sys.executable, "-m", "codeprompt", *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def write_project(root: Path) -> None:
    """The modules, as they are."""
    library = Path(sysconfig.get_paths()["stdlib"])
    root.mkdir(parents=True)
    for name in MODULES:
        shutil.copyfile(library / f"{name}.py", root / f"{name}.py")


def defect_rows() -> Iterator[tuple[str, int]]:
    """Functions as they are (0), and with one operator turned (1)."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for name in OTHERS:
        path = library / f"{name}.py"
        if not path.exists():
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and 4 <= len(node.body) <= 20:
                clean = ast.unparse(node)
                if turn(node) and len(clean) < 1200:
                    yield clean, 0
                    yield ast.unparse(node), 1


def turn(function: ast.FunctionDef) -> bool:
    """Turn the first operator that can be; whether there was one."""
    for node in ast.walk(function):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in TURNED:
            node.ops[0] = TURNED[type(node.ops[0])]()  # type: ignore[call-overload]
            return True
        if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in TURNED:
            node.op = TURNED[type(node.op)]()  # type: ignore[assignment]
            return True
    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]))
