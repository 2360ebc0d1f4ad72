"""CodeBLEU, and CodeXGLUE's evaluators on the examples that stand beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from codeprompt.errors import DataError, UnknownNameError, UsageError
from codeprompt.languages.base import find_language
from codeprompt.languages.functions.reading import parse
from codeprompt.metrics.base import pair
from codeprompt.metrics.codebleu_parts.flow import Edge, Reader
from codeprompt.metrics.codebleu_parts.flows import FLOWS
from codeprompt.metrics.codebleu_parts.keywords import KEYWORDS
from codeprompt.metrics.codebleu_parts.syntax import Shapes, match
from codeprompt.registry import METRICS
from codeprompt.types import Score

EXAMPLES = json.loads(
    (Path(__file__).parent / "codexglue_examples.json").read_text(encoding="utf-8")
)
CODE = {
    "python": "def f(a, b=1):\n    x = a\n    for i in b:\n        x = x + i\n    return x\n",
    "java": "int f(int a) { int x = a; for (int i : b) { x = x + i; } return x; }",
    "c-sharp": "int F(int a) { int x = a; foreach (var i in b) { x = x + i; } return x; }",
    "c": "int f(int a) { int x = a; while (x > 0) { x = x - a; } return x; }",
    "cpp": "int f(int a) { auto x = a; for (auto i : b) { x = x + i; } return x; }",
    "javascript": "function f(a) { let x = a; for (const i of b) { x = x + i; } return x; }",
    "go": "func f(a int) int { x := a; for _, i := range b { x = x + i }; return x }",
    "php": "function f($a) { $x = $a; foreach ($b as $i) { $x = $x + $i; } return $x; }",
    "ruby": "def f(a)\n  x = a\n  for i in b do x = x + i end\n  x\nend\n",
}


def score(name: str, predictions: list[str], references: list[Any], **options: Any) -> Score:
    found = METRICS.get(name).score(pair(predictions, references), **{"bootstrap": 0, **options})
    assert isinstance(found, Score)
    return found


def edges(code: str, language: str) -> list[Edge]:
    found = find_language(language)
    return Reader(found).edges(parse(code.encode(), found))


def test_sentence_bleu_prints_the_evaluators_own_example() -> None:
    example = EXAMPLES["code-to-text"]
    found = score("codexglue-sentence-bleu", example["predictions"], example["references"])
    assert str(found.value) == example["printed"]


def test_accuracy_is_the_defect_evaluators_on_its_own_example() -> None:
    example = EXAMPLES["defect-detection"]
    found = score("accuracy", example["predictions"], example["references"])
    assert str(found.value / 100) == example["printed"]


@pytest.mark.parametrize("name", ["code-to-code-trans", "code-refinement"])
def test_corpus_bleu_and_exact_match_print_the_evaluators_own_examples(name: str) -> None:
    example = EXAMPLES[name]
    texts = example["predictions"], example["references"]
    assert round(score("codexglue-corpus-bleu", *texts).value, 2) == example["bleu"]
    assert round(score("exact-match", *texts).value, 2) == example["exact"]


@pytest.mark.parametrize("name", ["code-to-code-trans", "code-refinement"])
def test_codebleu_is_the_scripts_but_for_grammars_and_the_order_of_sets(name: str) -> None:
    """Both n-gram parts to the last digit; syntax within what today's grammars change; data flow
    within what the script itself prints under different hash seeds, and half a point.
    """
    example = EXAMPLES[name]
    found = score(
        "codebleu", example["predictions"], example["references"], language=example["language"]
    )
    theirs = example["codebleu"]
    assert found.parts["ngram"] / 100 == pytest.approx(theirs["ngram"], abs=1e-15)
    assert found.parts["weighted_ngram"] / 100 == pytest.approx(theirs["weighted_ngram"], abs=1e-15)
    assert found.parts["syntax"] == pytest.approx(100 * theirs["syntax"], abs=5)
    least, most = (100 * value for value in theirs["dataflow"])
    assert least - 0.5 <= found.parts["dataflow"] <= most + 0.5
    assert found.value == pytest.approx(sum(found.parts.values()) / 4)


def test_the_reference_in_the_brevity_penalty_of_the_weighted_part_is_two_words_long() -> None:
    """As the script has it: half the words missing costs recall alone."""
    found = score("codebleu", ["a b c d"], ["a b c d e f g h"], language="java")
    recall = [0.5, 3 / 7, 2 / 6, 1 / 5]
    mean = (recall[0] * recall[1] * recall[2] * recall[3]) ** 0.25
    assert found.parts["weighted_ngram"] == pytest.approx(100 * mean)


def test_keywords_weigh_five_times_other_words() -> None:
    lost_word = score("codebleu", ["return z"], ["return y"], language="java")
    lost_keyword = score("codebleu", ["z y"], ["return y"], language="java")
    assert lost_word.parts["ngram"] == lost_keyword.parts["ngram"]
    ratio = lost_word.parts["weighted_ngram"] / lost_keyword.parts["weighted_ngram"]
    assert ratio == pytest.approx(5**0.25)  # single words are one of four orders


def test_every_language_with_a_flow_has_keywords_and_a_grammar() -> None:
    assert set(FLOWS) == set(KEYWORDS) == set(CODE)
    assert all(find_language(name).name == name for name in FLOWS)


@pytest.mark.parametrize("language", sorted(CODE))
def test_code_is_worth_100_beside_itself_and_renaming_leaves_structure_whole(language: str) -> None:
    code = CODE[language]
    assert score("codebleu", [code], [code], language=language).value == pytest.approx(100)
    renamed = code.replace("x", "total")
    found = score("codebleu", [renamed], [code], language=language)
    assert found.parts["syntax"] == found.parts["dataflow"] == 100
    assert found.parts["ngram"] < 100


@pytest.mark.parametrize("language", sorted(CODE))
def test_the_loop_variable_flows_into_the_sum_and_the_sum_into_itself(language: str) -> None:
    found = edges(CODE[language], language)
    updates = [parents for own, how, parents in found if how == "computedFrom" and own in parents]
    assert updates and len(updates[-1]) == 2


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("java", "x = a; y = x;", "x = a; y = a;"),
        ("python", "x, y = a, b\n", "x, y = b + a, b + a\n"),
        ("go", "x := a\ny := x", "x := a\ny := a"),
        ("javascript", "x = a; y = x;", "x = a; y = a;"),
        ("ruby", "while x do x = y end", "while x do y = x end"),
    ],
)
def test_other_flows_are_told_apart(language: str, one: str, other: str) -> None:
    assert edges(one, language) != edges(other, language)


def test_after_if_and_else_only_their_own_values_go_on() -> None:
    reader = Reader(find_language("java"))
    code = b"x = 1; if (c) { x = a; } else { x = b; } y = x;"
    reader.edges(parse(code, find_language("java")))
    assert sorted(reader.sources[code.rindex(b"x")]) == [code.index(b"x = a"), code.index(b"x = b")]


def test_syntax_agrees_with_the_text_of_every_s_expression() -> None:
    """The script's own definition, on trees with and without errors."""
    language = find_language("c-sharp")
    example = EXAMPLES["code-to-code-trans"]
    shapes = Shapes(language)
    pairs = zip(example["predictions"], example["references"], strict=True)
    for prediction, reference in [*pairs, ("public AreaRecord(X in) {a = in.r();", "int a(b)}")]:
        trees = [parse(text.encode(), language) for text in (prediction, reference)]
        texts = []
        for tree in trees:
            stack, found = [tree.root_node], []
            while stack:
                node = stack.pop()
                found.append(str(node))
                stack.extend(child for child in node.children if child.child_count)
            texts.append(found)
        expected = sum(text in set(texts[0]) for text in texts[1]), len(texts[1])
        assert match(shapes, trees[0], [trees[1]]) == expected


def test_comments_count_neither_for_syntax_nor_for_data_flow() -> None:
    code = CODE["python"]
    noted = code.replace("    x = a\n", "    x = a  # as b // c\n    # x = b\n")
    found = score("codebleu", [noted], [code], language="python")
    assert found.parts["syntax"] == found.parts["dataflow"] == 100


def test_without_data_flow_in_any_reference_the_other_parts_count_a_third_each() -> None:
    code = "void f ( ) { }"
    found = score("codebleu", [code], [code], language="java")
    assert found.value == pytest.approx(100)
    assert set(found.parts) == {"ngram", "weighted_ngram", "syntax"}
    assert "|dataflow:none|" in found.signature


def test_several_references_sum_their_recall_and_clip_precision_by_the_most() -> None:
    alone = score("codebleu", ["x = a ; y = x ;"], ["x = a ; y = x ;"], language="java")
    with_other = score(
        "codebleu", ["x = a ; y = x ;"], [("x = a ; y = x ;", "return b ;")], language="java"
    )
    assert alone.parts["ngram"] == with_other.parts["ngram"] == pytest.approx(100)
    assert with_other.parts["syntax"] < 100


def test_an_empty_prediction_is_worth_nothing_in_words_and_flow() -> None:
    found = score("codebleu", [""], [CODE["java"]], language="java")
    assert found.parts["ngram"] == found.parts["weighted_ngram"] == found.parts["dataflow"] == 0
    assert found.value < 10


def test_the_signature_names_language_and_grammar_and_the_interval_holds_the_value() -> None:
    example = EXAMPLES["code-refinement"]
    texts = example["predictions"], example["references"]
    found = score("codebleu", *texts, language="java", bootstrap=200)
    assert "codebleu|lang:java|tok:none|grammar:tree-sitter-java-" in found.signature
    assert found.low < found.value < found.high


@pytest.mark.parametrize(
    "code",
    [
        "x = " + "a + " * 3000 + "b;",
        "x = " + "(" * 3000 + "a" + ")" * 3000 + ";",
        "if (a) x = 1; else " * 800 + "x = 2;",
        "for (int i = 0; i < n; i++) " * 30 + "x = x + i;",
        "(" * 20000,
        "\ufffd\u2028\x85\0 ' \" /*",
    ],
    ids=["chain", "brackets", "else-if", "loops", "open", "odd"],
)
def test_deep_and_broken_code_is_scored_and_does_not_explode(code: str) -> None:
    found = score("codebleu", [code], [CODE["java"]], language="java")
    assert 0 <= found.value < 60  # in this life: the script reads 30 loops 2^30 times


def test_a_language_is_needed_and_must_be_one_of_nine() -> None:
    with pytest.raises(UsageError, match="codebleu needs to know the language"):
        score("codebleu", ["a"], ["a"])
    with pytest.raises(UsageError, match="does not know the data flow of typescript"):
        score("codebleu", ["a"], ["a"], language="typescript")
    with pytest.raises(DataError, match="Unknown language 'jav'"):
        score("codebleu", ["a"], ["a"], language="jav")


def test_only_empty_references_and_binary_references_are_refused() -> None:
    with pytest.raises(DataError, match="Every reference is empty"):
        score("codebleu", ["a"], [" "], language="java")
    with pytest.raises(DataError, match="binary"):
        score("codebleu", ["a"], ["a\0"], language="java")


def test_a_wrong_name_is_told_the_right_one() -> None:
    with pytest.raises(UnknownNameError, match="codebleu"):
        METRICS.get("codeblue")
