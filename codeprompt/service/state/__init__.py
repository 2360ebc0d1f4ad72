"""What outlives the process: packs' versions, jobs and data sets, in one SQLite file.

`Store.open` gives a database at this version's schema; `Packs` and `Jobs` stand on it.
"""

from __future__ import annotations

from codeprompt.service.state.errors import ConflictError, StateError
from codeprompt.service.state.store import Store

__all__ = ["ConflictError", "StateError", "Store"]
