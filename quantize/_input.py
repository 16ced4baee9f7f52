"""Raw pixels as the quantized input, and back."""

from __future__ import annotations

import os
from typing import Any

from edgeml._require import require
from edgeml.errors import ModelFormatError
from edgeml.quantize._model import Model, constant, graph_input, load, readers, set_constant


def raw_pixel_input(
    model: Model | str | os.PathLike[str],
    *,
    name: str | None = None,
    swap_channels: bool = False,
) -> Model:
    """Make an int8 model take uint8 pixels, with no preprocessing left.

    1. The float input goes through QuantizeLinear to uint8: that node goes, and the graph's
       input is the uint8 tensor itself. Outputs are bit for bit those of the float-input
       model on ``(pixel - zero_point) * scale``.
    2. With `swap_channels` the input channels of the first Conv's weights are reversed, so
       that a model for RGB takes BGR, as OpenCV gives it; integer sums make this exact, too.
    3. Something else reads the float input, or the zero point is not uint8: refused.

    Args:
        model: Path or ``onnx.ModelProto``, a QDQ model as `quantize_int8` returns it.
        name: The input, where there are several.
        swap_channels: Reverse the order of the channels.

    Raises:
        ModelFormatError: the graph is not as in case 1, or no Conv follows for case 2.

    Example:
        >>> import numpy as np
        >>> import onnx
        >>> model = onnx.parser.parse_model(
        ...     '<ir_version: 9, opset_import: ["": 17]> g (float[1,3,8,8] x) => (float[1,1,8,8] y)'
        ...     "<float[1,3,1,1] w = {1, 1, 1}> { y = Conv(x, w) }"
        ... )
        >>> from edgeml.quantize import quantize_int8, raw_pixel_input
        >>> batches = ({"x": np.random.rand(1, 3, 8, 8).astype(np.float32)} for _ in range(4))
        >>> small = quantize_int8(model, batches, input_ranges={"x": (1 / 255, 0)})
        >>> raw_pixel_input(small).graph.input[0].type.tensor_type.elem_type  # uint8
        2
    """
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    model = load(model)
    entry = graph_input(model, name)
    reading = readers(model, entry.name)
    if len(reading) != 1 or reading[0].op_type != "QuantizeLinear":
        raise ModelFormatError(
            f"expected one QuantizeLinear to read {entry.name!r}, found "
            f"{[node.op_type for node in reading]}: quantize the model first"
        )
    quantize = reading[0]
    zero_point = constant(model, quantize.input[2])
    if zero_point.dtype != "uint8":
        raise ModelFormatError(f"expected a uint8 zero point, received {zero_point.dtype}")
    for node in readers(model, quantize.output[0]):
        for index, tensor in enumerate(node.input):
            if tensor == quantize.output[0]:
                node.input[index] = entry.name
    model.graph.node.remove(quantize)
    entry.type.tensor_type.elem_type = onnx.TensorProto.UINT8
    if swap_channels:
        _swap_channels(model, entry.name)
    return model


def float_input(
    model: Model | str | os.PathLike[str],
    *,
    name: str | None = None,
    swap_channels: bool = False,
) -> Model:
    """Undo `raw_pixel_input`: take ``(pixel - zero_point) * scale`` as float32 again.

    1. DequantizeLinear reads the uint8 input: a QuantizeLinear with its scale and zero point
       is put before it, and the graph's input is float32.
    2. `swap_channels` as in `raw_pixel_input`; it is its own inverse.
    3. The input is not uint8, or something else reads it: refused.

    The result feeds from ``cv2.dnn.blobFromImage(image, scale, size, (zero_point,) * 3)``.

    Args:
        model: Path or ``onnx.ModelProto``.
        name: The input, where there are several.
        swap_channels: Reverse the order of the channels.

    Raises:
        ModelFormatError: the graph is not as in case 1.

    Example:
        >>> import numpy as np
        >>> import onnx
        >>> model = onnx.parser.parse_model(
        ...     '<ir_version: 9, opset_import: ["": 17]> g (float[1,3,8,8] x) => (float[1,1,8,8] y)'
        ...     "<float[1,3,1,1] w = {1, 1, 1}> { y = Conv(x, w) }"
        ... )
        >>> from edgeml.quantize import float_input, quantize_int8, raw_pixel_input
        >>> batches = ({"x": np.random.rand(1, 3, 8, 8).astype(np.float32)} for _ in range(4))
        >>> small = quantize_int8(model, batches, input_ranges={"x": (1 / 255, 0)})
        >>> float_input(raw_pixel_input(small)).graph.input[0].type.tensor_type.elem_type  # float32
        1
    """
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    model = load(model)
    entry = graph_input(model, name)
    reading = readers(model, entry.name)
    is_uint8 = entry.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    if not is_uint8 or [node.op_type for node in reading] != ["DequantizeLinear"]:
        raise ModelFormatError(
            f"expected a uint8 input {entry.name!r} that one DequantizeLinear reads, found "
            f"{[node.op_type for node in reading]}"
        )
    dequantize = reading[0]
    if swap_channels:
        _swap_channels(model, entry.name)
    quantized = f"{entry.name}_quantized"
    node = onnx.helper.make_node(
        "QuantizeLinear", [entry.name, *dequantize.input[1:]], [quantized], name=f"{quantized}_node"
    )
    dequantize.input[0] = quantized
    model.graph.node.insert(0, node)
    entry.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return model


def _swap_channels(model: Model, tensor: str) -> None:
    """Reverse the input channels of the Conv that reads `tensor` through a DequantizeLinear."""
    found: list[Any] = [
        conv
        for dequantize in readers(model, tensor)
        for conv in readers(model, dequantize.output[0])
    ]
    if [node.op_type for node in found] != ["Conv"]:
        raise ModelFormatError(
            f"cannot swap channels: expected one Conv after {tensor!r}, found "
            f"{[node.op_type for node in found]}"
        )
    weights = next(
        node.input[0] for node in model.graph.node if node.output[0] == found[0].input[1]
    )
    set_constant(model, weights, constant(model, weights)[:, ::-1])
