"""From a checkpoint to the folder that ships: weights, configuration, tokenizer, card, NOTICE.

Weights are bfloat16. The folder is an ordinary Hugging Face T5 checkpoint with CodeT5's tokenizer
files. It is made aside and put in place as a whole, so that a reader never meets half of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmarks.backbone import tokenizer
from benchmarks.backbone.fetch import read_manifest
from benchmarks.backbone.train import newest_checkpoint
from codeprompt.errors import DataError

MOST_BYTES = 25_000_000


def export(source: Path, out: Path, name: str = "builtin-1") -> dict[str, Any]:
    """Write `out` from a checkpoint, or from the newest one of a run's folder; returns the card."""
    checkpoint = source if (source / "state.json").is_file() else newest_checkpoint(source)
    if checkpoint is None:
        raise DataError(f"{source} holds no checkpoint", do="Train first, or give another folder")
    state = json.loads((checkpoint / "state.json").read_text())
    scratch = out.with_name(f".{out.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    weights = load_file(checkpoint / "model.safetensors")
    small = {n: t.to(torch.bfloat16).contiguous() for n, t in weights.items()}
    save_file(small, scratch / "model.safetensors", metadata={"format": "pt"})
    for file in tokenizer.FILES:
        shutil.copy(checkpoint / file, scratch / file)
    _write(scratch / "config.json", configuration(state["shape"]))
    card = make_card(name, state, checkpoint, scratch / "model.safetensors")
    _write(scratch / "card.json", card)
    (scratch / "NOTICE").write_text(notice(), encoding="utf-8")
    for path in scratch.iterdir():
        path.chmod(0o644)  # safetensors writes for its owner alone
    size = sum(path.stat().st_size for path in scratch.iterdir())
    if size > MOST_BYTES:
        raise DataError(f"The folder takes {size:,} bytes", expected=f"at most {MOST_BYTES:,}")
    shutil.rmtree(out, ignore_errors=True)
    os.replace(scratch, out)
    return card


def configuration(shape: dict[str, Any]) -> dict[str, Any]:
    """The shape as Hugging Face's `T5Config`."""
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "vocab_size": shape["vocab_size"],
        "d_model": shape["d_model"],
        "d_kv": shape["d_kv"],
        "d_ff": shape["d_ff"],
        "num_layers": shape["num_layers"],
        "num_decoder_layers": shape["num_decoder_layers"],
        "num_heads": shape["num_heads"],
        "feed_forward_proj": ("gated-" if shape["gated"] else "") + shape["activation"],
        "dropout_rate": 0.1,
        "initializer_factor": 1.0,
        "is_encoder_decoder": True,
        "layer_norm_epsilon": shape["layer_norm_epsilon"],
        "n_positions": shape["n_positions"],
        "relative_attention_max_distance": shape["relative_attention_max_distance"],
        "relative_attention_num_buckets": shape["relative_attention_num_buckets"],
        "tie_word_embeddings": True,
        "use_cache": True,
        "bos_token_id": tokenizer.START,
        "eos_token_id": tokenizer.END,
        "pad_token_id": tokenizer.PAD,
        "decoder_start_token_id": tokenizer.PAD,
        "torch_dtype": "bfloat16",
    }


def make_card(name: str, state: dict[str, Any], checkpoint: Path, weights: Path) -> dict[str, Any]:
    """Where the weights come from and what they score: only figures that a command printed."""
    packages = read_manifest()
    log = checkpoint.parent / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    scored = [x for x in lines if "bleu" in x and x["tokens"] <= state["tokens"] + 1]
    return {
        "name": name,
        "licence": "Apache-2.0",
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "command": "python -m benchmarks.backbone train --preset cpu",
        "lineage": ["from scratch"],
        "step": state["step"],
        "minutes": round(state["elapsed"] / 60, 1),
        "tokens": int(state["tokens"]),
        "data": {
            "shards": state["data"],
            "packages": len(packages),
            "languages": sorted({part for p in packages for part in p.language.split("+")}),
            "licences": "permissive only, package by package in NOTICE",
        },
        "recipe": state["preset"],
        "held out": {k: v for k, v in scored[-1].items() if k != "sample"} if scored else {},
        "limits": [
            "trained shortly on two processor cores: summaries of one sentence, often generic",
            "sources beyond 144 tokens were never seen",
        ],
    }


def notice() -> str:
    """The packages whose source text the weights were trained on, with their licences."""
    lines = [
        "The weights in this folder were trained on source text of the packages below, each under",
        "the permissive licence named. No source text of theirs is contained in this folder.",
        "",
    ]
    lines += [f"{p.source}:{p.name} {p.version}  {p.licence}" for p in read_manifest()]
    return "\n".join(lines) + "\n"


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
