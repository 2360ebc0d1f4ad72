"""The tokenizer: byte-level BPE in CodeT5's form, with merges that never cross a camelCase border.

`vocab.json` and `merges.txt` are all that the product reads. Training splits words where a
lower-case letter or digit meets an upper-case one; as no merge crosses such a border, plain
byte-level BPE makes the same split when it is used, and `getNodeName` comes out as the words that
summaries are made of.

Ids: `<pad>` 0, `<s>` 1, `</s>` 2, `<unk>` 3, `<mask>` 4, the BPE, then `<extra_id_99>` ...
`<extra_id_0>` at the end, in the order of CodeT5.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from codeprompt.files import write_text

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<mask>")
PAD, START, END, UNKNOWN, MASK = range(5)
SENTINELS = 100
FILES = ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")
CAMEL = r"(?<=[a-z0-9])(?=[A-Z])"


def train(texts: Iterable[str], out: Path, size: int = 16_000) -> None:
    """Learn the merges and write the folder; `size` counts sentinels and special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CAMEL), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size - SENTINELS,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        max_token_length=24,
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [" ".join(m) if isinstance(m, list) else m for m in model["merges"]]
    vocabulary = dict(sorted(model["vocab"].items(), key=lambda item: item[1]))
    write_text(out / "vocab.json", json.dumps(vocabulary, ensure_ascii=False))
    write_text(out / "merges.txt", "#version: 0.2\n" + "\n".join(merges) + "\n")
    write_special(out, len(vocabulary))


def write_special(out: Path, first: int | None) -> None:
    """The configuration beside the vocabulary; sentinels from id `first` on, or none at all."""
    sentinels = [f"<extra_id_{n}>" for n in reversed(range(SENTINELS))] if first else []
    named = {
        "bos_token": "<s>",
        "cls_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    kept = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    added = {
        str((first or 0) + i): {"content": token, **kept, "special": True}
        for i, token in enumerate(sentinels)
    }
    added |= {
        str(i): {"content": token, **kept, "special": True} for i, token in enumerate(SPECIAL)
    }
    if first is None:  # an encoder's mask stands for a word with its space, as RoBERTa's does
        added[str(MASK)] |= {"lstrip": True}
    config = {
        "add_prefix_space": False,
        "added_tokens_decoder": dict(sorted(added.items(), key=lambda item: int(item[0]))),
        "additional_special_tokens": sentinels,
        "clean_up_tokenization_spaces": False,
        "errors": "replace",
        "model_max_length": 512,
        "tokenizer_class": "RobertaTokenizer",
        "trim_offsets": True,
        **named,
    }
    special = {**named, "additional_special_tokens": sentinels}
    write_text(out / "tokenizer_config.json", json.dumps(config, indent=1) + "\n")
    write_text(out / "special_tokens_map.json", json.dumps(special, indent=1) + "\n")


def load(folder: Path) -> Tokenizer:
    """The tokenizer as the product builds it: plain byte-level BPE with the added sentinels."""
    tokenizer = Tokenizer(
        models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    sentinels = [f"<extra_id_{n}>" for n in reversed(range(SENTINELS))]
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in sentinels])
    return tokenizer


def texts(rows: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """What the merges are learned from: code raw and joined, and the prose."""
    for code, joined, summary in rows:
        yield code
        yield joined
        if summary:  # short beside the code; prose must not be spelled out of code's pieces
            yield summary
            yield " " + summary
