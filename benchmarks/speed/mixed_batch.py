"""Eight tasks' prompts on one backbone: requests a second and memory, mixed and one at a time.

Each task has a soft prompt of its own length; a round asks one request of each, with a source of
256 tokens (prompt included) and 20 tokens to make, greedy. Arms: `peft` prompt tuning with
`set_adapter` for every request; our engine asked one at a time, and asked all eight at once; for
memory alone one Hugging Face model and eight. All have the same weights and prompts, each in a
process of its own, taking turns; `peft` and our float32 engine must answer alike before anything is
timed (up to a near tie: random weights double a rounding error with every token).
"""

from __future__ import annotations

import os
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
    own_peak,
    ratio,
    serve,
    signature,
    table,
    timed,
)
from benchmarks.speed.shapes import checkpoint

TASKS, SOURCE, TOKENS = 8, 256, 20
LENGTHS = (8, 12, 16, 20, 20, 24, 32, 40)
"""Prompt tokens of the eight tasks."""
TIMED = ("peft-switched", "ours-one", "ours-mixed")
ARMS = (*TIMED, "hf-one", "hf-eight")
NEAR = 0.05
"""Nats between two tokens that float32 may take for each other after many others."""
Run = Callable[[], list[str]]
"""The eight answers."""


def main(options: Namespace) -> Outcome | None:
    """Run the benchmark; with `--alone` be one arm of it."""
    torch.set_num_threads(options.threads)
    if options.alone:
        _be(options.alone, Path(options.checkpoint))
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint(options.shape, Path(folder) / "checkpoint", varied=True)
        os.environ["XDG_CACHE_HOME"] = str(Path(folder) / "cache")
        _make_prompts(path)
        return _compare(options, path)


def _compare(options: Namespace, path: Path) -> Outcome:
    names = [arm for arm in ARMS if arm in (options.arms or ARMS)]
    more = ["--checkpoint", str(path), "--threads", str(options.threads)]
    for name in [n for n in names if n.startswith("ours")][:1]:  # int8 weights are made once
        first = Alone("mixed-batch", name, more)
        first.ask("answer")
        first.close()
    agreement = _agreement(names, more)
    arms = {name: Alone("mixed-batch", name, more) for name in names if name in TIMED}
    runs = {name: _timer(arm) for name, arm in arms.items()}
    found = interleave(runs, options.rounds, warm=2)
    own = {name: arm.ask("memory") for name, arm in arms.items()}
    for arm in arms.values():
        arm.close()
    for name in [name for name in names if name not in TIMED]:
        arm = Alone("mixed-batch", name, more)
        arm.ask("answer")
        own[name] = arm.ask("memory")
        arm.close()
    return _report(options, found, own, agreement)


def _report(
    options: Namespace,
    found: dict[str, list[float]],
    own: dict[str, dict[str, float]],
    agreement: dict[str, str],
) -> Outcome:
    middle = medians(found)
    one = own.get("hf-one", {}).get("peak")
    rows = [
        [
            name,
            f"{1e3 * TASKS / middle[name]:.1f}" if name in middle else "",
            agreement.get(name, ""),
            f"{told['peak']:.0f}",
            f"{told['peak'] / one:.2f}" if one else "",
            f"{told['own'] / told['weights']:.2f}",
        ]
        for name, told in own.items()
    ]
    heads = ["8 tasks", "requests/s", "tokens as peft", "peak MB", "of one model", "own/weights"]
    table(heads, rows)
    ratios = {}
    for slow in ("peft-switched", "ours-one"):
        if slow in found and "ours-mixed" in found:
            ratios[f"mixed over {slow}"] = ratio(found, slow, "ours-mixed")
    if one:
        for name in ("ours-mixed", "hf-eight"):
            if name in own:
                ratios[f"memory of {name} over one model"] = own[name]["peak"] / one
    if "ours-mixed" in own:
        told = own["ours-mixed"]
        ratios["own memory over weights"] = told["own"] / told["weights"]
    facts = signature(
        shape=options.shape, tasks=TASKS, source=SOURCE, tokens=TOKENS, rounds=options.rounds
    )
    extra: dict[str, object] = {
        "agreement": agreement,
        "memory_mb": {k: {n: round(v) for n, v in told.items()} for k, told in own.items()},
        "requests_per_second": {k: round(1e3 * TASKS / v, 2) for k, v in middle.items()},
    }
    return Outcome("mixed-batch", ratios, middle, facts, extra)


def _agreement(names: Sequence[str], more: Sequence[str]) -> dict[str, str]:
    """How many tokens each arm's answers share with peft's; our float32 engine must have all."""
    answers = {}
    wanted = ["ours-float32", *[n for n in ("peft-switched", "ours-mixed") if n in names]]
    for name in wanted:
        arm = Alone("mixed-batch", name, more)
        answers[name] = arm.ask("answer")
        arm.close()
    expected = answers.get("peft-switched", answers["ours-float32"])
    for number, pair in enumerate(zip(answers["ours-float32"], expected, strict=True)):
        if _gap(Path(more[1]), number, *pair) > NEAR:
            raise SystemExit("peft and the float32 engine do not answer alike; nothing was timed.")
    out = {}
    for name, found in answers.items():
        pairs = [(a.split(), b.split()) for a, b in zip(found, expected, strict=True)]
        same = sum(a == b for mine, theirs in pairs for a, b in zip(mine, theirs, strict=False))
        out[name] = f"{same} of {sum(len(theirs) for _, theirs in pairs)}"
    return out


def _gap(path: Path, number: int, ours: str, theirs: str) -> float:
    """Where two answers to a task part, how far apart the two tokens are for the float32 pass."""
    pairs = list(zip(ours.split(), theirs.split(), strict=False))
    same = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
    if same is None:
        return 0.0
    from codeprompt.backbones.load import load_backbone
    from codeprompt.backbones.t5 import T5
    from codeprompt.engine.loaded import prompt_of
    from codeprompt.inject import collate
    from codeprompt.pack import load
    from codeprompt.plan import to_source

    backbone = load_backbone(str(path))
    assert isinstance(backbone, T5)
    prompt = prompt_of(load(path / "packs" / f"task-{number}"), backbone)
    source = to_source(prompt.plan.render({"code": _sources()[number]}), backbone.tokenizer.pad_id)
    injected = collate([prompt.injection])
    read = [backbone.tokenizer.vocab[f"Ġ{word}"] for word, _ in pairs[: same + 1]]
    ids = torch.tensor([[backbone.start_id, *read[:-1]]])
    other = backbone.tokenizer.vocab[f"Ġ{pairs[same][1]}"]
    with torch.inference_mode():
        memory = backbone.remember(backbone.encode(source, injected), source, injected)
        logits = backbone.logits(backbone.decode(ids, memory, injected))[0, -1]
    return float((logits[read[-1]] - logits[other]).abs())


def _be(arm: str, path: Path) -> None:
    """One arm, asked over its pipe."""
    torch.ones(8, 8) @ torch.ones(8, 8)
    before = _resident()
    if arm.startswith("ours"):
        run, weights = _ours(path, arm.removeprefix("ours-"))
    elif arm == "peft-switched":
        run, weights = _peft(path)
    else:
        run, weights = _models(path, 8 if arm == "hf-eight" else 1)

    def answer(kind: str) -> object:
        if kind == "time":
            return timed(run)()
        if kind == "memory":
            peak = own_peak()
            return {"peak": peak, "own": peak - before, "weights": weights / 1e6}
        return run()

    serve(answer)


def _sources() -> list[str]:
    """A text for each task, long enough to be cut."""
    generator = torch.Generator().manual_seed(2)
    letters = torch.randint(97, 123, (TASKS, 2 * SOURCE), generator=generator)
    return ["".join(map(chr, row)) for row in letters.tolist()]


def _make_prompts(path: Path) -> None:
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


def _ours(path: Path, way: str) -> tuple[Run, int]:
    """Our engine: `one` waits for each answer, `mixed` asks all at once, as does `float32`."""
    from codeprompt.engine import Engine, Request

    engine = Engine(str(path), precision="float32" if way == "float32" else "auto")
    names = [engine.load(path / "packs" / f"task-{n}") for n in range(TASKS)]
    requests = [Request(n, {"code": text}) for n, text in zip(names, _sources(), strict=True)]

    def run() -> list[str]:
        if way == "one":
            return [engine.submit(request).result().text for request in requests]
        return [f.result().text for f in [engine.submit(r) for r in requests]]

    engine.warm()
    return run, engine.model.bytes


def _peft(path: Path) -> tuple[Run, int]:
    from peft import PeftModel

    model = _hugging_face(path)
    tokenizer, ids = _rendered(path)
    folder = path / "peft"
    tuned: Any = PeftModel.from_pretrained(model, folder / "task-0", adapter_name="task-0")
    for number in range(1, TASKS):
        tuned.load_adapter(folder / f"task-{number}", adapter_name=f"task-{number}")
    tuned.eval()

    def run() -> list[str]:
        out = []
        for number, row in enumerate(ids):
            tuned.set_adapter(f"task-{number}")
            out.append(tokenizer.decode(_generate(tuned, row)).strip())
        return out

    return run, _bytes(model)


def _models(path: Path, count: int) -> tuple[Run, int]:
    """So many models, each with tensors of its own, as after tuning all of their weights."""
    models = [_hugging_face(path) for _ in range(count)]
    for model in models:
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
    tokenizer, ids = _rendered(path)

    def run() -> list[str]:
        pairs = zip(models, ids, strict=False)
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
    """The tokenizer, and what the packs render without the prompts' own positions."""
    from codeprompt.backbones.tokenizer import Tokenizer
    from codeprompt.pack import load
    from codeprompt.template import render

    tokenizer, out = Tokenizer.load(path), []
    for number, text in enumerate(_sources()):
        template = load(path / "packs" / f"task-{number}").template
        row = render(template, {"code": text}, tokenizer, max_length=SOURCE)
        out.append([i for i, slot in zip(row.ids, row.slots, strict=True) if slot < 0])
    return tokenizer, out


def _resident() -> float:
    """This process's resident MB now."""
    import psutil

    return float(psutil.Process().memory_info().rss / 1e6)


def _bytes(model: Any) -> int:
    return sum(p.numel() * p.element_size() for p in model.parameters())


def _timer(arm: Alone) -> Callable[[], float]:
    return lambda: float(arm.ask("time"))
