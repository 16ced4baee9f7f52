"""Integers that stand for real numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgeml.graph import Tensor, as_tensor, emit
from edgeml.graph._ir import held, with_vjp
from edgeml.ops._math import Like


def quantize(
    x: Like, scale: Like, zero_point: Like = 0, *, axis: int = 1, dtype: Any = np.int8
) -> Tensor:
    """Return ``round(x / scale) + zero_point`` as integers, cut off at the ends of their range.

    The gradient goes straight through, and is zero where a value was cut off.

    Args:
        x: Tensor of floats.
        scale: Distance of two integers: a scalar, or one for each slice along `axis`.
        zero_point: The integer that stands for 0, of the shape of `scale`, or a Python number.
        axis: The axis along which scales differ.
        dtype: int8 or uint8.

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(lambda x: edgeml.ops.quantize(x, 0.5))(np.array([0.2, 0.9])).tolist()
        [0, 2]
    """
    value = as_tensor(x)
    steps = as_tensor(scale, value)
    return emit("QuantizeLinear", value, steps, _zero(zero_point, steps, dtype), axis=axis)


def dequantize(x: Like, scale: Like, zero_point: Like = 0, *, axis: int = 1) -> Tensor:
    """Return ``(x - zero_point) * scale`` as floats; see `quantize`.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.dequantize(x, 0.5))
        >>> run(np.array([2, 4], np.int8)).tolist()
        [1.0, 2.0]
    """
    value = as_tensor(x)
    steps = as_tensor(np.float32(scale) if isinstance(scale, (int, float)) else scale)
    return emit("DequantizeLinear", value, steps, _zero(zero_point, steps, value.dtype), axis=axis)


def fake_quant(
    x: Like, scale: Like, zero_point: Like = 0, *, axis: int = 1, dtype: Any = np.int8
) -> Tensor:
    """Return `x` as it comes out of `quantize` and `dequantize`: training sees the error.

    A scale that is trained gets its gradient, too; see `learned_quant`.

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(lambda x: edgeml.ops.fake_quant(x, 0.5))(np.array([0.2, 0.9])).tolist()
        [0.0, 1.0]
    """
    steps = as_tensor(scale, as_tensor(x))
    return dequantize(quantize(x, steps, zero_point, axis=axis, dtype=dtype), steps, zero_point,
                      axis=axis)  # fmt: skip


def learned_quant(x: Like, scale: Like, *, axis: int = 1, dtype: Any = np.int8) -> Tensor:
    """Return `fake_quant` with a scale that is trained: learned step size quantization.

    The gradient of the scale is divided by the square root of (values that share it times the
    largest integer), so that scales move about as fast as weights. A scale starts well at
    ``2 * mean(abs(x)) / sqrt(largest integer)``, and must stay positive.

    Source: Esser et al., Learned Step Size Quantization (2020), equations 1 to 3.

    Args:
        x: Tensor of floats with a known shape.
        scale: Distance of two integers: a scalar, or one for each slice along `axis`.
        axis: The axis along which scales differ.
        dtype: int8 or uint8.

    Example:
        >>> import numpy as np, edgeml
        >>> x = np.array([0.2, 0.9, 100.0])
        >>> loss = lambda scale: edgeml.ops.sum(edgeml.ops.learned_quant(x, scale))
        >>> round(float(edgeml.grad(loss)(0.5)), 3)
        6.496
    """
    steps = as_tensor(scale)
    value = as_tensor(x, steps)
    count = value.size / max(steps.size, 1)
    factor = 1.0 / math.sqrt(max(count, 1.0) * float(np.iinfo(dtype).max))
    slowed = with_vjp([held(steps)], [steps], lambda g: (g * factor,))[0]
    return fake_quant(value, slowed, axis=axis, dtype=dtype)


def _zero(zero_point: Like, scale: Tensor, dtype: Any) -> Like:
    if isinstance(zero_point, Tensor):
        return zero_point
    return np.broadcast_to(np.asarray(zero_point, dtype), scale.static_shape).copy()
