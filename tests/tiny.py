"""Tiny random backbones with real byte-level tokenizers, for every test that needs a whole one.

`tiny_t5()`, `tiny_roberta()` and `tiny_llama()` give frozen backbones, the same for the same seed;
`write_checkpoint` lays one down as a Hugging Face folder.
"""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from codeprompt.backbones.base import Backbone
from codeprompt.backbones.checkpoint import canonical_state, hash_tensors, identity
from codeprompt.backbones.llama import Llama, LlamaConfig
from codeprompt.backbones.load import equip, load_backbone
from codeprompt.backbones.roberta import Roberta, RobertaConfig
from codeprompt.backbones.t5 import T5, T5Config
from codeprompt.backbones.tokenizer import Tokenizer

CORPUS = (
    "def add(first, second):\n    return first + second\n",
    "public int getValue() { return this.value; }\n",
    "for (int i = 0; i < count; i++) { total += values[i]; }\n",
    "static void free_list(struct node *head) { while (head) { head = head->next; } }\n",
    "Return the sum of the given values. Returns true if the list is empty.\n",
    "summarize: the function returns a new list of the names in the file\n",
    "translate Java to C#: if (string == null) throw new Exception();\n",
    "this code is good , that code is bad ; yes or no\n",
)
LLAMA_SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
T5_SPECIALS = ("<pad>", "<s>", "</s>", "<unk>", "<mask>")
ROBERTA_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
UNIXCODER = ("<encoder-only>", "<decoder-only>", "<encoder-decoder>", "<mask0>")
SENTINELS = tuple(f"<extra_id_{i}>" for i in reversed(range(100)))


def tiny_t5(folder: Path | None = None, *, seed: int = 0, **shape: Any) -> T5:
    """A CodeT5-shaped backbone; `shape` overrides keys of its `config.json`.

    folder: where the checkpoint is written and then loaded as a user's; None stays in memory.
    """
    files = tokenizer_files("t5")
    config = {
        "model_type": "t5",
        "architectures": ["T5ForConditionalGeneration"],
        "vocab_size": _size(files),
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_decoder_layers": 2,
        "num_heads": 4,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 0,
        **shape,
    }
    backbone = T5(T5Config.from_json(config))
    if not backbone.config.scale_outputs:
        backbone.lm_head.weight = torch.nn.Parameter(torch.empty_like(backbone.shared.weight))
    return _finish(backbone, config, files, folder, seed)  # type: ignore[return-value]


def tiny_roberta(
    folder: Path | None = None,
    *,
    seed: int = 0,
    mask_head: bool = True,
    unixcoder: bool = False,
    **shape: Any,
) -> Roberta:
    """A CodeBERT-shaped backbone, or a UniXcoder-shaped one with its mode tokens."""
    files = tokenizer_files("unixcoder" if unixcoder else "roberta")
    config = {
        "model_type": "roberta",
        "architectures": ["RobertaForMaskedLM" if mask_head else "RobertaModel"],
        "vocab_size": _size(files),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 1026 if unixcoder else 514,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "hidden_act": "gelu",
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        **shape,
    }
    backbone = Roberta(RobertaConfig.from_json(config), mask_head=mask_head)
    return _finish(backbone, config, files, folder, seed)  # type: ignore[return-value]


def tiny_llama(
    folder: Path | None = None, *, seed: int = 0, model_type: str = "qwen2", **shape: Any
) -> Llama:
    """A Qwen2.5-Coder-shaped backbone with a tied head, or a Llama-shaped one."""
    files = tokenizer_files("llama")
    config = {
        "model_type": model_type,
        "vocab_size": len(json.loads(files["tokenizer.json"])["model"]["vocab"]),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "eos_token_id": 2,
        "bos_token_id": 0,
        **shape,
    }
    return _finish(Llama(LlamaConfig.from_json(config)), config, files, folder, seed)  # type: ignore[return-value]


def write_checkpoint(backbone: Backbone, folder: Path, **config: Any) -> Path:
    """Write a tiny backbone as Hugging Face does; `config` overrides keys of `config.json`."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    written = {**backbone.tiny_config, **config}  # type: ignore[dict-item]
    (folder / "config.json").write_text(json.dumps(written, indent=2), encoding="utf-8")
    tensors = {name: t.detach().contiguous() for name, t in backbone.state_dict().items()}
    embedding = "shared.weight" if backbone.family == "t5" else "model.embed_tokens.weight"
    tied = {"lm_head.weight": embedding} | {
        "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    }
    for copy, original in tied.items():  # a tied tensor is stored once
        if copy in tensors and tensors[copy].data_ptr() == tensors[original].data_ptr():
            del tensors[copy]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for name, text in backbone.tiny_files.items():  # type: ignore[operator, union-attr]
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@functools.cache
def tokenizer_files(kind: str) -> dict[str, str]:
    """vocab.json, merges.txt and the special tokens of a byte-level BPE trained on `CORPUS`."""
    from tokenizers import ByteLevelBPETokenizer

    if kind == "llama":
        return _llama_files()
    front: Sequence[str] = T5_SPECIALS if kind == "t5" else ROBERTA_SPECIALS
    if kind == "unixcoder":
        front = (*ROBERTA_SPECIALS, *UNIXCODER)
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        CORPUS, vocab_size=400, min_frequency=2, special_tokens=list(front), show_progress=False
    )
    with tempfile.TemporaryDirectory() as folder:
        bpe.save_model(folder)
        vocab = json.loads((Path(folder) / "vocab.json").read_text(encoding="utf-8"))
        merges = (Path(folder) / "merges.txt").read_text(encoding="utf-8")
    back = SENTINELS if kind == "t5" else ("<mask>",)
    for token in back:
        vocab[token] = len(vocab)
    named = {
        "bos_token": "<s>",
        "cls_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "mask_token": {
            "content": "<mask>",
            "lstrip": True,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
        },
    }
    if kind != "roberta":
        named["additional_special_tokens"] = list(SENTINELS if kind == "t5" else UNIXCODER)
    return {
        "vocab.json": json.dumps(vocab, ensure_ascii=False),
        "merges.txt": merges,
        "special_tokens_map.json": json.dumps(named),
    }


def _llama_files() -> dict[str, str]:
    """A `tokenizer.json` alone, byte-level BPE that splits digits, as SmolLM has it."""
    from tokenizers import Tokenizer as Engine
    from tokenizers import decoders, models, pre_tokenizers, trainers

    engine = Engine(models.BPE())
    cuts = [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    engine.pre_tokenizer = pre_tokenizers.Sequence(cuts)
    engine.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        min_frequency=2,
        special_tokens=list(LLAMA_SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    engine.train_from_iterator(CORPUS, trainer)
    named = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    return {
        "tokenizer.json": engine.to_str(),
        "tokenizer_config.json": json.dumps({"tokenizer_class": "GPT2Tokenizer", **named}),
    }


def _size(files: dict[str, str]) -> int:
    return len(json.loads(files["vocab.json"]))


def _finish(
    backbone: Backbone,
    config: dict[str, Any],
    files: dict[str, str],
    folder: Path | None,
    seed: int,
) -> Backbone:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name == "shared.weight":  # T5 scales it back before the logits
                parameter.copy_(noise)
            elif "norm" in name.lower() and name.endswith("weight"):
                parameter.copy_(1 + 0.1 * noise)
            elif parameter.dim() == 1:
                parameter.copy_(0.1 * noise)
            else:
                parameter.copy_(noise * parameter.shape[-1] ** -0.5)
    backbone.tiny_config, backbone.tiny_files = config, files  # type: ignore[assignment]
    if folder is not None:
        write_checkpoint(backbone, folder)
        loaded = load_backbone(str(folder))
        loaded.tiny_config, loaded.tiny_files = config, files  # type: ignore[assignment]
        return loaded
    with tempfile.TemporaryDirectory() as place:
        for name, text in files.items():
            (Path(place) / name).write_text(text, encoding="utf-8")
        equip(backbone, Path(place), name=f"tiny-{backbone.family}-{seed}")
        tokens = Tokenizer.load(Path(place)).hash
    tensors = hash_tensors(canonical_state(backbone.state_dict(), config))
    backbone.hash = identity(config, tensors, tokens)
    return backbone
