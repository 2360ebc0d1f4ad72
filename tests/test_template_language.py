"""The template language: what parses, how it is written back, what its errors say."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeprompt.errors import TemplateError
from codeprompt.template import (
    Field,
    Mask,
    Segment,
    Soft,
    Template,
    TemplateSyntaxError,
    Text,
    parse,
)

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True).filter(
    lambda name: name not in ("soft", "mask")
)
words = st.text(max_size=12) | st.sampled_from(['"', "\\", "{", "}}", "{{code}}", "\n", "'\t"])
segments: st.SearchStrategy[Segment] = st.one_of(
    st.builds(Text, words),
    st.builds(Field, names | st.sampled_from(["code", "source"]), st.booleans()),
    st.builds(
        Soft,
        st.none() | st.integers(1, 10_000),
        st.none() | words.filter(bool),
        st.none() | words.filter(bool),
    ),
    st.just(Mask()),
)


@given(st.lists(segments))
def test_every_template_reads_back_from_its_text(parts: list[Segment]) -> None:
    """`str` and `parse` are inverse."""
    template = Template(tuple(parts))
    assert parse(str(template)) == template


@given(st.text(alphabet='{}:="\\softmakcde120 \n', max_size=40))
def test_any_text_parses_or_is_refused_with_a_place(text: str) -> None:
    """No input escapes as another exception; what parses has a canonical text."""
    try:
        template = parse(text)
    except TemplateSyntaxError as error:
        assert 0 <= error.position <= len(text)
    else:
        assert parse(str(template)) == template


def test_hard_words_and_fields() -> None:
    """Words stand as they are; two braces are one."""
    template = parse("The {{x}} code {code} is {mask}.")
    assert template.segments == (
        Text("The {x} code "),
        Field("code", True),
        Text(" is "),
        Mask(),
        Text("."),
    )
    assert (template.fields, template.masks, template.soft) == (("code",), 1, ())
    assert str(template) == "The {{x}} code {code} is {mask}."


def test_soft_options() -> None:
    """A count, an initial text and a share name, each optional."""
    template = parse(r"""{soft}{soft:20}{ soft:3 init="say \"x\"\n" share='a' }{soft share="a"}""")
    assert template.segments == (
        Soft(),
        Soft(20),
        Soft(3, 'say "x"\n', "a"),
        Soft(share="a"),
    )


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("{code}", {"code": True}),
        ("{path}", {"path": True}),
        ("{path} {code}", {"path": False, "code": True}),
        ("{path:cut} {code:keep}", {"path": True, "code": False}),
        (
            "{name} {source} {func} {function}",
            {"name": False, "source": True, "func": True, "function": True},
        ),
        ("{a} {b}", {"a": False, "b": False}),
        ("{a} {a}", {"a": True}),
    ],
)
def test_which_fields_may_be_cut(text: str, cut: dict[str, bool]) -> None:
    """Long fields and lone fields may be cut, others not, unless the template says so."""
    found = {s.name: s.cut for s in parse(text).segments if isinstance(s, Field)}
    assert found == cut
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("text", "position", "match"),
    [
        ("The code {code", 9, "a '{' that is not closed. Expected a '}'"),
        ("x }", 2, "a '}' that closes nothing. Write '}}' for a literal brace"),
        ("{}", 1, "no name after '{', but '}'. Expected a field such as {code}"),
        ("{", 1, "no name after '{', but the end"),
        ("{1}", 1, "no name after '{', but '1'"),
        ("{code!r}", 5, "'!' inside {code ...}. Expected '}', {code:cut} or {code:keep}"),
        ("{code.__class__}", 5, "'.' inside {code ...}"),
        ("{code:trim}", 6, "'trim' after ':'. Expected cut or keep"),
        ("{mask:3}", 5, "':' inside {mask ...}. Expected '}', as {mask} takes no options"),
        ("{soft:x}", 6, "'x' after ':'. Expected a count, as in {soft:20}"),
        ("{soft:0}", 0, "a soft segment of 0 slots. Expected 1 to 10000 slots"),
        ("{soft:99999999999}", 0, "a soft segment of 999999999 slots"),
        ('{soft init=""}', 0, "a soft segment with an empty init"),
        ('{soft size="3"}', 6, "the option 'size'. Expected init or share"),
        ("{soft init=3}", 11, "'3' after '='. Expected a text in quotes"),
        ("{soft init}", 10, "'}' after 'init'. Expected init=\"...\""),
        ('{soft init="a}', 11, 'a quote that is not closed. Expected a "'),
        ('{soft init="\\q"}', 12, "the escape '\\q'"),
        ('{soft share="a" share="b"}', 16, "a second 'share'"),
        ("{soft:3 4}", 8, "'4' inside {soft ...}"),
    ],
)
def test_syntax_errors_point_at_the_place(text: str, position: int, match: str) -> None:
    """Each error names what was found, what was expected, and its character."""
    with pytest.raises(TemplateSyntaxError, match=re.escape(match)) as caught:
        parse(text)
    assert caught.value.position == position
    lines = str(caught.value).split("\n")
    assert lines[1] == f"  {text}"
    assert lines[2].index("^") == 2 + position
    assert f"character {position + 1}:" in lines[2]


def test_the_caret_stands_under_the_right_line_of_a_long_template() -> None:
    """Only the line at fault is shown, and only its neighbourhood."""
    with pytest.raises(TemplateSyntaxError) as caught:
        parse("first line\n" + "x" * 500 + "{code!}" + "y" * 500 + "\nlast")
    _, shown, caret, *_ = str(caught.value).split("\n")
    assert shown[caret.index("^")] == "!"
    assert len(shown) < 130


def test_segments_refuse_what_the_language_cannot_say() -> None:
    """A template made in code has the same bounds."""
    with pytest.raises(TemplateError, match="'soft' cannot name a field"):
        Field("soft")
    with pytest.raises(TemplateError, match="'a b' cannot name a field"):
        Field("a b")
    with pytest.raises(TemplateError, match="Expected 1 to 10000 slots"):
        Soft(0)
