"""Translate a function into a document of its own, with a note whether it parses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codeprompt.languages.base import find_language, is_language, languages
from codeprompt.languages.functions import parses
from lsp_server.failures import refused
from lsp_server.features.code_action import referred

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer


async def run(server: CodepromptServer, given: dict[str, Any]) -> dict[str, Any]:
    """{uri, function, target?}: the URI of the translation, its text, and whether it parses."""
    target = given.get("target")
    if target is None:
        names = [one.name for one in languages()]
        target = await server.shown.choose("Translate to which language?", names)
        if target is None:
            raise refused("No language was chosen; give {target}")
    if not isinstance(target, str) or not is_language(target):
        raise refused(f"'{target}' is no supported language")
    language = find_language(target)
    document, settings, function = referred(server, given)
    query = await server.query("translate", document, function, settings, language.name)
    async with server.progresses.begin(f"Translate {function.name} to {language.name}"):
        answer = await server.answers.get(query)
    if answer is None:
        raise refused("The model has nothing to say about this function")
    fine = parses(answer.text, language)
    mark = language.line_comments[-1]
    notes = [
        f"{function.qualified_name} of {document.path.name if document.path else document.uri}, "
        f"translated from {function.language.name} by a model: {answer.pack}, "
        f"confidence {answer.confidence:.0%}.",
        "It parses; nobody has run it." if fine else "It does NOT parse.",
    ]
    text = "".join(f"{mark} {line}\n" for line in notes) + "\n" + answer.text + "\n"
    uri = await server.shown.show(f"{function.name}{language.extensions[0]}", text)
    return {"uri": uri, "text": answer.text, "parses": fine, "confidence": answer.confidence}
