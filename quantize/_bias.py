"""Bias correction: what rounding shifts on average is given back."""

from __future__ import annotations

import logging
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.quantize._index import Index
from edgeml.quantize._matched import Batches, Matched, Tap, channel_axis, matched, repeated, stored
from edgeml.quantize._model import Model, load, set_constant

_log = logging.getLogger("edgeml.quantize")
Array = NDArray[Any]


def correct_bias(
    float_model: Model | str | os.PathLike[str],
    quantized_model: Model | str | os.PathLike[str],
    batches: Batches,
) -> Model:
    """Shift the biases of a quantized model so that each layer's outputs have the right mean.

    1. Layers are Conv, ConvTranspose and Gemm with weights behind DequantizeLinear, corrected from
       input to output, each with all layers before it corrected.
    2. Biases of 32 bits keep their scale; float ones stay float; a missing one is added, in 32
       bits when the layer's input is quantized.
    3. MatMul has no bias: it is left alone, and the log says so. `simplify` makes Gemm of MatMul
       and Add.
    4. Only sums are kept of what flows through the models, whatever the number of batches.

    Source: M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
    Correction" (2019), section 4.2, measured on data.

    Args:
        float_model: What was quantized; layers are found by their nodes' names.
        quantized_model: Path or ``onnx.ModelProto`` with QuantizeLinear and DequantizeLinear.
        batches: ``{input name: array}``; a list or dataset, since each layer takes a pass.

    Raises:
        ModelFormatError: the second model is not quantized, or not from the first.
        InputError: batches are empty, can be gone through once only, do not fit, or hold NaN.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.quantize import correct_bias, quantize_int8, simplify
        >>> net = edgeml.Sequential([edgeml.Input((4,), name="x"), edgeml.layers.Dense(2)])
        >>> net.save("/tmp/edgeml-example.onnx")
        >>> model = simplify("/tmp/edgeml-example.onnx")
        >>> batches = [{"x": np.random.rand(8, 4).astype("float32")}]
        >>> better = correct_bias(model, quantize_int8(model, batches), batches)
    """
    original, found = load(float_model), load(quantized_model)
    layers = matched(original, found)
    for layer in [layer for layer in layers if layer.node.op_type == "MatMul"]:
        _log.info("correct_bias leaves %s alone: MatMul has no bias", layer.name)
    layers = [layer for layer in layers if layer.node.op_type != "MatMul"]
    wanted = _means(original, {x.original.output[0]: x.original for x in layers}, batches)
    for layer in layers:
        made = _means(found, {layer.node.output[0]: layer.node}, batches)
        shift = wanted[layer.original.output[0]] - made[layer.node.output[0]]
        _add(found, layer, shift)
    return found


def _means(model: Model, nodes: dict[str, Any], batches: Batches) -> dict[str, Array]:
    """Return the mean of each channel of some nodes' outputs, by the outputs' names."""
    if not nodes:
        return {}
    tap = Tap(model, nodes)
    sums: dict[str, Array] = {}
    counts: dict[str, int] = {}
    for number, batch in enumerate(repeated(batches)):
        for name, values in tap.run(batch, number).items():
            axis = channel_axis(nodes[name], values.ndim)
            others = tuple(i for i in range(values.ndim) if i != axis)
            sums[name] = sums.get(name, 0.0) + values.sum(others, dtype=np.float64)
            counts[name] = counts.get(name, 0) + values.size // values.shape[axis]
    return {name: total / max(counts[name], 1) for name, total in sums.items()}


def _add(model: Model, layer: Matched, shift: Array) -> None:
    index = Index(model)
    node = next(node for node in model.graph.node if node.name == layer.name)
    bias = node.input[2] if len(node.input) > 2 else ""
    behind = index.producer.get(bias) if bias else None
    own = f"{layer.name}/corrected_bias"
    if not bias:
        _new(model, index, node, own, shift)
    elif behind is None and index.is_constant(bias):
        set_constant(model, own, (stored(model, bias) + shift).astype(np.float32))
        node.input[2] = own
    elif behind is not None and behind.op_type == "DequantizeLinear":
        scale = stored(model, behind.input[1])
        values = stored(model, behind.input[0])
        moved = np.rint(values + shift / scale)
        kind = np.iinfo(values.dtype)
        name = behind.input[0]
        if len(index.readers[name]) > 1:  # other layers' biases happened to be equal
            copy = model.graph.node.add()
            copy.CopyFrom(behind)
            name, copy.output[0], copy.name = own, f"{own}_dequantized", f"{own}/dequantize"
            copy.input[0], node.input[2] = own, copy.output[0]
            _before(model, node)
        set_constant(model, name, np.clip(moved, kind.min, kind.max).astype(values.dtype))
    else:
        _log.info("correct_bias leaves %s alone: its bias is computed", layer.name)


def _new(model: Model, index: Index, node: Any, own: str, shift: Array) -> None:
    """Add a bias; in the units of the products when the layer runs in integers."""
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    if len(node.input) < 3:
        node.input.append("")
    behind = index.producer.get(node.input[0])
    if behind is None or behind.op_type != "DequantizeLinear":
        set_constant(model, own, shift.astype(np.float32))
        node.input[2] = own
        return
    weight = index.producer[node.input[1]]
    scale = stored(model, behind.input[1]) * stored(model, weight.input[1])
    scale = np.broadcast_to(scale.astype(np.float32), shift.shape if scale.ndim else ())
    limits = np.iinfo(np.int32)
    set_constant(
        model, own, np.clip(np.rint(shift / scale), limits.min, limits.max).astype(np.int32)
    )
    set_constant(model, f"{own}_scale", scale)
    made = onnx.helper.make_node(
        "DequantizeLinear", [own, f"{own}_scale"], [f"{own}_dequantized"],
        name=f"{own}/dequantize", **({"axis": 0} if scale.ndim else {}),
    )  # fmt: skip
    model.graph.node.append(made)
    node.input[2] = made.output[0]
    _before(model, node)


def _before(model: Model, node: Any) -> None:
    """Move the last node of a graph before another one, which reads it."""
    nodes = list(model.graph.node)
    place = next(i for i, other in enumerate(nodes) if other.name == node.name)
    copies = [_copy(other) for other in [*nodes[:place], nodes[-1], *nodes[place:-1]]]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _copy(node: Any) -> Any:
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy
