"""Linear maps of a serving copy: several of the backbone's as one product, changed by name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from codeprompt.backbones._pages import Pages
from codeprompt.backbones.serving.kernels import (
    DTYPES,
    Dense,
    Int8,
    Kernel,
    Precision,
    int8_kernel,
    quantise,
)
from codeprompt.backbones.serving.store import Store
from codeprompt.errors import BackboneError
from codeprompt.inject import Delta, Injected


class Linear:
    """One or more maps of the same input as one product; `parts` are their names and widths.

    Changes of a map act on its slice of the output, by its own name.
    """

    def __init__(self, parts: Sequence[tuple[str, int]], kernel: Kernel) -> None:
        self.kernel = kernel
        self.slices: list[tuple[str, int, int]] = []
        start = 0
        for name, width in parts:
            self.slices.append((name, start, width))
            start += width

    def __call__(self, x: Tensor, injected: Injected) -> Tensor:
        """x [B,Q,in] -> [B,Q,out]."""
        if not injected.deltas:
            return self.kernel(x)
        found = [(injected.deltas.get(name), start, width) for name, start, width in self.slices]
        x = self._fed(x, [delta for delta, _, _ in found])
        y = self.kernel(x)
        for delta, start, width in found:
            if delta is not None:
                part = y.narrow(-1, start, width)
                part.copy_(delta.changed(x, part))
        return y

    def relu(self, x: Tensor, then: Linear, injected: Injected) -> Tensor:
        """A feed-forward, then(relu(self(x))): x [B,Q,in] -> [B,Q,out]."""
        if not injected.deltas and isinstance(self.kernel, Int8) and isinstance(then.kernel, Int8):
            return self.kernel.relu(x, then.kernel)
        return then(torch.relu(self(x, injected)), injected)

    def _fed(self, x: Tensor, deltas: Sequence[Delta | None]) -> Tensor:
        """Raises `BackboneError` where maps that read as one would read unlike inputs."""
        if all(delta is None or delta.gain is None for delta in deltas):
            return x
        if len(deltas) > 1 or deltas[0] is None:
            names = ", ".join(name for name, _, _ in self.slices)
            raise BackboneError(
                f"A prompt scales the input of one of {names}, which are computed as one",
                do="Scale outputs there; inputs can be scaled at the feed-forward's output map",
            )
        return deltas[0].fed(x)


class Maker:
    """Makes `Linear`s from a backbone's modules, one after the other, so that peaks stay low.

    store: keeps int8 values and scales between runs.
    trace: whether the copy may record its steps.
    free: let the backbone's own weights go as soon as their copy stands.
    bytes: of what was made so far. read: whether the backbone's own weights were needed for it.
    """

    def __init__(
        self,
        backbone: nn.Module,
        precision: Precision,
        *,
        free: bool = False,
        store: Store | None = None,
        trace: bool = True,
    ) -> None:
        self.backbone, self.precision, self.free = backbone, precision, free
        self.dtype = DTYPES[precision]
        self.store, self.trace = store, trace
        self.bytes, self.read = 0, False
        self.pages = Pages() if free else None

    def linear(self, *names: str, many: bool = False) -> Linear:
        """The maps of these module names as one; many: see `int8_kernel`."""
        modules = [self.backbone.get_submodule(name) for name in names]
        parts = [(name, int(m.out_features)) for name, m in zip(names, modules, strict=True)]  # type: ignore[arg-type]
        biases: list[Tensor | None] = [m.bias for m in modules]  # type: ignore[misc]
        bias = None
        if biases[0] is not None:
            bias = torch.cat([b.detach().to(self.dtype) for b in biases if b is not None])
        weights: list[Tensor] = [m.weight for m in modules]  # type: ignore[misc]
        if self.precision == "int8":
            kernel: Kernel = self._int8("+".join(names), weights, bias, many)
        else:
            cast = [w.detach().to(self.dtype) for w in weights]
            self.read = True
            kernel = Dense(cast[0] if len(cast) == 1 else torch.cat(cast), bias)
        each = {"int8": 1, "bf16": 2, "float32": 4}[self.precision]
        self.bytes += each * sum(w.numel() for w in weights)
        if self.free:
            shared = {kernel.weight.data_ptr()} if isinstance(kernel, Dense) else set()
            for module in modules:
                self._release(module, shared)
        return Linear(parts, kernel)

    def tensor(self, name: str) -> Tensor:
        """A parameter of the backbone in the activations' dtype."""
        return self.backbone.get_parameter(name).detach().to(self.dtype, copy=self.free)

    def _int8(self, key: str, weights: list[Tensor], bias: Tensor | None, many: bool) -> Kernel:
        kernel = int8_kernel(many=many)
        assert kernel is not None  # `prepare` has asked
        if self.store is not None and (kept := self.store.load(key)) is not None:
            return kernel(*kept, bias)
        self.read = True
        pairs = [quantise(weight) for weight in weights]
        values = torch.cat([values for values, _ in pairs])
        scale = torch.cat([scale for _, scale in pairs])
        if self.store is not None:
            self.store.save(key, values, scale)
        return kernel(values, scale, bias)

    def _release(self, module: nn.Module, shared: set[int]) -> None:
        """Let a weight go, unless the embedding shares it. shared: where the copy uses it."""
        weight: Tensor = module.weight  # type: ignore[assignment]
        embeddings = (m.weight for m in self.backbone.modules() if isinstance(m, nn.Embedding))
        if any(weight is other for other in embeddings):
            return
        if self.pages is not None and weight.data_ptr() not in shared:
            self.pages.let_go(weight)
        module.weight = nn.Parameter(torch.empty(0), requires_grad=False)


def size_of(tensor: Tensor) -> int:
    """Its bytes."""
    return tensor.numel() * tensor.element_size()
