"""What is shipped for deployments says only what is there: Dockerfile, compose.yaml, unit."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import click
import pytest

from codeprompt.cli.serve import serve

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "Dockerfile"
UNIT = ROOT / "packaging" / "codeprompt.service"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, lines joined, comments left out."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    found = [line.split(None, 1) for line in lines if line.strip()]
    return [(word.upper(), rest) for word, rest in found]


def of(name: str) -> list[str]:
    """The arguments of every instruction of a name."""
    return [rest for word, rest in instructions() if word == name]


def options(words: list[str]) -> None:
    """Words after `serve` are options that the command has, with values it takes."""
    context = click.Context(serve)
    serve.parse_args(context, list(words))


def test_what_the_image_copies_exists_and_is_in_the_context() -> None:
    """A path that .dockerignore holds back would fail the build."""
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    kept = [rule[1:] for rule in rules if rule.startswith("!")]
    assert rules[0] == "*"
    for line in of("COPY"):
        if line.startswith("--from="):
            continue
        for source in shlex.split(line)[:-1]:
            assert (ROOT / source).exists(), source
            assert any(fnmatch.fnmatch(source, k) or source.startswith(k + "/") for k in kept)


def test_the_package_is_whole_without_what_is_not_copied() -> None:
    """Files that the build reads by name: the readme and the licence."""
    copied = " ".join(of("COPY"))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name in [*re.findall(r'^readme = "(.+)"', project, re.MULTILINE), "LICENSE"]:
        assert name in copied


def test_the_image_runs_as_nobody_of_note_and_says_whether_it_is_well() -> None:
    """Several stages, a user by number, a health check that needs no shell."""
    assert len(of("FROM")) == 2
    (user,) = of("USER")
    assert int(user.split(":")[0]) > 0
    (check,) = of("HEALTHCHECK")
    command = json.loads(check.partition("CMD")[2])
    compile(command[2], "health check", "exec")
    assert "/healthz" in command[2]
    after = [word for word, _ in instructions()]
    assert after.index("USER") > max(i for i, word in enumerate(after) if word == "RUN")


def test_the_image_starts_the_service_with_options_it_has() -> None:
    """A port for others needs the token file and the explicit flag."""
    assert json.loads(of("ENTRYPOINT")[0]) == ["codeprompt"]
    first, *words = json.loads(of("CMD")[0])
    assert first == "serve" and {"--allow-remote", "--token-file"} <= set(words)
    options(words)
    assert of("EXPOSE") == [words[words.index("--port") + 1]]


def test_all_that_the_image_writes_lies_in_its_volume() -> None:
    """The rest of the file system may be read-only."""
    (volume,) = of("VOLUME")
    environment = dict(re.findall(r"(\w+)=(\S+)", " ".join(of("ENV"))))
    for name in ("HOME", "CODEPROMPT_HOME", "CODEPROMPT_DATA", "XDG_CACHE_HOME"):
        assert Path(environment[name]).is_relative_to(volume)


def test_compose_locks_the_container_down() -> None:
    """Read-only, no capabilities, loopback alone, bounded."""
    yaml: Any = pytest.importorskip("yaml")
    found = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    (service,) = found["services"].values()
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    (port,) = service["ports"]
    assert port.startswith("127.0.0.1:") and port.endswith(":" + of("EXPOSE")[0])
    (mount,) = service["volumes"]
    name, _, place = mount.partition(":")
    assert name in found["volumes"] and place == of("VOLUME")[0]
    assert service["mem_limit"] and service["pids_limit"]


def test_the_unit_is_one_that_systemd_understands(tmp_path: Path) -> None:
    """Its command has the options it is given; systemd finds no fault where it is there."""
    unit = RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT, encoding="utf-8")
    program, first, *words = shlex.split(unit["Service"]["ExecStart"])
    assert program.endswith("/codeprompt") and first == "serve"
    options(words)
    assert unit["Service"]["NoNewPrivileges"] == "yes" and unit["Install"]["WantedBy"]
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return
    there = tmp_path / "codeprompt.service"
    there.write_text(UNIT.read_text(encoding="utf-8").replace(program, "/bin/true"))
    said = subprocess.run(
        [analyze, "verify", "--user", str(there)],
        capture_output=True,
        text=True,
        env={"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert said.returncode == 0, said.stderr
