"""Activations that are put together from others; names, defaults and numbers are Keras's."""

from __future__ import annotations

from edgeml.graph import Tensor, as_tensor, emit
from edgeml.ops._math import (
    Like,
    absolute,
    clip,
    hard_sigmoid,
    maximum,
    negative,
    sigmoid,
    sign,
    softplus,
    sqrt,
    square,
    tanh,
    where,
)
from edgeml.ops._shape import split


def log_sigmoid(x: Like) -> Tensor:
    """Return ``log(sigmoid(x))``, without overflow."""
    return negative(softplus(negative(x)))


def hard_silu(x: Like) -> Tensor:
    """Return ``x * hard_sigmoid(x)`` (Howard et al., 2019)."""
    value = as_tensor(x)
    return value * hard_sigmoid(value)


def hard_tanh(x: Like) -> Tensor:
    """Return `x` limited to [-1, 1]."""
    return clip(x, -1.0, 1.0)


def hard_shrink(x: Like, threshold: float = 0.5) -> Tensor:
    """Return `x`, and zero where its absolute value is not above `threshold`."""
    value = as_tensor(x)
    return where(absolute(value) > threshold, value, 0.0)


def soft_shrink(x: Like, threshold: float = 0.5) -> Tensor:
    """Return `x` moved towards zero by `threshold`, and no further.

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(edgeml.ops.soft_shrink)(np.array([-2.0, 0.25, 1.0])).tolist()
        [-1.5, 0.0, 0.5]
    """
    value = as_tensor(x)
    return sign(value) * maximum(absolute(value) - threshold, 0.0)


def tanh_shrink(x: Like) -> Tensor:
    """Return ``x - tanh(x)``."""
    value = as_tensor(x)
    return value - tanh(value)


def squareplus(x: Like, b: float = 4.0) -> Tensor:
    """Return ``(x + sqrt(x * x + b)) / 2``, a smooth ramp (Barron, 2021)."""
    value = as_tensor(x)
    return (value + sqrt(square(value) + b)) * 0.5


def threshold(x: Like, threshold: float, default_value: float) -> Tensor:
    """Return `x` where it is above `threshold`, else `default_value`."""
    value = as_tensor(x)
    return where(value > threshold, value, default_value)


def glu(x: Like, axis: int = -1) -> Tensor:
    """Return the first half along `axis`, times the sigmoid of the second (Dauphin et al., 2017).

    Raises:
        ShapeError: the axis has no halves.

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(edgeml.ops.glu)(np.array([1.0, 3.0, 0.0, 0.0])).tolist()
        [0.5, 1.5]
    """
    first, second = split(x, 2, axis)
    return first * sigmoid(second)


def prelu(x: Like, alpha: Like) -> Tensor:
    """Return `x`, times `alpha` where it is negative; `alpha` is broadcast to `x`.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.prelu(x, np.float32([0.5, 0.25])))
        >>> run(np.array([-2.0, -2.0])).tolist()
        [-1.0, -0.5]
    """
    return emit("PRelu", x, alpha)
