"""What the state refuses, beside the errors every part has."""

from __future__ import annotations

from codeprompt.errors import CodepromptError


class StateError(CodepromptError):
    """A state folder that cannot be used: damaged, of a newer version, or another engine's."""


class ConflictError(CodepromptError):
    """A request that what is stored does not allow now (HTTP 409)."""
