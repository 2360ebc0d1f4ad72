"""The identity of a list of examples, for cards and signatures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from codeprompt.types import Example


def fingerprint(examples: Iterable[Example]) -> str:
    """SHA-256 (64 hex digits) over ids, fields and targets, in order.

    Every text is preceded by its length, so that no two lists of examples read the same.
    """
    digest = hashlib.sha256()
    for example in examples:
        texts = [example.id, example.target]
        for name in sorted(example.fields):
            texts += [name, example.fields[name]]
        digest.update(b"%d;" % len(texts))
        for text in texts:
            data = text.encode("utf-8", errors="surrogatepass")
            digest.update(b"%d:" % len(data))
            digest.update(data)
    return digest.hexdigest()
