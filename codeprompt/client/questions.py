"""Questions to the packs: one, a stream of its parts, many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

import msgspec

from codeprompt.client.calls import LONG, SECONDS, Call, Flow, reader
from codeprompt.client.failures import from_failure
from codeprompt.client.messages import Failure, Item, Priority, TaskName, Token
from codeprompt.client.sse import Message as Received

MARGIN = 5.0
"""Seconds over a request's own deadline: the service says itself that it has passed."""


class Options(TypedDict, total=False):
    """What every question may say beside the code.

    file: a path to tell the language by and to name in the answer; it is not read.
    function: only this one. whole: the code as one piece, not its functions; `function` is its name
    then, and imports what its file imports (names with commas between), for packs whose template
    asks for them.
    pack: a name or `NAME@VERSION`; by default the task's active pack. deadline_ms: from now.
    project: the full path of the project's folder: its packs (`.codeprompt/packs`, there and above
    up to the git root) answer before all others. Whoever names it trusts them. Over the socket.
    """

    file: str | None
    function: str | None
    whole: bool
    imports: str | None
    pack: str | None
    priority: Priority
    deadline_ms: int | None
    project: str | None


class Question(Options, total=False):
    """And what a translation may say: the language to write."""

    target_language: str | None


class _Results(msgspec.Struct):
    results: list[Item]


class _Refused(msgspec.Struct):
    error: Failure


class _Batch(msgspec.Struct):
    results: list[list[Item] | _Refused]


_results, _batch = reader(_Results), reader(_Batch)
_token, _item, _failure = reader(Token), reader(Item), reader(Failure)


def question(code: str, language: str | None, options: Question) -> dict[str, Any]:
    """The body of a question."""
    return {"code": code, "language": language, **options}


def answer(
    task: TaskName, code: str, language: str | None = None, **options: Unpack[Question]
) -> Call[list[Item]]:
    """The answers of a task for the functions in a piece of code."""
    return Call(
        "POST",
        f"/v1/{task}",
        lambda data: _results(data).results,
        body=question(code, language, options),
        seconds=_seconds(options),
    )


def summarize(
    code: str, language: str | None = None, **options: Unpack[Options]
) -> Call[list[Item]]:
    """A sentence for each function."""
    return answer("summarize", code, language, **options)


def translate(
    code: str, target_language: str, language: str | None = None, **options: Unpack[Options]
) -> Call[list[Item]]:
    """Each function in another language."""
    full: Question = {**options, "target_language": target_language}
    return answer("translate", code, language, **full)


def defects(code: str, language: str | None = None, **options: Unpack[Options]) -> Call[list[Item]]:
    """For each function whether it is defective, with the probability."""
    return answer("defects", code, language, **options)


def localize(
    code: str, language: str | None = None, **options: Unpack[Options]
) -> Call[list[Item]]:
    """The lines of each function that a defect is in, where a pack has labels of tokens."""
    return answer("localize", code, language, **options)


def stream(
    task: TaskName, code: str, language: str | None = None, **options: Unpack[Question]
) -> Flow[Token | Item]:
    """The same answers as they are written: parts of texts, and each answer when it is whole.

    Leaving the iteration stops the computing.
    """
    body = {**question(code, language, options), "stream": True}
    call = Call("POST", f"/v1/{task}", bytes, body=body, seconds=_seconds(options))
    return Flow(call, _token_or_item, frozenset({"done"}))


def batch(requests: Sequence[Mapping[str, Any]]) -> Call[list[list[Item] | Failure]]:
    """Many questions at once, each `{"task": "summarize", "code": ..., ...}`; answers in order."""

    def read(data: bytes) -> list[list[Item] | Failure]:
        found = _batch(data).results
        return [one.error if isinstance(one, _Refused) else one for one in found]

    body = {"requests": [dict(one) for one in requests]}
    return Call("POST", "/v1/batch", read, body=body, seconds=LONG)


def _seconds(options: Question) -> float:
    deadline = options.get("deadline_ms")
    return SECONDS if deadline is None else deadline / 1000 + MARGIN


def _token_or_item(received: Received) -> Token | Item | None:
    data = received.data.encode()
    if received.event == "token":
        return _token(data)
    if received.event == "result":
        return _item(data)
    if received.event == "error":
        raise from_failure(_failure(data))
    return None
