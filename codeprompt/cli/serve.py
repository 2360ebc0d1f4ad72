"""Serve every pack over a socket (and a port, if asked): the engine in the foreground."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from pathlib import Path
from typing import Any

import click

from codeprompt.cli.options import BACKBONE, IN_FILE, OUT_FILE
from codeprompt.cli.output import note
from codeprompt.errors import UsageError

EXAMPLES = """\b
Examples:
  codeprompt serve
  codeprompt serve --port 8420
  curl --unix-socket "$XDG_RUNTIME_DIR/codeprompt/engine.sock" http://codeprompt/v1/status
  codeprompt serve --host 0.0.0.0 --port 8420 --allow-remote --token-file ~/codeprompt.token
  CODEPROMPT_HOME=/srv/codeprompt codeprompt serve --uds /srv/codeprompt/engine.sock
  codeprompt serve --ray --replicas 2 --packs-from s3://team/packs --token-file token

Editors and the command line find the engine by its state folder: there is one engine for each.
`codeprompt engine start` runs the same in the background. A port always asks for a token
(Authorization: Bearer TOKEN); the socket, which only its owner can open, does not. SIGTERM or
Ctrl-C ends it: what is in flight is answered, and tuning jobs go on at the next start. The
interface is described at /openapi.json.
"""
MIN_TOKEN = 16


def engine_settings(command: Any) -> Any:
    """Options of `serve` that `engine start` passes on."""
    for option in (
        click.option("--job-memory", type=click.IntRange(min=256), metavar="MB",
                     default=4096, show_default=True, help="What one tuning job may take."),
        click.option("--job-cores", type=click.IntRange(min=1), default=1, show_default=True,
                     help="Cores for one tuning job."),
        click.option("--cache", type=click.IntRange(min=0), metavar="MB", default=64,
                     show_default=True, help="Of answers that are kept; 0 keeps none."),
        click.option("--memory", type=click.IntRange(min=64), metavar="MB", default=2048,
                     show_default=True, help="Of all loaded backbones; the longest unused leaves."),
        click.option("--allow-hub", is_flag=True, help="Ask a model hub for what is not here."),
        click.option("--threads", type=click.IntRange(min=1), help="Processor threads to use."),
        click.option("--precision", type=click.Choice(["auto", "float32", "bf16", "int8"]),
                     default="auto", show_default=True, help="Of the serving copy."),
        click.option("--backbone", type=BACKBONE, default="builtin", show_default=True,
                     help="The one to warm up; packs bring others."),
    ):  # fmt: skip
        command = option(command)
    return command


def ray_options(command: Any) -> Any:
    """Options of `serve --ray`."""
    for option in (
        click.option("--packs-from", metavar="URL", help="With --ray: packs from a folder that "
                     "all machines read: a path, s3://BUCKET/FOLDER, ..."),
        click.option("--ray-address", metavar="ADDRESS", help="With --ray: of a running cluster "
                     "(auto, HOST:PORT).  [default: one is begun here]"),
        click.option("--max-replicas", type=click.IntRange(min=1), help="With --ray: the load "
                     "decides, up to so many."),
        click.option("--min-replicas", type=click.IntRange(min=0), help="With --ray: never fewer."),
        click.option("--replicas", type=click.IntRange(min=1), help="With --ray: so many.  "
                     "[default: 1]"),
        click.option("--ray", is_flag=True, help="As a Ray Serve deployment."),
    ):  # fmt: skip
        command = option(command)
    return command


def ray_chosen(given: dict[str, Any], uds: Path | None) -> dict[str, Any] | None:
    """Where the cluster and the packs are; None without --ray. Raises `UsageError`."""
    asked = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None
             and name != "ray"]  # fmt: skip
    if not given["ray"]:
        if asked:
            raise UsageError(f"{asked[0]} is for Ray", do="Give --ray too")
        return None
    if uds is not None:
        raise UsageError("Ray listens on a port, and has no --uds", do="Give --host and --port")
    return {"address": given["ray_address"], "packs_from": given["packs_from"]}


@click.command("serve", epilog=EXAMPLES)
@click.option("--uds", type=OUT_FILE, metavar="PATH", help="The socket, if not the usual one.")
@click.option("--host", help="Listen on TCP too.  [default: 127.0.0.1, if --port is given]")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen on TCP too; 0: a free one.")
@click.option(
    "--token-file", type=IN_FILE, metavar="FILE", help="With the token; made if it is missing."
)
@click.option("--allow-remote", is_flag=True, help="Let --host be reached from other machines.")
@click.option(
    "--idle-exit",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=0,
    help="Leave when nobody has asked for anything so long; 0: never.  [default: 0]",
)
@engine_settings
@ray_options
def serve(
    uds: Path | None,
    host: str | None,
    port: int | None,
    token_file: Path | None,
    allow_remote: bool,
    idle_exit: float,
    backbone: str,
    precision: Any,
    threads: int | None,
    allow_hub: bool,
    memory: int,
    cache: int,
    job_cores: int,
    job_memory: int,
    **ray: Any,
) -> None:
    """Serve every pack over a socket (and a port, if asked): the engine in the foreground."""
    if token_file is not None and host is None and port is None and not ray["ray"]:
        raise UsageError("--token-file is for a port", do="Give --port too")
    chosen = ray_chosen(ray, uds)
    token = _token(token_file) if token_file is not None else None
    from codeprompt.cli.progress import quiet_libraries
    from codeprompt.client.address import Home
    from codeprompt.service.settings import Settings

    quiet_libraries(offline=not allow_hub)
    settings = Settings(
        home=Home.own().folder,
        backbone=backbone,
        precision=precision,
        threads=threads,
        allow_hub=allow_hub,
        memory_mb=memory,
        cache_mb=cache,
        idle_exit_s=idle_exit or None,
        job_cores=job_cores,
        job_memory_mb=job_memory,
    )
    listen: dict[str, Any] = {
        "host": host, "port": port, "token": token, "insecure_bind": allow_remote, "say": note
    }  # fmt: skip
    if chosen is not None:
        from codeprompt.service.ray_app import run_ray, scale

        amount = scale(ray["replicas"], ray["min_replicas"], ray["max_replicas"])
        status = run_ray(settings, amount, **chosen, **listen)
    else:
        from codeprompt.service.run import run

        status = run(settings, uds=uds.expanduser().absolute() if uds else None, **listen)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a thread that loads or computes has nothing to lose, and takes seconds


def _token(path: Path) -> str:
    """The token in a file that only its owner can read, made where it is missing.

    Raises `UsageError`.
    """
    path = path.expanduser()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_token(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
    token = secrets.token_urlsafe(32)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(token + "\n")
    note(f"Wrote a token to {path}")
    return token


def _read_token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as a token: {error}") from error
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise UsageError(f"{path} can be read by others", do=f"Run: chmod 600 {path}")
    if len(token) < MIN_TOKEN or not token.isascii() or len(token.split()) != 1:
        raise UsageError(
            f"{path} holds no token",
            expected=f"one word of at least {MIN_TOKEN} characters in ASCII",
            do="Remove it, and one is made",
        )
    return token


COMMAND = serve
