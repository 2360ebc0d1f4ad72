"""The shapes measured, as whole Hugging Face checkpoints with random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

SMALL = {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8}
BASE = {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12}
VOCABULARY = 32100
T5_SPECIALS = ("<pad>", "<s>", "</s>", "<unk>", "<mask>")
ROBERTA_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
SHAPES = ("small", "base", "builtin", "roberta")


def checkpoint(shape: str, folder: Path, *, varied: bool = False) -> Path:
    """Write a checkpoint of that shape into `folder` (CodeT5-small, CodeT5-base, CodeBERT-base).

    `builtin` is the package's own backbone, copied. Weights are Hugging Face's own random ones;
    `varied` widens the T5 decoder's, which else says the same token twenty times.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if shape == "builtin":
        from codeprompt.backbones.checkpoint import resolve

        shutil.copytree(resolve("builtin", allow_hub=False), folder, dirs_exist_ok=True)
        return folder
    import torch
    import transformers

    torch.manual_seed(0)
    model: Any
    if shape == "roberta":
        model = transformers.RobertaForMaskedLM(_roberta())
        specials = ROBERTA_SPECIALS
    else:
        sizes = SMALL if shape == "small" else BASE
        model = transformers.T5ForConditionalGeneration(_t5(sizes))
        if varied:
            with torch.no_grad():
                for block in model.decoder.block:
                    block.layer[-1].DenseReluDense.wo.weight.mul_(30)
        specials = T5_SPECIALS
    model.save_pretrained(folder)
    _tokenizer(folder, specials, model.config.vocab_size)
    return folder


def own_files(count: int) -> list[Path]:
    """So many of this package's own files, the longest first."""
    import codeprompt

    files = Path(codeprompt.__file__).parent.rglob("*.py")
    return sorted(files, key=lambda path: -path.stat().st_size)[:count]


def _t5(sizes: dict[str, Any]) -> Any:
    import transformers

    make: Any = transformers.T5Config
    return make(
        vocab_size=VOCABULARY,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=0,
        **sizes,
    )


def _roberta() -> Any:
    import transformers

    return transformers.RobertaConfig(
        vocab_size=50265,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )


def _tokenizer(folder: Path, specials: tuple[str, ...], size: int) -> None:
    """A byte-level vocabulary of the right size; its words are never looked at."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    words = [*specials, *bytes_to_unicode().values()]  # type: ignore[no-untyped-call]
    words += [f"Ġword{i}" for i in range(size - len(words))]
    vocabulary = {word: i for i, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "RobertaTokenizer",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "cls_token": "<s>",
        "sep_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
