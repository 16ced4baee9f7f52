"""A quantized model with float masters and learned scales, and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.errors import ModelFormatError
from edgeml.quantize._blocks import PASSING
from edgeml.quantize._index import Index, attribute, drop_unread
from edgeml.quantize._matched import scales_of, stored
from edgeml.quantize._model import Model, set_constant

Array = NDArray[Any]


@dataclass
class Masters:
    """A model to train, and what of it stands for what.

    Args:
        model: Float initializers where the quantized model has integers.
        weights: DequantizeLinear nodes of the weights, by the weights' name.
        biases: DequantizeLinear nodes of the biases, by the biases' name.
        scales: For each learned scale, the initializer that holds the logarithm of its change.
    """

    model: Model
    weights: dict[str, Any] = field(default_factory=dict)
    biases: dict[str, Any] = field(default_factory=dict)
    scales: dict[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> list[str]:
        """Names of the initializers that training is to change."""
        return [*self.weights, *self.biases, *dict.fromkeys(self.scales.values())]


def with_masters(quantized: Model, *, learned: bool) -> Masters:
    """Return a model in which weights are float and rounded in each run.

    Args:
        quantized: Model with QuantizeLinear and DequantizeLinear; it stays as it was.
        learned: Whether scales can be trained.

    Raises:
        ModelFormatError: no weights are quantized.
    """
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    model = onnx.ModelProto()
    model.CopyFrom(quantized)
    found = Masters(model)
    index = Index(quantized)
    nodes: list[Any] = []
    renamed: dict[str, str] = {}
    for node in model.graph.node:
        name = node.input[0] if node.input else ""
        if node.op_type != "DequantizeLinear" or not index.is_constant(name):
            nodes.append(node)
            continue
        values = stored(quantized, name)
        if values.ndim == 0 or _bits(values) == 0:
            nodes.append(node)
            continue
        scale, zero = scales_of(quantized, node, values.ndim)
        master = ((values.astype(np.int32) - zero) * scale).astype(np.float32)
        if _bits(values) > 8:
            found.biases[name] = node
            renamed[node.output[0]] = name
        else:
            found.weights[name] = node
            nodes += _rounded(model, node, name, values)
        set_constant(model, name, master)
    if not found.weights:
        raise ModelFormatError(
            "expected a model with weights behind DequantizeLinear; found none: quantize it first"
        )
    for node in nodes:
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    if learned:
        _learn_scales(found, index)
    del model.graph.value_info[:]
    drop_unread(model)
    return found


def _bits(values: Array) -> int:
    """Return the width of integers; 0 for other dtypes."""
    name = values.dtype.name
    digits = name.removeprefix("u").removeprefix("int")
    return int(digits) if digits.isdigit() and name.removeprefix("u").startswith("int") else 0


def _rounded(model: Model, node: Any, name: str, values: Array) -> list[Any]:
    """Return the nodes that round a master; the grid that the weights use is kept."""
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    made: list[Any] = []
    scale = node.input[1]
    zero = node.input[2] if len(node.input) > 2 else ""
    if not zero:
        zero = f"{scale}/zero"
        set_constant(model, zero, np.zeros(stored(model, scale).shape, values.dtype))
    master = name
    top = int(np.abs(values.astype(np.int32)).max(initial=1))
    limit = 2 ** max(top.bit_length(), 1) - 1  # of symmetric weights in so many bits
    symmetric = not np.any(stored(model, zero).astype(np.int32))
    if symmetric and limit < 2 ** (_bits(values) - 1) - 1 and not attribute(node, "block_size", 0):
        made += _limited(model, node, name, values.ndim, limit)
        master = f"{node.output[0]}/limited"
    quantize = onnx.helper.make_node(
        "QuantizeLinear", [master, scale, zero], [f"{node.output[0]}/rounded"],
        name=f"{node.name or node.output[0]}/round",
    )  # fmt: skip
    quantize.attribute.extend(node.attribute)
    dequantize = onnx.helper.make_node(
        "DequantizeLinear", [quantize.output[0], scale, zero], node.output, name=node.name
    )
    dequantize.attribute.extend(node.attribute)
    return [*made, quantize, dequantize]


def _limited(model: Model, node: Any, name: str, ndim: int, limit: int) -> list[Any]:
    """Return nodes that keep a master within a narrower grid, such as 4 bits stored in 8."""
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    own = node.output[0]
    axis = attribute(node, "axis", 1) % ndim
    single = stored(model, node.input[1]).ndim == 0
    shape = [1] * ndim if single else [-1 if i == axis else 1 for i in range(ndim)]
    set_constant(model, f"{own}/shape", np.array(shape, np.int64))
    set_constant(model, f"{own}/top", np.array(limit, np.float32))
    set_constant(model, f"{own}/bottom", np.array(-limit, np.float32))
    make = onnx.helper.make_node
    return [
        make("Reshape", [node.input[1], f"{own}/shape"], [f"{own}/step"]),
        make("Mul", [f"{own}/step", f"{own}/top"], [f"{own}/most"]),
        make("Mul", [f"{own}/step", f"{own}/bottom"], [f"{own}/least"]),
        make("Min", [name, f"{own}/most"], [f"{own}/capped"]),
        make("Max", [f"{own}/capped", f"{own}/least"], [f"{own}/limited"]),
    ]


def _learn_scales(found: Masters, index: Index) -> None:
    """Give each scale a factor, whose logarithm is trained; tied scales have one."""
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    model = found.model
    made = []
    for name, chief in _tied(found, index).items():
        scale = stored(model, name)
        log = f"{chief}/log"
        found.scales[name] = log
        if name == chief:
            set_constant(model, log, np.zeros(scale.shape, np.float32))
            made.append(onnx.helper.make_node("Exp", [log], [f"{chief}/factor"]))
        made.append(onnx.helper.make_node("Mul", [name, f"{chief}/factor"], [f"{name}/learned"]))
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear", "Reshape"):
            for i, name in enumerate(node.input):
                if name in found.scales:
                    node.input[i] = f"{name}/learned"
    kept = list(model.graph.node)
    made.sort(key=lambda node: node.op_type != "Exp")
    del model.graph.node[:]
    model.graph.node.extend([*made, *kept])


def _tied(found: Masters, index: Index) -> dict[str, str]:
    """Return the scales to learn, each with the one whose factor it shares."""
    chiefs: dict[str, str] = {}

    def chief(name: str) -> str:
        while chiefs.setdefault(name, name) != name:
            name = chiefs[name]
        return name

    fixed = set()
    for node in index.nodes:
        if node.op_type == "QuantizeLinear" and index.is_constant(node.input[1]):
            chief(node.input[1])
            if _comes_in(index, node.input[0]):
                fixed.add(node.input[1])
        elif node.op_type in PASSING and node.input:
            before = index.producer.get(node.input[0])
            if before is None or before.op_type != "DequantizeLinear":
                continue
            after = [r for name in node.output for r in index.readers.get(name, [])
                     if r.op_type == "QuantizeLinear"]  # fmt: skip
            for reader in after:
                one, other = index.constant(before.input[1]), index.constant(reader.input[1])
                if one is not None and other is not None and np.array_equal(one, other):
                    chiefs[chief(reader.input[1])] = chief(before.input[1])
    for node in found.weights.values():
        chief(node.input[1])
    held = {chief(name) for name in fixed}
    biases = {node.input[1] for node in found.biases.values()}
    chosen = {name: chief(name) for name in list(chiefs) if chief(name) not in held}
    return {name: top for name, top in chosen.items() if name not in biases}


def _comes_in(index: Index, name: str) -> bool:
    """Return whether a tensor has the values of an input of the model, moved at most."""
    while name not in index.inputs:
        node = index.producer.get(name)
        if node is None or node.op_type not in PASSING:
            return False
        name = node.input[0]
    return True


def written(quantized: Model, masters: Masters, trained: Model) -> Model:
    """Return the quantized model with what was trained.

    Args:
        quantized: What `with_masters` was given; it stays as it was.
        masters: What it returned.
        trained: `masters.model` with other values.
    """
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    found = onnx.ModelProto()
    found.CopyFrom(quantized)
    values = {t.name: onnx.numpy_helper.to_array(t) for t in trained.graph.initializer}
    for name, log in masters.scales.items():
        scale = stored(quantized, name) * np.exp(values[log])
        set_constant(found, name, scale.astype(np.float32))
    for name, node in masters.weights.items():
        set_constant(found, name, _integers(found, node, values[name], stored(quantized, name)))
    _write_biases(found, masters, values)
    replaced = {*masters.weights, *masters.biases, *masters.scales}
    replaced |= {node.input[1] for node in masters.biases.values()}
    for tensor in found.graph.initializer:  # what is float in both: normalizations, layers left
        is_float = tensor.data_type == onnx.TensorProto.FLOAT
        if is_float and tensor.name in values and tensor.name not in replaced:
            tensor.CopyFrom(onnx.numpy_helper.from_array(values[tensor.name], tensor.name))
    return found


def _integers(model: Model, node: Any, master: Array, before: Array) -> Array:
    scale, zero = scales_of(model, node, master.ndim)
    bits = _bits(before)
    unsigned = before.dtype.name.startswith("u")
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    top = int(np.abs(before.astype(np.int32)).max(initial=1))
    limit = 2 ** max(top.bit_length(), 1) - 1
    if not np.any(zero) and not unsigned and limit < high and not attribute(node, "block_size", 0):
        low, high = -limit, limit
    rounded: Array = np.clip(np.rint(master / scale) + zero, low, high).astype(before.dtype)
    return rounded


def _write_biases(found: Model, masters: Masters, values: dict[str, Array]) -> None:
    """Write biases in the units of the products, which change with the scales."""
    index = Index(found)
    limits = np.iinfo(np.int32)
    for name, node in masters.biases.items():
        scale = stored(found, node.input[1])
        for reader in index.readers[node.output[0]]:
            made = [index.producer.get(x) for x in reader.input[:2]]
            if len(made) == 2 and all(m is not None and m.op_type == "DequantizeLinear"
                                      for m in made):  # fmt: skip
                one, two = (stored(found, m.input[1]) for m in made if m is not None)
                scale = np.broadcast_to(one * two, scale.shape).astype(np.float32)
        set_constant(found, node.input[1], scale)
        ints = np.rint(values[name] / scale.astype(np.float64))
        set_constant(found, name, np.clip(ints, limits.min, limits.max).astype(np.int32))
