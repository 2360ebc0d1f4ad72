"""`editor`: how long an editor waits for `codeprompt-lsp`, against the budgets of its design.

A real server over its pipes and a real engine of its own, on the built-in backbone with an untuned
prompt and the task's own decoding (`--pack` takes another). Functions are those of the standard
library with 200 to 256 tokens; every cold one is new. `--rounds` of each. As in an installed
package bytecode is there: the first start, which does not count, writes it.
"""

from __future__ import annotations

import argparse
import inspect
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.speed.editor_server import PULLS, Server, place, served
from benchmarks.speed.measure import Outcome, signature, table

BUDGETS = {
    "initialize": 700.0,
    "first answer": 10_000.0,
    "hover, cold": 400.0,
    "hover, cached": 10.0,
    "actions": 50.0,
    "resolve, cached": 50.0,
    "cancel": 50.0,
    "left behind": 2000.0,
    "server, MB": 60.0,
}
MODULES = ("ast", "argparse", "tarfile", "zipfile", "mailbox", "smtplib", "imaplib", "pickle",
           "optparse", "decimal", "fractions", "statistics", "shutil", "tempfile")  # fmt: skip
SHORTEST, LONGEST = 200, 256


def main(options: argparse.Namespace) -> Outcome:
    """Measure everything, print a table."""
    files = standard_library()
    with tempfile.TemporaryDirectory(prefix="codeprompt-bench-") as name:
        folder = Path(name)
        env = prepare(folder, options)
        times = starts(env, options.rounds)
        try:
            times |= first_answer(env, folder)
            times["left behind"] = [left_behind(env) for _ in range(3)]
            with served(env) as server:
                server.ready(folder)
                small = server.megabytes()
                times |= asked(server, files, options.rounds)
                times["server, MB"] = [small]
                times[f"with {len(files) + 2} files, MB"] = [server.megabytes()]
                engine = engine_megabytes(folder / "home")
                times["engine, MB"] = [engine]
            with served(env) as one, served(env) as two:
                one.ready(folder)
                two.ready(folder)
                both = one.megabytes() + two.megabytes()
                engine = engine_megabytes(folder / "home")
                sharing = (engine + both) / (engine + both / 2)
        finally:
            from codeprompt.client import Home, stop

            stop(home=Home(folder / "home"))
    show(times)
    print(f"Two editors with one engine take {sharing:.2f} times the memory of one (budget 1.20).")
    medians = {name: statistics.median(found) for name, found in times.items()}
    tails = {f"{name}, p95": p95(found) for name, found in times.items()}
    return Outcome(
        "editor",
        {"two editors' memory": sharing},
        {**medians, **tails},
        signature(rounds=options.rounds, pack=options.pack),
    )


def standard_library() -> list[str]:
    """Texts of modules with functions of the length that is asked about."""
    import importlib

    return [inspect.getsource(importlib.import_module(name)) for name in MODULES]


def prepare(folder: Path, options: argparse.Namespace) -> dict[str, str]:
    """Packs in a data folder of their own; the environment that leads there."""
    import shutil

    from codeprompt.backbones.load import load_backbone
    from codeprompt.pack import store

    backbone = load_backbone("builtin")
    packs = folder / "data" / "packs"
    if options.pack:
        shutil.copytree(options.pack, packs / "summarize")
    else:
        store.save(untuned(backbone, "summarize"), packs / "summarize")
    store.save(untuned(backbone, "defect"), packs / "defect")
    (folder / "home").mkdir()
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {
        **inherited,
        "CODEPROMPT_HOME": str(folder / "home"),
        "CODEPROMPT_DATA": str(folder / "data"),
        "OMP_NUM_THREADS": str(options.threads),
    }


def untuned(backbone: Any, name: str) -> Any:
    """A pack of the task's hard template."""
    from codeprompt.backbones.decoding import Decoding
    from codeprompt.inject import Injection
    from codeprompt.pack import make_pack
    from codeprompt.registry import TASKS
    from codeprompt.template import parse, resolve
    from codeprompt.verbalizers import Verbalizer

    task = TASKS.get(name)
    words = task.label_words.get(backbone.family)
    decoding = Decoding(max_new_tokens=task.target_length, beams=task.beams)
    return make_pack(
        injection=Injection(),
        backbone=backbone,
        name=name,
        task=name,
        method="hard",
        template=resolve(parse(task.templates[backbone.family]), backbone.tokenizer),
        verbalizer=Verbalizer.of(words) if words else None,
        labels=task.labels,
        positive=task.positive,
        decoding=decoding.as_json(),
        source_length=task.source_length,
        target_length=task.target_length,
    )


def engine_pid(home: Path) -> int:
    """The engine's process."""
    from codeprompt.client import Home, state

    pid = state(Home(home)).pid
    if pid is None:
        raise SystemExit("The engine has ended.")
    return pid


def engine_megabytes(home: Path) -> float:
    """Resident memory of the engine."""
    import psutil

    return float(psutil.Process(engine_pid(home)).memory_info().rss / 1e6)


def starts(env: Mapping[str, str], rounds: int) -> dict[str, list[float]]:
    """From the start of the process to the answer of `initialize`, and its processor time."""
    found, spent = [], []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        with served(env) as server:
            server.ask("initialize", {"processId": None, "capabilities": PULLS})
            found.append((time.perf_counter() - began) * 1e3)
            spent.append(processor(server.process.pid))
    return {"initialize": found[1:], "initialize, processor": spent[1:]}


def first_answer(env: Mapping[str, str], folder: Path) -> dict[str, list[float]]:
    """From the start of the process to the first summary, the engine's own start included, and the
    processor time that both spent: on a busy machine it alone says how long a quiet one takes."""
    began = time.perf_counter()
    with served(env) as server:
        server.ready(folder)
        took = (time.perf_counter() - began) * 1e3
        spent = processor(server.process.pid) + processor(engine_pid(folder / "home"))
        return {"first answer": [took], "first answer, processor": [spent]}


def processor(pid: int) -> float:
    """Processor time of a process in ms."""
    import psutil

    used = psutil.Process(pid).cpu_times()
    return float((used.user + used.system) * 1e3)


def left_behind(env: Mapping[str, str]) -> float:
    """How long a server outlives its editor where somebody else holds its pipes open."""
    waits = [sys.executable, "-c", "input()"]
    with subprocess.Popen(waits, stdin=subprocess.PIPE) as editor, served(env) as server:
        server.ask("initialize", {"processId": editor.pid, "capabilities": PULLS})
        editor.kill()
        editor.wait()
        began = time.perf_counter()
        server.process.wait(60)
        return (time.perf_counter() - began) * 1e3


def asked(server: Server, files: list[str], rounds: int) -> dict[str, list[float]]:
    """Hovers, actions and cancellations on functions, and the warnings of a long file."""
    from codeprompt.languages.functions import functions
    from codeprompt.languages.functions.tokens import tokens

    folder = Path(tempfile.gettempdir())
    times: dict[str, list[float]] = {}

    def timed(name: str, run: Callable[..., Any], *given: Any) -> Any:
        began = time.perf_counter()
        found = run(*given)
        times.setdefault(name, []).append((time.perf_counter() - began) * 1e3)
        return found

    places: list[tuple[str, int]] = []
    for number, text in enumerate(files):
        uri = server.open(folder / f"codeprompt-{number}.py", text)
        for function in functions(text, "python"):
            if SHORTEST <= len(tokens(function.bare, "python")) <= LONGEST:
                places.append((uri, function.start_line - 1))
    if len(places) < 2 * rounds:
        raise SystemExit(f"Only {len(places)} functions are long enough for {rounds} rounds.")
    for uri, line in places[:rounds]:
        timed("hover, cold", server.hover, uri, line)
        timed("hover, cached", server.hover, uri, line)
        found = timed("actions", actions, server, uri, line)
        action = next(one for one in found if "data" in one)
        timed("resolve, cached", server.ask, "codeAction/resolve", action)
    for uri, line in places[rounds : 2 * rounds]:
        server.number += 1
        server.send("textDocument/hover", place(uri, line), server.number)
        time.sleep(0.02)
        server.send("$/cancelRequest", {"id": server.number})
        timed("cancel", server.answer, server.number)
    text = "".join(files)
    lines = text.splitlines(keepends=True)[:2000]
    uri = server.open(folder / "codeprompt-long.py", "".join(lines))
    pull = {"textDocument": {"uri": uri}}
    timed("2,000 lines, cold", server.ask, "textDocument/diagnostic", pull)
    for _ in range(rounds):
        timed("2,000 lines, cached", server.ask, "textDocument/diagnostic", pull)
    return times


def actions(server: Server, uri: str, line: int) -> Any:
    """What is offered at a line."""
    at = place(uri, line)
    span = {"start": at["position"], "end": at["position"]}
    given = {"textDocument": at["textDocument"], "range": span, "context": {"diagnostics": []}}
    return server.ask("textDocument/codeAction", given)


def p95(found: list[float]) -> float:
    """The value that 95 of 100 stay below."""
    ordered = sorted(found)
    return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]


def show(times: Mapping[str, list[float]]) -> None:
    """The table."""
    rows = []
    for name, found in times.items():
        budget = BUDGETS.get(name)
        tail = p95(found)
        verdict = "" if budget is None else ("yes" if tail <= budget else "NO")
        limit = "" if budget is None else f"{budget:.0f}"
        rows.append([name, f"{statistics.median(found):.1f}", f"{tail:.1f}", limit, verdict])
    table(["ms", "p50", "p95", "budget", "kept"], rows)
