"""Packs of projects answer for the project that a request names, and for no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import to_builtins

from codeprompt.backbones.decoding import Decoding
from codeprompt.client import operations, questions
from codeprompt.client.http import encode
from codeprompt.client.messages import PackInfo
from codeprompt.pack import save
from codeprompt.pack.card import DataCard
from codeprompt.pack.store import with_card
from codeprompt.service import folders
from codeprompt.service.folders import Folders, project_folders
from tests.serviced import CODE, Place, client, over_socket, serving, small_pack

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One loop for the module's service and its tests."""
    return "asyncio"


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """A service with a pack of its own, asked over its socket."""
    async with (
        serving(tmp_path_factory.mktemp("home"), small_pack()) as found,
        client(over_socket(found.app)) as http,
    ):
        yield Place(found.service, found.app, http)


def project(folder: Path, *names: str, seed: int = 1) -> str:
    """A project's folder with packs of its own."""
    for name in names:
        made = small_pack(called=name, decoding=Decoding(max_new_tokens=3 + seed))
        save(made, folder / ".codeprompt" / "packs" / name)
    return str(folder)


def names(response: httpx.Response) -> dict[str, str]:
    """Of the packs listed, and where each is."""
    return {pack["name"]: pack["where"] for pack in response.json()["packs"]}


async def test_a_projects_pack_answers_there_alone(place: Place, tmp_path: Path) -> None:
    """Two projects call a pack the same; whoever names none, or another, has neither."""
    one = project(tmp_path / "one", "house", seed=1)
    two = project(tmp_path / "two", "house", seed=2)
    versions = []
    for where in (one, two):
        found = await place.ask(pack="house", project=where)
        assert found.status_code == 200
        versions.append(found.json()["results"][0]["version"])
    assert versions[0] != versions[1]
    other = project(tmp_path / "three")
    for more in ({}, {"project": other}):
        assert (await place.ask(pack="house", **more)).status_code == 404
    exact = {"pack": f"house@{versions[0]}"}
    assert (await place.ask(**exact, project=one)).status_code == 200
    assert (await place.ask(**exact, project=two)).status_code == 404


async def test_the_nearest_pack_answers_by_default(place: Place, tmp_path: Path) -> None:
    """A project's own goes before the service's, by name and for its task."""
    where = project(tmp_path, "near", "summarize")
    assert (await place.ask()).json()["results"][0]["pack"] == "summarize"
    by_name = (await place.ask(pack="summarize", project=where)).json()["results"][0]["version"]
    assert by_name != (await place.ask(pack="summarize")).json()["results"][0]["version"]
    chosen = (await place.ask(project=where)).json()["results"][0]["pack"]
    assert chosen in ("near", "summarize")
    listed = names(await place.http.get("/v1/packs", params={"project": where}))
    assert (listed["near"], listed["summarize"]) == ("project", "project")
    assert names(await place.http.get("/v1/packs"))["summarize"] == "service"


async def test_each_direction_of_a_translation_has_its_pack(place: Place, tmp_path: Path) -> None:
    """Unasked by name the one whose card has the languages; where none has, none."""
    ways = {"there": ("java", "c-sharp"), "back": ("c-sharp", "java")}
    for name, (source, target) in ways.items():
        made = small_pack("translate", called=name, decoding=Decoding(max_new_tokens=3))
        data = DataCard(languages=[source], target_languages=[target])
        save(with_card(made, data=to_builtins(data)), tmp_path / ".codeprompt" / "packs" / name)
    for name, (source, target) in ways.items():
        asked = {"language": source, "target_language": target, "whole": True}
        found = await place.ask("translate", project=str(tmp_path), **asked)
        assert found.status_code == 200, found.text
        assert [item["pack"] for item in found.json()["results"]] == [name]
    asked = {"language": "java", "target_language": "go", "whole": True}
    refused = await place.ask("translate", project=str(tmp_path), **asked)
    assert refused.status_code == 404 and "from java to go" in refused.text
    assert "c-sharp to java, java to c-sharp" in refused.text


async def test_uploaded_packs_of_each_direction_are_told_apart(
    place: Place, tmp_path: Path
) -> None:
    """By their cards, as those in folders are."""
    for name, (source, target) in {"to": ("java", "c-sharp"), "fro": ("c-sharp", "java")}.items():
        made = small_pack("translate", called=name, decoding=Decoding(max_new_tokens=3))
        data = DataCard(languages=[source], target_languages=[target])
        folder = save(with_card(made, data=to_builtins(data)), tmp_path / name)
        parts = {"card": "card.json", "prompt": "prompt.safetensors"}
        files = {part: (file, (folder / file).read_bytes()) for part, file in parts.items()}
        assert (await place.http.post("/v1/packs", files=files)).status_code == 201
    for source, target, wanted in (("java", "c-sharp", "to"), ("c-sharp", "java", "fro")):
        asked = {"language": source, "target_language": target, "whole": True}
        found = await place.ask("translate", **asked)
        assert [item["pack"] for item in found.json()["results"]] == [wanted]


async def test_a_folder_within_a_repository_has_its_packs(place: Place, tmp_path: Path) -> None:
    """Up to the git root and no further; without a repository the folder alone."""
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    (tmp_path / "repo" / "src" / "deep").mkdir(parents=True)
    project(tmp_path, "outside")
    project(tmp_path / "repo", "root")
    project(tmp_path / "repo" / "src", "inner")
    found = names(
        await place.http.get("/v1/packs", params={"project": str(tmp_path / "repo/src/deep")})
    )
    assert {"root", "inner"} <= set(found) and "outside" not in found
    assert project_folders(tmp_path / "plain" / "deep") == [tmp_path / "plain" / "deep"]


async def test_the_servers_own_folder_brings_no_packs(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the engine happened to be started."""
    monkeypatch.chdir(project(tmp_path, "here"))
    assert (await place.ask(pack="here")).status_code == 404
    assert "here" not in names(await place.http.get("/v1/packs"))


async def test_batches_name_a_project_for_each_question(place: Place, tmp_path: Path) -> None:
    """And streams as well."""
    asked = {"task": "summarize", "code": CODE, "language": "python", "pack": "mine"}
    where = project(tmp_path, "mine")
    batch = await place.http.post(
        "/v1/batch", json={"requests": [asked, {**asked, "project": where}]}
    )
    refused, answered = batch.json()["results"]
    assert refused["error"]["code"] == "unknown_pack"
    assert answered[0]["pack"] == "mine"
    stream = await place.ask(pack="mine", project=where, stream=True)
    assert "event: done" in stream.text


@pytest.mark.parametrize("where", ["relative/folder", ".", "~/project", "a\0b"])
async def test_a_project_is_a_full_path(place: Place, where: str) -> None:
    """Nothing is looked up from where the engine runs."""
    found = await place.ask(project=where)
    assert found.status_code == 400 and "full path" in found.json()["error"]["message"]


@pytest.mark.parametrize("where", ["/nowhere/at/all", "/dev/null", "/" + "x" * 300])
async def test_a_folder_that_is_none_has_no_packs(place: Place, where: str) -> None:
    """What is there without it answers."""
    assert (await place.ask(project=where)).status_code == 200


async def test_only_the_socket_may_name_a_project(place: Place, tmp_path: Path) -> None:
    """Over a port a request would make the engine read folders of this machine."""
    where = project(tmp_path, "mine")
    asked: dict[str, Any] = {"code": CODE, "language": "python", "project": where}
    async with client(place.app) as http:
        answers = [
            await http.post("/v1/summarize", json=asked),
            await http.post("/v1/batch", json={"requests": [{"task": "summarize", **asked}]}),
            await http.get("/v1/packs", params={"project": where}),
            await http.get("/v1/packs/mine", params={"project": where}),
        ]
    for found in answers:
        assert (found.status_code, found.json()["error"]["code"]) == (403, "project")


async def test_one_pack_comes_with_its_card(place: Place, tmp_path: Path) -> None:
    """Of the version described, wherever it lies; the list goes without."""
    own = (await place.http.get("/v1/packs/summarize")).json()
    assert own["card"]["integrity"] == own["hash"]
    assert own["card"]["template"]
    where = project(tmp_path, "mine")
    near = (await place.http.get("/v1/packs/mine", params={"project": where})).json()
    assert (near["card"]["name"], near["card"]["integrity"]) == ("mine", near["hash"])
    assert (await place.http.get("/v1/packs/mine")).status_code == 404
    assert "card" not in (await place.http.get("/v1/packs")).json()["packs"][0]


async def test_the_client_says_where_it_is(tmp_path: Path) -> None:
    """In questions as a field, in looks at packs as a parameter; cards come back."""
    where = f"{tmp_path}/a b&c"
    assert b'"project"' in encode(questions.summarize("x", "python", project=where).body)
    assert operations.packs(where).path == f"/v1/packs?project={tmp_path}/a%20b%26c"
    assert operations.pack("n", where).path == f"/v1/packs/n?project={tmp_path}/a%20b%26c"
    assert operations.packs().path == "/v1/packs"
    assert operations.pack("n").read(b'{"name":"n","card":{"task":"t"}}') == PackInfo(
        name="n", card={"task": "t"}
    )


def test_projects_that_nobody_asks_about_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many are remembered, those asked about last."""
    monkeypatch.setattr(folders, "PROJECTS", 3)
    known = Folders()
    for number in range(8):
        known.entries(tmp_path / str(number))
        known.entries(tmp_path / "0")
    assert list(known._seen) == [tmp_path / "6", tmp_path / "7", tmp_path / "0"]
