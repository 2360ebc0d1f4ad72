"""Rendering: which tokens a template becomes, and what is cut where room is short."""

from __future__ import annotations

import json
import lzma
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeprompt.backbones.tokenizer import Tokenizer
from codeprompt.errors import TemplateError
from codeprompt.template import (
    count_fixed,
    initial_ids,
    parse,
    render,
    resolve,
    slot_count,
    slot_indices,
)
from codeprompt.template.render import head

quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="session")
def codet5(shared_data: Path) -> Tokenizer:
    return Tokenizer.load(shared_data / "tokenizers" / "codet5-base-hf")


@pytest.fixture(scope="session")
def codebert(shared_data: Path) -> Tokenizer:
    return Tokenizer.load(shared_data / "tokenizers" / "codebert-base")


@pytest.fixture(scope="session")
def functions(shared_data: Path) -> list[str]:
    with lzma.open(shared_data / "csn_python/test.jsonl.xz", "rt", encoding="utf-8") as lines:
        return [json.loads(line)["code"] for _, line in zip(range(60), lines, strict=False)]


def test_hard_template_has_the_ids_of_the_whole_string(
    codebert: Tokenizer, codet5: Tokenizer, functions: list[str]
) -> None:
    """Where pieces meet at a space, tokenising them apart changes nothing."""
    template = parse("The code {code} is {mask} .")
    for code in functions:
        rendered = render(template, {"code": code}, codebert, max_length=10**6)
        whole = codebert.encode(f"The code {code} is <mask> .")
        assert list(rendered.ids) == [0, *whole, 2]
        assert rendered.mask == (rendered.ids.index(50264),)
        assert rendered.slots == (-1,) * len(rendered.ids)
        assert rendered.cut == 0
    rendered = render(template, {"code": "x = 1"}, codet5, max_length=512)
    assert list(rendered.ids) == [1, *codet5.encode("The code x = 1 is <extra_id_0> ."), 2]


def test_soft_slots_hold_the_pad_id_and_count_up(codet5: Tokenizer) -> None:
    """Slots run 0..P-1 in order; shared segments repeat their vectors."""
    template = parse('{soft:2 share="a"} Code: {code} {soft:3} {mask}{soft share="a"}')
    rendered = render(template, {"code": "f()"}, codet5, max_length=64)
    assert [s for s in rendered.slots if s >= 0] == [0, 1, 2, 3, 4, 0, 1]
    assert all(
        i == codet5.pad_id for i, s in zip(rendered.ids, rendered.slots, strict=True) if s >= 0
    )
    assert slot_count(template, codet5) == 5
    assert [rendered.ids[i] for i in rendered.mask] == [codet5.sentinel(0)]
    text = codet5.decode([i for i, s in zip(rendered.ids, rendered.slots, strict=True) if s < 0])
    assert text == " Code: f()"


def test_a_soft_text_gives_the_count_and_the_first_vectors(codet5: Tokenizer) -> None:
    """`init` alone gives as many slots as it has tokens; with a count it is repeated or cut."""
    words = codet5.encode("Summarize the code")
    template = parse('{soft init="Summarize the code"}{code}{soft:2}')
    assert slot_count(template, codet5) == len(words) + 2
    assert initial_ids(template, codet5) == [*words, None, None]
    fixed = resolve(template, codet5)
    assert fixed.soft[0].count == len(words)
    assert parse(str(fixed)) == fixed
    assert [len(r) for r in slot_indices(fixed)] == [len(words), 2]
    longer = parse(f'{{soft:{len(words) + 2} init="Summarize the code"}}')
    assert initial_ids(longer, codet5) == [*words, *words[:2]]
    shorter = parse('{soft:1 init="Summarize the code"}')
    assert initial_ids(shorter, codet5) == words[:1]


def test_a_bare_soft_takes_the_length_asked_for(codet5: Tokenizer) -> None:
    """A method's length fills in what the template leaves open, and nothing else."""
    template = parse("{soft}{code}{soft:3}")
    assert slot_count(template, codet5, length=7) == 10
    assert str(resolve(template, codet5, length=7)) == "{soft:7}{code}{soft:3}"


def test_shared_segments_must_agree(codet5: Tokenizer) -> None:
    """One share name cannot have two counts."""
    with pytest.raises(TemplateError, match='share="a" disagree: count is 2 here and 3 there'):
        slot_count(parse('{soft:2 share="a"}{soft:3 share="a"}'), codet5)


def test_only_the_code_is_cut(codebert: Tokenizer, functions: list[str]) -> None:
    """At every limit the prompt, the mask, the path and the special tokens stay whole."""
    template = parse("{soft:4} File {path}: {code} It is {mask}.")
    code = max(functions, key=len)
    fields = {"code": code, "path": "src/a.py"}
    full = render(template, fields, codebert, max_length=10**6)
    fixed = count_fixed(template, codebert)
    path = len(codebert.encode(" src/a.py"))
    for limit in (fixed + path, fixed + path + 1, 40, 100, len(full.ids) - 1, len(full.ids)):
        rendered = render(template, fields, codebert, max_length=limit)
        assert len(rendered.ids) == limit
        assert rendered.cut == pytest.approx(len(full.ids) - limit, rel=0.3)
        assert sum(s >= 0 for s in rendered.slots) == 4
        assert [rendered.ids[i] for i in rendered.mask] == [codebert.mask_id]
        # Dropping the cut tokens from the end of the code in the full rendering gives this one.
        tail = len(full.ids) - (full.ids.index(codebert.mask_id) - len(codebert.encode(" It is")))
        assert rendered.ids == full.ids[: limit - tail] + full.ids[len(full.ids) - tail :]


def test_what_may_not_be_cut_says_how_much_it_needs(codebert: Tokenizer) -> None:
    """The error counts the tokens of the fixed parts, and of the kept fields."""
    with pytest.raises(TemplateError, match="special tokens need 103 tokens, and the limit is 64"):
        render(parse("{soft:100} {code} {mask}"), {"code": "x"}, codebert, max_length=64)
    template = parse("{path:keep} {code}")
    fields = {"path": "a/" * 60, "code": "x"}
    with pytest.raises(
        TemplateError,
        match=re.escape(
            "needs 122 tokens (the template 2, {path} 120), and the limit is 64. "
            "Let a field be cut, as in {path:cut}"
        ),
    ):
        render(template, fields, codebert, max_length=64)


def test_a_missing_field_names_those_that_exist(codebert: Tokenizer) -> None:
    """A wrong placeholder is answered with the right ones."""
    with pytest.raises(TemplateError, match=r"asks for \{cod\}.*Expected one of: code, path"):
        render(parse("{cod}"), {"path": "", "code": ""}, codebert, max_length=64)


def test_mask_takes_as_many_tokens_as_the_label_word(
    codebert: Tokenizer, codet5: Tokenizer
) -> None:
    """An encoder's mask is repeated; a sentinel stands for any number of tokens."""
    template = parse("{code} is {mask} or {mask}")
    two = render(template, {"code": "x"}, codebert, max_length=64, mask_count=2)
    assert [two.ids[i] for i in two.mask] == [codebert.mask_id] * 4
    assert count_fixed(template, codebert, mask_count=2) == count_fixed(template, codebert) + 2
    one = render(template, {"code": "x"}, codet5, max_length=64, mask_count=2)
    assert [one.ids[i] for i in one.mask] == [codet5.sentinel(0), codet5.sentinel(1)]


def test_several_fields_share_the_room(codet5: Tokenizer, functions: list[str]) -> None:
    """The longest is cut first; what a short field leaves goes to the others."""
    template = parse("{a:cut} | {b:cut} | {c:cut}")
    fields = {"a": functions[0] * 20, "b": "x = 1", "c": functions[1] * 20}
    rendered = render(template, fields, codet5, max_length=128)
    assert len(rendered.ids) == 128
    bar = codet5.encode(" |")[0]
    assert codet5.encode(" |") == [bar]
    inner = list(rendered.ids[1:-1])
    first = inner.index(bar)
    second = first + 1 + inner[first + 1 :].index(bar)
    assert inner[first + 1 : second] == codet5.encode(" x = 1")
    assert abs(first - (len(inner) - second - 1)) <= 1


def test_special_tokens_in_a_field_stay_text(codebert: Tokenizer) -> None:
    """Code that holds `<mask>` or `</s>` neither adds a mask nor ends the row."""
    rendered = render(
        parse("{code} {mask}"), {"code": "'</s><mask><pad>'"}, codebert, max_length=64
    )
    assert len(rendered.mask) == 1
    assert [i for i in rendered.ids if i in codebert.special_ids] == [0, 50264, 2]


@pytest.mark.parametrize("limit", [0, 1, 7, 64, 512])
def test_a_long_field_keeps_the_ids_of_the_whole(
    codebert: Tokenizer, codet5: Tokenizer, functions: list[str], limit: int
) -> None:
    """Tokenising only the head of a text gives the head of the text's tokens."""
    text = "\n\n".join(functions)
    for tokenizer in (codebert, codet5):
        ids, cut = head(tokenizer, text, limit)
        whole = tokenizer.encode(text, literal=True)
        assert ids == whole[:limit]
        assert 0.5 < cut / (len(whole) - limit) < 2


@quick
@given(
    text=st.lists(
        st.sampled_from(
            [" ", "  ", "\n", "\t", "\r\n", "'s", "ab", "12", "é", "\u00a0", "(", "\x1c"]
        )
        | st.text(max_size=3)
    ).map("".join),
    limit=st.integers(0, 40),
)
def test_the_head_of_any_text_keeps_its_ids(codet5: Tokenizer, text: str, limit: int) -> None:
    """White space and punctuation of every kind around the place of the cut."""
    text = text * 12
    whole = codet5.encode(text, literal=True)
    assert head(codet5, text, limit)[0] == whole[:limit]


class Counting:
    """A tokenizer that notes how much text it was given."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.seen = tokenizer, 0

    def encode(self, text: str, *, literal: bool = False) -> list[int]:
        self.seen += len(text)
        return self.tokenizer.encode(text, literal=literal)

    def __getattr__(self, name: str) -> object:
        return getattr(self.tokenizer, name)


@pytest.mark.parametrize("unit", ["x = y + 1\n", " ", "a", "\n", "日本語", "(" * 80])
def test_ten_megabytes_are_not_tokenised_whole(codet5: Tokenizer, unit: str) -> None:
    """Even without a single word boundary the window fills up from a small part of the text."""
    counting = Counting(codet5)
    text = unit * (10_000_000 // len(unit))
    rendered = render(parse("{code} {mask}"), {"code": text}, counting, max_length=512)
    assert len(rendered.ids) == 512
    assert rendered.cut > 10_000
    assert counting.seen < 200_000


def test_empty_fields_and_empty_templates_render(codet5: Tokenizer) -> None:
    """Nothing in, nothing but the special tokens out."""
    assert render(parse("{code}"), {"code": ""}, codet5, max_length=8).ids == (1, 2)
    assert render(parse(""), {}, codet5, max_length=8).ids == (1, 2)


def test_import_is_free_of_torch() -> None:
    """The text layer imports neither torch nor the tokenizer's library."""
    code = (
        "import sys, codeprompt.template; "
        "print([m for m in ('torch', 'transformers', 'tokenizers') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
