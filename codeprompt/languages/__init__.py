"""Programming languages: how to find functions, their names and their documentation."""

from codeprompt.languages.base import (
    Language,
    find_language,
    find_languages,
    is_language,
    language_of,
    needed_language,
)

__all__ = [
    "Language",
    "find_language",
    "find_languages",
    "is_language",
    "language_of",
    "needed_language",
]
