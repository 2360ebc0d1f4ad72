"""How a service is set up: plain values with defaults that suit one user's machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MIB = 1 << 20
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Settings:
    """All there is to set.

    home: the folder of the state (database, packs, uploads).
    backbone: the one that is warmed up at the start; packs may bring others.
    token: asked for on every route but /healthz; None asks for none.
    hosts: what a TCP request's Host may be, without the port; "*" stands for any.
    local_paths: whether requests over the Unix socket may name local files for jobs.
    max_body, max_upload: bytes of a JSON body, of a multipart body.
    waiting: functions that may wait in each backbone's queue.
    crowd: requests that change or ask something, at a time; beyond, none is read.
    cache_mb: of answers. memory_mb: of all loaded backbones with their packs; 1 MB is 2**20 bytes.
    idle_unload_s: a backbone nobody asked for that long is unloaded. idle_exit_s: and the process
        ends; None keeps it.
    job_cores, job_memory_mb: what one tuning job may take.
    """

    home: Path
    backbone: str = "builtin"
    precision: Literal["auto", "float32", "bf16", "int8"] = "auto"
    threads: int | None = None
    allow_hub: bool = False
    token: str | None = None
    hosts: tuple[str, ...] = LOOPBACK
    local_paths: bool = True
    max_body: int = 8 * MIB
    max_upload: int = 64 * MIB
    waiting: int = 256
    crowd: int = 512
    cache_mb: int = 64
    memory_mb: int = 2048
    idle_unload_s: float = 600.0
    idle_exit_s: float | None = 1800.0
    job_cores: int = 1
    job_memory_mb: int = 4096
