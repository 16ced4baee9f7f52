"""Normalization by a length alone."""

from __future__ import annotations

from typing import Any

from edgeml import ops
from edgeml.errors import ShapeError
from edgeml.graph import Tensor
from edgeml.layers._layer import Layer


def _axes(axis: Any, rank: int) -> list[int]:
    return sorted(a % rank for a in ([axis] if isinstance(axis, int) else axis))


class RMSNormalization(Layer):
    """Each example divided by its root mean square (Zhang and Sennrich, 2019).

    Args:
        axis: The axis, or the axes, to normalize over; the last.
        epsilon: Added to the mean square.

    Input and output shape: any. Weights: scale, of the size of the axes.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RMSNormalization
        >>> RMSNormalization()(np.array([[3.0, -3.0]])).round(3).tolist()
        [[1.0, -1.0]]
    """

    axis: Any = -1
    epsilon: float = 1e-6

    def build(self, input_shape: Any) -> None:
        """Make the scale."""
        sizes = tuple(input_shape[a] for a in _axes(self.axis, len(input_shape)))
        if None in sizes:
            raise ShapeError(f"RMSNormalization needs to know axis {self.axis} of {input_shape}")
        self.scale = self.add_weight("scale", sizes, "ones")

    def call(self, x: Tensor) -> Tensor:
        """Return the normalized input."""
        axes = _axes(self.axis, x.ndim)
        square = ops.mean(x * x, axes, True)
        sizes = iter(self.scale.shape)
        shape = [next(sizes) if i in axes else 1 for i in range(x.ndim)]
        return x * ops.rsqrt(square + self.epsilon) * ops.reshape(self.scale, shape)


class UnitNormalization(Layer):
    """Each example divided by its length.

    Args:
        axis: The axis, or the axes, of which the length is 1; the last.

    Input and output shape: any.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import UnitNormalization
        >>> UnitNormalization()(np.array([[3.0, 0.0]])).tolist()
        [[1.0, 0.0]]
    """

    axis: Any = -1

    def call(self, x: Tensor) -> Tensor:
        """Return the normalized input."""
        square = ops.sum(x * x, _axes(self.axis, x.ndim), True)
        return x * ops.rsqrt(ops.maximum(square, 1e-24))
