"""Functions of a source text, with their names, their places and their documentation.

    for function in functions(Path("a.py").read_bytes(), "python"):
        print(function.qualified_name, function.start_line, function.summary)

Everything is found in one walk over the tree: no recursion, nothing quadratic in the length of a
file. Texts are sliced on demand.
"""

from codeprompt.languages.functions.function import Function
from codeprompt.languages.functions.imports import imports
from codeprompt.languages.functions.one_line import FREE, one_line
from codeprompt.languages.functions.reading import parse, parses, source_bytes
from codeprompt.languages.functions.spaced import is_spaced, spaced
from codeprompt.languages.functions.summary import summary_of
from codeprompt.languages.functions.tokens import tokens
from codeprompt.languages.functions.walk import functions

__all__ = [
    "FREE",
    "Function",
    "functions",
    "imports",
    "is_spaced",
    "one_line",
    "parse",
    "parses",
    "source_bytes",
    "spaced",
    "summary_of",
    "tokens",
]
