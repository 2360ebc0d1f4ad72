"""Cells on a Ray cluster: one task a cell, results written here, by the one who asked.

The nodes need the package and the data at the same paths (or hub ids), no folder in common: a task
takes its configuration and gives back its result. A node that dies has its cells run elsewhere.
Numbers are those of one machine as far as its processors agree: threads are part of a cell.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from codeprompt.bench.cell import Cell, as_plain
from codeprompt.bench.place import Place
from codeprompt.bench.queue import place_of
from codeprompt.bench.results import CellResult, ItemRecord
from codeprompt.bench.store import RunFolder
from codeprompt.bench.work import attempt, failed
from codeprompt.errors import UsageError

POLL_SECONDS = 0.5
AHEAD = 2
"""Tasks submitted for each that can run at once."""


def run_on_ray(
    folder: RunFolder,
    cells: Sequence[Cell],
    root: Path | None,
    allow_hub: bool,
    address: str,
    look: Callable[[], None],
) -> None:
    """Run cells until each has a result. address: of a cluster that runs, or `auto`.

    Raises `UsageError` where Ray is not installed or no cluster answers.
    """
    ray, began = _connected(address)
    task = ray.remote(max_retries=3)(remote_cell)
    left = {cell.hash: cell for cell in cells}
    flying: dict[Any, tuple[Cell, ExitStack]] = {}
    room = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
    try:
        while left or flying:
            for cell in list(left.values()):
                if len(flying) >= room:
                    break
                if folder.has_result(cell.hash):
                    del left[cell.hash]
                elif not cell.rates_from or folder.has_result(cell.rates_from):
                    _submit(ray, task, folder, cell, root, allow_hub, flying, left)
            if flying:
                done, _ = ray.wait(list(flying), num_returns=1, timeout=POLL_SECONDS)
                for one in done:
                    cell, stack = flying.pop(one)
                    with stack:
                        _write(ray, folder, cell, one)
            else:
                time.sleep(POLL_SECONDS)  # others hold what is left
            look()
    finally:
        for one, (_, stack) in flying.items():
            ray.cancel(one, force=True)
            stack.close()
        if began:
            ray.shutdown()


def _connected(address: str) -> tuple[Any, bool]:
    """Ray, and whether the connection is ours to end."""
    try:
        import ray
    except ImportError as error:
        raise UsageError("Ray is not installed", do='pip install "codeprompt[ray]"') from error
    if ray.is_initialized():
        return ray, False
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"No Ray cluster answers at {address}: {error}",
            do="Start one (ray start --head), or give its address",
        ) from error
    return ray, True


def _submit(
    ray: Any,
    task: Any,
    folder: RunFolder,
    cell: Cell,
    root: Path | None,
    allow_hub: bool,
    flying: dict[Any, tuple[Cell, ExitStack]],
    left: dict[str, Cell],
) -> None:
    """Claim a cell and send it off; one that another command holds waits."""
    stack = ExitStack()
    if not stack.enter_context(folder.claim(cell.hash)):
        stack.close()
        return
    del left[cell.hash]
    place = place_of(cell, folder, root, allow_hub)
    if isinstance(place, str):
        folder.write_result(failed(cell, place))
        stack.close()
        return
    sent = (
        as_plain(cell),
        None if root is None else str(root),
        allow_hub,
        msgspec.to_builtins(place.overlapping),
        place.rate,
    )
    reference = task.options(num_cpus=cell.threads, name=cell.label).remote(*sent)
    flying[reference] = cell, stack


def remote_cell(
    config: dict[str, Any],
    root: str | None,
    allow_hub: bool,
    overlapping: dict[str, dict[str, str]],
    rate: float | None,
) -> tuple[bytes, bytes]:
    """Run one cell on a node: its result and its predictions as JSON."""
    cell = msgspec.convert(config, Cell, strict=False)
    place = Place(None if root is None else Path(root), None, allow_hub, overlapping, rate)
    done = attempt(cell, place)
    return msgspec.json.encode(done.result), msgspec.json.encode(done.items)


def _write(ray: Any, folder: RunFolder, cell: Cell, reference: Any) -> None:
    try:
        result, items = ray.get(reference)
    except ray.exceptions.RayError as error:
        text = str(error).strip().splitlines()
        why = text[0] if text else type(error).__name__
        folder.write_result(failed(cell, f"Its node failed: {why}"))
        return
    folder.write_result(
        msgspec.json.decode(result, type=CellResult),
        msgspec.json.decode(items, type=tuple[ItemRecord, ...]),
    )
