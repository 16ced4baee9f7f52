"""Keras's channels-last on ONNX's channels-first: transposes only at the edges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError
from edgeml.graph import Node, Tensor, emit


def channels_first(x: Tensor) -> Tensor:
    """Return (batch, channels, ...); takes back what `channels_last` just did."""
    before = _before(x)
    if before is not None:
        return before
    return ops.transpose(x, [0, x.ndim - 1, *range(1, x.ndim - 1)])


def channels_last(x: Tensor) -> Tensor:
    """Return (batch, ..., channels) of a channels-first tensor."""
    return ops.transpose(x, [0, *range(2, x.ndim), 1])


def pending(*xs: Tensor) -> bool:
    """Return whether one of the tensors is channels-first below a transposition."""
    return any(_before(x) is not None for x in xs)


def under_layout(fn: Callable[..., Tensor], *xs: Tensor) -> Tensor:
    """Apply a function to channels-first tensors when one of its arguments is one underneath.

    So the transposition stays last, where the next convolution takes it back.

    Args:
        fn: Elementwise, with broadcasting between its arguments.
        xs: Tensors of one rank.
    """
    if not pending(*xs):
        return fn(*xs)
    return channels_last(fn(*(channels_first(x) for x in xs)))


def per_channel(values: Any, x: Tensor) -> Any:
    """Return values of shape (..., channels) as they broadcast to `x`, channels first."""
    rank = len(values.shape)
    first = ops.transpose(values, [rank - 1, *range(rank - 1)]) if rank > 1 else values
    missing = x.ndim - 1 - rank
    return ops.expand_dims(first, list(range(1, missing + 1))) if missing else first


def _before(x: Tensor) -> Tensor | None:
    node = x.producer
    if x.shape is None or x.ndim < 3 or not isinstance(node, Node) or node.op != "Transpose":
        return None
    return node.x if node.attr("perm") == [0, *range(2, x.ndim), 1] else None


def reshape_rest(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Return another shape; unlike NumPy, and as ONNX, 0 keeps the axis that stands there."""
    return emit("Reshape", x, np.array(shape, np.int64))


def sizes_of(x: Tensor, *, allow_one: bool = True) -> Any:
    """Return a shape for `reshape`, with -1 for one unknown size; a tensor when there are more."""
    dims = x.known_shape
    unknown = sum(isinstance(d, str) for d in dims)
    if unknown > int(allow_one):
        return ops.shape(x)
    return np.array([-1 if isinstance(d, str) else d for d in dims], np.int64)


def check_data_format(value: str | None) -> None:
    """Refuse another order of the axes than channels last.

    Raises:
        ConfigError: it is "channels_first", or no order at all.
    """
    if value not in (None, "channels_last"):
        raise ConfigError(
            f"data_format: layers take channels last, received {value!r}; put "
            "edgeml.layers.Permute((2, 3, 1)) before the first layer for pictures that have "
            "channels first (in the graph nothing is moved that need not be)"
        )
