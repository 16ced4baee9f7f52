"""Pooling."""

from __future__ import annotations

from typing import Any

from edgeml.graph import Tensor, emit
from edgeml.layers._layout import channels_first, channels_last
from edgeml.layers._windows import Windowed, channels_of, pads_of


class BasePooling(Windowed):
    """What all poolings share; see `MaxPooling2D`."""

    op = "MaxPool"

    pool_size: Any = 2
    strides: Any = None
    padding: str = "valid"
    data_format: str | None = None

    def __post_init__(self) -> None:
        if self.strides is None:
            self.strides = self.pool_size
        super().__post_init__()

    def build(self, input_shape: Any) -> None:
        """Check the shape."""
        channels_of(input_shape, self.rank, type(self).__name__)

    def call(self, x: Tensor) -> Tensor:
        """Return the pooled (batch, ..., channels)."""
        first = channels_first(x)
        return channels_last(emit(
            self.op, first, kernel_shape=list(self.pool_size), strides=list(self.strides),
            **pads_of(self.padding, first, self.pool_size, self.strides),
        ))  # fmt: skip


class MaxPooling1D(BasePooling):
    """The largest value of each window, over time.

    Args:
        pool_size: Size of the window.
        strides: From one window to the next; None: windows do not overlap.
        padding: "valid" or "same" (what is padded does not count).
        data_format: None or "channels_last".

    Input shape: (batch, steps, channels). Output shape: (batch, new steps, channels).

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
        padding: "valid" or "same" (what is padded does not count).
        data_format: None or "channels_last".

    Input shape: (batch, rows, columns, channels). Output shape: (batch, new rows, new columns,
    channels).

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
        padding: "valid" or "same" (what is padded does not count).
        data_format: None or "channels_last".

    Input shape: (batch, depth, rows, columns, channels). Output shape: (batch, new depth, new rows,
    new columns, channels).

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
        padding: "valid" or "same" (what is padded does not count).
        data_format: None or "channels_last".

    Input shape: (batch, steps, channels). Output shape: (batch, new steps, channels).

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
        padding: "valid" or "same" (what is padded does not count).
        data_format: None or "channels_last".

    Input shape: (batch, rows, columns, channels). Output shape: (batch, new rows, new columns,
    channels).

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
        padding: "valid" or "same" (what is padded does not count).
        data_format: None or "channels_last".

    Input shape: (batch, depth, rows, columns, channels). Output shape: (batch, new depth, new rows,
    new columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import AveragePooling3D
        >>> AveragePooling3D()(np.ones((1, 4, 4, 4, 2))).shape
        (1, 2, 2, 2, 2)
    """

    rank = 3
    op = "AveragePool"
