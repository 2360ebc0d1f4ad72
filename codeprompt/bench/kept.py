"""What takes a minute to find in texts, kept in the user's cache under a hash of the texts."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from codeprompt.errors import CodepromptError
from codeprompt.files import write_bytes

T = TypeVar("T")
VERSION = 1


def kept(what: str, texts: Sequence[Sequence[str]], kind: type[T], make: Callable[[], T]) -> T:
    """What `make` finds, or found before on the same texts. kind: of JSON's values.

    what: names the search with all its settings. A cache that cannot be read or written costs time
    only.
    """
    import platformdirs

    digest = hashlib.sha256(f"{what}\0{VERSION}".encode())
    for listed in texts:
        digest.update(b"%d;" % len(listed))
        for text in listed:
            data = text.encode("utf-8", errors="surrogatepass")
            digest.update(b"%d:" % len(data))
            digest.update(data)
    folder = Path(platformdirs.user_cache_dir("codeprompt")) / "bench"
    path = folder / f"{what.split()[0]}-{digest.hexdigest()[:24]}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        found = make()
    with contextlib.suppress(CodepromptError):
        write_bytes(path, msgspec.json.encode(found))
    return found
