"""Writing QuantizeLinear and DequantizeLinear into a float model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.quantize._blocks import Block
from edgeml.quantize._index import Index, attribute, drop_unread
from edgeml.quantize._model import Model, unused

Array = NDArray[Any]
LEAST_OPSET = 13
"""The first in which channels have scales of their own."""
_TAKEN = frozenset({"Conv", "ConvTranspose", "Gemm"})
"""What the runtime quantizes unasked behind DequantizeLinear."""


@dataclass(frozen=True)
class Params:
    """How real numbers become integers: ``q = round(x / scale) + zero_point``.

    Args:
        scale: float32; a scalar, or one a channel.
        zero_point: Of the integers' dtype, of the scale's shape.
        axis: Axis of the channels.
    """

    scale: Array
    zero_point: Array
    axis: int = 0

    @property
    def limits(self) -> tuple[int, int]:
        """The integers' least and greatest."""
        info = np.iinfo(self.zero_point.dtype)
        return int(info.min), int(info.max)

    def quantize(self, x: Array) -> Array:
        """Return the integers of an array."""
        scale, zero = self._spread(x.ndim)
        rounded = np.rint(x / scale) + zero
        return np.asarray(np.clip(rounded, *self.limits), self.zero_point.dtype)

    def dequantize(self, q: Array) -> Array:
        """Return the real numbers of integers, float32."""
        scale, zero = self._spread(q.ndim)
        return np.asarray((q.astype(np.int32) - zero) * scale, np.float32)

    def _spread(self, ndim: int) -> tuple[Array, Array]:
        shape = [-1 if i == self.axis else 1 for i in range(ndim)] if self.scale.ndim else []
        return self.scale.reshape(shape), self.zero_point.astype(np.int32).reshape(shape)


@dataclass
class Plan:
    """What becomes 8 bits, and with which parameters.

    Args:
        blocks: The blocks that run in 8 bits.
        activations: Parameters by tensor.
        weights: Parameters by initializer.
    """

    blocks: list[Block]
    activations: dict[str, Params] = field(default_factory=dict)
    weights: dict[str, Params] = field(default_factory=dict)


def activation_params(
    low: float, high: float, dtype: str = "uint8", *, symmetric: bool = False
) -> Params:
    """Return the parameters of a range; zero is always among the numbers.

    Args:
        low: Least value.
        high: Greatest value.
        dtype: ``"uint8"`` or ``"int8"``.
        symmetric: Whether the zero point is the integers' middle.
    """
    info = np.iinfo(dtype)
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if symmetric:
        half = (int(info.max) - int(info.min)) // 2
        scale = max(-low, high) / half
        zero = int(info.min) + half + 1 if info.min == 0 else 0
    else:
        scale = (high - low) / (int(info.max) - int(info.min))
        zero = int(info.min) + (round(-low / scale) if scale > 0 else 0)
    if not scale >= np.finfo(np.float32).tiny:  # nothing but zeros
        scale = 1.0
    return Params(np.array(scale, np.float32), np.array(zero, dtype))


def weight_params(weights: Array, axis: int, *, bits: int = 8, per_channel: bool = True) -> Params:
    """Return symmetric int8 parameters of weights.

    Args:
        weights: float32.
        axis: Axis of the output channels.
        bits: 7 leaves a bit free, for kernels whose 16-bit sums would overflow.
        per_channel: Whether each output channel has a scale of its own.
    """
    others = tuple(i for i in range(weights.ndim) if i != axis)
    top = 2 ** (bits - 1) - 1
    largest = np.abs(weights).max(others) if per_channel else np.abs(weights).max()
    scale = np.asarray(largest, np.float32) / np.float32(top)
    scale = np.where(scale >= np.finfo(np.float32).tiny, scale, np.float32(1.0))
    return Params(np.asarray(scale, np.float32), np.zeros(scale.shape, np.int8), axis)


def write(model: Model, plan: Plan, rounded: Mapping[str, Array] | None = None) -> Model:
    """Return a model with the plan's QuantizeLinear and DequantizeLinear nodes.

    A tensor that a quantized block makes keeps its name after DequantizeLinear, so that every
    reader, and the graph's outputs, see what the next kernel sees.

    Args:
        model: Float model of opset 13 or newer, each node with a name; it stays as it was.
        plan: What to quantize.
        rounded: Integers of weights, where they are not simply the nearest.
    """
    return _Writer(Index(model), plan, dict(rounded or {})).write(model)


def write_block(index: Index, block: Block, plan: Plan) -> tuple[list[Any], dict[str, Array]]:
    """Return the nodes of one block in 8 bits while all others are float, and their constants."""
    return _Writer(index, replace(plan, blocks=[block]), {}).write_block(block)


class _Writer:
    def __init__(self, index: Index, plan: Plan, rounded: dict[str, Array]) -> None:
        self._onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
        self._index = index
        self._plan = plan
        self._rounded = rounded
        self._of = {node: block for block in plan.blocks for node in block.nodes}
        self._made = {name for block in plan.blocks for name in block.outputs}
        self._nodes: list[Any] = []
        self._constants: dict[str, Array] = {}
        self._done: set[str] = set()
        self._taken = self._index.names

    def write_block(self, block: Block) -> tuple[list[Any], dict[str, Array]]:
        for name in block.inputs:
            if not self._index.is_constant(name):
                self._after(name, name)
        for node in self._index.nodes:
            if node.name in block.nodes:
                self._node(node)
        return self._nodes, self._constants

    def write(self, model: Model) -> Model:
        for name in self._index.inputs:
            self._after(name, name)
        for node in self._index.nodes:
            self._node(node)
        found = self._onnx.ModelProto()
        found.CopyFrom(model)
        del found.graph.node[:]
        found.graph.node.extend(self._nodes)
        self._initializers(found)
        del found.graph.value_info[:]
        return found

    def _initializers(self, found: Model) -> None:
        found.graph.initializer.extend(
            self._onnx.numpy_helper.from_array(value.copy(order="C"), name)
            for name, value in self._constants.items()
        )
        drop_unread(found)

    def _node(self, node: Any) -> None:
        copy = self._onnx.NodeProto()
        copy.CopyFrom(node)
        block = self._of.get(node.name)
        if block is not None:
            for i, name in enumerate(node.input):
                copy.input[i] = self._read(name, block)
            for i, name in enumerate(node.output):
                if name in self._plan.activations and name in block.outputs:
                    copy.output[i] = self._name(name, "raw")
        elif node.op_type in _TAKEN and node.input[0] in self._made:
            copy.input[0] = self._apart(node)
        self._nodes.append(copy)
        for name in node.output:
            if block is not None and name in block.outputs:
                self._after(name, self._name(name, "raw"))
            elif name:
                self._after(name, name)

    def _read(self, name: str, block: Block) -> str:
        """Return the name under which a block reads a tensor."""
        if name in block.weights:
            return self._weight(name)
        if name and name == block.bias:
            return self._bias(name, block)
        if name not in block.inputs or name not in self._plan.activations:
            return name
        if self._index.is_constant(name):
            return self._constant(name, self._plan.activations[name])
        return name if name in self._made else self._name(name, "dequantized")

    def _apart(self, node: Any) -> str:
        """Return what a layer that stays float reads of a quantized tensor.

        ONNX Runtime (1.31) quantizes the float weights of a convolution behind DequantizeLinear by
        itself, with one scale for all channels, unless the scale it reads there is one a channel:
        here the same number for each.
        """
        name = node.input[0]
        params = self._plan.activations.get(name)
        channels = self._channels(node)
        if params is None or params.scale.ndim or channels is None:
            return str(name)
        made = self._name(name, "apart")
        if made not in self._done:
            self._done.add(made)
            repeated = [np.repeat(part, channels) for part in (params.scale, params.zero_point)]
            self._constants[f"{made}_scale"], self._constants[f"{made}_zero_point"] = repeated
            self._nodes.append(
                self._onnx.helper.make_node(
                    "DequantizeLinear",
                    [self._name(name, "quantized"), f"{made}_scale", f"{made}_zero_point"], [made],
                    name=f"{made}/dequantize", axis=1,
                )
            )  # fmt: skip
        return made

    def _channels(self, node: Any) -> int | None:
        shape = self._index.shape(node.input[1])
        if shape is None or None in shape:
            return None
        if node.op_type == "Conv":
            return int(shape[1] or 0) * int(attribute(node, "group", 1))
        if node.op_type == "Gemm":
            return shape[1 if attribute(node, "transB", 0) else 0]
        return shape[0]

    def _after(self, name: str, raw: str) -> None:
        """Quantize a tensor where it is made."""
        params = self._plan.activations.get(name)
        if params is None:
            return
        made = self._name(name, "dequantized") if raw == name else name
        scale, zero = self._params(name, params)
        add, quantized = self._onnx.helper.make_node, self._name(name, "quantized")
        self._nodes += [
            add("QuantizeLinear", [raw, scale, zero], [quantized], name=f"{name}/quantize"),
            add("DequantizeLinear", [quantized, scale, zero], [made], name=f"{name}/dequantize"),
        ]

    def _name(self, name: str, what: str) -> str:
        """Return the name of something that belongs to a tensor, which the model has not yet."""
        return unused(f"{name}_{what}", self._taken)

    def _params(self, name: str, params: Params) -> tuple[str, str]:
        scale, zero = self._name(name, "scale"), self._name(name, "zero_point")
        self._constants[scale], self._constants[zero] = params.scale, params.zero_point
        return scale, zero

    def _weight(self, name: str) -> str:
        params = self._plan.weights[name]
        if name not in self._rounded:
            array = self._index.constant(name)
            assert array is not None
            self._rounded[name] = params.quantize(array)
        return self._stored(name, self._rounded[name], params)

    def _constant(self, name: str, params: Params) -> str:
        array = self._index.constant(name)
        assert array is not None
        return self._stored(name, params.quantize(array), params)

    def _bias(self, name: str, block: Block) -> str:
        """Store a bias in the units of the products, which is what the kernels add."""
        array = self._index.constant(name)
        assert array is not None
        weight = next(iter(block.weights))
        scale = self._plan.activations[block.inputs[0]].scale * self._plan.weights[weight].scale
        params = Params(np.asarray(scale, np.float32), np.zeros(np.shape(scale), np.int32))
        return self._stored(f"{block.name}/{name}", params.quantize(array), params)

    def _stored(self, name: str, values: Array, params: Params) -> str:
        made, quantized = self._name(name, "dequantized"), self._name(name, "quantized")
        if name not in self._done:
            self._done.add(name)
            scale, zero = self._params(name, params)
            self._constants[quantized] = values
            axis = {"axis": params.axis} if params.scale.ndim else {}
            self._nodes.append(
                self._onnx.helper.make_node(
                    "DequantizeLinear", [quantized, scale, zero], [made],
                    name=f"{name}/dequantize", **axis,
                )
            )  # fmt: skip
        return made
