"""The encoder that ships fills blanks in code, with no network."""

from __future__ import annotations

import pytest
import torch

from codeprompt.backbones.base import Source
from codeprompt.backbones.load import load_backbone


@pytest.mark.parametrize(
    ("before", "after", "word", "among"),
    [
        (
            "class A {\n    int count;\n    int getCount() {\n        return ",
            ";\n    }\n",
            " count",
            1,
        ),
        ("for i in range(", "(items)):\n    print(items[i])\n", "len", 3),
    ],
)
def test_a_hidden_name_is_found(before: str, after: str, word: str, among: int) -> None:
    """The word that stood there is among the likeliest of 15,900."""
    backbone = load_backbone("builtin-encoder")
    tokenizer = backbone.tokenizer
    front = [*tokenizer.prefix_ids, *tokenizer.encode(before)]
    assert tokenizer.mask_id is not None
    ids = [*front, tokenizer.mask_id, *tokenizer.encode(after), *tokenizer.suffix_ids]
    source = Source(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool))
    with torch.no_grad():
        logits = backbone.mask_logits(backbone.encode(source), torch.tensor([[len(front)]]))
    (wanted,) = tokenizer.encode(word)
    assert wanted in logits.flatten().topk(among).indices.tolist()
