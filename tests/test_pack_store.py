"""Packs survive disk and crashes whole; what was cut, changed or does not fit is refused."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from codeprompt.errors import PackError
from codeprompt.inject import Branch, Columns, Delta, Head, Injection
from codeprompt.pack import (
    Pack,
    check_backbone,
    load,
    nearest_tokens,
    save,
)
from codeprompt.pack.card import Card, decode, encode, safe_name
from codeprompt.pack.folder import TENSORS
from codeprompt.pack.lookup import CARD
from codeprompt.pack.store import with_card
from tests.packs import backbone_of, every_part, make, same

INJECTIONS: dict[str, Callable[[], tuple[Injection, str, str]]] = {
    "nothing": lambda: (Injection(), "{code}", "verbalizer"),
    "slots": lambda: (Injection(slots=torch.randn(3, 32)), "{soft:3}{code}", "verbalizer"),
    "every part": lambda: (every_part(), "{soft:3}{code}", "linear"),
    "weights": lambda: (
        Injection(weights={"shared.weight": backbone_of().embedding.weight}),
        "{code}",
        "verbalizer",
    ),
}


@pytest.mark.parametrize("case", INJECTIONS)
def test_a_pack_comes_back_as_it_was_saved(tmp_path: Path, case: str) -> None:
    """Card, tensors and conventions, bit for bit; nothing else stays in the folder."""
    injection, template, head = INJECTIONS[case]()
    pack = make(injection, template, head=head)
    where = save(pack, tmp_path / "p")
    back = load(where)
    assert back.card == pack.card
    assert same(back.injection, pack.injection)
    assert back.injection.conventions() == injection.conventions()
    assert {p.name for p in where.iterdir()} == {TENSORS, CARD}
    assert back.path == where
    assert str(back.template) == template
    assert back.verbalizer == pack.verbalizer
    check_backbone(back, backbone_of())


def test_a_pack_does_not_change_with_what_it_was_made_of() -> None:
    """Training that goes on leaves it alone."""
    slots = torch.randn(3, 32)
    pack = make(Injection(slots=slots))
    before = pack.injection.tensors()["slots"].clone()
    slots.add_(1)
    assert torch.equal(pack.injection.tensors()["slots"], before)


def test_the_card_is_text_in_a_stable_order() -> None:
    """Two packs of the same content have the same card, whatever the order of their settings."""
    one = make(settings={"a": 1, "b": (1, 2)})
    two = make(settings={"b": [1, 2], "a": 1})
    assert encode(one.card) == encode(two.card)
    assert list(json.loads(encode(one.card))) == list(Card.__struct_fields__)


def test_an_undefined_score_is_null_on_the_card() -> None:
    """JSON has no NaN, and a pack is not lost for it."""
    nan = float("nan")
    pack = make(dev_scores=[{"seed": 0, "metric": "roc-auc", "value": nan}], threshold=nan)
    assert pack.card.dev_scores[0].value is None
    assert pack.card.threshold is None


def test_a_changed_card_is_sealed_anew(tmp_path: Path) -> None:
    """`with_card` is the one way to change a field."""
    pack = with_card(make(), threshold=0.25)
    assert load(save(pack, tmp_path / "p")).card.threshold == 0.25


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every plain value of a JSON tree."""
    if isinstance(value, dict) and value:
        return [p for key, item in value.items() for p in places(item, (*at, key))]
    if isinstance(value, list) and value:
        return [p for i, item in enumerate(value) for p in places(item, (*at, i))]
    return [at]


def flip(value: Any) -> Any:
    """Another value of the same type where there is one."""
    if value is None:
        return 1
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return ("b" if value[:1] == "a" else "a") + value[1:]
    return {"a": 1} if isinstance(value, dict) else ["a"]


def test_a_card_with_any_field_changed_is_refused(tmp_path: Path) -> None:
    """Every value of the card, one at a time, and every key taken out or added."""
    where = save(make(every_part(), head="linear"), tmp_path / "p")
    good = json.loads((where / CARD).read_text())
    paths = places(good)
    assert len(paths) >= 60
    for path in paths:
        card = json.loads(json.dumps(good))
        inner = card
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = flip(inner[path[-1]])
        (where / CARD).write_text(json.dumps(card))
        with pytest.raises(PackError):
            load(where)
    for key in good:
        (where / CARD).write_text(json.dumps({k: v for k, v in good.items() if k != key}))
        with pytest.raises(PackError):
            load(where)
    (where / CARD).write_text(json.dumps({**good, "note": 1}))
    with pytest.raises(PackError, match="unknown field `note`"):
        load(where)
    (where / CARD).write_text(json.dumps(good))
    load(where)


def test_the_reason_names_the_place_in_the_card(tmp_path: Path) -> None:
    """A wrong type is found where it stands."""
    where = save(make(), tmp_path / "p")
    card = json.loads((where / CARD).read_text())
    card["scores"][0]["n"] = "four"
    (where / CARD).write_text(json.dumps(card))
    with pytest.raises(PackError, match=r"Expected `int`, got `str` - at `\$\.scores\[0\]\.n`"):
        load(where)


def test_a_changed_card_passes_only_unverified(tmp_path: Path) -> None:
    """The hash is what `verify` is about; types are checked always."""
    where = save(make(), tmp_path / "p")
    card = json.loads((where / CARD).read_text())
    card["threshold"] = 0.9
    (where / CARD).write_text(json.dumps(card))
    with pytest.raises(PackError, match="was changed after it was written"):
        load(where)
    assert load(where, verify=False).card.threshold == 0.9


def test_a_changed_tensor_is_refused(tmp_path: Path) -> None:
    """One bit of one value, a value's dtype, a tensor more or less."""
    where = save(make(), tmp_path / "p")
    data = bytearray((where / TENSORS).read_bytes())
    data[-1] ^= 1
    (where / TENSORS).write_bytes(data)
    with pytest.raises(PackError, match="changed after"):
        load(where)
    save(make(), where)
    tensors = load_file(where / TENSORS)
    for changed in (
        {"slots": tensors["slots"].double()},
        {"slots": tensors["slots"].T.contiguous()},
        {**tensors, "layers.encoder": torch.zeros(2, 1, 32)},
        {},
    ):
        save_file(changed, where / TENSORS)
        with pytest.raises(PackError, match="changed after"):
            load(where)
    save_file({**tensors, "slot": torch.zeros(1)}, where / TENSORS)
    with pytest.raises(PackError, match="tensors that no prompt part has: slot"):
        load(where)
    save_file({"slots": tensors["slots"].long()}, where / TENSORS)
    with pytest.raises(PackError, match="not of floating point: slots"):
        load(where)


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    """Wherever it is cut, either file."""
    pack = make()
    for name, at in ((TENSORS, (0, 7, 20, 90, -1)), (CARD, (0, 1, 500, -3))):
        where = save(pack, tmp_path / "p")
        whole = (where / name).read_bytes()
        for end in at:
            (where / name).write_bytes(whole[:end])
            with pytest.raises(PackError, match=r"cut or no safetensors|not a readable card"):
                load(where)
        (where / name).unlink()
        with pytest.raises(PackError, match=f"lacks {TENSORS}|There is no pack|holds no {CARD}"):
            load(where)
        shutil.rmtree(where)


def test_a_header_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    """Nothing of a terabyte is allocated for a file of a hundred bytes."""
    where = save(make(), tmp_path / "p")
    size = 1 << 40
    header = {"slots": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}
    text = json.dumps(header).encode()
    (where / TENSORS).write_bytes(struct.pack("<Q", len(text)) + text + bytes(100))
    with pytest.raises(PackError, match="cut or no safetensors file"):
        load(where)
    with open(where / TENSORS, "r+b") as file:  # sparse: no disk is used
        file.truncate(1 << 34)
    with pytest.raises(PackError, match="Expected at most"):
        load(where)


def test_cards_out_of_bounds_are_refused() -> None:
    """Too large, too deep, from the future, or no card at all."""
    good = json.loads(encode(make().card))
    with pytest.raises(PackError, match=r"Upgrade codeprompt"):
        decode(json.dumps({**good, "schema": 2, "new": 1}).encode(), "card.json")
    with pytest.raises(PackError, match="of schema 0"):
        decode(json.dumps({**good, "schema": 0}).encode(), "card.json")
    with pytest.raises(PackError, match="a card of at most"):
        decode(b" " * 1_000_001, "card.json")
    with pytest.raises(PackError, match="nested too deeply"):
        decode(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "card.json")
    for text in (b"[]", b"null", b"\xff\xfe", b'{"schema": "1"}', b'{"schema": 1}', b"\x00" * 9):
        with pytest.raises(PackError, match="not a readable card"):
            decode(text, "card.json")
    with pytest.raises(PackError, match="name"):
        decode(json.dumps({**good, "name": "../up"}).encode(), "card.json")


def test_any_text_gives_a_name() -> None:
    """A folder's name becomes a pack's name that is safe in a path."""
    assert safe_name("my pack!") == "my-pack-"
    assert safe_name("../../etc") == "etc"
    assert safe_name("übung") == "bung"
    assert safe_name("...") == "pack"
    assert len(safe_name("x" * 300)) == 100


MISFITS: dict[str, tuple[Callable[[], Pack], str]] = {
    "fewer vectors": (lambda: make(template="{soft:4}{code}"), "has 4 soft slots, and the pack 3"),
    "no vectors": (lambda: make(Injection(), "{soft:2}{code}"), "has 2 soft slots, and the pack 0"),
    "unresolved": (lambda: make(template="{soft}{code}"), "is not resolved"),
    "head": (lambda: make(head="linear"), "says head 'linear', and the pack has no linear head"),
    "head rows": (
        lambda: make(
            Injection(head=Head(torch.zeros(3, 32), torch.zeros(3))), "{code}", head="linear"
        ),
        "a row for each of its 2 labels",
    ),
    "labels": (lambda: make(labels=("x", "y")), "The verbalizer of 'defect-soft' has the labels"),
    "positive": (lambda: make(positive="bad"), "positive label of 'defect-soft' is 'bad'"),
    "prior": (lambda: make(prior=(0.1,)), "has 1 entries, not 2"),
    "not finite": (lambda: make(Injection(slots=torch.full((3, 32), torch.nan))), "not finite"),
    "not float": (
        lambda: make(Injection(slots=torch.ones(3, 32, dtype=torch.long))),
        "not of floating point",
    ),
    "flat": (lambda: make(Injection(slots=torch.ones(3))), "'slots' has the shape"),
    "width": (lambda: make(Injection(slots=torch.randn(3, 31))), r"Expected \[P, 32\]"),
    "layers": (
        lambda: make(Injection(layers={"encoder": torch.randn(3, 1, 32)}), "{code}"),
        r"Expected \[2, P, 32\]",
    ),
    "columns": (
        lambda: make(
            Injection(columns={"cross": Columns(torch.randn(2, 4, 1, 8), torch.randn(2, 2, 1, 8))}),
            "{code}",
        ),
        "'columns.cross.value' has the shape",
    ),
    "uneven columns": (
        lambda: make(
            Injection(columns={"cross": Columns(torch.randn(2, 4, 2, 8), torch.randn(2, 4, 1, 8))}),
            "{code}",
        ),
        "2 columns, as the keys",
    ),
    "gate": (
        lambda: make(
            Injection(
                branches={
                    "encoder": Branch(
                        torch.randn(2, 4, 1, 8), torch.randn(2, 4, 1, 8), torch.ones(3)
                    )
                }
            ),
            "{code}",
        ),
        "'branches.encoder.gate'",
    ),
    "unknown map": (
        lambda: make(Injection(deltas={"q": Delta(torch.ones(1, 32), torch.ones(32, 1))}), "x"),
        "changes the linear map 'q'",
    ),
    "unread map": (
        lambda: make(
            Injection(deltas={"lm_head": Delta(torch.ones(1, 32), torch.ones(507, 1))}), "x"
        ),
        "changes the linear map 'lm_head'",
    ),
    "map's size": (
        lambda: make(
            Injection(
                deltas={
                    "decoder.block.0.layer.0.SelfAttention.q": Delta(
                        torch.ones(1, 32), torch.ones(31, 1)
                    )
                }
            ),
            "x",
        ),
        r"Expected \[32, 1\]",
    ),
    "weight": (
        lambda: make(Injection(weights={"shared": torch.ones(2)}), "x"),
        "the weight 'shared', which",
    ),
    "site": (
        lambda: make(
            Injection(columns={"cross": Columns(torch.ones(2, 4, 1, 8), torch.ones(2, 4, 1, 8))}),
            "x",
            backbone=backbone_of("roberta"),
        ),
        "has no cross attention",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_parts_that_do_not_belong_together_make_no_pack(case: str) -> None:
    """Each with what was found and what was expected."""
    build, reason = MISFITS[case]
    with pytest.raises(PackError, match=reason):
        build()


def test_a_value_that_no_card_can_hold_is_refused() -> None:
    """The setting's type is named."""
    with pytest.raises(PackError, match="a value of type object"):
        make(settings={"x": object()})


def test_a_wrong_backbone_is_refused() -> None:
    """Found, expected, what to do; another tokenizer or family too."""
    pack = make()
    other = backbone_of(seed=1, mark="cd" * 32)
    other.hash = "cd" * 32
    reason = r"made for tiny-t5-0 \(hash .*\), and tiny-t5-1 is hash cdcd.*--backbone tiny-t5-0"
    with pytest.raises(PackError, match=reason):
        check_backbone(pack, other)
    with pytest.raises(PackError, match="is of the roberta family"):
        check_backbone(pack, backbone_of("roberta"))
    another = backbone_of()
    another.tokenizer.hash = "other"  # type: ignore[misc]
    with pytest.raises(PackError, match="The tokenizer of tiny-t5-0 is not the one"):
        check_backbone(pack, another)


def test_a_pack_of_weights_keeps_the_hash_it_started_from() -> None:
    """It is refused on any other backbone, as a prompt is."""
    weights = {"shared.weight": torch.randn_like(backbone_of().embedding.weight)}
    pack = make(Injection(weights=weights), "{code}", method="full")
    assert pack.card.holds == "weights"
    assert pack.card.backbone.hash == backbone_of().hash
    other = backbone_of()
    other.hash = "cd" * 32
    with pytest.raises(PackError, match="was made for"):
        check_backbone(pack, other)


def test_nearest_tokens_find_the_words_a_prompt_started_from() -> None:
    """A slot that is a token's own vector, however long, is nearest to that token."""
    backbone = backbone_of()
    ids = backbone.tokenizer.encode(" return") + backbone.tokenizer.encode(" list")
    slots = 3 * backbone.embedding.weight[torch.tensor(ids)]
    pack = make(Injection(slots=slots), f"{{soft:{len(ids)}}}{{code}}")
    found = nearest_tokens(pack, backbone, k=2)
    assert [v.nearest[0][0] for v in found] == [backbone.tokenizer.decode([i]) for i in ids]
    assert found[0].nearest[0][1] == pytest.approx(1, abs=1e-5)
    assert found[0].norm == pytest.approx(float(slots[0].norm()), rel=1e-5)
    assert len(found[0].nearest) == 2
    assert nearest_tokens(make(Injection(), "{code}"), backbone) == []
    json.dumps([vector.as_json() for vector in found])
