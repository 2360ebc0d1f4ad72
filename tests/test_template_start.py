"""`{start}` says where the tokens that begin every input stand."""

from __future__ import annotations

import pytest

from codeprompt.errors import TemplateError
from codeprompt.template import Start, Template, count_fixed, parse, render
from tests.tiny import tiny_t5


def test_slots_may_stand_before_the_first_special_token() -> None:
    """The ids are those of the template without slots, behind them."""
    tokenizer = tiny_t5().tokenizer
    plain = render(parse("Sum: {code}"), {"code": "x = 1"}, tokenizer, max_length=64)
    moved = parse("{soft:3}{start}Sum: {code}")
    found = render(moved, {"code": "x = 1"}, tokenizer, max_length=64)
    assert found.ids == (tokenizer.pad_id,) * 3 + plain.ids
    assert found.slots == (0, 1, 2) + (-1,) * len(plain.ids)
    assert count_fixed(moved, tokenizer) == 3 + count_fixed(parse("Sum: {code}"), tokenizer)
    assert parse(str(moved)) == moved


def test_a_template_starts_once() -> None:
    """Two starts, an option of a start, a field of that name."""
    with pytest.raises(TemplateError, match="more than one"):
        Template((Start(), Start()))
    with pytest.raises(TemplateError, match="takes no options"):
        parse("{start:cut}{code}")
