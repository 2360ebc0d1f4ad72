"""Data sets of the Hugging Face hub, and folders that `datasets` wrote.

`hub:ID[:CONFIG]`; the network is used when rows are asked for, never before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from codeprompt.errors import DataError

Part = Callable[[], Iterable[Mapping[str, Any]]]
HUB = "hub:"


def hub_parts(where: str) -> dict[str, Part]:
    """The splits of a data set on the hub, by the hub's names for them.

    Raises `DataError` where it cannot be reached, is unknown, or needs a configuration.
    """
    name, _, config = where.removeprefix(HUB).partition(":")
    if not name:
        raise DataError(f"'{where}' names no data set", expected="hub:ID or hub:ID:CONFIG")
    from datasets import load_dataset

    try:
        found = load_dataset(name, config or None)
    except Exception as error:
        raise _hub_error(where, error) from error
    return _parts(found)


def saved_parts(folder: Path) -> dict[str, Part]:
    """The splits of a folder that `datasets.save_to_disk` wrote."""
    from datasets import load_from_disk

    try:
        found = load_from_disk(str(folder))
    except Exception as error:
        raise DataError(
            f"{folder} cannot be read as a saved data set: {_first_line(error)}",
            do="Save it again with `datasets.save_to_disk`",
        ) from error
    return _parts(found)


def is_saved(folder: Path) -> bool:
    """Whether `datasets.save_to_disk` wrote `folder`."""
    return (folder / "dataset_dict.json").is_file() or (
        (folder / "dataset_info.json").is_file() and (folder / "state.json").is_file()
    )


def _parts(found: Any) -> dict[str, Part]:
    if not isinstance(found, Mapping):
        return {"all": partial(iter, found)}
    return {str(name): partial(iter, rows) for name, rows in found.items()}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _hub_error(where: str, error: Exception) -> DataError:
    text = _first_line(error)
    if "Config name is missing" in str(error) or "BuilderConfig" in str(error):
        return DataError(f"{where}: {' '.join(str(error).split())}", do=f"Give {where}:CONFIG")
    return DataError(
        f"{where} cannot be fetched from the Hugging Face hub: {text}",
        expected="a data set's id and a way to the network, or a copy in the cache",
        do="Check the id and the network, or give a file or a folder with the same columns",
    )
