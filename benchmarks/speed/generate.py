"""One request answered: 20 tokens from a 256-token source, greedy and by beams.

Arms: Hugging Face's `generate` (float32, bf16), our serving copies (float32, bf16, int8),
CTranslate2 int8 and OpenVINO int8 where they are installed. All arms have the same weights, threads
and tokens to make, each in a process of its own (see `Alone`), taking turns. The float32 arms must
answer alike before anything is timed; how far the others stray is printed beside their times.
"""

from __future__ import annotations

import importlib.util
import tempfile
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.measure import (
    Alone,
    Outcome,
    interleave,
    medians,
    ratio,
    serve,
    signature,
    table,
    timed,
)
from benchmarks.speed.shapes import checkpoint
from codeprompt.backbones.base import Source
from codeprompt.backbones.decoding import Decoding
from codeprompt.backbones.generation import generate
from codeprompt.inject import NOTHING

SOURCE, TOKENS, BEAMS = 256, 20, (1, 4, 10)
OURS = ("ours-float32", "ours-bf16", "ours-int8")
ARMS = ("hf-float32", "hf-bf16", *OURS, "ctranslate2-int8", "openvino-int8")
Arm = Callable[[Sequence[int], int], list[int]]
"""Source ids and beams -> the best answer's ids."""


def main(options: Namespace) -> Outcome | None:
    """Run the benchmark; with `--alone` be one arm of it."""
    torch.set_num_threads(options.threads)
    if options.alone:
        run, ids = build(options.alone, Path(options.checkpoint)), source_ids()
        serve(
            lambda kind, beams: (
                run(ids, beams) if kind == "answer" else timed(lambda: run(ids, beams))()
            )
        )
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint(options.shape, Path(folder) / "checkpoint", varied=True)
        return _compare(options, path)


def _compare(options: Namespace, path: Path) -> Outcome:
    names = [a for a in options.arms or ARMS if _installed(a)]
    divergences = {a: divergence(path, a.removeprefix("ours-")) for a in names if a in OURS[1:]}
    more = ["--checkpoint", str(path), "--threads", str(options.threads)]
    for name in names:  # once each, so that what engines prepare at their first start is there
        first = Alone("generate", name, more)
        first.ask("answer", 1)
        first.close()
    arms = {name: Alone("generate", name, more) for name in names}
    strayed = _agreement(arms)
    found: dict[str, list[float]] = {}
    for beams in BEAMS:
        runs = {f"{name} {_search(beams)}": _time(arm, beams) for name, arm in arms.items()}
        found |= interleave(runs, options.rounds, warm=2)
    memory = {name: float(arm.ask("peak")) for name, arm in arms.items()}
    for arm in arms.values():
        arm.close()
    return _report(options, names, found, memory, strayed, divergences)


def _report(
    options: Namespace,
    names: Sequence[str],
    found: dict[str, list[float]],
    memory: dict[str, float],
    strayed: dict[str, str],
    divergences: dict[str, float],
) -> Outcome:
    middle = medians(found)
    rows = [
        [
            name,
            *[f"{middle[f'{name} {_search(b)}']:.0f}" for b in BEAMS],
            strayed[name],
            f"{divergences[name]:.1e}" if name in divergences else "",
            f"{memory[name]:.0f}",
        ]
        for name in names
    ]
    table(["ms", *map(_search, BEAMS), "tokens as float32", "mean KL", "peak MB"], rows)
    ratios = {}
    for beams in BEAMS:
        for other in names:
            fast = f"ours-int8 {_search(beams)}"
            if other not in OURS and fast in found:
                slow = f"{other} {_search(beams)}"
                ratios[f"{_search(beams)} int8 over {other}"] = ratio(found, slow, fast)
    told = signature(
        shape=options.shape, source=SOURCE, tokens=TOKENS, rounds=options.rounds, batch=1
    )
    extra: dict[str, object] = {
        "agreement": strayed,
        "mean_kl": divergences,
        "peak_mb": {k: round(v) for k, v in memory.items()},
    }
    return Outcome("generate", ratios, middle, told, extra)


def source_ids() -> list[int]:
    """The same 256 tokens for every arm."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(300, 8000, (SOURCE,), generator=generator).tolist()


def build(name: str, path: Path) -> Arm:
    """An arm, loaded and ready."""
    if name.startswith("hf-"):
        return _hugging_face(path, torch.bfloat16 if name == "hf-bf16" else torch.float32)
    if name in OURS:
        return _ours(path, name.removeprefix("ours-"))
    if name == "ctranslate2-int8":
        return _ctranslate2(path)
    if name == "openvino-int8":
        from benchmarks.speed.openvino_t5 import openvino_arm

        arm: Arm = openvino_arm(path, TOKENS, torch.get_num_threads())
        return arm
    raise SystemExit(f"Unknown arm '{name}'. Expected one of: {', '.join(ARMS)}.")


def _hugging_face(path: Path, dtype: torch.dtype) -> Arm:
    from transformers import T5ForConditionalGeneration

    model: Any = T5ForConditionalGeneration.from_pretrained(path, dtype=dtype)
    model.eval()

    def run(ids: Sequence[int], beams: int) -> list[int]:
        rows = torch.tensor([ids])
        with torch.inference_mode():
            found = model.generate(
                input_ids=rows,
                attention_mask=torch.ones_like(rows),
                do_sample=False,
                num_beams=beams,
                min_new_tokens=TOKENS,
                max_new_tokens=TOKENS,
            )
        return list(found[0, 1:].tolist())

    return run


def _ours(path: Path, precision: Any) -> Arm:
    from codeprompt.backbones.load import load_backbone
    from codeprompt.backbones.serving import prepare

    backbone: Any = load_backbone(str(path))
    tokenizer, start = backbone.tokenizer, backbone.start_id
    # As in daily use: int8 weights are made at the first start and kept.
    copy: Any = prepare(backbone, precision, free=True, cache=path / "prepared")

    def run(ids: Sequence[int], beams: int) -> list[int]:
        rows = torch.tensor([ids])
        source = Source(rows, torch.ones_like(rows, dtype=torch.bool))
        settings = Decoding(max_new_tokens=TOKENS, min_new_tokens=TOKENS, beams=beams)
        with torch.inference_mode():
            found = generate(
                copy,
                copy.remember(copy.encode(source), source),
                NOTHING,
                settings,
                eos=tokenizer.eos_id,
                pad=tokenizer.pad_id,
                start=start,
            )
        return list(found[0][0].ids)

    return run


def _ctranslate2(path: Path) -> Arm:
    import ctranslate2

    words, converted = _words(path), path / "ctranslate2"
    if not converted.exists():
        from ctranslate2.converters import TransformersConverter

        TransformersConverter(str(path)).convert(str(converted), quantization="int8")
    model = ctranslate2.Translator(
        str(converted),
        compute_type="int8",
        inter_threads=1,
        intra_threads=torch.get_num_threads(),
    )
    numbers = {word: i for i, word in enumerate(words)}

    def run(ids: Sequence[int], beams: int) -> list[int]:
        (found,) = model.translate_batch(
            [[words[i] for i in ids]],
            beam_size=beams,
            min_decoding_length=TOKENS,
            max_decoding_length=TOKENS,
        )
        return [numbers[word] for word in found.hypotheses[0]]

    return run


def _words(path: Path) -> list[str]:
    import json

    vocabulary = json.loads((path / "vocab.json").read_text(encoding="utf-8"))
    return sorted(vocabulary, key=vocabulary.__getitem__)


def _agreement(arms: dict[str, Alone]) -> dict[str, str]:
    """How many of the greedy and of the beam answer's tokens are those of the float32 arms.

    The float32 arms must agree on all of them.
    """
    reference = next((a for a in ("hf-float32", "ours-float32") if a in arms), None)
    if reference is None:
        return dict.fromkeys(arms, "")
    expected = [arms[reference].ask("answer", beams) for beams in (1, 10)]
    out = {}
    for name, arm in arms.items():
        found = [arm.ask("answer", beams) for beams in (1, 10)]
        if name == "ours-float32" and found != expected:
            raise SystemExit("The float32 arms do not answer alike; nothing was timed.")
        same = [
            sum(a == b for a, b in zip(mine, theirs, strict=False))
            for mine, theirs in zip(found, expected, strict=True)
        ]
        out[name] = f"{same[0]} and {same[1]} of {TOKENS}"
    return out


def divergence(path: Path, precision: Any) -> float:
    """Mean KL of our narrow copy from float32 over the answer that float32 gives, in nats."""
    from codeprompt.backbones.load import load_backbone
    from codeprompt.backbones.serving import prepare

    backbone: Any = load_backbone(str(path))
    rows = torch.tensor([source_ids()])
    source = Source(rows, torch.ones_like(rows, dtype=torch.bool))
    forced = torch.tensor([[backbone.start_id, *_ours(path, "float32")(source_ids(), 1)]])
    found = []
    with torch.inference_mode():
        for model in (backbone, prepare(backbone, precision)):
            memory = model.remember(model.encode(source), source)
            states = model.decode(forced, memory)
            found.append(model.logits(states).double().log_softmax(-1))
    return float((found[0].exp() * (found[0] - found[1])).sum(-1).mean())


def _installed(arm: str) -> bool:
    module = arm.rpartition("-")[0]
    return module in ("hf", "ours") or importlib.util.find_spec(module) is not None


def _search(beams: int) -> str:
    return "greedy" if beams == 1 else f"beam {beams}"


def _time(arm: Alone, beams: int) -> Callable[[], float]:
    return lambda: float(arm.ask("time", beams))
