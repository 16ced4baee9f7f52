"""Layers that make one tensor of several."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from edgeml import ops
from edgeml.errors import ShapeError
from edgeml.graph import Tensor
from edgeml.layers._layer import Layer
from edgeml.layers._layout import channels_first, channels_last, under_layout


class _Merge(Layer):
    fewest = 2

    def build(self, input_shape: Any) -> None:
        """Check that there are several inputs."""
        if not isinstance(input_shape, list) or len(input_shape) < self.fewest:
            raise ShapeError(
                f"{type(self).__name__} takes a list of at least {self.fewest} tensors",
                received=input_shape,
            )

    def _fold(self, xs: Sequence[Tensor], fn: Callable[..., Tensor]) -> Tensor:
        if len({x.shape for x in xs}) == 1:
            return under_layout(lambda *values: functools.reduce(fn, values), *xs)
        return functools.reduce(fn, xs)


class Add(_Merge):
    """The sum of several tensors.

    Example:
        >>> import edgeml
        >>> x = edgeml.Input((4,))
        >>> edgeml.layers.Add()([x, x]).shape
        ('batch', 4)
    """

    def call(self, xs: Any) -> Tensor:
        """Return the sum."""
        return self._fold(xs, ops.add)


class Subtract(_Merge):
    """The first of two tensors minus the second."""

    def call(self, xs: Any) -> Tensor:
        """Return the difference."""
        if len(xs) != 2:
            raise ShapeError(f"Subtract takes two tensors, received {len(xs)}")
        return self._fold(xs, ops.subtract)


class Multiply(_Merge):
    """The product of several tensors."""

    def call(self, xs: Any) -> Tensor:
        """Return the product."""
        return self._fold(xs, ops.multiply)


class Average(_Merge):
    """The mean of several tensors."""

    def call(self, xs: Any) -> Tensor:
        """Return the mean."""
        return self._fold(xs, ops.add) * (1.0 / len(xs))


class Maximum(_Merge):
    """The largest of several tensors, value by value."""

    def call(self, xs: Any) -> Tensor:
        """Return the maximum."""
        return self._fold(xs, ops.maximum)


class Minimum(_Merge):
    """The smallest of several tensors, value by value."""

    def call(self, xs: Any) -> Tensor:
        """Return the minimum."""
        return self._fold(xs, ops.minimum)


class Concatenate(_Merge):
    """Several tensors along an axis.

    Args:
        axis: The axis; the last.
    """

    fewest = 1

    axis: int = -1

    def call(self, xs: Any) -> Tensor:
        """Return the joined tensors."""
        rank = xs[0].ndim
        if rank > 2 and self.axis in (-1, rank - 1):
            return channels_last(ops.concatenate([channels_first(x) for x in xs], 1))
        return ops.concatenate(xs, self.axis)


class Dot(_Merge):
    """Products of two tensors along axes.

    Args:
        axes: The axis of both, or one of each.
        normalize: Whether to divide by the lengths: cosines.
    """

    axes: Any
    normalize: bool = False

    def call(self, xs: Any) -> Tensor:
        """Return the products."""
        a, b = xs
        axes = (self.axes, self.axes) if isinstance(self.axes, int) else tuple(self.axes)
        i, j = axes[0] % a.ndim, axes[1] % b.ndim
        if self.normalize:
            a = a / ops.sqrt(ops.maximum(ops.sum(a * a, i, True), 1e-12))
            b = b / ops.sqrt(ops.maximum(ops.sum(b * b, j, True), 1e-12))
        first = "".join(chr(97 + k) for k in range(a.ndim))
        second = "".join(
            "a" if k == 0 else first[i] if k == j else chr(110 + k) for k in range(b.ndim)
        )
        rest = first.replace(first[i], "") + second[1:].replace(first[i], "")
        y = ops.einsum(f"{first},{second}->{rest}", a, b)
        return ops.expand_dims(y, -1) if y.ndim == 1 else y
