"""The arms of `mixed_batch`, and the prompts, sources and weights that they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.measure import serve, timed
from codeprompt.training.measure import peak_memory_mb

TASKS, SOURCE, TOKENS = 8, 256, 20
LENGTHS = (8, 12, 16, 20, 20, 24, 32, 40)
"""Prompt tokens of the eight tasks."""
Run = Callable[[], list[str]]
"""The eight answers."""


def be(arm: str, path: Path) -> None:
    """One arm, asked over its pipe."""
    torch.ones(8, 8) @ torch.ones(8, 8)
    before, read = _resident(), _libraries()
    if arm == "ours-float64":
        run, weights = _exact(path)
    elif arm.startswith("ours"):
        run, weights = _ours(path, arm.removeprefix("ours-"))
    elif arm.startswith("peft"):
        run, weights = _peft(path, torch.float64 if arm == "peft-float64" else torch.float32)
    else:
        run, weights = _models(path, 8 if arm == "hf-eight" else 1)

    def answer(kind: str) -> object:
        if kind == "time":
            return timed(run)()
        if kind == "memory":
            peak, code = peak_memory_mb(), _libraries() - read
            told = {"peak": peak, "own": peak - before, "weights": weights / 1e6}
            return {**told, "libraries": code}
        return run()

    serve(answer)


def _ours(path: Path, way: str) -> tuple[Run, int]:
    """Our engine: `one` waits for each answer, `mixed` asks all at once, as does `float32`."""
    from codeprompt.engine import Engine, Request

    engine = Engine(str(path), precision="float32" if way == "float32" else "auto")
    names = [engine.load(path / "packs" / f"task-{n}") for n in range(TASKS)]
    requests = [Request(n, {"code": text}) for n, text in zip(names, sources(), strict=True)]

    def run() -> list[str]:
        if way == "one":
            return [engine.submit(request).result().text for request in requests]
        return [f.result().text for f in [engine.submit(r) for r in requests]]

    engine.warm()
    return run, engine.model.bytes


def _exact(path: Path) -> tuple[Run, int]:
    """Our own pass in float64, where no two tokens are near a tie."""
    from codeprompt.answer import Row, answer
    from codeprompt.backbones.load import load_backbone
    from codeprompt.engine.loaded import prompt_of
    from codeprompt.pack import load

    backbone = load_backbone(str(path)).double()
    prompts = [prompt_of(load(path / "packs" / f"task-{n}"), backbone) for n in range(TASKS)]
    rows = [Row(number, {"code": text}) for number, text in enumerate(sources())]
    return lambda: [found.text for found in answer(backbone, prompts, rows)], _bytes(backbone)


def _peft(path: Path, dtype: torch.dtype) -> tuple[Run, int]:
    from peft import PeftModel

    model = _hugging_face(path)
    tokenizer, ids = _rendered(path)
    folder = path / "peft"
    tuned: Any = PeftModel.from_pretrained(model, folder / "task-0", adapter_name="task-0")
    for number in range(1, TASKS):
        tuned.load_adapter(folder / f"task-{number}", adapter_name=f"task-{number}")
    tuned.eval().to(dtype)

    def run() -> list[str]:
        out = []
        for number, row in enumerate(ids):
            tuned.set_adapter(f"task-{number}")
            out.append(tokenizer.decode(_generate(tuned, row)).strip())
        return out

    return run, _bytes(model)


def _models(path: Path, count: int) -> tuple[Run, int]:
    """So many models for the eight tasks; several have tensors of their own, as after tuning all.

    Without prompts: tuning went into the weights.
    """
    models = [_hugging_face(path) for _ in range(count)]
    for model in models if count > 1 else ():  # one checkpoint stands for eight
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
    tokenizer, ids = _rendered(path)

    def run() -> list[str]:
        pairs = zip(cycle(models), ids, strict=False)
        return [tokenizer.decode(_generate(model, row)).strip() for model, row in pairs]

    return run, _bytes(models[0])


def _hugging_face(path: Path) -> Any:
    from transformers import T5ForConditionalGeneration

    model: Any = T5ForConditionalGeneration.from_pretrained(path, dtype=torch.float32)
    return model.eval()


def _generate(model: Any, ids: Sequence[int]) -> list[int]:
    rows = torch.tensor([ids])
    with torch.inference_mode():
        found = model.generate(
            input_ids=rows,
            attention_mask=torch.ones_like(rows),
            do_sample=False,
            num_beams=1,
            min_new_tokens=TOKENS,
            max_new_tokens=TOKENS,
        )
    return list(found[0, 1:].tolist())


def _rendered(path: Path) -> tuple[Any, list[list[int]]]:
    """The tokenizer, and what the packs render behind the prompts.

    `<s>`, which stands before a prompt, is among the virtual tokens that peft was given.
    """
    from codeprompt.backbones.tokenizer import Tokenizer
    from codeprompt.pack import load
    from codeprompt.template import render

    tokenizer, out = Tokenizer.load(path), []
    for number, text in enumerate(sources()):
        template = load(path / "packs" / f"task-{number}").template
        row = render(template, {"code": text}, tokenizer, max_length=SOURCE)
        out.append(list(row.ids[row.slots.index(max(row.slots)) + 1 :]))
    return tokenizer, out


def _resident() -> float:
    """This process's resident MB now."""
    import psutil

    return float(psutil.Process().memory_info().rss / 1e6)


def _libraries() -> float:
    """MB of shared libraries' pages that are resident now: torch's code, read as it is called."""
    import psutil

    process = psutil.Process()
    if not hasattr(process, "memory_maps"):  # macOS
        return 0.0
    maps = process.memory_maps()
    return sum(float(m.rss) for m in maps if ".so" in Path(m.path).suffixes) / 1e6


def _bytes(model: Any) -> int:
    return sum(p.numel() * p.element_size() for p in model.parameters())


def sources() -> list[str]:
    """A text for each task, long enough to be cut."""
    generator = torch.Generator().manual_seed(2)
    letters = torch.randint(97, 123, (TASKS, 2 * SOURCE), generator=generator)
    return ["".join(map(chr, row)) for row in letters.tolist()]


def make_prompts(path: Path) -> None:
    """Eight soft prompts, as our packs and as peft's checkpoints."""
    from codeprompt.backbones.decoding import Decoding
    from codeprompt.backbones.load import load_backbone
    from codeprompt.inject import Injection
    from codeprompt.pack import export_peft, make_pack, save
    from codeprompt.registry import METHODS
    from codeprompt.template import parse, resolve

    backbone = load_backbone(str(path))
    method = METHODS.get("soft")
    torch.manual_seed(3)
    spread = float(backbone.embedding.weight.std())
    for number, length in enumerate(LENGTHS):
        template = method.template(parse("{code}"), method.configure({"length": length}))
        pack = make_pack(
            injection=Injection(slots=spread * torch.randn(length, backbone.d_model)),
            backbone=backbone,
            name=f"task-{number}",
            task="summarize",
            method="soft",
            template=resolve(template, backbone.tokenizer),
            source_length=SOURCE,
            target_length=TOKENS,
            decoding=Decoding(max_new_tokens=TOKENS, min_new_tokens=TOKENS).as_json(),
        )
        save(pack, path / "packs" / f"task-{number}")
        export_peft(pack, backbone, path / "peft" / f"task-{number}")
