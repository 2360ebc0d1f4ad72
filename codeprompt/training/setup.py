"""What a tuning run is made of before its first step: data pools, template, verbalizer, plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from codeprompt.backbones.base import Backbone
from codeprompt.backbones.decoding import Decoding
from codeprompt.backbones.variant import own_copy
from codeprompt.data.split import shots
from codeprompt.errors import UsageError
from codeprompt.inject import Injection
from codeprompt.methods.base import Context, Given, HeadKind, Method
from codeprompt.pack import check_backbone
from codeprompt.pack import load as load_pack
from codeprompt.plan import Plan
from codeprompt.processor import bf16_is_fast
from codeprompt.recipes import Recipe, load
from codeprompt.registry import METHODS, TASKS
from codeprompt.tasks.base import Task
from codeprompt.template import Template, parse, resolve, slot_indices
from codeprompt.training.leaks import check_leaks
from codeprompt.training.pools import check_fields, pools
from codeprompt.types import Example
from codeprompt.verbalizers import Verbalizer


@dataclass(frozen=True)
class TuneRequest:
    """What the user asked for.

    data: `hub:ID`, a file or a folder. dev_data: where dev rows come from, if not from `data`.
    columns: field -> the data's column. overrides: fields of the recipe. options: settings of the
    method. language, target_language: fields that the data does not hold. limit: rows read at most.
    """

    task: str
    data: str
    out: Path
    backbone: str = "builtin"
    method: str = "soft"
    recipe: str = "few-shot"
    template: str | None = None
    seeds: tuple[int, ...] = (0,)
    head: HeadKind | None = None
    columns: Mapping[str, str] | None = None
    dev_data: str | None = None
    language: str | None = None
    target_language: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    resume: bool = False
    allow_hub: bool = True
    limit: int | None = None


@dataclass(frozen=True)
class Setup:
    """A request made whole: everything that does not depend on a seed."""

    request: TuneRequest
    task: Task
    method: Method[Any]
    settings: Any
    recipe: Recipe
    backbone: Backbone
    template: Template
    head: HeadKind
    plan: Plan
    pool: Sequence[Example]
    dev_pool: Sequence[Example]
    given: tuple[Given, ...] = ()
    grown: tuple[str, ...] = ()

    def context(self, backbone: Backbone, seed: int) -> Context:
        """What the method looks at when it makes its parameters."""
        words = tuple(ids for _, ids in self.plan.words)
        return Context(
            backbone, self.template, seed, words, len(self.plan.labels), self.head, self.given
        )

    def rows(self, seed: int) -> tuple[list[Example], list[Example]]:
        """Training and dev rows of a seed; shots are resampled for each, none where none train.

        Raises `DataError` where there are fewer rows than shots, or shots of one class only.
        """
        recipe, classify = self.recipe, self.task.kind == "classify"
        train, dev = list(self.pool), list(self.dev_pool)
        if not (self.method.trains or self.grown):
            train = []
        elif recipe.shots:
            train = shots(
                self.pool,
                recipe.shots,
                seed,
                per_class=recipe.per_class and classify,
                classify=classify,
            )
        if 0 < recipe.dev < len(dev):
            dev = shots(self.dev_pool, recipe.dev, seed)
        return train, dev

    def decoding(self, final: bool) -> Decoding:
        """Greedy while selecting, the task's own beams in the pack."""
        beams = self.task.beams if final else 1
        return Decoding(max_new_tokens=self.plan.target_length, beams=beams)

    @property
    def freezes(self) -> bool:
        """Whether the backbone's weights stay as they are."""
        return self.method.freezes(self.settings, self.given)

    @cached_property
    def precision(self) -> Literal["float32", "bf16"]:
        """Of the products while training.

        A frozen backbone is held in it. Weights that are tuned are always float32, since small
        updates are lost in bf16; there it is the products' alone (autocast), where asked for.
        """
        wanted = self.recipe.precision
        if wanted == "auto":
            return "bf16" if self.freezes and bf16_is_fast() else "float32"
        return wanted

    @cached_property
    def frozen_backbone(self) -> Backbone:
        """What every seed of a frozen run trains on: one copy at most, never changed."""
        if self.precision == "bf16":
            return own_copy(self.backbone, torch.bfloat16)
        return self.backbone


def prepare(request: TuneRequest, backbone: Backbone, like: Setup | None = None) -> Setup:
    """Check and complete a request; like: whose data stands in for the request's.

    Raises a `CodepromptError` for whatever does not fit."""
    if not request.seeds or len(set(request.seeds)) < len(request.seeds):
        raise UsageError(f"The seeds are {list(request.seeds)}", expected="one or more, all unlike")
    task, method = TASKS.get(request.task), METHODS.get(request.method)
    if backbone.family not in method.families:
        raise UsageError(
            f"The method '{request.method}' does not exist on the {backbone.family} family",
            expected=f"a backbone of {' or '.join(method.families)}",
        )
    if task.kind not in method.kinds:
        raise UsageError(
            f"The method '{request.method}' cannot label tokens, which '{task.name}' asks for",
            do="Choose another --method",
        )
    recipe = load(request.recipe, task=task.name, method=request.method, kind=method.kind)
    recipe = recipe.with_changes(**request.overrides).with_options(request.options)
    settings = method.configure(recipe.options)
    hard = parse(request.template or task.templates[backbone.family])
    given = read_given(method.given(settings), backbone)
    grown = method.grows(settings)
    given = (*given, *shapes_of(grown, hard, backbone))
    template = resolve(method.fitted(hard, settings, given), backbone.tokenizer)
    inherited = method.inherited(settings, given)
    head = inherited or request.head or method.head(backbone.family)
    if task.kind == "generate":
        if request.head == "linear":
            raise UsageError(
                f"A linear head cannot write text, which '{task.name}' asks for",
                do="Leave --head out",
            )
        head = "verbalizer"
    if task.kind == "label":
        if request.head == "verbalizer":
            raise UsageError(
                f"Label words cannot label lines, which '{task.name}' asks for",
                do="Leave --head out",
            )
        head = "linear"
    if head == "linear" and not method.trains and not inherited:
        raise UsageError(
            f"The method '{request.method}' trains nothing, and a linear head must be trained",
            do="Leave --head out, or choose another --method",
        )
    plan = make_plan(task, backbone, template, recipe, head)
    pool, dev_pool = pools(request, task) if like is None else (like.pool, like.dev_pool)
    check_fields(template, [*pool[:1], *dev_pool[:1]])
    if task.kind == "generate":
        check_leaks(template, pool, request.data)
    return Setup(
        request,
        task,
        method,
        settings,
        recipe,
        backbone,
        template,
        head,
        plan,
        pool,
        dev_pool,
        given,
        grown,
    )


def read_given(names: Sequence[str], backbone: Backbone) -> tuple[Given, ...]:
    """The packs that a method builds on. Raises `PackError` where one is for another backbone."""
    out = []
    for name in names:
        pack = load_pack(name)
        check_backbone(pack, backbone)
        out.append(Given(pack.card.name, pack.injection, pack.template, pack.card.integrity))
    return tuple(out)


def shapes_of(methods: Sequence[str], hard: Template, backbone: Backbone) -> tuple[Given, ...]:
    """What stands for packs that are tuned first for every seed: their templates and slots."""
    out = []
    for place, name in enumerate(methods):
        method = METHODS.get(name)
        template = resolve(method.template(hard, method.configure({})), backbone.tokenizer)
        length = max((indices.stop for indices in slot_indices(template)), default=0)
        slots = torch.zeros(length, backbone.d_model) if length else None
        out.append(Given(f"{name}-{place}", Injection(slots=slots), template))
    return tuple(out)


def make_plan(
    task: Task, backbone: Backbone, template: Template, recipe: Recipe, head: HeadKind
) -> Plan:
    """The task in a template on a backbone."""
    verbalizer = None
    if task.kind == "classify" and head == "verbalizer":
        verbalizer = Verbalizer.of(task.label_words[backbone.family])
    return Plan(
        backbone,
        template,
        task.kind,
        recipe.source_length or task.source_length,
        recipe.target_length or task.target_length,
        task.labels,
        task.positive,
        verbalizer,
    )


def hard_plan(setup: Setup) -> Plan | None:
    """The task in the hard template that a run starts from; None for a run that has just that."""
    if not setup.method.trains or setup.head == "linear":
        return None
    hard = parse(setup.request.template or setup.task.templates[setup.backbone.family])
    if hard.soft:
        return None
    template = resolve(hard, setup.backbone.tokenizer)
    return replace(setup.plan, template=template)
