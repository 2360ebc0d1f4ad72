"""Translate a function into a document of its own, with a note whether it parses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codeprompt.languages.base import Language, find_language, is_language, languages
from codeprompt.languages.functions import parses
from lsp_server.commands.layout import laid_out
from lsp_server.documents import Document
from lsp_server.failures import refused
from lsp_server.features.code_action import referred
from lsp_server.features.targets import targets_for

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer


async def run(server: CodepromptServer, given: dict[str, Any]) -> dict[str, Any]:
    """{uri, function, target?}: the URI of the translation, its text, and whether it parses.

    {uri, list: true}: only the names of languages that a pack writes, else of all others.
    """
    if given.get("list") is True:
        document = server.documents.get(str(given.get("uri")))
        offered = await _offered(server, document) if document is not None else []
        return {"targets": [language.name for language in offered]}
    document, settings, function = referred(server, given)
    target = given.get("target")
    if target is None:
        titles = {one.title: one.name for one in await _offered(server, document)}
        chosen = await server.shown.choose("Translate to which language?", list(titles))
        if chosen is None:
            raise refused("No language was chosen; give {target}")
        target = titles[chosen]
    if not isinstance(target, str) or not is_language(target):
        raise refused(f"'{target}' is no supported language")
    language = find_language(target)
    document, settings, function = referred(server, given)
    query = await server.query("translate", document, function, settings, language.name)
    async with server.progresses.begin(f"Translate {function.name} to {language.title}"):
        answer = await server.answers.get(query)
    if answer is None:
        raise refused("The model has nothing to say about this function")
    fine = parses(answer.text, language)
    mark = language.line_comments[-1]
    notes = [
        f"{function.qualified_name} of {document.path.name if document.path else document.uri}, "
        f"translated from {function.language.title} by a model: {answer.pack}, "
        f"confidence {answer.confidence:.0%}.",
        "It parses; nobody has run it." if fine else "It does NOT parse.",
    ]
    written = laid_out(answer.text, language)
    text = "".join(f"{mark} {line}\n" for line in notes) + "\n" + written + "\n"
    uri = await server.shown.show(f"{function.name}{language.extensions[0]}", text)
    return {"uri": uri, "text": written, "parses": fine, "confidence": answer.confidence}


async def _offered(server: CodepromptServer, document: Document) -> list[Language]:
    """The languages that packs for a document's write, all others where no card says any.

    Raises `CodepromptError` where no pack translates it.
    """
    settings = server.settings_of(document)
    await server.pack_for("translate", document, settings)
    known = [find_language(name) for name in targets_for(server, document, settings) if name]
    return known or [one for one in languages() if one is not document.language]
