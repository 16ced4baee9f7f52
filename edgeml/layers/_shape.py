"""Layers that give values another shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Tensor
from edgeml.layers._layer import Layer
from edgeml.layers._layout import check_data_format, reshape_rest


class Flatten(Layer):
    """All axes but the batch in one, in Keras's order.

    Args:
        data_format: None or "channels_last".

    Input shape: (batch, ...). Output shape: (batch, values).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Flatten
        >>> Flatten()(np.ones((2, 3, 4))).shape
        (2, 12)
    """

    data_format: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_data_format(self.data_format)
        self.supports_masking = False

    def call(self, x: Tensor) -> Tensor:
        """Return (batch, values)."""
        if x.ndim == 1:
            return ops.expand_dims(x, -1)
        return reshape_rest(x, [0, _product(x.known_shape[1:])])


def _product(sizes: Sequence[Any]) -> int:
    if any(isinstance(n, str) for n in sizes):
        return -1
    return int(np.prod([int(n) for n in sizes], dtype=np.int64))


class Reshape(Layer):
    """Another shape for each example.

    Args:
        target_shape: The shape without the batch; -1 once, for what is left.

    Input shape: (batch, ...). Output shape: (batch, *target_shape).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Reshape
        >>> Reshape((2, -1))(np.ones((3, 8))).shape
        (3, 2, 4)
    """

    target_shape: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = False
        given = self.target_shape
        self.target_shape = (given,) if isinstance(given, int) else tuple(int(n) for n in given)
        if self.target_shape.count(-1) > 1 or any(n < -1 for n in self.target_shape):
            raise ConfigError(f"Reshape: expected sizes, -1 at most once, received {given!r}")

    def call(self, x: Tensor) -> Tensor:
        """Return (batch, *target_shape)."""
        target = list(self.target_shape)
        size = _product(x.known_shape[1:])
        known = int(np.prod([n for n in target if n != -1], dtype=np.int64))
        if size != -1 and (size % max(known, 1) or (-1 not in target and known != size)):
            raise ShapeError(
                f"{size} values {x.known_shape[1:]} cannot become {tuple(target)}",
                expected=tuple(target), received=x.known_shape[1:],
            )  # fmt: skip
        if -1 in target and size != -1:
            target[target.index(-1)] = size // max(known, 1)
        return reshape_rest(x, [0, *target])


class Permute(Layer):
    """Another order of the axes.

    Args:
        dims: The new order, counted from 1; the batch stays first.

    Input shape: (batch, ...). Output shape: the same sizes in the new order.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Permute
        >>> Permute((2, 1))(np.ones((1, 2, 3))).shape
        (1, 3, 2)
    """

    dims: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = False
        self.dims = tuple(self.dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ConfigError(
                f"Permute: dims: expected an order of 1 to {len(self.dims)}, received {self.dims}"
            )

    def call(self, x: Tensor) -> Tensor:
        """Return the permuted input."""
        if len(self.dims) != x.ndim - 1:
            raise ShapeError(
                f"dims {self.dims} are for {len(self.dims) + 1} axes, received {x.known_shape}",
                expected=len(self.dims) + 1, received=x.known_shape,
            )  # fmt: skip
        return ops.transpose(x, [0, *self.dims])


class RepeatVector(Layer):
    """The same vector `n` times.

    Args:
        n: How often.

    Input shape: (batch, values). Output shape: (batch, n, values).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RepeatVector
        >>> RepeatVector(3)(np.ones((1, 2))).shape
        (1, 3, 2)
    """

    n: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = False

    def build(self, input_shape: Any) -> None:
        """Check the shape."""
        if len(input_shape) != 2:
            raise ShapeError(f"RepeatVector takes (batch, values), received {input_shape}")

    def call(self, x: Tensor) -> Tensor:
        """Return the repeated input."""
        return ops.tile(ops.expand_dims(x, 1), [1, self.n, 1])
