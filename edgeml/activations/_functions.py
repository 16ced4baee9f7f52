"""Keras's activations, by its names, arguments and defaults."""

from __future__ import annotations

from edgeml import ops
from edgeml.errors import ShapeError
from edgeml.graph import Tensor
from edgeml.ops import (
    log_softmax,
    mish,
    relu6,
    selu,
    sigmoid,
    silu,
    softmax,
    softplus,
    softsign,
    tanh,
)

__all__ = [
    "celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu",
    "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6",
    "selu", "sigmoid", "silu", "soft_shrink", "softmax", "softplus", "softsign", "sparse_plus",
    "sparse_sigmoid", "sparsemax", "squareplus", "tanh", "tanh_shrink", "threshold",
]  # fmt: skip


def linear(x: Tensor) -> Tensor:
    """Return `x`."""
    return x


def exponential(x: Tensor) -> Tensor:
    """Return ``exp(x)``."""
    return ops.exp(x)


def relu(
    x: Tensor, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Tensor:
    """Return `x` above `threshold`, else ``negative_slope * (x - threshold)``; at most `max_value`.

    Example:
        >>> import numpy as np, edgeml
        >>> relu = edgeml.function(lambda x: edgeml.activations.relu(x, max_value=1.0))
        >>> relu(np.array([-1.0, 3.0])).tolist()
        [0.0, 1.0]
    """
    if not threshold and not negative_slope:
        return ops.relu(x) if max_value is None else ops.clip(x, 0.0, max_value)
    y = ops.where(x > threshold, x, (x - threshold) * negative_slope)
    return y if max_value is None else ops.minimum(y, max_value)


def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> Tensor:
    """Return `x`, times `negative_slope` where it is negative."""
    return ops.leaky_relu(x, negative_slope)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Return `x`, or ``alpha * (exp(x) - 1)`` where it is negative."""
    return ops.elu(x, alpha)


def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Return `x`, or ``alpha * (exp(x / alpha) - 1)`` where it is negative."""
    return ops.celu(x, alpha)


def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """Return `x` times the normal distribution's probability below it (Hendrycks and Gimpel, 2016).

    Args:
        x: Any tensor.
        approximate: Whether to use a hyperbolic tangent instead of the error function.
    """
    return ops.gelu(x, approximate)


def glu(x: Tensor, axis: int = -1) -> Tensor:
    """Return the first half along `axis` times the sigmoid of the second (Dauphin et al., 2016).

    Raises:
        ShapeError: the axis has no two halves.

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(edgeml.activations.glu)(np.array([[2.0, 0.0]])).tolist()
        [[1.0]]
    """
    if _size("glu", x, axis) % 2:
        raise ShapeError(
            f"glu halves axis {axis}: expected an even size, received {x.known_shape}",
            expected="an even size", received=x.known_shape,
        )  # fmt: skip
    first, second = ops.split(x, 2, axis)
    return first * ops.sigmoid(second)


def hard_sigmoid(x: Tensor) -> Tensor:
    """Return ``min(max(x / 6 + 0.5, 0), 1)``."""
    return ops.hard_sigmoid(x)


def hard_silu(x: Tensor) -> Tensor:
    """Return ``x * hard_sigmoid(x)`` (Howard et al., 2019)."""
    return x * ops.hard_sigmoid(x)


def hard_tanh(x: Tensor) -> Tensor:
    """Return `x` between -1 and 1."""
    return ops.clip(x, -1.0, 1.0)


def hard_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """Return `x`, or 0 where it is within `threshold` of 0."""
    return ops.where(ops.absolute(x) > threshold, x, 0.0)


def soft_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """Return `x` nearer to 0 by `threshold`, but not beyond it."""
    return ops.sign(x) * ops.relu(ops.absolute(x) - threshold)


def tanh_shrink(x: Tensor) -> Tensor:
    """Return ``x - tanh(x)``."""
    return x - ops.tanh(x)


def log_sigmoid(x: Tensor) -> Tensor:
    """Return ``log(sigmoid(x))``."""
    return -ops.softplus(-x)


def sparse_sigmoid(x: Tensor) -> Tensor:
    """Return ``(x + 1) / 2``, between 0 and 1."""
    return ops.clip((x + 1.0) * 0.5, 0.0, 1.0)


def sparse_plus(x: Tensor) -> Tensor:
    """Return 0 up to -1, ``(x + 1) ** 2 / 4`` up to 1, then `x`."""
    return ops.where(x > 1.0, x, ops.square(ops.relu(x + 1.0)) * 0.25)


def squareplus(x: Tensor, b: float = 4) -> Tensor:
    """Return ``(x + sqrt(x ** 2 + b)) / 2`` (Barron, 2021)."""
    return (x + ops.sqrt(x * x + float(b))) * 0.5


def threshold(x: Tensor, threshold: float, default_value: float) -> Tensor:
    """Return `x` above `threshold`, and `default_value` elsewhere."""
    return ops.where(x > threshold, x, default_value)


def sparsemax(x: Tensor, axis: int = -1) -> Tensor:
    """Return probabilities of which many are exactly zero (Martins and Astudillo, 2016).

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(edgeml.activations.sparsemax)(np.array([[1.0, 0.5, -1.0]])).tolist()
        [[0.75, 0.25, 0.0]]
    """
    count = _size("sparsemax", x, axis)
    # Which values are above zero follows from their order; their gradient is that of the formula.
    fixed = ops.stop_gradient(x)
    ordered, _ = ops.top_k(fixed, count, axis)
    shape = [1] * x.ndim
    shape[axis] = count
    place = ops.reshape(x.graph.constant([float(i) for i in range(1, count + 1)]), shape)
    kept = ordered * place + 1.0 > ops.cumsum(ordered, axis)
    lowest = ops.min(ops.where(kept, ordered, 3e38), axis, True)
    support = ops.cast(fixed >= lowest, x.dtype)
    tau = (ops.sum(x * support, axis, True) - 1.0) / ops.sum(support, axis, True)
    return ops.relu(x - tau)


def _size(what: str, x: Tensor, axis: int) -> int:
    size = x.known_shape[axis]
    if isinstance(size, str):
        raise ShapeError(f"{what} needs to know axis {axis}, received {x.known_shape}")
    return int(size)
