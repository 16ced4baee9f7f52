"""Global pooling: one value for each channel."""

from __future__ import annotations

from typing import Any

from edgeml import ops
from edgeml.errors import ConfigError
from edgeml.graph import Tensor
from edgeml.layers._layer import Layer
from edgeml.layers._layout import channels_first, channels_last, check_data_format
from edgeml.layers._windows import channels_of


class BaseGlobalPooling(Layer):
    """What the global poolings share; see `GlobalAveragePooling2D`."""

    rank = 2
    largest = False

    data_format: str | None = None
    keepdims: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.data_format, bool):
            raise ConfigError("GlobalPooling: data_format comes first; write keepdims=True")
        check_data_format(self.data_format)
        self.supports_masking = False

    def build(self, input_shape: Any) -> None:
        """Check the shape."""
        channels_of(input_shape, self.rank, type(self).__name__)

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return (batch, channels), over all places; masked steps do not count in a mean."""
        if mask is not None and self.rank == 1 and not self.largest:
            counted = ops.expand_dims(ops.cast(mask, x.dtype), -1)
            total = ops.sum(x * counted, 1, self.keepdims)
            return total / ops.sum(counted, 1, self.keepdims)
        pool = ops.max if self.largest else ops.mean
        y = pool(channels_first(x), list(range(2, x.ndim)), self.keepdims)
        return channels_last(y) if self.keepdims else y


class GlobalMaxPooling1D(BaseGlobalPooling):
    """The largest value of each channel over all steps.

    Args:
        data_format: None or "channels_last".
        keepdims: Whether to keep the axes, with size 1.

    Input shape: (batch, steps, channels). Output shape: (batch, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import GlobalMaxPooling1D
        >>> GlobalMaxPooling1D()(np.ones((2, 5, 3))).shape
        (2, 3)
    """

    rank = 1
    largest = True


class GlobalMaxPooling2D(BaseGlobalPooling):
    """The largest value of each channel over whole pictures.

    Args:
        data_format: None or "channels_last".
        keepdims: Whether to keep the axes, with size 1.

    Input shape: (batch, rows, columns, channels). Output shape: (batch, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import GlobalMaxPooling2D
        >>> GlobalMaxPooling2D()(np.ones((2, 4, 4, 3))).shape
        (2, 3)
    """

    rank = 2
    largest = True


class GlobalMaxPooling3D(BaseGlobalPooling):
    """The largest value of each channel over whole volumes.

    Args:
        data_format: None or "channels_last".
        keepdims: Whether to keep the axes, with size 1.

    Input shape: (batch, depth, rows, columns, channels). Output shape: (batch, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import GlobalMaxPooling3D
        >>> GlobalMaxPooling3D()(np.ones((2, 3, 3, 3, 3))).shape
        (2, 3)
    """

    rank = 3
    largest = True


class GlobalAveragePooling1D(BaseGlobalPooling):
    """The mean of each channel over all steps.

    Args:
        data_format: None or "channels_last".
        keepdims: Whether to keep the axes, with size 1.

    Input shape: (batch, steps, channels). Output shape: (batch, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import GlobalAveragePooling1D
        >>> GlobalAveragePooling1D()(np.ones((2, 5, 3))).shape
        (2, 3)
    """

    rank = 1


class GlobalAveragePooling2D(BaseGlobalPooling):
    """The mean of each channel over whole pictures.

    Args:
        data_format: None or "channels_last".
        keepdims: Whether to keep the axes, with size 1.

    Input shape: (batch, rows, columns, channels). Output shape: (batch, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import GlobalAveragePooling2D
        >>> GlobalAveragePooling2D()(np.ones((2, 4, 4, 3))).shape
        (2, 3)
    """

    rank = 2


class GlobalAveragePooling3D(BaseGlobalPooling):
    """The mean of each channel over whole volumes.

    Args:
        data_format: None or "channels_last".
        keepdims: Whether to keep the axes, with size 1.

    Input shape: (batch, depth, rows, columns, channels). Output shape: (batch, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import GlobalAveragePooling3D
        >>> GlobalAveragePooling3D()(np.ones((2, 3, 3, 3, 3))).shape
        (2, 3)
    """

    rank = 3
