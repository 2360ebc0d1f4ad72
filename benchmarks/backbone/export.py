"""From a checkpoint to the folder that ships: weights, configuration, tokenizer, card, NOTICE.

Weights are bfloat16. The folder is an ordinary Hugging Face checkpoint: T5 with CodeT5's tokenizer
files, or RoBERTa with the same tokenizer less its sentinels. It is made aside and put in place as a
whole, so that a reader never meets half of it.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmarks.backbone import card, encoder, tokenizer
from benchmarks.backbone.checkpoints import newest_checkpoint
from benchmarks.backbone.fetch import packages_of
from codeprompt.errors import DataError
from codeprompt.files import write_text

MOST_BYTES = {"t5": 40_000_000, "encoder": 15_000_000}


def export(source: Path, out: Path) -> dict[str, Any]:
    """Write `out` from a checkpoint, or from the newest one of a run's folder; returns the card."""
    checkpoint = source if (source / "state.json").is_file() else newest_checkpoint(source)
    if checkpoint is None:
        raise DataError(f"{source} holds no checkpoint", do="Train first, or give another folder")
    state = json.loads((checkpoint / "state.json").read_text())
    family = state["preset"].get("family", "t5")
    if family not in MOST_BYTES:
        raise DataError(f"{source} is a {family} run, no backbone", do="Write it with `packs`")
    scratch = out.with_name(f".{out.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    weights = load_file(checkpoint / "model.safetensors")
    if family == "encoder":
        weights = {n[9:]: t for n, t in weights.items() if n.startswith("backbone.")}
    small = {n: t.to(torch.bfloat16).contiguous() for n, t in weights.items()}
    save_file(small, scratch / "model.safetensors", metadata={"format": "pt"})
    for file in tokenizer.FILES:
        shutil.copy(checkpoint / file, scratch / file)
    if family == "encoder":
        tokenizer.write_special(scratch, None)
    making = {"t5": configuration, "encoder": encoder.configuration}[family]
    write_text(scratch / "config.json", json.dumps(making(state["shape"]), indent=1) + "\n")
    made = card.make(out.name, state, checkpoint.parent, scratch / "model.safetensors")
    card.write(scratch, made)
    write_text(scratch / "NOTICE", notice(state))
    for path in scratch.iterdir():
        path.chmod(0o644)  # safetensors writes for its owner alone
    size = sum(path.stat().st_size for path in scratch.iterdir())
    if size > MOST_BYTES[family]:
        raise DataError(
            f"The folder takes {size:,} bytes", expected=f"at most {MOST_BYTES[family]:,}"
        )
    shutil.rmtree(out, ignore_errors=True)
    os.replace(scratch, out)
    return made


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


def notice(state: dict[str, Any]) -> str:
    """The packages whose source text the weights were trained on, with their licences."""
    lines = [
        "The weights in this folder were trained on source text of the packages below, each under",
        "the permissive licence named. No source text of theirs is contained in this folder.",
        "",
    ]
    lines += [
        "Licences are those of the packages' own metadata (PyPI, npm) and of Debian's copyright",
        "files, read by `python -m benchmarks.backbone licences`.",
        "",
    ]
    lines += [f"{p.source}:{p.name} {p.version}  {p.licence}" for p in packages_of(state)]
    return "\n".join(lines) + "\n"
