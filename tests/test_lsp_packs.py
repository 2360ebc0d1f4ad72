"""Which pack answers in an editor, and which of a project a person is asked about."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from codeprompt.client import PackInfo
from lsp_server.cards import Facts
from lsp_server.documents import Document
from lsp_server.features.targets import targets_for
from lsp_server.packs import Packs, near_packs, project_name
from lsp_server.settings import Packs as PackNames
from lsp_server.settings import Settings
from lsp_server.trust import Trust, content_of
from tests.editing import Local, listed


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of its own."""
    monkeypatch.setenv("CODEPROMPT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def write_pack(folder: Path, content: str = "{}") -> Path:
    """Something that looks like a pack."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.json").write_text(content)
    (folder / "prompt.safetensors").write_bytes(b"x")
    return folder


class Engine:
    """Takes packs as the engine's client does."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bool]] = []

    async def upload_pack(self, folder: Path, name: str, activate: bool) -> PackInfo:
        """Keep the name."""
        self.sent.append((name, activate))
        return listed(name, version=f"v{len(self.sent)}")


def test_a_project_s_pack_is_asked_about_before_it_is_sent(tmp_path: Path) -> None:
    """Consent counts for its content: a changed pack is asked about again; refusal is kept too."""
    pack = write_pack(tmp_path / ".codeprompt/packs/ours")
    engine, asked = Engine(), []

    async def send(answer: bool | None) -> Packs:
        async def ask(folder: Path) -> bool | None:
            asked.append(folder.name)
            return answer

        packs = Packs(Trust())
        await packs.send_project(engine, tmp_path / "a.py", tmp_path, ask)  # type: ignore[arg-type]
        return packs

    assert asyncio.run(send(None)).choose("summarize", "", tmp_path / "a.py", tmp_path) is None
    assert asyncio.run(send(False)).choose("summarize", "", tmp_path / "a.py", tmp_path) is None
    assert engine.sent == []
    packs = asyncio.run(send(True))
    chosen = packs.choose("summarize", "", tmp_path / "a.py", tmp_path)
    assert chosen is not None
    assert (chosen.label, chosen.shown) == (f"{project_name(tmp_path, 'ours')}@v1", "ours@v1")
    assert engine.sent == [(project_name(tmp_path, "ours"), False)]
    assert packs.choose("summarize", "", Path("/elsewhere/a.py"), Path("/elsewhere")) is None
    asyncio.run(send(None))
    assert asked == ["ours"] * 3
    content = content_of(pack)
    (pack / "prompt.safetensors").write_bytes(b"y")
    assert content_of(pack) != content
    asyncio.run(send(None))
    assert asked == ["ours"] * 4


def test_the_nearest_packs_come_first(tmp_path: Path) -> None:
    """Up to the project's root, and never above it."""
    write_pack(tmp_path / ".codeprompt/packs/above")
    write_pack(tmp_path / "root/.codeprompt/packs/one")
    write_pack(tmp_path / "root/part/.codeprompt/packs/two")
    root = tmp_path / "root"
    names = [folder.name for folder in near_packs(root / "part/a.py", root)]
    assert names == ["two", "one"]


def test_the_pack_is_picked_by_hand_by_setting_by_project_else_the_newest(tmp_path: Path) -> None:
    """Another project's is never taken, and a retired one neither."""
    packs = Packs(Trust())
    mine = project_name(tmp_path, "summarize")
    packs.listed = [
        listed("old", created="2026-01-01"),
        listed("new", created="2026-02-01"),
        listed("project.00000000.theirs", created="2026-03-01"),
        listed("retired", active=None, created="2026-04-01"),
        listed("sorter", "defect"),
    ]

    def chosen(wanted: str = "") -> str | None:
        found = packs.choose("summarize", wanted, tmp_path / "a.py", tmp_path)
        return found.label if found else None

    assert chosen() == "new@aa"
    assert chosen("old") == "old@aa"
    assert chosen("old@bb") == "old@bb"
    assert chosen("sorter") is None
    packs.listed.append(listed(mine, created="2025-01-01"))
    assert chosen() == f"{mine}@aa"
    assert chosen("summarize") == f"{mine}@aa"
    packs.picked["summarize"] = "old"
    assert chosen() == "old@aa"
    assert packs.names("summarize", tmp_path) == ["new", "old", mine, "retired"]


def test_a_pack_answers_for_the_languages_on_its_card(tmp_path: Path) -> None:
    """Each direction of a translation has its pack; a summary comes from any where none fits."""
    local = Local()
    packs = local.server.packs
    java = Facts(languages=("java",), targets=("c-sharp",))
    sharp = Facts(languages=("c-sharp",), targets=("java",))
    packs.listed = [
        listed("there", "translate", created="2026-01-01"),
        listed("back", "translate", created="2026-02-01"),
        listed("of-c", "defect"),
        listed("of-c-too"),
    ]
    packs._facts = {
        "there@aa": java, "back@aa": sharp,
        "of-c@aa": Facts(languages=("c",)), "of-c-too@aa": Facts(languages=("c",)),
    }  # fmt: skip

    def chosen(task: str, file: str, target: str = "", **picked: str) -> str | None:
        document = Document((tmp_path / file).as_uri(), "")
        settings = Settings(packs=PackNames(**picked))
        found = local.server.choose(task, document, settings, target)
        return found.name if found else None

    def offered(file: str, **picked: str) -> list[str]:
        document = Document((tmp_path / file).as_uri(), "")
        return targets_for(local.server, document, Settings(packs=PackNames(**picked)))

    assert chosen("translate", "a.java") == chosen("translate", "a.java", "c-sharp") == "there"
    assert chosen("translate", "a.cs", "java") == "back"
    assert chosen("translate", "a.java", "go") is chosen("translate", "a.py") is None
    assert chosen("translate", "a.java", translate="back") == "back"
    assert (offered("a.java"), offered("a.cs"), offered("a.py")) == (["c-sharp"], ["java"], [])
    assert chosen("defect", "a.c") == "of-c"
    assert chosen("defect", "a.py") is None
    assert chosen("summarize", "a.py") == "of-c-too"
