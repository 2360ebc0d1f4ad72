"""What the language server tells people, in their words."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException

from codeprompt.client import Event
from codeprompt.languages.base import find_language
from lsp_server.commands.layout import laid_out
from lsp_server.commands.tune import _last
from lsp_server.features.execute_command import apply
from lsp_server.packs import bare_name
from tests.editing import Local


@pytest.mark.parametrize(
    ("name", "told"),
    [("project.6dd2cbab.summarize", "summarize"), ("summarize", "summarize"),
     ("project.mine", "project.mine")],
)  # fmt: skip
def test_a_pack_is_called_without_its_project_s_number(name: str, told: str) -> None:
    """As in hovers and in the status bar."""
    assert bare_name(name) == told


def test_the_end_of_a_job_names_the_pack_as_hovers_do() -> None:
    """With its version; what the engine calls it is nobody's business."""
    data = {"name": "project.6dd2cbab.summarize", "version": "61c993637110"}
    assert _last(event("done", data)) == "summarize@61c993637110 is tuned and answers now."
    assert _last(event("done", {})) == "The pack is tuned and answers now."


def test_an_edit_that_a_person_discards_is_no_failure() -> None:
    """Only a reason makes one."""

    async def replied(reply: dict[str, Any]) -> dict[str, Any]:
        local = Local()
        await local.begin(capabilities={"workspace": {"applyEdit": True}})
        task = asyncio.ensure_future(apply(local.server, types.WorkspaceEdit(), "Write"))
        while not local.sent.called("workspace/applyEdit"):
            await asyncio.sleep(0)
        local.reply("workspace/applyEdit", reply)
        return await task

    assert asyncio.run(replied({"applied": False})) == {"applied": False}
    assert asyncio.run(replied({"applied": True})) == {"applied": True}
    with pytest.raises(JsonRpcException, match="did not apply the edit: it is read-only"):
        asyncio.run(replied({"applied": False, "failureReason": "it is read-only"}))


def event(kind: str, data: dict[str, str]) -> Event:
    """An event of a job."""
    return Event(id=1, kind=kind, data=data)


def test_a_translation_on_one_line_is_laid_out() -> None:
    """By statements and braces, not within strings and heads of loops; other texts stay."""
    language = find_language("c-sharp")
    text = (
        'public int F(int n){for (int i = 0; i < n; i++){if (i > 2){G("};");}else {return 1;}}'
        "var a = new A {B = 1};return 0;}"
    )
    assert laid_out(text, language).split("\n") == [
        "public int F(int n){",
        "    for (int i = 0; i < n; i++){",
        "        if (i > 2){",
        '            G("};");',
        "        }else {",
        "            return 1;",
        "        }",
        "    }",
        "    var a = new A {",
        "        B = 1",
        "    };",
        "    return 0;",
        "}",
    ]
    assert laid_out("int f() {\n  return 1; }", language) == "int f() {\n  return 1; }"
    assert laid_out("def f(): return 1; x", find_language("python")) == "def f(): return 1; x"
    assert laid_out('int f() { return "', language) == 'int f() {\n    return "'
