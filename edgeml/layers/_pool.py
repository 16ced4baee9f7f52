"""Pooling."""

from __future__ import annotations

from typing import Any

from edgeml import ops
from edgeml.graph import Tensor, emit
from edgeml.layers._conv import channels_of, pads_of, spread
from edgeml.layers._layer import Layer
from edgeml.layers._layout import channels_first, channels_last


class BasePooling(Layer):
    """What all poolings share; see `MaxPooling2D`."""

    rank = 2
    op = "MaxPool"

    pool_size: Any = 2
    strides: Any = None
    padding: str = "valid"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.pool_size = spread(self.pool_size, self.rank, "pool_size")
        strides = self.pool_size if self.strides is None else self.strides
        self.strides = spread(strides, self.rank, "strides")

    def build(self, input_shape: Any) -> None:
        """Check the shape."""
        channels_of(input_shape, self.rank, type(self).__name__)

    def call(self, x: Tensor) -> Tensor:
        """Return the pooled (batch, ..., channels)."""
        first = channels_first(x)
        sizes = [None if isinstance(n, str) else n for n in first.known_shape[2:]]
        pads = pads_of(self.padding, sizes, self.pool_size, self.strides)
        y = emit(self.op, first, kernel_shape=list(self.pool_size), strides=list(self.strides),
                 **pads)  # fmt: skip
        return channels_last(y)

    def compute_mask(self, x: Any, mask: Tensor | None) -> None:
        """Steps are no longer those of the input."""
        return


class BaseGlobalPooling(Layer):
    """What the global poolings share; see `GlobalAveragePooling2D`."""

    rank = 2
    largest = False

    keepdims: bool = False

    def build(self, input_shape: Any) -> None:
        """Check the shape."""
        channels_of(input_shape, self.rank, type(self).__name__)

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return (batch, channels), over all places; masked steps do not count."""
        if mask is not None and self.rank == 1 and not self.largest:
            counted = ops.expand_dims(ops.cast(mask, x.dtype), -1)
            total = ops.sum(x * counted, 1, self.keepdims)
            return total / ops.sum(counted, 1, self.keepdims)
        pool = ops.max if self.largest else ops.mean
        y = pool(channels_first(x), list(range(2, x.ndim)), self.keepdims)
        return channels_last(y) if self.keepdims else y

    def compute_mask(self, x: Any, mask: Tensor | None) -> None:
        """There are no steps any more."""
        return


class MaxPooling1D(BasePooling):
    """The largest value of each window, over time.

    Args:
        pool_size: Size of the window.
        strides: From one window to the next; None: windows do not overlap.
        padding: "valid" or "same".

    Input shape: (batch, steps, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import MaxPooling1D
        >>> MaxPooling1D()(np.ones((1, 9, 2))).shape
        (1, 4, 2)
    """

    rank = 1


class MaxPooling2D(BasePooling):
    """The largest value of each window, over pictures.

    Args:
        pool_size: Size of the window.
        strides: From one window to the next; None: windows do not overlap.
        padding: "valid" or "same".

    Input shape: (batch, rows, columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import MaxPooling2D
        >>> MaxPooling2D()(np.ones((1, 8, 8, 2))).shape
        (1, 4, 4, 2)
    """

    rank = 2


class MaxPooling3D(BasePooling):
    """The largest value of each window, over volumes.

    Args:
        pool_size: Size of the window.
        strides: From one window to the next; None: windows do not overlap.
        padding: "valid" or "same".

    Input shape: (batch, depth, rows, columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import MaxPooling3D
        >>> MaxPooling3D()(np.ones((1, 4, 4, 4, 2))).shape
        (1, 2, 2, 2, 2)
    """

    rank = 3


class AveragePooling1D(BasePooling):
    """The mean of each window, over time.

    Args:
        pool_size: Size of the window.
        strides: From one window to the next; None: windows do not overlap.
        padding: "valid" or "same".

    Input shape: (batch, steps, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import AveragePooling1D
        >>> AveragePooling1D()(np.ones((1, 9, 2))).shape
        (1, 4, 2)
    """

    rank = 1
    op = "AveragePool"


class AveragePooling2D(BasePooling):
    """The mean of each window, over pictures.

    Args:
        pool_size: Size of the window.
        strides: From one window to the next; None: windows do not overlap.
        padding: "valid" or "same".

    Input shape: (batch, rows, columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import AveragePooling2D
        >>> AveragePooling2D()(np.ones((1, 8, 8, 2))).shape
        (1, 4, 4, 2)
    """

    rank = 2
    op = "AveragePool"


class AveragePooling3D(BasePooling):
    """The mean of each window, over volumes.

    Args:
        pool_size: Size of the window.
        strides: From one window to the next; None: windows do not overlap.
        padding: "valid" or "same".

    Input shape: (batch, depth, rows, columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import AveragePooling3D
        >>> AveragePooling3D()(np.ones((1, 4, 4, 4, 2))).shape
        (1, 2, 2, 2, 2)
    """

    rank = 3
    op = "AveragePool"


class GlobalMaxPooling1D(BaseGlobalPooling):
    """The largest value of each channel over all of time.

    Args:
        keepdims: Whether to keep the axes, with size 1.

    Input shape: (batch, steps, channels). Output shape: (batch, channels).
    """

    rank = 1
    largest = True


class GlobalMaxPooling2D(BaseGlobalPooling):
    """The largest value of each channel over all of pictures.

    Args:
        keepdims: Whether to keep the axes, with size 1.

    Input shape: (batch, rows, columns, channels). Output shape: (batch, channels).
    """

    rank = 2
    largest = True


class GlobalMaxPooling3D(BaseGlobalPooling):
    """The largest value of each channel over all of volumes.

    Args:
        keepdims: Whether to keep the axes, with size 1.

    Input shape: (batch, depth, rows, columns, channels). Output shape: (batch, channels).
    """

    rank = 3
    largest = True


class GlobalAveragePooling1D(BaseGlobalPooling):
    """The mean of each channel over all of time.

    Args:
        keepdims: Whether to keep the axes, with size 1.

    Input shape: (batch, steps, channels). Output shape: (batch, channels).
    """

    rank = 1


class GlobalAveragePooling2D(BaseGlobalPooling):
    """The mean of each channel over all of pictures.

    Args:
        keepdims: Whether to keep the axes, with size 1.

    Input shape: (batch, rows, columns, channels). Output shape: (batch, channels).
    """

    rank = 2


class GlobalAveragePooling3D(BaseGlobalPooling):
    """The mean of each channel over all of volumes.

    Args:
        keepdims: Whether to keep the axes, with size 1.

    Input shape: (batch, depth, rows, columns, channels). Output shape: (batch, channels).
    """

    rank = 3
