"""Clean up a graph before it is quantized."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from edgeml._require import require
from edgeml.quantize._index import drop_unread
from edgeml.quantize._model import Model, constant, describe, load, name_nodes, readers


def simplify(model: Model | str | os.PathLike[str]) -> Model:
    """Fold what is constant and drop what does nothing, with ONNX Runtime's own rewrites.

    1. Constant subgraphs become initializers.
    2. Identity, and Transpose pairs that cancel out (converters leave many), go.
    3. Pad and Add beside a convolution become its ``pads`` and its bias.
    4. Pad with the lowest float before MaxPool becomes the pool's ``pads``: its range would
       leave nothing for the real values when quantized.
    5. Each node gets a name of its own, so that a later pass can exclude it; initializers
       that nothing reads go.
    6. Operators outside the ONNX standard are never introduced: only the basic level runs.

    Args:
        model: Path or ``onnx.ModelProto``.

    Returns:
        The simplified model; metadata is kept.

    Raises:
        ModelFormatError: the file is not an ONNX model.

    Example:
        >>> import edgeml
        >>> from edgeml.layers import Conv2D
        >>> net = edgeml.Sequential([edgeml.Input((8, 8, 3)), Conv2D(4, 3)])
        >>> net.save("/tmp/edgeml-example.onnx")
        >>> from edgeml.quantize import simplify
        >>> [node.op_type for node in simplify("/tmp/edgeml-example.onnx").graph.node]
        ['Transpose', 'Conv', 'Transpose']
    """
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    ort = require("onnxruntime", extra="optimize", purpose="edgeml.quantize")
    before = load(model)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory(prefix="edgeml-") as folder:
        path = Path(folder) / "model.onnx"
        options.optimized_model_filepath = str(path)
        ort.InferenceSession(
            before.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        after = onnx.load(str(path))
    _fold_pool_padding(after)
    name_nodes(after.graph)
    drop_unread(after)
    used = {node.domain for node in after.graph.node} | {""}
    opsets = [opset for opset in after.opset_import if opset.domain in used]
    del after.opset_import[:]
    after.opset_import.extend(opsets)
    describe(after, before)
    return onnx.shape_inference.infer_shapes(after)


def _fold_pool_padding(model: Model) -> None:
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    for pad in [node for node in model.graph.node if node.op_type == "Pad"]:
        pools = readers(model, pad.output[0])
        if len(pad.input) != 3 or [node.op_type for node in pools] != ["MaxPool"]:
            continue
        constants = {tensor.name for tensor in model.graph.initializer}
        if not constants.issuperset(pad.input[1:]):
            continue
        begin, end = np.split(constant(model, pad.input[1]), 2)
        attributes = {a.name: a for a in pools[0].attribute}
        padded = "pads" in attributes and any(attributes["pads"].ints)
        automatic = "auto_pad" in attributes and attributes["auto_pad"].s != b"NOTSET"
        is_lowest = constant(model, pad.input[2]) <= np.finfo(np.float32).min
        if not is_lowest or any([*begin[:2], *end[:2]]) or padded or automatic:
            continue
        if "pads" in attributes:
            pools[0].attribute.remove(attributes["pads"])
        pads = [int(amount) for amount in (*begin[2:], *end[2:])]
        pools[0].attribute.append(onnx.helper.make_attribute("pads", pads))
        pools[0].input[0] = pad.input[0]
        model.graph.node.remove(pad)
