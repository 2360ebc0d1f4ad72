"""OpenVINO's arm: encoder and decoder step as two compiled models with int8 weights.

The decoder's self-attention caches are states of the model, reordered by `beam_idx` inside it, as
OpenVINO's own exports of encoder-decoders have it; cross-attention keys and values are made once
and shared by all beams. Weights are int8 with one scale a channel; precision of the rest,
activation quantisation and scheduling are the runtime's own choice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codeprompt.backbones.base import Source
from codeprompt.backbones.serving.kernels import quantise
from codeprompt.inject import NOTHING


class QuantisedLinear(nn.Module):
    """A linear map whose weight is int8 times a scale; the compiler multiplies the int8 values."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        values, scale = quantise(linear.weight)
        self.register_buffer("values", values)
        self.register_buffer("scale", scale[:, None])

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.values.to(torch.float32) * self.scale)  # type: ignore[operator]


class Encoder(nn.Module):
    """ids [1,T] -> cross-attention keys and values of every layer [L,2,1,H,T,h]."""

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, ids: Tensor) -> Tensor:
        source = _AllReal(ids)
        memory = self.backbone.remember(self.backbone.encode(source), source)
        pairs = [torch.stack(pair) for pair in zip(memory.keys, memory.values, strict=True)]
        return torch.stack(pairs)


class Step(nn.Module):
    """One token for N beams: ids [N,1] and the caches -> logits [N,V] and the longer caches."""

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(
        self, ids: Tensor, memory: Tensor, bias: Tensor, beam_idx: Tensor, *past: Tensor
    ) -> tuple[Tensor, ...]:
        model = self.backbone
        x = model.shared(ids)
        new: list[Tensor] = []
        for index, block in enumerate(model.decoder.block):
            own, cross, feed = block.layer
            normed = own.layer_norm(x)
            k, v = own.SelfAttention.keys_values(normed, NOTHING)
            k = torch.cat([past[2 * index].index_select(0, beam_idx), k], 2)
            v = torch.cat([past[2 * index + 1].index_select(0, beam_idx), v], 2)
            new += [k, v]
            q = own.SelfAttention.split(own.SelfAttention.q(normed))
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
            x = x + own.SelfAttention.o(out.transpose(1, 2).flatten(2))
            q = cross.EncDecAttention.q(cross.layer_norm(x)).transpose(0, 1)  # beams as queries
            q = cross.EncDecAttention.split(q)
            out = F.scaled_dot_product_attention(q, memory[index, 0], memory[index, 1], scale=1.0)
            x = x + cross.EncDecAttention.o(out.transpose(1, 2).flatten(2)).transpose(0, 1)
            x = x + feed.DenseReluDense(feed.layer_norm(x), NOTHING)
        return (model.logits(model.decoder.final_layer_norm(x))[:, 0], *new)


class _AllReal(Source):
    """A source without padding, whatever its length is when traced."""

    def __init__(self, ids: Tensor) -> None:
        super().__init__(ids, torch.ones_like(ids, dtype=torch.bool))

    @property
    def pad_bias(self) -> None:
        return None


def openvino_arm(
    path: Path, tokens: int, threads: int
) -> Callable[[Sequence[int], int], list[int]]:
    """Compile both models; gives (source ids, beams) -> the best answer's ids."""
    import openvino as ov

    from codeprompt.backbones.load import load_backbone

    backbone: Any = load_backbone(str(path))
    eos, start = backbone.tokenizer.eos_id, backbone.start_id
    distances = torch.arange(1 - tokens, 1)
    line = backbone.decoder.bias(distances).T[None, :, None, :].contiguous()
    shape = backbone.sites["decoder"]
    _quantise(backbone)
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    core = ov.Core()
    with torch.no_grad():
        ids = torch.randint(5, 100, (1, 32))
        encoder = ov.convert_model(Encoder(backbone), example_input=ids)
        memory = Encoder(backbone)(ids)
        step = _stateful(backbone, memory, shape)
    encode = core.compile_model(encoder, "CPU", settings)
    request = core.compile_model(step, "CPU", settings).create_infer_request()

    def run(source: Sequence[int], beams: int) -> list[int]:
        remembered = encode([torch.tensor([source]).numpy()])[0]
        request.reset_state()
        parents = torch.zeros(beams, dtype=torch.long)
        token = torch.full((beams,), start)
        scores = torch.full((beams,), -torch.inf)
        scores[0] = 0.0
        history = torch.zeros(beams, 0, dtype=torch.long)
        for t in range(tokens):
            request.infer(
                {
                    "ids": token[:, None].numpy(),
                    "memory": remembered,
                    "bias": line[..., tokens - 1 - t :].numpy(),
                    "beam_idx": parents.numpy(),
                },
                share_inputs=True,
            )
            logits = torch.from_numpy(request.get_tensor("logits").data)
            logits[:, eos] = -torch.inf  # the answer's length is fixed
            total = scores[:, None] + logits.log_softmax(-1)
            scores, best = total.flatten().topk(beams)
            parents, token = best // logits.shape[1], best % logits.shape[1]
            history = torch.cat([history[parents], token[:, None]], 1)
        return list(history[0].tolist())

    return run


def _quantise(backbone: nn.Module) -> None:
    """Put int8 maps in the place of all linear ones."""
    for module in list(backbone.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, QuantisedLinear(child))


def _stateful(backbone: Any, memory: Tensor, shape: Any) -> Any:
    """The decoder step with its caches as states."""
    import openvino as ov
    from openvino._offline_transformations import apply_make_stateful_transformation

    past = [torch.zeros(2, shape.heads, 3, shape.head_dim) for _ in range(2 * shape.layers)]
    bias = torch.zeros(1, shape.heads, 1, 4)
    example = (torch.zeros(2, 1, dtype=torch.long), memory, bias, torch.arange(2), *past)
    step = ov.convert_model(Step(backbone), example_input=example)
    names = ["ids", "memory", "bias", "beam_idx", *[f"past{i}" for i in range(len(past))]]
    for port, name in zip(step.inputs, names, strict=True):
        port.tensor.set_names({name})
    for port, name in zip(
        step.outputs, ["logits", *[f"new{i}" for i in range(len(past))]], strict=True
    ):
        port.tensor.set_names({name})
    sizes: dict[Any, Any] = {
        step.input("ids"): [-1, 1],
        step.input("memory"): [shape.layers, 2, 1, shape.heads, -1, shape.head_dim],
        step.input("bias"): [1, shape.heads, 1, -1],
        step.input("beam_idx"): [-1],
    }
    for i in range(len(past)):
        sizes[step.input(f"past{i}")] = [-1, shape.heads, -1, shape.head_dim]
    step.reshape({port: ov.PartialShape(size) for port, size in sizes.items()})
    apply_make_stateful_transformation(step, {f"past{i}": f"new{i}" for i in range(len(past))})
    return _started(step, shape)


def _started(step: Any, shape: Any) -> Any:
    """Empty caches of as many rows as there are beams, whenever the states are reset."""
    from openvino import opset13

    rows = opset13.gather(
        opset13.shape_of(step.input("ids"), output_type="i64"),
        opset13.constant([0], dtype="int64"),
        opset13.constant(0, dtype="int64"),
    )
    size = opset13.constant([shape.heads, 0, shape.head_dim], dtype="int64")
    dims = opset13.concat([rows, size], axis=0)
    empty = opset13.broadcast(opset13.constant(0.0, dtype="float32"), dims)
    for op in step.get_ops():
        if op.get_type_name() == "ReadValue":
            op.set_arguments([empty.output(0)])
    step.validate_nodes_and_infer_types()
    return step
