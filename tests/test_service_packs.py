"""Packs with versions: what is refused, what is kept, what answers."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from codeprompt.backbones.decoding import Decoding
from codeprompt.errors import CodepromptError, PackError, UnknownNameError
from codeprompt.pack import Pack, load, save
from codeprompt.pack.store import with_card
from codeprompt.service import packs as module
from codeprompt.service.packs import Packs
from codeprompt.service.state import ConflictError, Store
from tests.tiny import tiny_t5
from tests.tuned import pack_of

BACKBONE = tiny_t5()
Files = tuple[bytes, bytes]


def files_of(pack: Pack, place: Path) -> Files:
    """card.json and prompt.safetensors as a client sends them."""
    folder = save(pack, place / pack.card.name)
    return (folder / "card.json").read_bytes(), (folder / "prompt.safetensors").read_bytes()


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Files]:
    """Three versions of one pack."""
    place = tmp_path_factory.mktemp("packs")
    return [
        files_of(pack_of("soft", BACKBONE, "summarize", called=f"mine-{s}", seed=s), place)
        for s in range(3)
    ]


@pytest.fixture
def packs(tmp_path: Path) -> Iterator[Packs]:
    store = Store.open(tmp_path / "state")
    yield Packs(store)
    store.close()


def waste(packs: Packs) -> list[Path]:
    """What lies in `.incoming`."""
    return list((packs.folder / ".incoming").iterdir())


def test_a_pack_is_kept_as_it_was_sent(packs: Packs, three: list[Files]) -> None:
    """Bit for bit, under the first digits of its hash; nothing answers until it is activated."""
    version = packs.add(*three[0], "mine")
    folder = packs.get("mine", version)
    assert (folder / "card.json").read_bytes() == three[0][0]
    assert (folder / "prompt.safetensors").read_bytes() == three[0][1]
    assert load(folder).card.integrity.startswith(version)
    (info,) = packs.list()
    assert (info.name, info.task, info.active) == ("mine", "summarize", None)
    assert info.versions[0].hash == load(folder).card.integrity
    assert waste(packs) == []
    with pytest.raises(ConflictError, match="No version of 'mine' is active"):
        packs.get("mine")
    packs.activate("mine", version)
    assert packs.get("mine") == folder


def test_the_same_pack_twice_is_one_version(packs: Packs, three: list[Files]) -> None:
    """A client that saw no answer may send again."""
    assert packs.add(*three[0], "mine") == packs.add(*three[0], "mine")
    assert len(packs.info("mine").versions) == 1


def test_without_a_name_the_cards_own_counts(packs: Packs, three: list[Files]) -> None:
    """The name on the card."""
    packs.add(*three[1])
    assert packs.info("mine-1").task == "summarize"


def test_going_back_walks_through_what_was_active(packs: Packs, three: list[Files]) -> None:
    """Step by step, past what was retired, to the first; then there is nothing to go back to."""
    a, b, c = (packs.add(*files, "mine", activate=True) for files in three)
    assert packs.info("mine").active == c
    assert packs.rollback("mine") == b
    assert packs.rollback("mine") == a
    with pytest.raises(ConflictError, match="no version to go back to"):
        packs.rollback("mine")
    packs.activate("mine", b)
    packs.activate("mine", c)
    packs.retire("mine", b)
    assert packs.rollback("mine") == a
    assert packs.get("mine").name == a


def test_a_retired_pack_answers_no_more_and_can_come_back(packs: Packs, three: list[Files]) -> None:
    """Its files stay."""
    version = packs.add(*three[0], "mine", activate=True)
    other = packs.add(*three[1], "mine")
    with pytest.raises(ConflictError, match="Activate another version first"):
        packs.retire("mine", version)
    packs.retire("mine", other)
    packs.retire("mine")
    assert packs.info("mine").active is None
    assert all(v.retired for v in packs.info("mine").versions)
    with pytest.raises(ConflictError, match="no version to go back to"):
        packs.rollback("mine")
    packs.activate("mine", version)
    assert packs.get("mine").name == version


def test_names_and_versions_nobody_has_are_refused(packs: Packs, three: list[Files]) -> None:
    """With what there is."""
    version = packs.add(*three[0], "mine")
    with pytest.raises(UnknownNameError, match=r"Unknown pack 'mime'.*Did you mean 'mine'"):
        packs.get("mime")
    for call in (packs.get, packs.activate, packs.retire):
        with pytest.raises(UnknownNameError, match=f"Unknown version of 'mine'.*{version}"):
            call("mine", "abc")
    for change in (packs.rollback, packs.retire, packs.info):
        with pytest.raises(UnknownNameError, match="Unknown pack"):
            change("other")


def test_a_name_keeps_its_task(packs: Packs, three: list[Files], tmp_path: Path) -> None:
    """A version for another task would change what the name means."""
    packs.add(*three[0], "mine")
    other = files_of(pack_of("soft", BACKBONE, "defect"), tmp_path)
    with pytest.raises(PackError, match="'mine' is for summarize, and this pack is for defect"):
        packs.add(*other, "mine")
    assert len(packs.info("mine").versions) == 1
    assert waste(packs) == []


def changed(files: Files, **fields: Any) -> Files:
    """The card with fields changed and nothing else."""
    card = {**json.loads(files[0]), **fields}
    return json.dumps(card).encode(), files[1]


BAD: dict[str, tuple[Callable[[Files], Files], str]] = {
    "no card": (lambda f: (b"", f[1]), "not a readable card"),
    "card cut": (lambda f: (f[0][:100], f[1]), "not a readable card"),
    "card no JSON": (lambda f: (pickle.dumps({"a": 1}), f[1]), "not a readable card"),
    "card too deep": (lambda f: (b"[" * 1000, f[1]), "nested too deeply"),
    "card too large": (lambda f: (f[0] + b" " * 1_000_000, f[1]), "card has"),
    "card of tomorrow": (lambda f: changed(f, schema=99), "schema 99"),
    "field nobody knows": (lambda f: changed(f, more=1), "unknown field"),
    "template changed": (lambda f: changed(f, template="{code"), "was changed"),
    "no hash": (lambda f: changed(f, integrity=""), "was changed"),
    "name with a path": (lambda f: changed(f, name="../up"), "name"),
    "tensors cut": (lambda f: (f[0], f[1][:-5]), "cut or no safetensors"),
    "tensors none": (lambda f: (f[0], b""), "cut or no safetensors"),
    "tensors a pickle": (lambda f: (f[0], pickle.dumps([1, 2])), "cut or no safetensors"),
    "a value changed": (lambda f: (f[0], f[1][:-1] + bytes([f[1][-1] ^ 1])), "was changed"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_whole_pack_is_refused(packs: Packs, three: list[Files], case: str) -> None:
    """And leaves nothing behind."""
    break_it, message = BAD[case]
    with pytest.raises(CodepromptError, match=message):
        packs.add(*break_it(three[0]), "mine")
    assert packs.list() == [] and waste(packs) == []
    assert not (packs.folder / "mine").exists()


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a\\b", "x" * 101, "a\n", "ä"])
def test_a_name_that_might_be_more_is_refused(packs: Packs, three: list[Files], name: str) -> None:
    """Nothing is written outside the packs' folder."""
    with pytest.raises(PackError, match="name of the pack cannot be used"):
        packs.add(*three[0], name)
    assert waste(packs) == []


def test_a_card_that_asks_for_too_much_is_refused(packs: Packs, tmp_path: Path) -> None:
    """Well-formed and sealed, but one answer of it would hold the engine up."""
    long = Decoding(max_new_tokens=10**6)
    pack = pack_of("soft", BACKBONE, "summarize", decoding=long)
    with pytest.raises(PackError, match="max_new_tokens = 1,000,000"):
        packs.add(*files_of(pack, tmp_path))
    strange = with_card(pack, decoding={"beems": 2})
    with pytest.raises(CodepromptError, match="Unknown decoding setting 'beems'"):
        packs.add(*files_of(strange, tmp_path))
    foreign = with_card(pack, decoding={}, task="cook")
    with pytest.raises(CodepromptError, match="Unknown task 'cook'"):
        packs.add(*files_of(foreign, tmp_path))


def test_an_upload_has_a_limit(
    packs: Packs, three: list[Files], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is written."""
    monkeypatch.setattr(module, "MAX_TENSORS", 10)
    with pytest.raises(PackError, match="The tensors have"):
        packs.add(*three[0], "mine")


@pytest.mark.parametrize("step", ["put", "row_of"])
def test_what_a_crash_left_is_swept_and_may_be_sent_again(
    packs: Packs, three: list[Files], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Killed before the rename or before the commit: no row, so no pack; the files go."""

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, step, dies)
        patch.setattr(module.shutil, "rmtree", lambda *_, **__: None)  # nobody tidies up
        with pytest.raises(KeyboardInterrupt):
            packs.add(*three[0], "mine")
    left = [*waste(packs), *packs.folder.glob("mine/*")]
    assert left and packs.list() == []
    again = Packs(packs.store)
    assert [*waste(again), *packs.folder.glob("mine/*")] == []
    version = again.add(*three[0], "mine", activate=True)
    load(again.get("mine", version))


def test_files_that_were_removed_come_back_with_the_same_pack(
    packs: Packs, three: list[Files]
) -> None:
    """The row is there, its files are not: it says so, and sending it again mends it."""
    version = packs.add(*three[0], "mine", activate=True)
    for file in packs.get("mine").iterdir():
        file.unlink()
    with pytest.raises(PackError, match=r"files of 'mine'.*Upload it again"):
        packs.get("mine")
    assert packs.add(*three[0], "mine") == version
    load(packs.get("mine"))


def test_what_is_opened_again_is_as_it_was(packs: Packs, three: list[Files]) -> None:
    """Names, versions, what is active, and what to go back to."""
    first = packs.add(*three[0], "mine", activate=True)
    packs.add(*three[1], "mine", activate=True)
    before = packs.list()
    store = Store.open(packs.store.folder)
    again = Packs(store)
    assert again.list() == before
    assert again.rollback("mine") == first
    store.close()


def test_what_is_wrong_with_a_file_is_told_without_our_folders(
    packs: Packs, three: list[Files]
) -> None:
    """Whoever sends a file knows it by its name, and has no business with where it was put."""
    with pytest.raises(PackError, match=r"^prompt\.safetensors cannot be read") as found:
        packs.add(three[0][0], pickle.dumps({"a": 1}))
    assert str(packs.folder) not in str(found.value)
