"""Parts of the language server by themselves: settings, turns, rest, skips, places, answers."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types

from codeprompt.client import Item
from codeprompt.languages.functions import functions
from lsp_server.answers import Answers, Query
from lsp_server.commands.explain import parts_of
from lsp_server.debounce import LEAST, MOST, Latest, Superseded
from lsp_server.documents import Document
from lsp_server.features.hover import head_range, pointed_at
from lsp_server.features.inline_completion import opening
from lsp_server.packs import Chosen
from lsp_server.power import Power
from lsp_server.settings import Pause, Settings, nearest_file, read, read_file
from lsp_server.skips import Skips
from tests.editing import Local, at, opened


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of its own."""
    monkeypatch.setenv("CODEPROMPT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


# --- settings


def test_a_setting_that_does_not_fit_keeps_its_value_and_gets_a_message() -> None:
    """Bad options never stop the server."""
    found, problems = read(
        {
            "hover": {"enabled": False, "budget": "soon"},
            "diagnostics": {"threshold": 2, "severity": "hint"},
            "packs": 7,
            "colour": 1,
            "exclude": ["a", 3],
            "threads": 2,
        }
    )
    assert (found.hover.enabled, found.hover.budget) == (False, 400)
    assert (found.diagnostics.threshold, found.diagnostics.severity) == (None, "hint")
    assert (found.threads, found.exclude) == (2, ())
    for word in ("hover.budget", "diagnostics.threshold", "packs", "colour", "exclude"):
        assert sum(word in problem for problem in problems) == 1
    assert read(["x"])[1]
    assert read(None) == (Settings(), [])


def test_every_feature_has_an_off_switch() -> None:
    """By the names that editors use."""
    off: dict[str, Any] = {
        name: {"enabled": False}
        for name in ("hover", "docstring", "codeLens", "inlayHints", "inlineCompletion",
                     "translate", "tune")
    }  # fmt: skip
    found, problems = read({**off, "diagnostics": {"mode": "off"}})
    assert not problems
    assert not found.inline_completion.enabled
    assert Settings().inlay_hints.enabled is Settings().code_lens.enabled is False


def test_the_nearest_file_wins_and_cannot_say_what_is_personal(tmp_path: Path) -> None:
    """In a monorepo each part has its own; a tree cannot make itself trusted."""
    for folder in (tmp_path, tmp_path / "part"):
        (folder / ".codeprompt").mkdir(parents=True)
    (tmp_path / ".codeprompt/editor.toml").write_text("[hover]\nenabled = false\n")
    near = tmp_path / "part/.codeprompt/editor.toml"
    near.write_text('trust = "always"\n[docstring]\nstyle = "numpy"\n')
    path = tmp_path / "part/deep/a.py"
    assert nearest_file(path, tmp_path) == near
    assert nearest_file(tmp_path / "b.py", tmp_path) == tmp_path / ".codeprompt/editor.toml"
    assert nearest_file(Path("/elsewhere/a.py"), tmp_path) is None
    found, problems = read_file(near, Settings())
    assert (found.docstring.style, found.trust, found.hover.enabled) == ("numpy", "ask", True)
    assert "trust" in problems[0]
    near.write_text("not toml")
    assert read_file(near, Settings())[1]


def test_settings_come_per_folder_and_are_asked_for_again() -> None:
    """Each folder its own; a change counts at once; a silent editor gets the defaults."""

    async def check() -> None:
        local = Local()
        folders = [{"uri": "file:///w/one", "name": "one"}, {"uri": "file:///w/two", "name": "two"}]
        await local.begin(
            workspaceFolders=folders,
            capabilities={"workspace": {"configuration": True}},
            initializationOptions={"codeprompt": {"hover": {"budget": 50}}},
        )
        while not local.sent.called("workspace/configuration"):
            await asyncio.sleep(0)
        local.reply(
            "workspace/configuration",
            [None, {"hover": {"enabled": False}}, {"hover": {"budget": 70}}],
        )
        await local.server.folders.ready.wait()
        one, two = (local.server.folders.of(Path(f"/w/{n}/a.py")) for n in ("one", "two"))
        assert (one.hover.enabled, one.hover.budget) == (False, 50)
        assert (two.hover.enabled, two.hover.budget) == (True, 70)
        assert local.server.folders.of(Path("/other/a.py")).hover.budget == 50

    asyncio.run(check())


def test_an_editor_that_only_pushes_settings_is_heard() -> None:
    """As Neovim 0.7 does."""

    async def check() -> None:
        local = Local()
        await local.begin()
        settings = {"codeprompt": {"hover": {"enabled": False}}}
        local.send("workspace/didChangeConfiguration", {"settings": settings})
        while local.server.folders.of(None).hover.enabled:
            await asyncio.sleep(0)

    asyncio.run(check())


# --- turns and rest


def test_the_newest_request_wins_its_turn() -> None:
    """The ones before it come back empty-handed, at once; other documents are not concerned."""

    async def check() -> None:
        latest, done = Latest(), []

        async def ask(name: str, uri: str) -> None:
            try:
                async with latest.turn(("hint", uri)):
                    done.append(name)
            except Superseded:
                done.append(f"not {name}")

        await asyncio.gather(ask("a", "x"), ask("b", "x"), ask("c", "y"))
        assert sorted(done) == ["b", "c", "not a"]
        async with latest.turn(("hint", "x"), wait=False):
            done.append("at once")

    asyncio.run(check())


def test_the_pause_grows_with_how_long_answers_take() -> None:
    """Within bounds."""
    latest = Latest()
    assert latest.pause(("hint", "x")) == LEAST
    latest._usual["hint"] = 0.8
    assert latest.pause(("hint", "x")) == pytest.approx(0.4)
    latest._usual["hint"] = 60.0
    assert latest.pause(("hint", "x")) == MOST


def test_passive_features_rest_on_battery_and_while_memory_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unless they are told not to."""
    import psutil

    class Unplugged:
        power_plugged = False

    monkeypatch.setattr(psutil, "sensors_battery", lambda: Unplugged, raising=False)
    assert Power().rest(Pause()) == "on battery"
    assert Power().rest(Pause(on_battery=False, memory=0)) == ""
    assert "memory is short" in Power().rest(Pause(on_battery=False, memory=1 << 40))
    monkeypatch.setattr(psutil, "sensors_battery", lambda: None, raising=False)
    assert Power().rest(Pause(memory=0)) == ""


# --- files that are left alone


def test_files_are_left_alone_with_a_reason_that_is_told_once(tmp_path: Path) -> None:
    """Too big, generated, vendored, excluded, ignored by git, of no language of ours."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    text = "def f():\n    return 1\n"
    cases = {
        "big.py": (text * 60_000, "larger than 1000 KB"),
        "made.py": ("# @generated\n" + text, "generated"),
        "a_pb2.py": (text, "generated"),
        "node_modules/a.js": ("function f() {}", "vendored"),
        "out/a.py": (text, "settings exclude"),
        "ignored.py": (text, "ignored by git"),
        "a.zig": ("fn f() void {}", "no supported language"),
        "fine.py": (text, ""),
    }
    settings = dataclasses.replace(Settings(), exclude=("out/*",))
    told: list[str] = []

    async def check() -> None:
        skips = Skips(lambda document, reason: told.append(reason))
        for name, (source, wanted) in cases.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            document = Document(path.as_uri(), source)
            for _ in range(2):
                found = await skips.reason(document, settings, tmp_path)
                assert (wanted in found) if wanted else found == "", name

    asyncio.run(check())
    assert len(told) == len(cases) - 1


# --- places


@pytest.mark.parametrize(
    ("name", "text", "line", "column", "wanted"),
    [
        ("a.py", 'def f(a):\n    """\n    return a\n', 1, 7, ("f", '"""', "")),
        ("a.py", 'def f(a):\n    """"""\n    return a\n', 1, 7, ("f", "", "")),
        ("a.py", "def f(a):\n    x = 1\n    return a\n", 1, 9, None),
        ("a.py", 'x = """\n', 0, 7, None),
        ("a.java", "class A {\n  /**\n  int f(int a) { return a; }\n}\n", 1, 5, ("f", " */", " ")),
        ("a.go", "package p\n\n// \nfunc F(a int) int { return a }\n", 2, 3, ("F", "", "")),
        ("a.cs", "class A {\n  ///\n  int F() { return 1; }\n}\n", 1, 5, ("F", "", " ")),
    ],
)
def test_documentation_is_offered_where_one_begins_to_type_it(
    name: str, text: str, line: int, column: int, wanted: tuple[str, str, str] | None
) -> None:
    """After an opening, in a text that does not parse yet."""
    document = Document(f"file:///{name}", text)
    found = opening(document, types.Position(line=line, character=column))
    assert (found and (found[0].name, *found[1:])) == wanted


@pytest.mark.parametrize(
    ("name", "text", "head"),
    [
        ("a.py", "def f(\n    a,\n):  # why\n    return a\n", "def f(\n    a,\n):  # why"),
        ("a.java", "class A {\n  @X\n  int f() {\n  return 1; }\n}\n", "@X\n  int f()"),
        ("a.rb", "def f(x)\nend\n", "def f(x)"),
    ],
)
def test_the_head_of_a_function_is_what_is_pointed_at(name: str, text: str, head: str) -> None:
    """Down to its body; a call of it is as good, and a body away from calls is nothing."""
    document = Document(f"file:///{name}", text)
    where = head_range(document, document.functions[0])
    start, end = document.offset_at(where.start), document.offset_at(where.end)
    assert text[start:end] == head
    assert pointed_at(document, start + 1) is document.functions[0]
    assert pointed_at(document, text.rindex("\n", 0, -1) + 1) is None


def test_the_parts_of_a_function_are_few_and_never_its_head() -> None:
    """Lines with something on them, evenly grouped."""
    lines = ["def f():", "", *[f"    x = {n}" for n in range(40)]]
    parts = parts_of(lines)
    assert len(parts) <= 16
    assert parts[0][0] == 2
    assert parts[-1][1] == 42
    assert parts_of(["int f() { return 1; }"]) == []


# --- answers


def test_one_computation_serves_all_who_wait_and_stops_with_the_last() -> None:
    """A cancelled waiter does not take the answer from the others."""
    function = functions("def f(a):\n    return a\n", "python")[0]
    query = Query("summarize", function, Chosen("p", "v", "summarize", "b"))
    asked: list[str] = []
    stopped: list[str] = []
    release = asyncio.Event()

    class Client:
        async def answer(self, *given: Any, **more: Any) -> list[Any]:
            asked.append(given[1])
            try:
                await release.wait()
            except asyncio.CancelledError:
                stopped.append(given[1])
                raise

            return [Item(text="Gives back a.", score=-0.5)]

    async def ready() -> Any:
        return Client()

    async def turn() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def check() -> None:
        answers = Answers(ready)
        first, second = (asyncio.ensure_future(answers.get(query)) for _ in range(2))
        await turn()
        first.cancel()
        await turn()
        assert not stopped
        release.set()
        answer = await second
        assert answer is not None
        assert answer.confidence == pytest.approx(0.6065, abs=1e-3)
        assert answers.known(query) is answer
        assert len(asked) == 1
        release.clear()
        answers.forget()
        third = asyncio.ensure_future(answers.get(query))
        await turn()
        third.cancel()
        await turn()
        assert len(stopped) == 1

    asyncio.run(check())


def test_the_list_of_actions_asks_no_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even for one that is not there; unsupported kinds are not offered."""

    async def check() -> None:
        local = Local()
        await local.begin()
        # Opening a document wakes an engine, which would stay behind.
        monkeypatch.setattr(local.server.engine, "_wake", asyncio.get_running_loop().create_future)
        path = tmp_path / "a.py"
        local.send("textDocument/didOpen", opened(path, "def f(a):\n    return a\n", "python"))
        place = at(path, 0, 5)
        given = {
            "textDocument": place["textDocument"],
            "range": {"start": place["position"], "end": place["position"]},
            "context": {"diagnostics": [], "only": ["refactor"]},
        }
        found = (await local.ask(5, "textDocument/codeAction", given))["result"]
        assert [action["title"] for action in found] == ["Write the documentation of f"]
        assert found[0]["command"] == "codeprompt.document"
        assert local.server.engine.state.kind == "idle"

    asyncio.run(check())


# --- the start


def test_a_quickly_imported_message_compares_but_never_shows_its_text() -> None:
    """The server's own start leaves representations out; comparing and collecting stay."""
    code = """
import gc
from lsp_server.imports import quick
with quick():
    from lsp_server.server import CodepromptServer
import attrs
from lsprotocol import types
one, other = (types.TextDocumentItem("file:///a.py", "python", 1, "secret") for _ in range(2))
assert one == other and "secret" not in repr(one) and gc.isenabled()
assert "a=1" in repr(attrs.make_class("Own", ["a"])(1))
assert "b=2" in repr(attrs.define(type("Own", (), {"__annotations__": {"b": int}}))(2))
class Item(types.TextDocumentIdentifier): pass
assert Item("file:///a.py").uri == "file:///a.py" and attrs.has(Item)
try: types.Registration(nonsense=1)
except TypeError: pass
else: raise AssertionError("an unknown field was taken")
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_quickly_imported_messages_have_the_fields_types_and_defaults_of_plain_ones() -> None:
    """Every class of the protocol, used or not, in a process of either kind."""
    code = """
import hashlib, re, sys
if sys.argv[1] == "quick":
    from lsp_server.imports import quick
    with quick():
        import lsprotocol.types as types
else:
    import lsprotocol.types as types
import attrs
from lsprotocol.converters import get_converter
get_converter()
kinds = [k for k in types.ALL_TYPES_MAP.values() if isinstance(k, type) and attrs.has(k)]
told = [re.sub(" at 0x[0-9a-f]+", "", f"{k.__name__} {a!r}")
        for k in kinds for a in attrs.fields(k)]
print(len(kinds), len(told), hashlib.sha256("\\n".join(told).encode()).hexdigest())
"""
    found = [
        subprocess.run([sys.executable, "-c", code, how], check=True, timeout=60, stdout=-1).stdout
        for how in ("quick", "plain")
    ]
    assert found[0] == found[1] and int(found[0].split()[0]) > 500
