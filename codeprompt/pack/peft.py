"""Packs from and to `peft` checkpoints, with equal logits; `peft` itself is never imported.

Known to both: prompt tuning (and P-tuning, which is saved as the same thing), prefix tuning, LoRA
and IA3, on T5 as SEQ_2_SEQ_LM and on RoBERTa as FEATURE_EXTRACTION (LoRA and IA3 also without a
task type, on the module with its cloze head). Whatever one side cannot express is refused with the
reason; see `_peft_ways` and `_peft_ia3` for what peft does exactly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from codeprompt.backbones.base import Backbone
from codeprompt.backbones.decoding import Decoding
from codeprompt.errors import PackError
from codeprompt.files import write_bytes, write_text
from codeprompt.inject import Injection
from codeprompt.pack import _peft_ways as ways
from codeprompt.pack._peft_folder import (
    CONFIG,
    METHODS,
    MODEL,
    NOTE,
    OURS,
    TASK_TYPES,
    Note,
    PeftConfig,
    read_config,
    read_note,
    regular,
)
from codeprompt.pack._peft_ia3 import export_ia3, import_ia3
from codeprompt.pack._peft_ways import Exported
from codeprompt.pack.fit import check_backbone
from codeprompt.pack.packed import Pack
from codeprompt.pack.parts import slots_of
from codeprompt.pack.store import MAX_PROMPT, make_pack, read_tensors
from codeprompt.registry import TASKS
from codeprompt.template import Start, Template, parse, resolve
from codeprompt.verbalizers import Verbalizer


def export_peft(pack: Pack, backbone: Backbone, folder: str | Path) -> Path:
    """Write a pack as a peft checkpoint; returns the folder.

    Raises `PackError` with the reason where peft cannot express the prompt.
    """
    check_backbone(pack, backbone)
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or {p.name for p in folder.iterdir()} - OURS):
        raise PackError(
            f"{folder} exists and is no peft checkpoint of ours", do="Choose another folder"
        )
    exported, rest = _export(pack, backbone)
    from safetensors.torch import save as to_bytes

    card = pack.card
    tensors = {name: t.detach().cpu().clone() for name, t in exported.tensors.items()}
    config = {
        "task_type": _task_type(pack, backbone),
        "base_model_name_or_path": card.backbone.name if "/" in card.backbone.name else None,
        "inference_mode": True,
        **exported.config,
    }
    note = Note(
        task=card.task,
        template=card.template,
        rest=str(rest),
        verbalizer=card.verbalizer,
        prior=card.prior,
        labels=card.labels,
        positive=card.positive,
        threshold=card.threshold,
        decoding=card.decoding,
        source_length=card.source_length,
        target_length=card.target_length,
        backbone=card.backbone.hash,
    )
    write_bytes(folder / MODEL, to_bytes(tensors, metadata={"format": "pt"}))
    write_bytes(folder / NOTE, msgspec.json.format(msgspec.json.encode(note), indent=2) + b"\n")
    write_text(folder / "README.md", _readme(pack, backbone, exported, rest))
    write_text(folder / CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")
    return folder


def import_peft(
    folder: str | Path,
    backbone: Backbone,
    *,
    task: str | None = None,
    template: Template | str | None = None,
    name: str | None = None,
    verbalizer: Verbalizer | None = None,
    positive: str | None = None,
    source_length: int | None = None,
    target_length: int | None = None,
    decoding: Mapping[str, Any] | None = None,
    licence: Mapping[str, str] | None = None,
) -> Pack:
    """A pack of a peft checkpoint, in memory.

    What is not given comes from the export's own note where there is one, else from the task.
    template: what the checkpoint was trained with; where it has no `{soft}`, virtual tokens go to
    its front. Raises `PackError` with the reason where a pack cannot express the checkpoint.
    """
    folder = Path(folder)
    config = read_config(folder, backbone)
    tensors = read_tensors(regular(folder / MODEL, MAX_PROMPT))
    note = read_note(folder, backbone)
    name_of_task = task or (note.task if note else None)
    if name_of_task is None:
        raise PackError(f"{folder} does not say what it is for", do="Name the task: --task TASK")
    known = TASKS.get(name_of_task)
    if note and note.task != name_of_task:
        note = None
    given = template or (note.template if note else known.templates[backbone.family])
    plain = resolve(parse(given) if isinstance(given, str) else given, backbone.tokenizer)
    injection, plain = _import(tensors, config, plain, backbone)
    if verbalizer is None and known.kind == "classify":
        verbalizer = Verbalizer.of(known.label_words[backbone.family])
        if note and note.verbalizer:
            verbalizer = Verbalizer.from_dict(note.verbalizer)
    same = note is not None and verbalizer is not None and verbalizer.as_dict() == note.verbalizer
    target = target_length or (note.target_length if note else known.target_length)
    search = decoding or (note.decoding if note else None)
    return make_pack(
        injection=injection,
        backbone=backbone,
        name=name or folder.resolve().name,
        task=name_of_task,
        method=METHODS[config.peft_type],
        settings={"from": "peft", "peft_type": config.peft_type, "peft": config.peft_version},
        template=plain,
        verbalizer=verbalizer,
        prior=note.prior if note and same else None,
        labels=known.labels if verbalizer is None else verbalizer.labels,
        positive=positive or (note.positive if note else known.positive),
        threshold=note.threshold if note and same else None,
        source_length=source_length or (note.source_length if note else known.source_length),
        target_length=target,
        decoding=search or Decoding(max_new_tokens=target, beams=known.beams).as_json(),
        licence=licence,
    )


def _export(pack: Pack, backbone: Backbone) -> tuple[Exported, Template]:
    """The one way the pack uses, and what of its template is left for the input."""
    injection = pack.injection
    changes = {part for delta in injection.deltas.values() for part in delta.parts}
    parts = {
        "soft slots": injection.slots is not None,
        "prompt columns": bool(injection.columns),
        "layer vectors (VPT-deep)": bool(injection.layers),
        "a parallel branch": bool(injection.branches),
        "low-rank changes": "down" in changes,
        "shifts": "shift" in changes,
        "scalings": bool(changes & {"scale", "gain"}),
        "adapters": "inner" in changes,
        "prompts weighed by a gate": injection.gate is not None,
        "a late prompt": injection.late is not None,
        "changes of embeddings": injection.added is not None,
        "a linear head": injection.head is not None,
        "the backbone's own weights": bool(injection.weights),
    }
    has = [name for name, there in parts.items() if there]
    if not has:
        raise PackError(
            f"'{pack.card.name}' is a hard prompt: there is nothing to export but its words",
            do="Take the template from its card",
        )
    known = {
        "soft slots",
        "prompt columns",
        "low-rank changes",
        "scalings",
        "the backbone's own weights",
    }
    if len(has) > 1 or not known >= set(has):
        raise PackError(
            f"'{pack.card.name}' has {' and '.join(has)}, which peft cannot express",
            expected="soft slots, prompt columns, low-rank changes or scalings alone",
        )
    if injection.weights:
        raise PackError(
            f"'{pack.card.name}' holds the backbone's own weights, which are no adapter",
            expected="a prompt",
        )
    if injection.slots is not None:
        rest = ways.leading(pack.template, backbone)[2]
        return ways.export_prompt(injection, pack.template, backbone), rest
    if injection.columns:
        return ways.export_prefix(injection, backbone), pack.template
    if "scalings" in has:
        return export_ia3(injection, backbone), pack.template
    return ways.export_lora(injection, backbone), pack.template


def _import(
    tensors: Mapping[str, Tensor], config: PeftConfig, template: Template, backbone: Backbone
) -> tuple[Injection, Template]:
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise PackError(f"The checkpoint's tensor '{name}' has values that are not finite")
    if METHODS[config.peft_type] == "soft":
        return ways.import_prompt(tensors, config, template, backbone)
    if slots := slots_of(template):
        raise PackError(
            f"The template has {slots} soft slots, and the checkpoint is {config.peft_type}",
            do="Take {soft} out of the template",
        )
    if config.peft_type == "PREFIX_TUNING":
        return ways.import_prefix(tensors, config, backbone), template
    if config.peft_type == "IA3":
        return import_ia3(tensors, backbone), template
    return ways.import_lora(tensors, config, backbone), template


def _task_type(pack: Pack, backbone: Backbone) -> str | None:
    if pack.injection.deltas and backbone.family == "roberta":
        return None if getattr(backbone, "has_mask_head", False) else "FEATURE_EXTRACTION"
    return TASK_TYPES[backbone.family][0]


def _readme(pack: Pack, backbone: Backbone, exported: Exported, rest: Template) -> str:
    tokenizer, kind = backbone.tokenizer, exported.config["peft_type"]
    before, after = (
        tokenizer.decode(ids, skip_special=False) or "nothing"
        for ids in (tokenizer.prefix_ids, tokenizer.suffix_ids)
    )
    virtual = ""
    if pack.injection.slots is not None:
        count = exported.config["num_virtual_tokens"]
        virtual = (
            f"The {count} virtual tokens hold what the template begins with, up to its last soft "
            "slot. Leave these out of the input.\n\n"
        )
        if not any(isinstance(s, Start) for s in rest.segments):
            before = "nothing"
    if rest.segments[:1] == (Start(),):
        rest = Template(rest.segments[1:])
    return (
        f"---\nlibrary_name: peft\n---\n\n# {pack.card.name}\n\n"
        f"{kind} exported from a codeprompt pack for {pack.card.backbone.name} "
        f"(task {pack.card.task}).\n\n{virtual}"
        f"The input is this template, filled, with {before} before and {after} after it:\n\n"
        f"    {_line(rest)}\n\n"
        "Each text and field is tokenised by itself. Label words, calibration and threshold, "
        f"which peft has no place for, are in {NOTE}.\n"
    )


def _line(template: Template) -> str:
    return str(template).replace("\n", "\\n")


__all__ = ["export_peft", "import_peft"]
