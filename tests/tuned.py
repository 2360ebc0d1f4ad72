"""Prompts of every method as after training: initial values nudged, so that every part acts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from codeprompt.answer import Prompt
from codeprompt.backbones.base import Backbone
from codeprompt.backbones.decoding import Decoding
from codeprompt.backbones.variant import own_copy, with_weights
from codeprompt.inject import Injection
from codeprompt.methods.base import Context, Given, Method, PromptModule
from codeprompt.pack import Pack, make_pack, save
from codeprompt.plan import Plan
from codeprompt.registry import METHODS, TASKS
from codeprompt.template import parse, resolve
from codeprompt.verbalizers import Verbalizer

torch.set_num_threads(1)  # tiny tensors: a second thread only waits for the first

WORDS = {"clean": ("clean", "good"), "defective": ("bad", "returns the list")}
"""One token, one token, and several: `returns the list` has four on the tiny tokenizers."""
HARD = {
    "localize": {"t5": "Defect {code}", "roberta": "{code}", "llama": "{code}"},
    "summarize": {"t5": "Summarize {language}: {code}", "llama": "{code}\nThis\n"},
    "translate": {
        "t5": "Translate {language} to {target_language}: {code}",
        "llama": "{code}\n{target_language}:\n",
    },
    "defect": {
        "t5": "Is {code} wrong?",
        "roberta": "The code {code} is {mask}.",
        "llama": "{code}\nBad?",
    },
}
ABOUT = {"path": "src/a.py", "class": "A", "imports": "os"}
FIELDS = [
    {"code": "def f(x): return x", "language": "python", "target_language": "java", **ABOUT},
    {"code": "int g(void) { return 0; }", "language": "c", "target_language": "go", **ABOUT},
    {
        "code": "for (int i = 0; i < count; i++) { total += values[i]; }",
        "language": "java",
        "target_language": "csharp",
        **ABOUT,
    },
]


TOGETHER = ["soft+lora", "prefix+lora", "mixed+prefix", "tuned+lora", "ptuning-v2+tuned"]
"""Methods put together that stand for all."""


def given_of(method: Method[Any], backbone: Backbone, count: int = 3) -> tuple[Given, ...]:
    """Packs of soft prompts for a method that builds on some; none for any other."""
    if members := getattr(method, "members", None):
        return tuple(one for part in members.values() for one in given_of(part, backbone, count))
    names = [f for f in method.settings.__dataclass_fields__ if f in ("sources", "of")]
    if not names:
        return ()
    out = []
    for place in range(count if names == ["sources"] else 1):
        generator = torch.Generator().manual_seed(100 + place)
        rows = torch.randint(0, backbone.embedding.num_embeddings, (4,), generator=generator)
        noise = 0.3 * torch.randn(4, backbone.d_model, generator=generator)
        slots = (backbone.embedding.weight[rows].detach() + noise).float()
        template = resolve(
            parse("{soft:4}" + HARD["defect"].get(backbone.family, "{code}")), backbone.tokenizer
        )
        out.append(Given(f"source-{place}", Injection(slots=slots), template))
    return tuple(out)


def source_packs(folder: Path, backbone: Backbone, count: int = 2) -> list[str]:
    """Packs of soft prompts of one length on disk, for methods that build on some."""
    task = "defect" if backbone.family == "roberta" else "summarize"
    paths = [folder / f"source-{place}" for place in range(count)]
    for place, path in enumerate(paths):
        save(pack_of("soft", backbone, task, seed=place, length=3), path)
    return list(map(str, paths))


def module_of(
    name: str,
    backbone: Backbone,
    task: str,
    *,
    head: str | None = None,
    nudge: float = 0.3,
    seed: int = 0,
    target_length: int = 8,
    **options: Any,
) -> tuple[Plan, PromptModule]:
    """A method's plan and nudged module; a method that tunes weights gets a backbone of its own."""
    method = METHODS.get(name)
    if not method.frozen:
        backbone = own_copy(backbone)
    settings = method.configure(options)
    hard = parse(HARD[task][backbone.family])
    given = given_of(method, backbone)
    template = resolve(method.fitted(hard, settings, given), backbone.tokenizer)
    kind = TASKS.get(task).kind
    if kind == "label":
        head = "linear"
    head = head or (method.head(backbone.family) if kind == "classify" else "verbalizer")
    verbalizer = Verbalizer.of(WORDS) if kind == "classify" and head == "verbalizer" else None
    labels = tuple(WORDS) if kind != "generate" else ()
    positive = "defective" if labels else None
    plan = Plan(backbone, template, kind, 64, target_length, labels, positive, verbalizer)
    words = tuple(ids for _, ids in plan.words)
    context = Context(backbone, template, seed, words, len(labels), head, given)  # type: ignore[arg-type]
    module = method.build(context, settings)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in module.trained():
            noise = torch.randn(parameter.shape, generator=generator)
            scale = nudge if method.frozen else 0.05
            parameter.add_(noise * scale)
    return plan, module


def prompt_of(name: str, backbone: Backbone, task: str, **options: Any) -> Prompt:
    """The prompt that `module_of` exports, greedy where it generates."""
    plan, module = module_of(name, backbone, task, **options)
    injection = backbone.lower(Injection(**{**vars(module.export()), "weights": {}}))
    return Prompt(plan, injection, Decoding(max_new_tokens=plan.target_length))


def pack_of(
    name: str,
    backbone: Backbone,
    task: str,
    *,
    called: str = "",
    prior: tuple[float, ...] | None = None,
    threshold: float | None = None,
    decoding: Decoding | None = None,
    **options: Any,
) -> Pack:
    """A pack as `tune` would write it; `called` in place of task and method."""
    plan, module = module_of(name, backbone, task, **options)
    injection = module.export()
    settings = METHODS.get(name).configure(
        {k: v for k, v in options.items() if k in METHODS.get(name).settings.__dataclass_fields__}
    )
    return make_pack(
        injection=injection,
        backbone=backbone,
        name=called or f"{task}-{name}",
        task=task,
        method=name,
        settings=asdict(settings),
        template=plan.template,
        verbalizer=plan.verbalizer,
        prior=prior,
        threshold=threshold,
        head="verbalizer" if injection.head is None else "linear",
        labels=plan.labels,
        positive=plan.positive,
        decoding=(decoding or Decoding(max_new_tokens=plan.target_length)).as_json(),
        source_length=plan.source_length,
        target_length=plan.target_length,
    )


def own_backbone(backbone: Backbone, pack: Pack) -> Backbone:
    """The backbone that answers for a pack."""
    return with_weights(backbone, pack.injection.weights) if pack.injection.weights else backbone
