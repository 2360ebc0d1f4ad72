"""Answers by key: least recently used out, bounded in bytes, deletable.

A key is the engine's `render_key`, a hash; so nothing here holds anybody's source text, only what
the model wrote.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict

from codeprompt.types import Prediction

OVERHEAD = 400
"""Bytes of an entry beside its texts: key, prediction, places in the dictionary."""


class Cache:
    """Predictions by key; any thread may call any method.

    limit: bytes. What alone is larger is not kept; 0 keeps nothing.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = self.hits = self.misses = 0
        self._kept: OrderedDict[str, Prediction] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> Prediction | None:
        """The answer, counted as a hit or a miss."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                self.misses += 1
                return None
            self.hits += 1
            self._kept.move_to_end(key)
            return found

    def put(self, key: str, prediction: Prediction) -> None:
        """Keep an answer; older ones make room."""
        size = size_of(prediction)
        if size > self.limit:
            return
        with self._lock:
            old = self._kept.pop(key, None)
            if old is not None:
                self.size -= size_of(old)
            self._kept[key] = prediction
            self.size += size
            while self.size > self.limit:
                _, gone = self._kept.popitem(last=False)
                self.size -= size_of(gone)

    def clear(self) -> int:
        """Forget everything; how many answers that were. The counts of hits and misses stay."""
        with self._lock:
            count = len(self._kept)
            self._kept.clear()
            self.size = 0
            return count


def size_of(prediction: Prediction) -> int:
    """Bytes that an answer takes here, about."""
    labels = sum(sys.getsizeof(label) + 32 for label in prediction.probabilities)
    return OVERHEAD + sys.getsizeof(prediction.text) + labels
