"""Explain a warning: which lines of the function the probability rests on.

Each part of the body is left out in turn and the pack asked again (occlusion; Zeiler & Fergus
2014, section 4): what a part adds is how far the probability falls without it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from codeprompt.languages.functions import Function
from lsp_server.answers import Answer, Query
from lsp_server.engine import bounded
from lsp_server.failures import refused
from lsp_server.features.code_action import referred
from lsp_server.features.diagnostics import threshold

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer

MOST_PARTS = 16
AT_ONCE = 4


async def run(server: CodepromptServer, given: dict[str, Any]) -> dict[str, Any]:
    """{uri, function}: the URI of the explanation, and each part with what it adds."""
    document, settings, function = referred(server, given)
    query = await server.query("defect", document, function, settings)
    bare = function.bare
    lines = bare.split("\n")
    parts = parts_of(lines)
    async with server.progresses.begin(f"Explain {function.name}"):
        whole = await server.answers.get(query)
        if whole is None:
            raise refused("The pack has no answer for this function")
        without = [
            dataclasses.replace(query, function=_without(function, lines, first, last))
            for first, last in parts
        ]
        answers = await bounded([server.answers.get(one) for one in without], AT_ONCE)
    effects: list[dict[str, Any]] = [
        {"lines": [first + 1, last], "text": "\n".join(lines[first:last]),
         "adds": round(whole.confidence - answer.confidence, 4)}
        for (first, last), answer in zip(parts, answers, strict=True)
        if isinstance(answer, Answer)
    ]  # fmt: skip
    effects.sort(key=lambda effect: -effect["adds"])
    text = _page(query, whole, effects, threshold(settings, query.pack.facts))
    uri = await server.shown.show(f"{function.name}-warning.md", text)
    return {"uri": uri, "probability": whole.confidence, "parts": effects}


def parts_of(lines: list[str]) -> list[tuple[int, int]]:
    """Lines of the body, evenly grouped: [first, last), at most 16 groups; never the head."""
    filled = [number for number, line in enumerate(lines) if number and line.strip(" \t{}();")]
    if not filled:
        return []
    size = -(-len(filled) // MOST_PARTS)
    groups = [filled[at : at + size] for at in range(0, len(filled), size)]
    return [(group[0], group[-1] + 1) for group in groups]


def _without(function: Function, lines: list[str], first: int, last: int) -> Function:
    """The function without some of its lines, as a text of its own."""
    source = "\n".join([*lines[:first], *lines[last:]]).encode("utf-8", "surrogatepass")
    size = len(source)
    return dataclasses.replace(
        function, start_byte=0, end_byte=size, doc_start=0, doc_end=0,
        body_start=0, body_end=size, source=source, only_doc=False,
    )  # fmt: skip


def _page(query: Query, whole: Answer, effects: list[dict[str, Any]], least: float) -> str:
    facts, function = query.pack.facts, query.function
    found = [
        f"# {function.qualified_name}",
        "",
        f"`{query.pack.shown}` gives this function a probability of {whole.confidence:.1%} to have "
        f"a defect; it warns from {least:.1%} on.",
        "",
    ]
    if facts is not None and facts.base_rate is not None:
        found.append(f"- Of the functions it was tuned on, {facts.base_rate:.0%} had one.")
    if facts is not None and facts.precision is not None:
        found.append(
            f"- Of its warnings on {facts.rows} validation rows, {facts.precision:.0%} were right."
        )
    if facts is not None and facts.accuracy is not None and facts.never is not None:
        found.append(
            f"- It was right on {facts.accuracy:.0%} of them; never warning would be on "
            f"{facts.never:.0%}."
        )
    found += [
        "- A probability is no proof: the pack has seen this one function and nothing around it.",
        "",
        "How far the probability falls without some of the lines (1 is the first of the function):",
        "",
        "| lines | falls by | text |",
        "|---|---|---|",
    ]
    for effect in effects:
        first, last = effect["lines"]
        # A hyphen that does not break: the column stays narrow.
        place = f"{first}" if first == last else f"{first}\N{NON-BREAKING HYPHEN}{last}"
        code = " ".join(effect["text"].split()).replace("|", "\\|").replace("`", "'")[:100]
        found.append(f"| {place} | {effect['adds']:+.1%} | `{code}` |")
    found += [
        "",
        "Wrong? Put `codeprompt: ignore` into a comment above the function, or raise "
        "`codeprompt.diagnostics.threshold`.",
    ]
    return "\n".join(found) + "\n"
