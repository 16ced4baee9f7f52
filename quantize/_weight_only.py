"""Matrices whose weights alone are integers, each block of them with a scale of its own."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.errors import OptimizeError
from edgeml.quantize._index import Index, attribute
from edgeml.quantize._model import Model, load
from edgeml.quantize._prepare import raise_opset

Array = NDArray[Any]
_OPSET = 21  # blocks, and integers of 4 bits
_SMALL = 1024  # weights of fewer values are not worth their scales


def quantize_weights(
    model: Model | str | os.PathLike[str], *, bits: int = 8, block: int = 32
) -> Model:
    """Return the model with the weights of its MatMul and Gemm nodes in 8 or 4 bits.

    Activations stay float, so that no data are needed. Each run of `block` weights of an output
    has a scale of its own, symmetric. The file has ONNX's own ``DequantizeLinear`` (opset 21),
    which ONNX Runtime makes one operator of with the product: it reads a quarter of the memory,
    or an eighth, which makes products with few rows faster, and leaves those with many as they
    are. Convolutions and recurrent layers are not touched.

    Args:
        model: Path or ``onnx.ModelProto``, float32; opset 21 or newer comes back.
        bits: 8 or 4.
        block: Weights that share a scale: 16, 32, 64, 128 or 256.

    Raises:
        OptimizeError: `bits` or `block` is another, or no product has constant weights.

    Example:
        >>> import edgeml
        >>> from edgeml.quantize import quantize_weights
        >>> net = edgeml.Sequential([edgeml.Input((64,)), edgeml.layers.Dense(512)])
        >>> net.save("/tmp/edgeml-example.onnx")
        >>> small = quantize_weights("/tmp/edgeml-example.onnx", bits=4)
        >>> small.ByteSize() < 0.25 * 64 * 512 * 4
        True
    """
    if bits not in (4, 8) or block not in (16, 32, 64, 128, 256):
        raise OptimizeError(
            f"expected bits of 4 or 8 and block of 16, 32, 64, 128 or 256, received {bits}, {block}"
        )
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    found = raise_opset(load(model), _OPSET)
    index = Index(found)
    nodes: list[Any] = []
    added: dict[str, list[Any]] = {}
    for node in found.graph.node:
        source = node.input[1] if node.op_type in ("MatMul", "Gemm") else ""
        weights = index.constant(source) if _is_plain(node, index) else None
        if weights is None or weights.ndim != 2 or weights.size < _SMALL:
            nodes.append(node)
            continue
        turned = node.op_type == "Gemm" and attribute(node, "transB", 0) == 1
        name = f"{source}/dequantized" + ("/turned" if turned else "")
        if name not in added:
            added[name] = _tensors(source, weights.T if turned else weights, bits, block)
            nodes.append(onnx.helper.make_node(
                "DequantizeLinear", [t.name for t in added[name]], [name],
                name=name, axis=0, block_size=block,
            ))  # fmt: skip
        nodes += _product(node, name)
    if not added:
        raise OptimizeError(
            f"no MatMul or Gemm has constant float32 weights of {_SMALL} values or more: weights "
            "alone in integers are for matrices; take optimize or quantize_int8 for convolutions"
        )
    _put(found, nodes, [tensor for tensors in added.values() for tensor in tensors])
    return found


def _is_plain(node: Any, index: Index) -> bool:
    """Return whether a node is x @ W, or x @ W + b."""
    if node.op_type == "MatMul":
        return index.kind(node.input[1]) == 1
    return (
        node.op_type == "Gemm" and index.kind(node.input[1]) == 1
        and attribute(node, "alpha", 1.0) == 1.0 and attribute(node, "beta", 1.0) == 1.0
        and not attribute(node, "transA", 0)
    )  # fmt: skip


def _tensors(name: str, weights: Array, bits: int, block: int) -> list[Any]:
    """Return integers and scales of weights [inputs, outputs], blocks along the inputs."""
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    inputs, outputs = weights.shape
    count = -(-inputs // block)
    padded = np.zeros((count * block, outputs), np.float32)
    padded[:inputs] = weights
    blocks = padded.reshape(count, block, outputs)
    most = 2 ** (bits - 1) - 1
    scale = np.abs(blocks).max(1) / most
    scale[scale == 0] = 1.0
    integers = np.rint(blocks / scale[:, None]).reshape(padded.shape)[:inputs].astype(np.int8)
    kept = f"{name}/int{bits}"
    if bits == 8:
        tensor = onnx.numpy_helper.from_array(integers, kept)
    else:
        kind = onnx.TensorProto.INT4
        tensor = onnx.helper.make_tensor(kept, kind, integers.shape, integers.ravel().tolist())
    return [tensor, onnx.numpy_helper.from_array(scale.astype(np.float32), f"{name}/scale{bits}")]


def _product(node: Any, weights: str) -> list[Any]:
    """Return the node with other weights; a Gemm becomes a product and a sum."""
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    with_bias = node.op_type == "Gemm" and len(node.input) > 2 and node.input[2]
    between = f"{node.output[0]}/product" if with_bias else node.output[0]
    made = [onnx.helper.make_node("MatMul", [node.input[0], weights], [between], name=node.name)]
    if with_bias:
        made.append(onnx.helper.make_node(
            "Add", [between, node.input[2]], [node.output[0]], name=f"{node.name}/bias"
        ))  # fmt: skip
    return made


def _put(model: Model, nodes: list[Any], tensors: list[Any]) -> None:
    """Set the nodes and add tensors; weights that nobody reads any more go."""
    graph = model.graph
    del graph.node[:]
    graph.node.extend(nodes)
    index = Index(model)
    kept = [t for t in graph.initializer if t.name in index.readers or t.name in index.captured
            or t.name in index.outputs]  # fmt: skip
    del graph.initializer[:]
    graph.initializer.extend([*kept, *tensors])
