"""Quantization: straight through, zero where a value was cut off.

The gradient of a quantized tensor is that of the real value that it stands for.
"""

from __future__ import annotations

import numpy as np

from edgeml.errors import NoGradient
from edgeml.graph._ir import Node, Tensor, emit
from edgeml.graph._rules import lowering, rule
from edgeml.graph.rules._elementwise import masked

Grads = tuple[Tensor | None, ...]
_FOUR_BITS = {"int4": (-8, 7), "uint4": (0, 15), "int2": (-2, 1), "uint2": (0, 3)}


def _range(node: Node) -> tuple[int, int]:
    dtype = node.output.dtype
    if dtype.name in _FOUR_BITS:
        return _FOUR_BITS[dtype.name]
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return int(info.min), int(info.max)
    raise NoGradient(
        f"{node.op} {node.name!r}: there is a gradient for integers only, not for {dtype}",
        op=node.op, node=node.name,
    )  # fmt: skip


class _Scales:
    """How scales and zero points lie along a tensor: one, one for each slice, or in blocks."""

    def __init__(self, node: Node, x: Tensor) -> None:
        scale = node.inputs[1]
        assert scale is not None
        self.shape = x.static_shape
        self.own = scale.static_shape
        self.axis = node.attr("axis", 1) % max(len(self.shape), 1) if self.own else 0
        self.block = node.attr("block_size", 0)
        self.single = scale.size == 1 and not self.block
        if self.block and self.shape[self.axis] % self.block:
            raise NoGradient(
                f"{node.op} {node.name!r}: axis {self.axis} of {self.shape} is not a multiple of "
                f"the block size {self.block}",
                op=node.op, node=node.name,
            )  # fmt: skip

    def spread(self, value: Tensor) -> Tensor:
        """Return scales or zero points in a shape that goes with the tensor."""
        if self.single:
            return emit("Reshape", value, np.array([], np.int64))
        if not self.block:
            shape = [n if i == self.axis else 1 for i, n in enumerate(self.shape)]
            return emit("Reshape", value, np.array(shape, np.int64))
        inner = emit("Unsqueeze", value, np.array([self.axis + 1], np.int64))
        wide = emit("Expand", inner, np.array(self._split(), np.int64))
        return emit("Reshape", wide, np.array(self.shape, np.int64))

    def _split(self) -> list[int]:
        return [*self.own[: self.axis + 1], self.block, *self.own[self.axis + 1 :]]

    def gather(self, g: Tensor) -> Tensor:
        """Return the sum of `g` over what shares a scale."""
        axes = [i for i in range(len(self.shape)) if i != self.axis or self.single]
        if self.block:
            g, axes = emit("Reshape", g, np.array(self._split(), np.int64)), [self.axis + 1]
        total = emit("ReduceSum", g, np.array(axes, np.int64), keepdims=0) if axes else g
        return emit("Reshape", total, np.array(self.own, np.int64))


def _real(x: Tensor, like: Tensor) -> Tensor:
    from edgeml.graph._infer import to_elem_type

    return emit("Cast", x, to=to_elem_type(like.dtype))


def per_step(node: Node, g: Tensor) -> Tensor:
    """Return the gradient of the real values that a QuantizeLinear's integers stand for."""
    scale = node.inputs[1]
    assert scale is not None
    return g / _Scales(node, node.x).spread(scale)


@rule("QuantizeLinear")
def quantize(node: Node, g: Tensor) -> Grads:
    x, zero = node.x, node.input(2)
    low, high = _range(node)
    scales = _Scales(node, x)
    scale = node.inputs[1]
    assert scale is not None
    s = scales.spread(scale)
    first: Tensor | float = low - 0.5
    last: Tensor | float = high + 0.5
    if zero is not None:
        z = scales.spread(_real(zero, x))
        first, last = first - z, last - z
    inside = emit("And", x >= s * first, x <= s * last)
    dx = masked(g, inside)
    return dx, scales.gather(-(dx * x) / s)


@rule("DequantizeLinear")
def dequantize(node: Node, g: Tensor) -> Grads:
    """With the rule above, a pair learns its scale as LSQ does (Esser et al., 2020)."""
    zero = node.input(2)
    scales = _Scales(node, node.x)
    steps = _real(node.x, g)
    if zero is not None:
        steps = steps - scales.spread(_real(zero, g))
    return g, scales.gather(g * steps)


@lowering("DynamicQuantizeLinear")
def dynamic_quantize(node: Node) -> list[Tensor]:
    """Scale and zero point follow the values' range, and count as constants."""
    x = node.x
    held = emit("StopGradient", x, domain="edgeml")
    high = emit("Max", emit("ReduceMax", held, keepdims=0), 0.0, like=x)
    low = emit("Min", emit("ReduceMin", held, keepdims=0), 0.0, like=x)
    scale = (high - low) * (1.0 / 255.0)
    safe = emit("Where", scale > 0.0, scale, 1.0, like=x)
    zero = emit("Cast", emit("Clip", emit("Round", -low / safe), np.float32(0), np.float32(255)),
                to=2)  # fmt: skip
    return [emit("QuantizeLinear", x, safe, zero), scale, zero]
