"""The folder of a pack: full disks, crashes, two writers, links, and files that are no pack."""

from __future__ import annotations

import errno
import multiprocessing
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from codeprompt.errors import CodepromptError, PackError
from codeprompt.inject import Injection
from codeprompt.pack import (
    Pack,
    check_target,
    load,
    save,
)
from codeprompt.pack import folder as folders
from codeprompt.pack.folder import TENSORS
from codeprompt.pack.lookup import CARD, previous
from codeprompt.pack.store import seal
from tests.packs import make

# The folder


def test_a_folder_that_is_no_pack_is_not_overwritten(tmp_path: Path) -> None:
    """Neither a file, nor somebody's folder, nor a pack with other files in it."""
    file = tmp_path / "file"
    file.write_text("x")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("x")
    mixed = save(make(), tmp_path / "mixed")
    (mixed / "notes.txt").write_text("x")
    for place, reason in ((file, "not a folder"), (mine, "is no pack"), (mixed, "more than a")):
        with pytest.raises(PackError, match=reason):
            save(make(), place)
        with pytest.raises(PackError, match=reason):
            check_target(place)
    assert (mine / "notes.txt").read_text() == "x"
    check_target(tmp_path / "new")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / ".DS_Store").write_text("")
    load(save(make(), empty))


def full(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The disk is full once the file called `name` is synced."""
    real = folders._write

    def write(path: Path, data: bytes) -> None:
        if path.name == name:
            path.write_bytes(data[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, data)

    monkeypatch.setattr(folders, "_write", write)


@pytest.mark.parametrize("name", [TENSORS, CARD])
def test_a_full_disk_leaves_the_old_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The message says so, and nothing half-written stays."""
    old = make()
    where = save(old, tmp_path / "p")
    full(monkeypatch, name)
    with pytest.raises(CodepromptError, match="The disk is full while writing"):
        save(make(seed=7), where)
    with pytest.raises(CodepromptError, match="The disk is full while writing"):
        save(make(seed=7), tmp_path / "q")
    assert load(where).card == old.card
    assert {p.name for p in tmp_path.iterdir()} <= {"p", ".p.lock", ".q.lock"}


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", range(1, 6))
def test_a_crash_at_any_step_leaves_a_whole_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """The old one or the new one; the next reader and the next writer go on."""
    old, new = make(seed=1), make(seed=2)
    where = save(old, tmp_path / "p")
    count = 0

    def crashing(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count >= step:
                raise Crash
            return real(*arguments, **more)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(folders, "_write", crashing(folders._write))
        patch.setattr(os, "rename", crashing(os.rename))
        patch.setattr(shutil, "rmtree", crashing(shutil.rmtree))
        with pytest.raises(Crash):
            save(new, where)
    found = load(where)
    assert found.card in (old.card, new.card)
    assert load(save(new, where)).card == new.card
    assert {p.name for p in tmp_path.iterdir()} == {"p", ".p.lock"}


def test_a_pack_left_moved_aside_is_put_back(tmp_path: Path) -> None:
    """As a power cut between the two renames leaves it."""
    pack = make()
    where = save(pack, tmp_path / "p")
    os.rename(where, previous(where))
    assert load(where).card == pack.card
    assert where.is_dir()
    assert not previous(where).exists()


def write_again_and_again(place: str, seed: int, ready: Any, times: int) -> None:
    torch.set_num_threads(1)
    pack = make(seed=seed, injection=Injection(slots=torch.full((3, 32), float(seed))))
    ready.wait()
    for _ in range(times):
        save(pack, place)


@pytest.mark.slow
def test_two_processes_write_one_pack(tmp_path: Path) -> None:
    """Both succeed in turn, readers in between find a whole pack, and so is the last."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(3)
    where = save(make(seed=1, injection=Injection(slots=torch.ones(3, 32))), tmp_path / "p")
    arguments = [(str(where), seed, ready, 12) for seed in (1, 2)]
    writers = [context.Process(target=write_again_and_again, args=a) for a in arguments]
    for writer in writers:
        writer.start()
    ready.wait(60)
    while any(writer.is_alive() for writer in writers):
        pack = load(where)
        assert bool((pack.injection.tensors()["slots"] == pack.card.seed).all())
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert load(where).card.seed in (1, 2)
    assert {p.name for p in tmp_path.iterdir()} == {"p", ".p.lock"}


def test_links_out_of_a_pack_are_refused(tmp_path: Path) -> None:
    """A link to the whole folder is the user's affair, and is written through."""
    where = save(make(), tmp_path / "p")
    outside = tmp_path / "outside.safetensors"
    shutil.move(where / TENSORS, outside)
    (where / TENSORS).symlink_to(outside)
    with pytest.raises(PackError, match="a link out of the pack"):
        load(where)
    real = save(make(), tmp_path / "real")
    link = tmp_path / "link"
    link.symlink_to(real)
    save(make(seed=5), link)
    assert link.is_symlink()
    assert load(link).card.seed == load(real).card.seed == 5


def test_a_folder_in_a_files_place_is_refused(tmp_path: Path) -> None:
    """And so is anything else that is not a file."""
    where = save(make(), tmp_path / "p")
    (where / TENSORS).unlink()
    (where / TENSORS).mkdir()
    with pytest.raises(PackError, match="is not a file"):
        load(where)
    if hasattr(os, "mkfifo"):
        (where / TENSORS).rmdir()
        os.mkfifo(where / TENSORS)
        with pytest.raises(PackError, match="is not a file"):
            load(where)


def test_no_pickle_is_ever_read(tmp_path: Path) -> None:
    """A pickle under the tensors' name is no safetensors file."""
    where = save(make(), tmp_path / "p")
    torch.save({"slots": torch.zeros(3, 32)}, where / TENSORS)
    with pytest.raises(PackError, match="no safetensors file"):
        load(where)


def test_an_unsealed_or_foreign_integrity_is_refused(tmp_path: Path) -> None:
    """A card without its hash is a changed card."""
    pack = make()
    blank = Pack(msgspec.structs.replace(pack.card, integrity=""), pack.injection)
    with pytest.raises(PackError, match="was changed after"):
        load(save(blank, tmp_path / "p"))
    assert re.fullmatch("[0-9a-f]{64}", seal(blank.card, blank.injection).card.integrity)
