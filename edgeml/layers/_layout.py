"""Keras's channels-last on ONNX's channels-first: transposes only at the edges."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgeml import ops
from edgeml.graph import Node, Tensor, emit


def channels_first(x: Tensor) -> Tensor:
    """Return (batch, channels, ...); takes back what `channels_last` just did."""
    before = _pending(x)
    if before is not None:
        return before
    return ops.transpose(x, [0, x.ndim - 1, *range(1, x.ndim - 1)])


def channels_last(x: Tensor) -> Tensor:
    """Return (batch, ..., channels) of a channels-first tensor."""
    return ops.transpose(x, [0, *range(2, x.ndim), 1])


def under_layout(fn: Callable[..., Tensor], *xs: Tensor) -> Tensor:
    """Apply an elementwise function below the transpositions of its arguments, when all have one.

    So the transposition stays last, where the next convolution takes it back.
    """
    below = [_pending(x) for x in xs]
    if any(x is None for x in below):
        return fn(*xs)
    return channels_last(fn(*below))


def _pending(x: Tensor) -> Tensor | None:
    node = x.producer
    if x.shape is None or x.ndim < 3 or not isinstance(node, Node) or node.op != "Transpose":
        return None
    return node.x if node.attr("perm") == [0, *range(2, x.ndim), 1] else None


def reshape_rest(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Return another shape; unlike NumPy, and as ONNX, 0 keeps the axis that stands there."""
    return emit("Reshape", x, np.array(shape, np.int64))
