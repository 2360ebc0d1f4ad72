"""What every day asks of the server in an editor: told once, skipped visibly, nothing leaks."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
from lsprotocol import types

from codeprompt.backbones.decoding import Decoding
from codeprompt.client import Home, connect, state
from codeprompt.pack import store
from lsp_server.commands.files import folder_files, read_document
from lsp_server.docstrings import documentation_edit
from lsp_server.documents import Document
from lsp_server.packs import Packs, project_name
from lsp_server.settings import Settings, read
from lsp_server.shown import REPORT
from lsp_server.trust import Trust
from tests.edited import SOURCE, Editor, World, project, world
from tests.editing import Local, at, listed, opened, raw
from tests.serviced import pack

TEXT = "def f():\n    return 1\n"
NOTHING: dict[str, Any] = {}


async def begun(root: Path, **params: Any) -> Local:
    """A server inside the process with a folder open."""
    local = Local()
    await local.begin(rootUri=root.as_uri(), **params)
    return local


def skipped(local: Local) -> dict[str, str]:
    """What the status bar was told last of files that are left alone."""
    told = local.sent.called("codeprompt/status")
    found: dict[str, str] = told[-1]["params"]["skipped"] if told else NOTHING
    return found


def logged(local: Local) -> list[str]:
    """The lines of the editor's log."""
    return [one["params"]["message"] for one in local.sent.called("window/logMessage")]


def test_an_empty_table_of_lua_s_is_no_settings_at_all() -> None:
    """It comes as a list; nobody is told that something is wrong."""
    assert read([]) == (Settings(), [])
    assert read({"hover": {"enabled": False}})[0].hover.enabled is False
    assert read([1])[1] == ["The settings are no object; all keep their values."]


def test_what_is_left_alone_is_told_for_as_long_as_it_is(tmp_path: Path) -> None:
    """In the status as often as the file is open, in the log once; gone with its reason."""

    async def check() -> None:
        local = await begun(tmp_path)
        zig = tmp_path / "a.zig"
        for _ in range(2):
            local.send("textDocument/didOpen", opened(zig, "fn f() void {}\n", "zig"))
            assert (await local.ask("h", "textDocument/hover", at(zig, 0, 3)))["result"] is None
            assert skipped(local) == {zig.as_uri(): "'zig' is no supported language"}
            local.send("textDocument/didClose", {"textDocument": {"uri": zig.as_uri()}})
            await local.ask("again", "textDocument/hover", at(zig, 0, 3))
            local.sent[:] = [m for m in local.sent if m.get("id") not in ("h", "again")]
            assert skipped(local) == {}
        line = "a.zig is left alone: 'zig' is no supported language."
        assert logged(local).count(line) == 1

    asyncio.run(check())


def test_a_file_that_shrinks_is_served_again(tmp_path: Path) -> None:
    """And the status no longer says that it is left alone."""

    async def check() -> None:
        local = await begun(tmp_path, initializationOptions={"maxFileKb": 1})
        big = tmp_path / "big.py"
        local.send("textDocument/didOpen", opened(big, TEXT * 100, "python"))
        asked = {**at(big, 0, 0), "range": {"start": {"line": 0, "character": 4},
                 "end": {"line": 0, "character": 4}}, "context": {"diagnostics": []}}  # fmt: skip
        assert (await local.ask("one", "textDocument/codeAction", asked))["result"] is None
        assert skipped(local) == {big.as_uri(): "it is larger than 1 KB"}
        local.send(
            "textDocument/didChange",
            {
                "textDocument": {"uri": big.as_uri(), "version": 2},
                "contentChanges": [{"text": TEXT}],
            },
        )
        assert (await local.ask("two", "textDocument/codeAction", asked))["result"]
        assert skipped(local) == {}

    asyncio.run(check())


def test_a_whole_folder_is_taken_as_the_settings_say_and_tells_what_it_left_out(
    tmp_path: Path,
) -> None:
    """The nearest settings file counts for each file; what is left out is counted by reason."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    files = {
        "a.py": TEXT,
        "part/.codeprompt/editor.toml": 'exclude = ["part/out/*"]\nmaxFileKb = 1\n',
        "part/b.py": TEXT,
        "part/out/c.py": TEXT,
        "part/big.py": TEXT * 100,
        "made_pb2.py": TEXT,
        "said.py": "# @generated\n" + TEXT,
        "node_modules/d.js": "function f() {}",
        ".gitignore": "ignored.py\n",
        "ignored.py": TEXT,
        "latin.py": "# \xe9\n" + TEXT,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="latin-1")

    async def check() -> None:
        local = await begun(tmp_path)
        tree = await folder_files(local.server, {"folder": tmp_path.as_uri()})
        found = [await read_document(local.server, path, tree) for path in tree.paths]
        names = [one.path.name for one in found if one is not None and one.path is not None]
        assert names == ["a.py", "b.py"]
        assert tree.told() == (
            "Left out: 1 x file in .gitignore, 1 x file over 1 KB, 1 x file that is not UTF-8, "
            "1 x file that the settings exclude, 2 x generated file, 1 x vendored or built folder."
        )

    asyncio.run(check())


def test_a_pack_that_was_tuned_on_one_project_answers_in_no_other(tmp_path: Path) -> None:
    """Not by itself, not picked by hand in another folder, not by a setting."""
    mine, other = tmp_path / "mine", tmp_path / "other"
    packs = Packs(Trust())
    own = project_name(mine, "summarize")
    packs.listed = [listed("common"), listed(own)]

    def chosen(root: Path | None, wanted: str = "") -> str | None:
        found = packs.choose("summarize", wanted, root / "a.py" if root else None, root)
        return found.name if found else None

    assert chosen(mine) == own
    assert chosen(other) == "common"
    assert chosen(other, wanted=own) is None
    packs.picked["summarize"] = own
    assert chosen(mine) == own
    assert chosen(other) == "common"
    assert chosen(None) == "common"


def test_a_pack_that_nobody_could_be_asked_about_is_not_used_and_the_status_says_so(
    tmp_path: Path,
) -> None:
    """As in an editor that knows no such questions."""

    async def check() -> None:
        local = await begun(tmp_path)
        asked = asyncio.ensure_future(local.server.shown.agrees(tmp_path / "ours"))
        while not local.sent.called("window/showMessageRequest"):
            await asyncio.sleep(0)
        number = local.sent.called("window/showMessageRequest")[-1]["id"]
        refusal = {"code": -32601, "message": "Method not found"}
        local.server.protocol.receive({"jsonrpc": "2.0", "id": number, "error": refusal})
        assert await asked is None
        notes = local.sent.called("codeprompt/status")[-1]["params"]["notes"]
        assert notes == [
            "The pack 'ours' of this project is not used: nobody has agreed to it. "
            "The setting codeprompt.trust 'always' does."
        ]

    asyncio.run(check())


def test_where_an_editor_shows_no_documents_their_place_is_told(tmp_path: Path) -> None:
    """Not in the log alone; at the end the files go, but for reports."""

    async def check() -> None:
        local = await begun(tmp_path)
        await local.server.shown.show("report.md", "# Report\n")
        (told,) = local.sent.called("window/showMessage")
        path = Path(told["params"]["message"].removeprefix("See "))
        assert path.read_text(encoding="utf-8") == "# Report\n"
        report = path.with_name(f"project{REPORT}")
        await local.server.shown.show(report.name, "# Project\n")
        local.server.shown.close()
        assert list(path.parent.iterdir()) == [report]
        shutil.rmtree(path.parent)

    asyncio.run(check())


def test_a_file_is_named_by_its_path_in_the_project(tmp_path: Path) -> None:
    """As `harvest` names it in the rows that packs are tuned on."""

    async def check() -> None:
        local = await begun(tmp_path)
        for path, wanted in ((tmp_path / "a/b.py", "a/b.py"), (Path("/elsewhere/c.py"), "c.py")):
            assert local.server.file_of(Document(path.as_uri(), TEXT)) == wanted

    asyncio.run(check())


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("below", "wanted"),
    [
        ("    # why\n\n    x = 1\n", '    """Doc."""\n    # why\n\n    x = 1\n'),
        ("\n    x = 1\n", '    """Doc."""\n\n    x = 1\n'),
        ("    # type: () -> None\n    # why\n    x = 1\n",
         '    # type: () -> None\n    """Doc."""\n    # why\n    x = 1\n'),
        ("# old = 2\n    x = 1\n", '    """Doc."""\n# old = 2\n    x = 1\n'),
        ("    x = 1\n", '    """Doc."""\n    x = 1\n'),
    ],
)  # fmt: skip
def test_a_docstring_stands_right_below_the_head(below: str, wanted: str, newline: str) -> None:
    """Before the comments that a body begins with, but for a type comment."""
    for head in ("def f():\n", "class A:\n  def f(\n      self,  # me\n  ):  # end\n"):
        text = (head + below).replace("\n", newline)
        document = Document("file:///a.py", text, language_id="python")
        (function,) = document.functions
        made = documentation_edit(function, document.functions, "Doc.")
        assert made is not None
        data = text.encode()
        edited = data[: made.start].decode() + made.text + data[made.end :].decode()
        assert edited == (head + wanted).replace("\n", newline)


# --- with the real engine


def naming(folder: Path) -> None:
    """A pack whose template asks for what the text of a function does not hold."""
    made = pack(called="summarize", target_length=20, decoding=Decoding(max_new_tokens=20))
    asking = "Summarize {qualified_name} of {path} with {imports}: {code}"
    store.save(store.with_card(made, template=asking), folder / "summarize")


def hovered(made: World, root: Path, path: Path, line: int, **settings: Any) -> str:
    """What a hover says at the end, and the status with it."""
    options = {"hover": {"budget": 100_000, "minimumConfidence": 0.0}, **settings}
    with raw(made.env) as server:
        server.begin(rootUri=root.as_uri(), initializationOptions=options)
        server.send("textDocument/didOpen", opened(path, path.read_text(), "python"))
        found = server.ask("textDocument/hover", at(path, line, 6))["result"]
        server.end()
    return str(found["contents"]["value"])


@pytest.mark.slow
def test_a_template_that_asks_for_name_path_and_imports_gets_them() -> None:
    """What the editor asked is known to the engine by these, and by no others."""
    text = f"import os\nfrom json import loads\n\n{TEXT}"
    with world(naming) as made, project({"part/a.py": text}) as root:
        assert "summarize@" in hovered(made, root, root / "part/a.py", 3)

        def known(name: str, file: str, imports: str = "os, json") -> bool:
            about = {"function": name, "file": file, "imports": imports}
            (item,) = engine.summarize(TEXT.strip(), "python", whole=True, **about)
            return item.cached

        with connect(address=state(Home(made.home)).address) as engine:
            assert known("f", "part/a.py")
            assert not known("g", "part/a.py")
            assert not known("f", "a.py")
            assert not known("f", "part/a.py", "os")


@pytest.mark.slow
def test_threads_are_a_setting_of_the_engine_that_is_started() -> None:
    """As the command that runs it shows."""
    with world() as made, project({"a.py": TEXT}) as root:
        assert "summarize@" in hovered(made, root, root / "a.py", 0, threads=1)
        pid = state(Home(made.home)).pid
        assert pid is not None
        command = psutil.Process(pid).cmdline()
        assert command[command.index("--threads") + 1] == "1"


@pytest.mark.slow
def test_an_engine_that_cannot_start_says_why(tmp_path: Path) -> None:
    """In the hover and in the status: what failed and where."""
    home = tmp_path / "home"
    home.write_text("a file where a folder should be")
    with world() as made, project({"a.py": TEXT}) as root:
        broken = World(home, made.data, {**made.env, "CODEPROMPT_HOME": str(home)})
        said = hovered(broken, root, root / "a.py", 0)
    assert "The engine cannot be reached (Not a directory: " in said


@pytest.mark.slow
@pytest.mark.asyncio
async def test_the_nearest_settings_win_in_a_monorepo_and_a_change_counts_at_once() -> None:
    """A part that switches hovers off has none; its neighbour has."""
    part = {"one/a.py": SOURCE, "two/a.py": SOURCE, ".codeprompt/editor.toml":
            "[hover]\nbudget = 100000\nminimumConfidence = 0.0\n",
            "two/.codeprompt/editor.toml": "[hover]\nenabled = false\n"}  # fmt: skip
    editor = Editor("vscode1139")
    with world() as made, project(part) as root:
        await editor.start(made.env, root)
        try:
            one = editor.open(root / "one/a.py", SOURCE)
            two = editor.open(root / "two/a.py", SOURCE)
            assert "summarize@" in (await editor.hover(one, 13, 6) or "")
            assert await editor.hover(two, 13, 6) is None
            shutil.rmtree(root / "two/.codeprompt")
            change = types.FileEvent(
                uri=(root / "two/.codeprompt/editor.toml").as_uri(),
                type=types.FileChangeType.Deleted,
            )
            editor.client.workspace_did_change_watched_files(
                types.DidChangeWatchedFilesParams(changes=[change])
            )
            assert "summarize@" in (await editor.hover(two, 13, 6) or "")
        finally:
            await editor.stop()


def test_a_card_is_text_that_git_can_compare(tmp_path: Path) -> None:
    """One value a line, in a fixed order."""
    naming(tmp_path)
    text = (tmp_path / "summarize/card.json").read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
