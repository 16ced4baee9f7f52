"""Matrices whose weights alone are integers, each block of them with a scale of its own."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.errors import OptimizeError
from edgeml.quantize._index import Index, attribute, drop_unread
from edgeml.quantize._model import Model, unused
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
    found = raise_opset(model, _OPSET)
    index = Index(found)
    taken = index.names | {node.name for node in index.nodes}
    nodes: list[Any] = []
    tensors: list[Any] = []
    made: dict[tuple[str, bool], str] = {}
    for node in found.graph.node:
        source = node.input[1] if node.op_type in ("MatMul", "Gemm") else ""
        weights = index.constant(source) if _is_plain(node, index) else None
        if weights is None or weights.ndim != 2 or weights.size < _SMALL:
            nodes.append(node)
            continue
        turned = node.op_type == "Gemm" and attribute(node, "transB", 0) == 1
        name = made.get((source, turned))
        if name is None:
            base = f"{source}/turned" if turned else source
            name = made[source, turned] = unused(f"{base}/dequantized", taken)
            kept = [unused(f"{base}/{what}{bits}", taken) for what in ("int", "scale")]
            taken |= {name, *kept}
            tensors += _tensors(kept, weights.T if turned else weights, bits, block)
            nodes.append(onnx.helper.make_node(
                "DequantizeLinear", kept, [name], name=name, axis=0, block_size=block
            ))  # fmt: skip
        nodes += _product(node, name, taken)
    if not made:
        raise OptimizeError(
            f"no MatMul or Gemm has constant float32 weights of {_SMALL} values or more: weights "
            "alone in integers are for matrices; take optimize or quantize_int8 for convolutions"
        )
    del found.graph.node[:]
    found.graph.node.extend(nodes)
    found.graph.initializer.extend(tensors)
    drop_unread(found)
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


def _tensors(names: Sequence[str], weights: Array, bits: int, block: int) -> list[Any]:
    """Return integers and scales of weights [inputs, outputs], blocks along the inputs."""
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    inputs, outputs = weights.shape
    count = -(-inputs // block)
    padded = np.zeros((count * block, outputs), np.float32)
    padded[:inputs] = weights
    blocks = padded.reshape(count, block, outputs)
    most = 2 ** (bits - 1) - 1
    # Of zeros, too, it is small: the kernel multiplies what it rounds off with it.
    scale = np.maximum(np.abs(blocks).max(1) / most, np.finfo(np.float32).tiny)
    integers = np.rint(blocks / scale[:, None]).reshape(padded.shape)[:inputs].astype(np.int8)
    kept, scales = names
    if bits == 8:
        tensor = onnx.numpy_helper.from_array(integers, kept)
    else:
        kind = onnx.TensorProto.INT4
        tensor = onnx.helper.make_tensor(kept, kind, integers.shape, integers.ravel().tolist())
    return [tensor, onnx.numpy_helper.from_array(scale.astype(np.float32), scales)]


def _product(node: Any, weights: str, taken: Collection[str]) -> list[Any]:
    """Return the node with other weights; a Gemm becomes a product and a sum."""
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    with_bias = node.op_type == "Gemm" and len(node.input) > 2 and node.input[2]
    between = unused(f"{node.output[0]}/product", taken) if with_bias else node.output[0]
    made = [onnx.helper.make_node("MatMul", [node.input[0], weights], [between], name=node.name)]
    if with_bias:
        made.append(onnx.helper.make_node(
            "Add", [between, node.input[2]], [node.output[0]],
            name=unused(f"{node.name}/bias", taken),
        ))  # fmt: skip
    return made
