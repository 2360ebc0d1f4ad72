"""The tokenizer gives the ids of `transformers`, without `transformers`."""

from __future__ import annotations

import json
import lzma
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeprompt.backbones.tokenizer import Tokenizer
from codeprompt.errors import BackboneError

FOLDERS = ["codet5-base-hf", "codebert-base"]
ODD = [
    "",
    " ",
    "   leading spaces",
    "\t\ttabs\r\n\r\n  and lines  \n",
    "trailing   ",
    "x = <mask> y  <mask>\n<mask>",
    "<s></s><pad><unk><mask>",
    "a <s> b </s> c <pad> d <unk> e",
    "<extra_id_0> <extra_id_1>text<extra_id_99>  <extra_id_100>",
    "déjà vu — naïve “quotes” 日本語 한국어 עברית \U0001f600\u200d\u00a0\u3000.",
    "a\x00b\x07\ufffd\u2028\x85end",
    "don't we'll I'm they've 123abc456 $x += 0xFF;",
    "a" * 3000,
    " " * 500 + "x",
    "for(;;){" * 400,
]


def rows(shared_data: Path, name: str, field: str, limit: int) -> Iterator[str]:
    with lzma.open(shared_data / name, "rt", encoding="utf-8") as lines:
        for _, line in zip(range(limit), lines, strict=False):
            value: Any = json.loads(line)[field]
            yield value if isinstance(value, str) else " ".join(value)


@pytest.fixture(scope="session", params=FOLDERS)
def pair(request: pytest.FixtureRequest, shared_data: Path) -> tuple[Tokenizer, Any]:
    from transformers import AutoTokenizer

    folder = shared_data / "tokenizers" / request.param
    return Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder)


def test_ids_of_real_functions_are_those_of_transformers(
    pair: tuple[Tokenizer, Any], shared_data: Path
) -> None:
    """Python, Java and C functions, with and without special tokens around."""
    ours, theirs = pair
    texts = [
        *rows(shared_data, "csn_python/test.jsonl.xz", "code", 200),
        *rows(shared_data, "csn_java/test.jsonl.xz", "code", 200),
        *rows(shared_data, "devign/test.jsonl.xz", "func", 200),
    ]
    assert len(texts) == 600
    found = ours.encode_batch(texts)
    expected = theirs(texts, add_special_tokens=False, verbose=False)["input_ids"]
    assert found == expected
    assert found[7] == ours.encode(texts[7])
    around = theirs(texts[:5], verbose=False)["input_ids"]
    assert [[*ours.prefix_ids, *i, *ours.suffix_ids] for i in found[:5]] == around
    for ids in found[::20]:
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
        assert ours.decode(ids, skip_special=False) == theirs.decode(ids)


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_ids_of_odd_texts_are_those_of_transformers(pair: tuple[Tokenizer, Any], text: str) -> None:
    """Specials in the text, unicode, control characters, white space, very long words."""
    ours, theirs = pair
    expected = theirs(text, add_special_tokens=False, verbose=False)["input_ids"]
    assert ours.encode(text) == expected
    assert ours.decode(expected) == theirs.decode(expected, skip_special_tokens=True)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.lists(st.one_of(st.text(max_size=8), st.sampled_from(ODD[3:10]))).map("".join))
def test_ids_of_any_text_are_those_of_transformers(pair: tuple[Tokenizer, Any], text: str) -> None:
    """Hypothesis looks for a text where the two differ."""
    ours, theirs = pair
    expected = theirs(text, add_special_tokens=False, verbose=False)["input_ids"]
    assert ours.encode(text) == expected


def test_special_ids_of_codet5(shared_data: Path) -> None:
    """CodeT5's sentinel is found by its text, though its list is reversed."""
    ours = Tokenizer.load(shared_data / "tokenizers" / "codet5-base-hf")
    assert (ours.pad_id, ours.bos_id, ours.eos_id, ours.unk_id) == (0, 1, 2, 3)
    assert (ours.sentinel(0), ours.sentinel(99)) == (32099, 32000)
    assert ours.mask_id == 32099
    assert (ours.mask_ids(0), ours.mask_ids(1, 3)) == ([32099], [32098])
    assert (ours.prefix_ids, ours.suffix_ids, ours.vocab_size) == ((1,), (2,), 32100)
    assert ours.special_ids == {0, 1, 2, 3, 4, *range(32000, 32100)}
    with pytest.raises(BackboneError, match="no token '<extra_id_100>'"):
        ours.sentinel(100)


def test_special_ids_of_codebert(shared_data: Path) -> None:
    """RoBERTa's mask is repeated for a label word of several tokens."""
    ours = Tokenizer.load(shared_data / "tokenizers" / "codebert-base")
    assert (ours.pad_id, ours.bos_id, ours.eos_id, ours.unk_id) == (1, 0, 2, 3)
    assert (ours.mask_id, ours.mask_ids(0, 3)) == (50264, [50264] * 3)
    assert ours.vocab_size == 50265


def test_literal_text_never_becomes_a_special_token(shared_data: Path) -> None:
    """`</s>` in somebody's code is five characters, and reads back as itself."""
    ours = Tokenizer.load(shared_data / "tokenizers" / "codet5-base-hf")
    text = "print('</s><pad> <mask> <extra_id_0>')"
    ids = ours.encode(text, literal=True)
    assert not ours.special_ids & set(ids)
    assert ours.decode(ids) == text
    assert ours.encode_batch([text], literal=True) == [ids]
    assert ours.encode("plain text", literal=True) == ours.encode("plain text")


def test_lone_surrogates_are_replaced(shared_data: Path) -> None:
    """JSON may hold half a surrogate pair, which UTF-8 cannot."""
    ours = Tokenizer.load(shared_data / "tokenizers" / "codebert-base")
    assert ours.encode("a\ud800b") == ours.encode("a\ufffdb")


def test_tokenizer_json_alone_gives_the_same_ids(shared_data: Path, tmp_path: Path) -> None:
    """A folder with `tokenizer.json` and nothing else is enough."""
    folder = shared_data / "tokenizers" / "codet5-base-hf"
    shutil.copy(folder / "tokenizer.json", tmp_path)
    alone, parts = Tokenizer.load(tmp_path), Tokenizer.load(folder)
    for text in [*ODD, *rows(shared_data, "csn_python/test.jsonl.xz", "code", 50)]:
        assert alone.encode(text) == parts.encode(text)
    assert (alone.prefix_ids, alone.suffix_ids) == (parts.prefix_ids, parts.suffix_ids)
    assert (alone.pad_id, alone.eos_id, alone.mask_id) == (0, 2, 32099)


def test_roles_from_the_ids_of_config_json(tmp_path: Path) -> None:
    """Where no tokenizer file says which token pads and ends, the model's configuration does."""
    from tokenizers import Tokenizer as Engine
    from tokenizers import models

    vocab = {"[PAD]": 0, "[END]": 1, "x": 2}
    Engine(models.WordLevel(vocab, unk_token="x")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(BackboneError, match="has no pad token"):
        Tokenizer.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"pad_token_id": 0, "eos_token_id": 1}))
    ours = Tokenizer.load(tmp_path)
    assert (ours.pad_id, ours.eos_id, ours.bos_id, ours.mask_id) == (0, 1, None, None)


def byte_level(folder: Path, extra: list[str]) -> dict[str, int]:
    """A small RoBERTa-style tokenizer's files: bytes, a few merges and `extra` tokens."""
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        *extra,
        *sorted(ByteLevel.alphabet()),
        "Ġg",
        "<mask>",
    ]
    vocab = {token: i for i, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\nĠ g\n", encoding="utf-8")
    return vocab


def test_unixcoder_tokens_and_prefix(tmp_path: Path) -> None:
    """`<encoder-only>` stands in the vocabulary, and a prefix that no file names can be given."""
    from transformers import RobertaTokenizer

    vocab = byte_level(tmp_path, ["<encoder-only>", "<decoder-only>"])
    (tmp_path / "special_tokens_map.json").write_text(
        json.dumps(
            {
                "mask_token": {"content": "<mask>", "lstrip": True},
                "additional_special_tokens": ["<encoder-only>"],
            }
        )
    )
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<mask0>": len(vocab)}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"add_prefix_space": True}))
    ours = Tokenizer.load(tmp_path, prefix=("<s>", "<encoder-only>", "</s>"))
    assert ours.prefix_ids == (0, vocab["<encoder-only>"], 2)
    assert ours.suffix_ids == (2,)
    assert ours.add_prefix_space
    assert ours.encode("<mask0>")[-1] == len(vocab) == ours.vocab_size - 1
    theirs = RobertaTokenizer.from_pretrained(tmp_path)
    for text in ("g <mask> g", "<encoder-only> g", "x <mask0> g", "a<decoder-only>"):
        assert ours.encode(text) == theirs(text, add_special_tokens=False)["input_ids"], text


def test_a_mask_without_flags_eats_the_space_before_it(tmp_path: Path) -> None:
    """As RoBERTa was trained, and as `transformers` 4 does it (5 forgets where no file says so)."""
    byte_level(tmp_path, [])
    ours = Tokenizer.load(tmp_path)
    assert ours.encode("g <mask>") == [*ours.encode("g"), ours.mask_id]


def test_hash_follows_the_content(tmp_path: Path) -> None:
    """The same files give the same hash in another folder; another prefix or token does not."""
    for name in "abc":
        (tmp_path / name).mkdir()
        byte_level(tmp_path / name, ["<other>"] if name == "c" else [])
    a, b, c = (Tokenizer.load(tmp_path / name) for name in "abc")
    assert a.hash == b.hash != c.hash
    assert Tokenizer.load(tmp_path / "a", prefix=()).hash != a.hash


def test_broken_folders_are_refused(tmp_path: Path) -> None:
    """Each fault is named."""
    with pytest.raises(BackboneError, match="has no tokenizer"):
        Tokenizer.load(tmp_path)
    byte_level(tmp_path, [])
    (tmp_path / "merges.txt").write_text("#version: 0.2\nĠ g oops\n", encoding="utf-8")
    with pytest.raises(BackboneError, match="line 2: 'Ġ g oops' is not a pair"):
        Tokenizer.load(tmp_path)
    (tmp_path / "merges.txt").write_text("zz yy\n", encoding="utf-8")
    with pytest.raises(BackboneError, match="do not belong together"):
        Tokenizer.load(tmp_path)
    (tmp_path / "vocab.json").write_text("{", encoding="utf-8")
    with pytest.raises(BackboneError, match=r"vocab\.json cannot be read"):
        Tokenizer.load(tmp_path)


def test_a_token_at_another_id_than_the_files_say_is_refused(tmp_path: Path) -> None:
    """A vocabulary that is not the checkpoint's own shows at its special tokens."""
    byte_level(tmp_path, [])
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"added_tokens_decoder": {"5": {"content": "<pad>", "special": True}}})
    )
    with pytest.raises(BackboneError, match=r"'<pad>' would get id 1.*Expected id 5"):
        Tokenizer.load(tmp_path)


def test_import_is_light() -> None:
    """Neither torch nor transformers comes with the module."""
    code = (
        "import sys, codeprompt.backbones.tokenizer; "
        "print([m for m in ('torch', 'transformers', 'tokenizers') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
