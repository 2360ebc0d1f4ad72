"""What a prompt method is: a template, a few trained parameters, and the Injection they make.

A method declares what it is (frozen or not, mixable in a batch or not, which families), and the
contract tests hold it to that. Its trained part is a `PromptModule`: `forward` gives the Injection
with gradients, `export` the one that a pack stores, with all reparametrisation folded away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Generic, Literal, TypeVar

import msgspec
import torch
from torch import Tensor, nn

from codeprompt.backbones.base import Backbone, Family, SiteShape
from codeprompt.errors import UsageError
from codeprompt.inject import Columns, Convention, Head, Injection, Site
from codeprompt.template import Template
from codeprompt.types import Kind

HeadKind = Literal["verbalizer", "linear"]
MethodKind = Literal["hard", "prompt", "columns", "delta", "weights", "given"]
"""What a method learns; recipes are written by kind, so that they need no method's name."""
S = TypeVar("S")


@dataclass(frozen=True)
class Given:
    """A pack that a method builds on. integrity: the hash on its card."""

    name: str
    injection: Injection
    template: Template
    integrity: str = ""

    def __str__(self) -> str:
        return f"{self.name}@{self.integrity[:12]}" if self.integrity else self.name


@dataclass(frozen=True)
class Context:
    """What a method may look at when its parameters are made.

    template: resolved (every soft count fixed). words: token ids of the label words.
    seed: of the initial values. labels: C, or 0 where the task generates. given: the packs that
    the settings name.
    """

    backbone: Backbone
    template: Template
    seed: int = 0
    words: tuple[tuple[int, ...], ...] = ()
    labels: int = 0
    head: HeadKind = "verbalizer"
    given: tuple[Given, ...] = ()

    def generator(self) -> torch.Generator:
        """A generator of its own, so that nothing else that draws numbers changes a prompt."""
        return torch.Generator().manual_seed(self.seed)


@dataclass(frozen=True)
class NoSettings:
    """A method without settings."""


@dataclass(frozen=True)
class Lessons:
    """A first stage: prompts that teach, and what of a module learns from the k-th of them.

    steps: of the stage, teachers in turn. turn: what is done at its end.
    """

    teachers: tuple[Injection, ...]
    student: Callable[[int], Injection]
    steps: int
    turn: Callable[[], None]


class PromptModule(nn.Module):
    """The trained parameters of one prompt."""

    def forward(self) -> Injection:
        """The Injection, with gradients."""
        raise NotImplementedError

    def candidates(self) -> Iterator[tuple[dict[str, Any], Injection]]:
        """Of a method that trains nothing: what dev chooses from, with what a card says of each."""
        yield {}, self.export()

    def export(self) -> Injection:
        """The Injection that a pack stores: float32 tensors without gradients."""
        was = self.training
        self.eval()
        with torch.no_grad():
            injection: Injection = self().to(torch.float32)
        self.train(was)
        return injection

    @property
    def stages(self) -> tuple[bool, ...]:
        """How it is trained: a stage after another, each from step 0 with a fresh optimiser.

        Whether what a stage ends with may be packed; of several such stages dev decides.
        """
        return (True,)

    def advance(self, stage: int, losses: Callable[[], Iterator[Tensor]]) -> None:
        """Turn from what a stage trained to the next one's start: prune, rewind.

        What it decides stands in buffers, which checkpoints keep beside the parameters; no
        parameter comes or goes. losses: over all training rows, with gradients, a batch at a time;
        each is of the injection that the module gives when it is asked for.
        """
        raise NotImplementedError

    def fitted(self, template: Template) -> Template:
        """The template for what is left of the prompt; `template` is the one it was made for."""
        return template

    def lessons(self) -> Lessons | None:
        """What it learns from other prompts before it is trained on labels; None for nothing."""
        return None

    def trained(self) -> list[nn.Parameter]:
        """The parameters that an optimiser sees."""
        return [p for p in self.parameters() if p.requires_grad]

    def paced(self) -> dict[str, list[nn.Parameter]]:
        """The same, by the name that a recipe's `rates` know them by."""
        return {"": self.trained()}


class Method(Generic[S]):
    """One row of the field. `settings` is a frozen dataclass whose defaults are sane."""

    settings: ClassVar[type]
    kind: ClassVar[MethodKind]
    frozen: ClassVar[bool] = True
    mixable: ClassVar[bool] = True
    trains: ClassVar[bool] = True
    kinds: ClassVar[tuple[Kind, ...]] = ("classify", "generate", "label")
    families: ClassVar[tuple[Family, ...]] = ("t5", "roberta", "llama")

    def configure(self, options: Mapping[str, Any]) -> S:
        """Settings from plain values. Raises `UsageError` on an unknown or unfit one."""
        known = {f.name for f in fields(self.settings)}
        for name in options:
            if name not in known:
                takes = ", ".join(sorted(known)) or "none"
                raise UsageError(
                    f"The method has no setting '{name}'", expected=f"one of its settings: {takes}"
                )
        several = {f.name for f in fields(self.settings) if str(f.type).startswith("tuple[str")}
        plain = {  # one name on the command line is a list of one
            name: [value] if name in several and isinstance(value, str) else value
            for name, value in options.items()
        }
        try:
            settings: S = msgspec.convert(plain, self.settings, strict=False)
            return settings
        except (msgspec.ValidationError, ValueError) as error:
            raise UsageError(f"A setting of the method does not fit: {error}") from error

    def template(self, hard: Template, settings: S) -> Template:
        """The template this method tunes, made from the hard one the user or task gives."""
        return hard

    def given(self, settings: S) -> tuple[str, ...]:
        """Packs that it builds on, by path or name: read for it, and checked for the backbone."""
        return ()

    def grows(self, settings: S) -> tuple[str, ...]:
        """Methods to tune first, on the same rows: what it builds on and no setting names."""
        return ()

    def learns(self, options: Mapping[str, Any]) -> bool:
        """Whether rows to train on change anything: what is built on may be tuned first."""
        settings = self.configure(options)
        return self.trains or bool(self.grows(settings))

    def fitted(self, hard: Template, settings: S, given: Sequence[Given]) -> Template:
        """As `template`, where the packs it builds on have a say."""
        return self.template(hard, settings)

    def inherited(self, settings: S, given: Sequence[Given]) -> HeadKind | None:
        """The classifier that comes with the packs it builds on; None where they have no say."""
        return None

    def recorded(self, settings: S, given: Sequence[Given]) -> dict[str, Any]:
        """The settings as a card keeps them: packs by name, never by path."""
        return asdict(settings)  # type: ignore[call-overload, no-any-return]

    def freezes(self, settings: S, given: Sequence[Given]) -> bool:
        """`frozen`, where the packs it builds on have a say: whether its pack holds no weights."""
        return self.frozen

    def head(self, family: Family) -> HeadKind:
        """Which classifier the method takes where the user does not say."""
        return "verbalizer"

    def build(self, context: Context, settings: S) -> PromptModule:
        """The trained part with its initial values."""
        raise NotImplementedError


class Parts(PromptModule):
    """A prompt of independent parts whose injections are simply put together."""

    def __init__(self, **parts: PromptModule | None) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({k: p for k, p in parts.items() if p is not None})

    def forward(self) -> Injection:
        from codeprompt.inject import join

        out = Injection()
        for part in self.parts.values():
            out = join(out, part())
        return out

    @property
    def stages(self) -> tuple[bool, ...]:
        return max((part.stages for part in self._own()), key=len, default=(True,))

    def advance(self, stage: int, losses: Callable[[], Iterator[Tensor]]) -> None:
        for part in self._own():
            if len(part.stages) > 1:
                part.advance(stage, losses)

    def fitted(self, template: Template) -> Template:
        for part in self._own():
            template = part.fitted(template)
        return template

    def _own(self) -> list[PromptModule]:
        return [part for part in self.parts.values() if isinstance(part, PromptModule)]

    def lessons(self) -> Lessons | None:
        found = (part.lessons() for part in self._own())
        return next((own for own in found if own is not None), None)


class Nothing(PromptModule):
    """No trained parameter at all: a hard prompt."""

    def forward(self) -> Injection:
        return Injection()


class LinearHead(PromptModule):
    """A linear classifier on one hidden state; weight [C,d] starts small, bias [C] at zero."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        size = (context.labels, context.backbone.d_model)
        self.weight = nn.Parameter(0.02 * torch.randn(size, generator=context.generator()))
        self.bias = nn.Parameter(torch.zeros(context.labels))

    def forward(self) -> Injection:
        return Injection(head=Head(self.weight, self.bias))


def with_head(context: Context, **parts: PromptModule | None) -> PromptModule:
    """The parts of a prompt, and a linear head where the context asks for one."""
    head = LinearHead(context) if context.head == "linear" else None
    return Parts(**parts, head=head)


@dataclass(frozen=True)
class ColumnSettings:
    """Settings shared by the methods that learn prompt columns.

    length: P. dropout: on the columns while training. sites: empty for all the family has.
    convention: `past` moves real tokens behind the columns, as `peft` does, for export there.
    """

    length: int = 16
    dropout: float = 0.1
    convention: Convention = "kept"
    sites: tuple[Site, ...] = field(default=())


def chosen_sites(
    backbone: Backbone, wanted: tuple[Site, ...], default: tuple[Site, ...]
) -> dict[Site, SiteShape]:
    """The sites to put columns at. Raises `UsageError` where the family lacks one asked for."""
    for site in wanted:
        if site not in backbone.sites:
            raise UsageError(
                f"The {backbone.family} family has no '{site}' attention",
                expected=f"sites among {', '.join(backbone.sites)}",
            )
    return {s: backbone.sites[s] for s in (wanted or default) if s in backbone.sites}


def to_columns(flat: Tensor, shape: SiteShape, convention: Convention) -> Columns:
    """[P, 2*L*H*h] -> columns with key and value [L,H,P,h]."""
    length = flat.shape[0]
    both = flat.view(length, 2, shape.layers, shape.heads, shape.head_dim).permute(1, 2, 3, 0, 4)
    return Columns(both[0], both[1], None, convention)
