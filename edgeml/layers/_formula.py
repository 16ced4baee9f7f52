"""Layers of a formula or a function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError
from edgeml.graph import Tensor
from edgeml.layers._layer import Layer
from edgeml.layers._layout import under_layout


class Rescaling(Layer):
    """``x * scale + offset``.

    Args:
        scale: A number, or one for each channel.
        offset: A number, or one for each channel.

    Input shape: any, of any dtype. Output shape: the same, float32.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Rescaling
        >>> Rescaling(1 / 255)(np.full((1, 2), 255, np.uint8)).tolist()
        [[1.0, 1.0]]
    """

    scale: Any
    offset: Any = 0.0

    def call(self, x: Tensor) -> Tensor:
        """Return the scaled input, float32."""
        scale, offset = np.asarray(self.scale, np.float32), np.asarray(self.offset, np.float32)

        def apply(v: Tensor) -> Tensor:
            v = ops.cast(v, np.float32) * scale
            return v + offset if offset.any() else v

        return apply(x) if scale.ndim or offset.ndim else under_layout(apply, x)


class Lambda(Layer):
    """A function of tensors as a layer.

    Args:
        function: Written with `edgeml.ops`; register it (`edgeml.layers.register`) to save it.
        output_shape: As in Keras, and without effect: the function itself tells the shape.
        mask: ``fn(x, mask) -> mask`` of the output; None: the steps end here.
        arguments: More keyword arguments of `function`.

    Input and output shape: the function's.

    Example:
        >>> import numpy as np
        >>> from edgeml import ops
        >>> from edgeml.layers import Lambda
        >>> Lambda(ops.square)(np.array([1.0, 3.0])).tolist()
        [1.0, 9.0]
    """

    function: Any
    output_shape: Any = None
    mask: Any = None
    arguments: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.function):
            raise ConfigError(f"Lambda: expected a function, received {self.function!r}")

    def call(self, x: Any) -> Any:
        """Return the function's value."""
        return self.function(x, **(self.arguments or {}))

    def compute_mask(self, x: Any, mask: Tensor | None) -> Any:
        """Return what `mask` makes of the mask."""
        return self.mask(x, mask) if self.mask is not None else None


class Identity(Layer):
    """Returns its input.

    Input and output shape: any.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Identity
        >>> Identity()(np.array([1.0, 3.0])).tolist()
        [1.0, 3.0]
    """

    def call(self, x: Any) -> Any:
        """Return the input."""
        return x
