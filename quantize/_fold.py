"""Move an input's normalisation into the weights that read it."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from edgeml.errors import ModelFormatError
from edgeml.quantize._model import Model, constant, graph_input, load, readers, set_constant


def fold_normalization(
    model: Model | str | os.PathLike[str],
    mean: Sequence[float],
    std: Sequence[float],
    *,
    name: str | None = None,
) -> Model:
    """Make a model that takes ``(x - mean) / std`` take ``x``.

    1. The first Conv has a bias: weights are divided by `std`, `mean` goes into the bias.
    2. It has none: it gets one.
    3. Something else than one ungrouped Conv reads the input: refused.

    Where the Conv pads, a zero now stands for x = 0 and not for x = mean, so the outermost
    row of outputs is exact only when `mean` is zero. Shift the input so that it nearly is.

    Args:
        model: Path or ``onnx.ModelProto``; its input is float32 [N, C, ...].
        mean: C means, in units of x.
        std: C standard deviations, in units of x; none zero.
        name: The input, where there are several.

    Raises:
        ModelFormatError: the graph is not as in case 1 or 2.

    Example:
        >>> import numpy as np
        >>> import onnx
        >>> model = onnx.parser.parse_model(
        ...     '<ir_version: 9, opset_import: ["": 17]> g (float[1,3,8,8] x) => (float[1,1,8,8] y)'
        ...     "<float[1,3,1,1] w = {1, 1, 1}> { y = Conv(x, w) }"
        ... )
        >>> from edgeml.quantize import fold_normalization
        >>> folded = fold_normalization(model, [0, 0, 0], [255, 255, 255])  # takes pixels
        >>> float(onnx.numpy_helper.to_array(folded.graph.initializer[0]).max() * 255)
        1.0
    """
    model = load(model)
    source = graph_input(model, name).name
    reading = readers(model, source)
    groups = [a.i for node in reading for a in node.attribute if a.name == "group"]
    if len(reading) != 1 or reading[0].op_type != "Conv" or groups not in ([], [1]):
        raise ModelFormatError(
            f"cannot fold a normalisation: expected one ungrouped Conv to read {source!r}, "
            f"found {[node.op_type for node in reading]}"
        )
    conv = reading[0]
    weights = constant(model, conv.input[1])
    channels = weights.shape[1]
    if len(mean) != channels or len(std) != channels or 0 in std:
        raise ModelFormatError(
            f"expected {channels} means and {channels} non-zero standard deviations, "
            f"received {list(mean)} and {list(std)}"
        )
    if len(readers(model, conv.input[1])) != 1:
        raise ModelFormatError(f"the weights {conv.input[1]!r} are shared with another node")
    spatial = (1,) * (weights.ndim - 2)
    scaled = weights.astype(np.float64) / np.reshape(std, (1, channels, *spatial))
    shift = (scaled * np.reshape(mean, (1, channels, *spatial))).reshape(len(scaled), -1).sum(1)
    if len(conv.input) > 2:
        bias = constant(model, conv.input[2])
        if len(readers(model, conv.input[2])) != 1:
            raise ModelFormatError(f"the bias {conv.input[2]!r} is shared with another node")
    else:
        bias = np.zeros(len(weights), np.float32)
        conv.input.append(f"{conv.input[1]}.bias")
    set_constant(model, conv.input[1], scaled.astype(np.float32))
    set_constant(model, conv.input[2], (bias - shift).astype(np.float32))
    return model
