"""Baselines: what each answers, and that every file of the folder keeps the contract."""

from __future__ import annotations

import math

import pytest

from codeprompt.bench.baselines.base import Answers, Ask, value
from codeprompt.bench.baselines.constant import climbed, score
from codeprompt.bench.baselines.function_name import own_name, words
from codeprompt.bench.baselines.retrieval import Bm25
from codeprompt.bench.registries import BASELINES
from codeprompt.errors import UsageError
from codeprompt.registry import TASKS
from codeprompt.types import Example

BLEU = "codexglue-sentence-bleu"


def summaries(*pairs: tuple[str, str]) -> list[Example]:
    return [Example({"code": code}, target, str(at)) for at, (code, target) in enumerate(pairs)]


SHOTS = summaries(
    ("def read_file(path): return open(path)", "Return the content of the file ."),
    ("def sum_values(values): return sum(values)", "Return the sum of the values ."),
    ("def parse_tree(text): return Tree(text)", "Return the tree of the text ."),
    ("def is_open(door): return door.open", "Return whether the door is open ."),
)
DEFECTS = [
    Example({"code": f"int f{at}() {{ {'x = *p; ' * (at % 2 * 9)}return {at}; }}"},
            ("clean", "defective")[at % 2], str(at))
    for at in range(20)
]  # fmt: skip


def fitted(name: str, task: str, train: list[Example], dev: list[Example] | None = None) -> Answers:
    answers: Answers = BASELINES.get(name).answers(Ask(TASKS.get(task), train, dev or train))
    return answers


@pytest.mark.parametrize("name", BASELINES.names())
def test_every_baseline_answers_each_row_of_a_task_it_fits(name: str) -> None:
    """With a finite score, deterministically, and refuses a task that it does not fit."""
    baseline = BASELINES.get(name)
    assert BASELINES.summary(name)
    for task in map(TASKS.get, ("summarize", "translate", "defect")):
        train = DEFECTS if task.kind == "classify" else SHOTS
        if not baseline.fits(task):
            with pytest.raises(UsageError, match="no answer to"):
                baseline.answers(Ask(task, train, train))
            continue
        first = fitted(name, task.name, train)(train[:3])
        assert first == fitted(name, task.name, train)(train[:3])
        assert len(first) == 3 and all(0 <= one.score <= 1 for one in first)
        if task.kind == "classify":
            assert all(one.text in task.labels for one in first)


def test_the_names_are_those_of_the_issue() -> None:
    """All that embarrass a model."""
    assert BASELINES.names() == ["bag-of-words", "constant", "copy", "function-name", "length",
                                 "majority", "retrieval"]  # fmt: skip


def test_a_name_is_split_into_its_words() -> None:
    """Camel case, acronyms, digits; the data's own name wins over the code's."""
    assert words("getHTTPResponse_code2") == ["get", "http", "response", "code", "2"]
    answer = fitted("function-name", "summarize", SHOTS)
    assert answer(SHOTS[:1])[0].text == "Read file ."
    named = Example({"code": "def x(): pass", "name": "Stack.pushAll"})
    assert own_name(named) == "pushAll" and answer([named])[0].text == "Push all ."
    assert own_name(Example({"code": "static int *lookup(int a)"})) == "lookup"
    assert answer([Example({"code": "1 + 1"})])[0].text == " ."


def test_the_constant_is_at_least_as_good_on_its_shots_as_any_of_their_targets() -> None:
    """The search only ever takes what is better."""
    best = max(score(BLEU, row.target, SHOTS) for row in SHOTS)
    found = fitted("constant", "summarize", SHOTS)(SHOTS)
    assert len({one.text for one in found}) == 1
    assert value(BLEU, [one.text for one in found], SHOTS) >= best
    start = "open door"
    assert score(BLEU, climbed(BLEU, start, SHOTS), SHOTS) > score(BLEU, start, SHOTS)


def test_dev_rows_decide_what_the_search_on_shots_found() -> None:
    """A phrase fitted to the shots alone is not taken."""
    dev = summaries(("a", "Return a list of the given ."), ("b", "Return a list of the given ."))
    assert fitted("constant", "summarize", SHOTS, dev)(SHOTS)[0].text == dev[0].target


def test_the_majority_is_that_of_the_shots() -> None:
    """Its share is every row's probability; of equals the task's first label."""
    train = [*DEFECTS[:4], DEFECTS[1]]
    (found,) = fitted("majority", "defect", train)(DEFECTS[:1])
    assert (found.text, found.score) == ("defective", 0.6)
    assert fitted("majority", "defect", DEFECTS)(DEFECTS[:1])[0].text == "clean"


def test_length_alone_tells_long_from_short() -> None:
    """And a bag of words what stands in them."""
    for name in ("length", "bag-of-words"):
        found = fitted(name, "defect", DEFECTS)(DEFECTS)
        right = sum(p.text == row.target for p, row in zip(found, DEFECTS, strict=True))
        assert right == len(DEFECTS), name


def test_bm25_is_robertsons() -> None:
    """One score by hand: idf times saturated count; words it does not know count nothing."""
    index = Bm25([["a", "b"], ["b", "b", "c", "d"]])
    scores = index.scores(["c", "unknown"])
    idf = math.log(1 + (2 - 1 + 0.5) / (1 + 0.5))
    norm = 1.5 * (1 - 0.75 + 0.75 * 4 / 3)
    assert scores.tolist() == pytest.approx([0.0, idf * 2.5 / (1 + norm)])
    (found,) = fitted("retrieval", "summarize", SHOTS)(
        [Example({"code": "def sum_of_values(xs): ..."})]
    )
    assert found.text == "Return the sum of the values ."
    assert fitted("retrieval", "summarize", SHOTS)([Example({"code": "?"})])[0].text


def test_a_copy_is_the_input_on_one_line() -> None:
    """As translations stand in their files."""
    (found,) = fitted("copy", "translate", SHOTS)([Example({"code": "int a;\n  int b;"})])
    assert found.text == "int a; int b;"
