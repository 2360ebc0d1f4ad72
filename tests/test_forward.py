"""Plans, losses and label scores: what training and serving share."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from codeprompt.answer import Prompt, Row, answer
from codeprompt.errors import BackboneError, TemplateError
from codeprompt.forward import classify, encode_all, generation_loss, pad_labels
from codeprompt.inject import Injection, collate
from codeprompt.plan import Plan, to_source
from codeprompt.registry import METHODS
from codeprompt.template import parse
from codeprompt.training import guard
from codeprompt.types import Example, Rendered
from codeprompt.verbalizers import Verbalizer, label_log_probs
from tests.tiny import tiny_roberta, tiny_t5
from tests.tuned import FIELDS, WORDS, prompt_of


def labels_of(prompt: Prompt, fields: list[dict[str, str]]) -> torch.Tensor:
    plan = prompt.plan
    injected = collate([prompt.injection])
    rows = [plan.render(one) for one in fields]
    sources, hidden = encode_all(plan, rows, injected)
    return classify(plan.backbone, plan, rows, sources, hidden, injected, prompt.injection.head)


@pytest.mark.parametrize("name", [n for n in METHODS.names() if "t5" in METHODS.get(n).families])
def test_train_and_generate_agree(name: str) -> None:
    """The teacher-forced mean log-probability of a greedy answer is its generation score."""
    prompt = prompt_of(name, tiny_t5(), "summarize")
    assert guard.check_agrees(prompt.plan, prompt.injection, Example(FIELDS[0])) < 1e-5


def test_the_losses_of_a_batch_cut_in_parts_add_up() -> None:
    """Rows of unlike target lengths weigh by their tokens, however a batch is cut."""
    prompt = prompt_of("soft", tiny_t5(), "summarize")
    plan, injected = prompt.plan, collate([prompt.injection])
    targets = [plan.target_ids(t) for t in ("yes", "return the sum of values", "no list")]

    def loss(rows: list[int], total: int | None) -> torch.Tensor:
        sources, hidden = encode_all(plan, [plan.render(FIELDS[i]) for i in rows], injected)
        labels = pad_labels([targets[i] for i in rows])
        return generation_loss(plan.backbone, sources[0], hidden[0], labels, injected, total)

    with torch.no_grad():
        whole = loss([0, 1, 2], None)
        total = sum(map(len, targets))
        torch.testing.assert_close(loss([0], total) + loss([1, 2], total), whole)


def test_a_reference_always_ends() -> None:
    """A target that is too long is cut before its end token, never of it."""
    plan = prompt_of("hard", tiny_t5(), "summarize", target_length=4).plan
    ids = plan.target_ids("returns the sum of all given values in the list")
    assert len(ids) == 4
    assert ids[-1] == plan.tokenizer.eos_id


@pytest.mark.parametrize(
    ("family", "head"), [("t5", "verbalizer"), ("t5", "linear"), ("roberta", "linear")]
)
@pytest.mark.parametrize("name", ["soft", "ptuning-v2"])
def test_labels_of_a_batch_are_those_of_each_alone(name: str, family: str, head: str) -> None:
    """Padding and neighbours change no label's probability."""
    backbone = tiny_t5() if family == "t5" else tiny_roberta()
    prompt = prompt_of(name, backbone, "defect", head=head)
    with torch.no_grad():
        together = labels_of(prompt, FIELDS)
        alone = torch.cat([labels_of(prompt, [fields]) for fields in FIELDS])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.exp().sum(-1), torch.ones(len(FIELDS)))


def test_a_cloze_scores_words_of_several_tokens_at_as_many_masks() -> None:
    """Each word is scored in the rendering that has its number of masks, one by one here."""
    prompt = prompt_of("soft", tiny_roberta(), "defect")
    plan, model = prompt.plan, prompt.plan.backbone
    assert len(plan.mask_counts) > 1
    injected = collate([prompt.injection])
    scores = []
    with torch.no_grad():
        for _, ids in plan.words:
            row = plan.render(FIELDS[0])[plan.mask_counts.index(len(ids))]
            assert len(row.mask) == len(ids)
            source = to_source([row], plan.tokenizer.pad_id)
            logits = model.mask_logits(model.encode(source, injected), torch.tensor([row.mask]))
            picked = logits.log_softmax(-1)[0, torch.arange(len(ids)), torch.tensor(ids)]
            scores.append(picked.mean())
        expected = label_log_probs(torch.stack(scores)[None], [i for i, _ in plan.words], 2)
        torch.testing.assert_close(labels_of(prompt, FIELDS[:1]), expected)


def test_a_decoder_scores_whole_words() -> None:
    """Each word's mean log-probability is that of the decoder writing exactly it."""
    prompt = prompt_of("prefix", tiny_t5(), "defect")
    plan, model = prompt.plan, prompt.plan.backbone
    injected = collate([prompt.injection])
    with torch.no_grad():
        sources, hidden = encode_all(plan, [plan.render(FIELDS[0])], injected)
        scores = [
            -generation_loss(model, sources[0], hidden[0], pad_labels([ids]), injected)
            for _, ids in plan.words
        ]
        expected = label_log_probs(torch.stack(scores)[None], [i for i, _ in plan.words], 2)
        torch.testing.assert_close(labels_of(prompt, FIELDS[:1]), expected)


def test_calibration_divides_by_the_prior() -> None:
    """An input that answers as the content-free one does has equal probabilities."""
    prompt = prompt_of("hard", tiny_t5(), "defect")
    with torch.no_grad():
        found = labels_of(prompt, FIELDS[:1])[0]
        plan = replace(prompt.plan, prior=tuple(found.tolist()))
        again = labels_of(replace(prompt, plan=plan), FIELDS[:1])[0]
    torch.testing.assert_close(again.exp(), torch.full((2,), 0.5))


def test_an_encoder_cannot_write() -> None:
    """A generating task on an encoder is refused before anything is computed."""
    with pytest.raises(BackboneError, match="is an encoder and cannot write text"):
        Plan(tiny_roberta(), parse("{code}"), "generate", 64, 8)


def test_a_cloze_needs_a_mask_in_its_template() -> None:
    """The way out is named."""
    with pytest.raises(TemplateError, match=r"no \{mask\}.*Add \{mask\}, or .*--head linear"):
        Plan(
            tiny_roberta(),
            parse("The code {code}"),
            "classify",
            64,
            1,
            tuple(WORDS),
            "defective",
            Verbalizer.of(WORDS),
        )


def test_a_cloze_needs_a_mask_head() -> None:
    """A checkpoint that has none is refused when the plan is made, not at the first answer."""
    backbone = tiny_roberta(mask_head=False)
    with pytest.raises(BackboneError, match=r"without a mask head.*--head linear"):
        prompt_of("soft", backbone, "defect", head="verbalizer")
    assert prompt_of("soft", backbone, "defect", head="linear").injection.head is not None


def test_rows_are_padded_at_their_end() -> None:
    """Short rows are padded; slots are kept apart from tokens, and are left out where none are."""
    source = to_source([Rendered((5, 0, 7), (-1, 0, -1)), Rendered((6,), (-1,))], 9)
    assert source.ids.tolist() == [[5, 0, 7], [6, 9, 9]]
    assert source.mask.tolist() == [[True] * 3, [True, False, False]]
    assert source.slots is not None
    assert source.slots.tolist() == [[-1, 0, -1], [-1, -1, -1]]
    assert to_source([Rendered((5,), (-1,))], 9).slots is None


def test_no_rows_no_answers() -> None:
    """An empty batch is answered by nothing."""
    assert answer(tiny_t5(), [], []) == []


def test_prompts_that_share_nothing_answer_in_one_batch_as_alone() -> None:
    """Generating and classifying prompts in one batch, in any order of rows."""
    backbone = tiny_t5()
    prompts = [
        prompt_of("soft", backbone, "summarize"),
        prompt_of("prefix", backbone, "defect"),
        prompt_of("hard", backbone, "translate"),
        Prompt(prompt_of("lora", backbone, "summarize").plan, Injection()),
    ]
    rows = [Row(p, FIELDS[i]) for i in range(3) for p in (2, 0, 3, 1)]
    together = answer(backbone, prompts, rows)
    for row, found in zip(rows, together, strict=True):
        [alone] = answer(backbone, [prompts[row.prompt]], [Row(0, row.fields)])
        assert found.text == alone.text
        assert found.score == pytest.approx(alone.score, abs=1e-5)
