"""Quantized models (QuantizeLinear/DequantizeLinear) in training: float master weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from edgeml.graph._infer import onnx

Array = np.ndarray[Any, Any]


def with_masters(proto: Any, chosen: Collection[str]) -> Any:
    """Return a model in which the quantized initializers `chosen` are float.

    An 8-bit weight keeps its quantization, as QuantizeLinear and DequantizeLinear after the float
    master: training sees the rounding, and gradients go straight through. A 32-bit bias, whose
    rounding is too fine to matter, becomes float outright.
    """
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    wanted = [name for name in chosen if name in stored and _is_integer(stored[name])]
    if not wanted:
        return proto
    found = onnx().ModelProto()
    found.CopyFrom(proto)
    stored = {tensor.name: tensor for tensor in found.graph.initializer}
    values = {name: onnx().numpy_helper.to_array(tensor) for name, tensor in stored.items()}
    nodes = []
    for node in found.graph.node:
        name = node.input[0] if node.input else ""
        if node.op_type != "DequantizeLinear" or name not in wanted:
            nodes.append(node)
            continue
        master = dequantized(values, node)
        stored[name].CopyFrom(onnx().numpy_helper.from_array(master, name))
        if values[name].dtype.itemsize > 1:
            nodes.append(onnx().helper.make_node("Identity", [name], node.output))
            continue
        rounded = f"{name}/quantized"
        quantize = onnx().helper.make_node("QuantizeLinear", [name, *node.input[1:]], [rounded])
        quantize.attribute.extend(node.attribute)
        node.input[0] = rounded
        nodes += [quantize, node]
    del found.graph.node[:]
    found.graph.node.extend(nodes)
    return found


def _is_integer(tensor: Any) -> bool:
    kinds = onnx().TensorProto
    return tensor.data_type in (kinds.INT8, kinds.UINT8, kinds.INT32)


def _scaled(values: Mapping[str, Array], node: Any) -> tuple[Array, Array]:
    """Return scale and zero point of a DequantizeLinear, in a shape that broadcasts."""
    ndim = values[node.input[0]].ndim
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1) % max(ndim, 1)
    scale = values[node.input[1]]
    zero = values[node.input[2]] if len(node.input) > 2 else np.zeros_like(scale, np.int32)
    if scale.ndim == 1 and ndim > 1:
        shape = [-1 if i == axis else 1 for i in range(ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return scale, zero


def dequantized(values: Mapping[str, Array], node: Any) -> Array:
    """Return the float array of a DequantizeLinear of constants."""
    scale, zero = _scaled(values, node)
    stored = values[node.input[0]].astype(np.int32)
    return np.asarray((stored - zero.astype(np.int32)) * scale, np.float32)


def quantized(proto: Any, name: str, master: Array) -> Array | None:
    """Return a master as the integers of the original file; None when it is not quantized there.

    Args:
        proto: The original file.
        name: Name of the initializer.
        master: Its float values after training.
    """
    values = {t.name: onnx().numpy_helper.to_array(t) for t in proto.graph.initializer}
    kind = values[name].dtype
    if kind.kind not in "iu":
        return None
    node = next(n for n in proto.graph.node if n.op_type == "DequantizeLinear"
                and n.input[0] == name)  # fmt: skip
    scale, zero = _scaled(values, node)
    limits = np.iinfo(kind)
    rounded = np.rint(master / scale) + zero.astype(np.float64)
    return np.asarray(np.clip(rounded, limits.min, limits.max), kind)
