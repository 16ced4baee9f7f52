"""Pooling to a size: windows as large as needed."""

from __future__ import annotations

from typing import Any

from edgeml import ops
from edgeml.errors import ShapeError
from edgeml.graph import Tensor, emit
from edgeml.layers._layer import Layer
from edgeml.layers._layout import channels_first, channels_last, check_data_format
from edgeml.layers._windows import channels_of, spread


class BaseAdaptivePooling(Layer):
    """What the adaptive poolings share; see `AdaptiveAveragePooling2D`."""

    rank = 2
    largest = False

    output_size: Any
    data_format: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_data_format(self.data_format)
        self.supports_masking = False
        self.output_size = spread(self.output_size, self.rank, "output_size")

    def build(self, input_shape: Any) -> None:
        """Check the shape."""
        channels_of(input_shape, self.rank, type(self).__name__)
        if None in input_shape[1:]:
            raise ShapeError(
                f"{type(self).__name__} needs to know all sizes but the batch: {input_shape}",
                received=input_shape,
            )

    def call(self, x: Tensor) -> Tensor:
        """Return (batch, output_size, channels)."""
        first = channels_first(x)
        sizes = [int(n) for n in first.known_shape[2:]]
        if not any(n % count for n, count in zip(sizes, self.output_size, strict=True)):
            window = [n // count for n, count in zip(sizes, self.output_size, strict=True)]
            kind = "MaxPool" if self.largest else "AveragePool"
            return channels_last(emit(kind, first, kernel_shape=window, strides=window))
        for axis, count in enumerate(self.output_size, 2):
            first = self._along(first, axis, count)
        return channels_last(first)

    def _along(self, x: Tensor, axis: int, count: int) -> Tensor:
        """Pool one axis: window i reaches from the floor of i * size / count to a ceiling."""
        size = int(x.known_shape[axis])
        parts = []
        for i in range(count):
            window = ops.slice_(x, [i * size // count], [-(-(i + 1) * size // count)], [axis])
            parts.append((ops.max if self.largest else ops.mean)(window, axis, True))
        return ops.concatenate(parts, axis)


class AdaptiveAveragePooling1D(BaseAdaptivePooling):
    """The mean of each window, as many windows as asked for, over time.

    Args:
        output_size: Number of windows; they overlap where the size is no multiple.
        data_format: None or "channels_last".

    Input shape: (batch, steps, channels), with known sizes. Output shape: (batch,
    output_size, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import AdaptiveAveragePooling1D
        >>> AdaptiveAveragePooling1D(4)(np.ones((2, 9, 3))).shape
        (2, 4, 3)
    """

    rank = 1


class AdaptiveAveragePooling2D(BaseAdaptivePooling):
    """The mean of each window, as many windows as asked for, over pictures.

    Args:
        output_size: Number of windows, one number or one for each axis; they
            overlap where the size is no multiple.
        data_format: None or "channels_last".

    Input shape: (batch, rows, columns, channels), with known sizes. Output shape: (batch,
    output_size, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import AdaptiveAveragePooling2D
        >>> AdaptiveAveragePooling2D(4)(np.ones((2, 9, 8, 3))).shape
        (2, 4, 4, 3)
    """

    rank = 2


class AdaptiveAveragePooling3D(BaseAdaptivePooling):
    """The mean of each window, as many windows as asked for, over volumes.

    Args:
        output_size: Number of windows, one number or one for each axis; they
            overlap where the size is no multiple.
        data_format: None or "channels_last".

    Input shape: (batch, depth, rows, columns, channels), with known sizes. Output shape: (batch,
    output_size, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import AdaptiveAveragePooling3D
        >>> AdaptiveAveragePooling3D(2)(np.ones((1, 5, 5, 5, 2))).shape
        (1, 2, 2, 2, 2)
    """

    rank = 3


class AdaptiveMaxPooling1D(BaseAdaptivePooling):
    """The largest value of each window, as many windows as asked for, over time.

    Args:
        output_size: Number of windows; they overlap where the size is no multiple.
        data_format: None or "channels_last".

    Input shape: (batch, steps, channels), with known sizes. Output shape: (batch,
    output_size, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import AdaptiveMaxPooling1D
        >>> AdaptiveMaxPooling1D(4)(np.ones((2, 9, 3))).shape
        (2, 4, 3)
    """

    rank = 1
    largest = True


class AdaptiveMaxPooling2D(BaseAdaptivePooling):
    """The largest value of each window, as many windows as asked for, over pictures.

    Args:
        output_size: Number of windows, one number or one for each axis; they
            overlap where the size is no multiple.
        data_format: None or "channels_last".

    Input shape: (batch, rows, columns, channels), with known sizes. Output shape: (batch,
    output_size, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import AdaptiveMaxPooling2D
        >>> AdaptiveMaxPooling2D(4)(np.ones((2, 9, 8, 3))).shape
        (2, 4, 4, 3)
    """

    rank = 2
    largest = True


class AdaptiveMaxPooling3D(BaseAdaptivePooling):
    """The largest value of each window, as many windows as asked for, over volumes.

    Args:
        output_size: Number of windows, one number or one for each axis; they
            overlap where the size is no multiple.
        data_format: None or "channels_last".

    Input shape: (batch, depth, rows, columns, channels), with known sizes. Output shape: (batch,
    output_size, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import AdaptiveMaxPooling3D
        >>> AdaptiveMaxPooling3D(2)(np.ones((1, 5, 5, 5, 2))).shape
        (1, 2, 2, 2, 2)
    """

    rank = 3
    largest = True
