"""A process that works a run's folder: `python -m codeprompt.bench.worker` reads its orders on
stdin, as one JSON object.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec


class Orders(msgspec.Struct, frozen=True):
    """cells: hashes, in order. most: cells at most; None for all. parent: ends when it is gone."""

    folder: str
    cells: list[str]
    root: str | None
    allow_hub: bool
    most: int | None
    parent: int


def main() -> None:
    """Work until nothing is left that is not another's."""
    orders = msgspec.json.decode(sys.stdin.buffer.read(), type=Orders)
    if not os.environ.get("CODEPROMPT_DEBUG"):
        import warnings

        warnings.simplefilter("ignore")
    from codeprompt.bench.queue import Queue
    from codeprompt.bench.store import RunFolder

    folder = RunFolder(Path(orders.folder))
    wanted = set(orders.cells)
    queue = Queue(
        folder,
        [cell for cell in folder.cells() if cell.hash in wanted],
        Path(orders.root) if orders.root else None,
        orders.allow_hub,
        alive=lambda: os.getppid() == orders.parent,
    )
    queue.work(orders.most)


if __name__ == "__main__":
    main()
