"""What only training does: dropout and noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError
from edgeml.graph import Tensor, emit
from edgeml.layers._layer import Layer
from edgeml.layers._layout import channels_first, channels_last, check_data_format, under_layout


def check_rate(layer: Layer, what: str = "rate") -> None:
    """Refuse a fraction that leaves nothing.

    Raises:
        ConfigError: it is not from 0 to below 1.
    """
    rate = getattr(layer, what)
    if not 0.0 <= rate < 1.0:
        raise ConfigError(
            f"{type(layer).__name__}: {what}: expected a number from 0 to below 1, received {rate}"
        )


def drop(x: Tensor, rate: float, shape: Any) -> Tensor:
    """Set values to zero, with a mask of `shape` that broadcasts, and scale the rest."""
    keep = ops.random_bernoulli(shape, 1.0 - rate)
    return ops.where(keep, x * (1.0 / (1.0 - rate)), 0.0)


def _nothing(x: Tensor, rate: float) -> Tensor:
    """Emit a Dropout that does nothing: the file can be trained again."""
    return under_layout(lambda v: emit("Dropout", v, np.float32(rate)), x)


class Dropout(Layer):
    """Sets a fraction of the values to zero in training (Srivastava et al., 2014).

    Args:
        rate: The fraction; what is left is scaled by ``1 / (1 - rate)``.
        noise_shape: Shape of the mask, with 1 along axes that share it (None: the input's size).
        seed: As in Keras, and without effect: all random numbers follow from `fit`'s seed.

    Input and output shape: any.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Dropout
        >>> Dropout(0.5)(np.ones((1, 2))).tolist()
        [[1.0, 1.0]]
    """

    rate: float
    noise_shape: Any = None
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate(self)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Return the input, with values dropped in training."""
        if not training or not self.rate:
            return _nothing(x, self.rate)
        if self.noise_shape is None:
            return under_layout(lambda v: drop(v, self.rate, v.static_shape), x)
        shape = zip(x.static_shape, self.noise_shape, strict=True)
        return drop(x, self.rate, [n if size is None else int(size) for n, size in shape])


class BaseSpatialDropout(Layer):
    """What the dropouts of whole channels share; see `SpatialDropout2D`."""

    rank = 2

    rate: float
    data_format: str | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate(self)
        check_data_format(self.data_format)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Return the input, with whole channels dropped in training."""
        if not training or not self.rate:
            return _nothing(x, self.rate)
        first = channels_first(x)
        shape = [*first.static_shape[:2], *[1] * (x.ndim - 2)]
        return channels_last(drop(first, self.rate, shape))


class SpatialDropout1D(BaseSpatialDropout):
    """Sets whole channels to zero in training, the same at all steps.

    Args:
        rate: The fraction of the channels.
        data_format: None or "channels_last".
        seed: As in Keras, and without effect: all random numbers follow from `fit`'s seed.

    Input and output shape: (batch, steps, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import SpatialDropout1D
        >>> SpatialDropout1D(0.5)(np.ones((1, 4, 2))).shape
        (1, 4, 2)
    """

    rank = 1


class SpatialDropout2D(BaseSpatialDropout):
    """Sets whole channels of pictures to zero in training; see `SpatialDropout1D`.

    Input and output shape: (batch, rows, columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import SpatialDropout2D
        >>> SpatialDropout2D(0.5)(np.ones((1, 4, 4, 2))).shape
        (1, 4, 4, 2)
    """


class SpatialDropout3D(BaseSpatialDropout):
    """Sets whole channels of volumes to zero in training; see `SpatialDropout1D`.

    Input and output shape: (batch, depth, rows, columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import SpatialDropout3D
        >>> SpatialDropout3D(0.5)(np.ones((1, 2, 4, 4, 2))).shape
        (1, 2, 4, 4, 2)
    """

    rank = 3


class GaussianNoise(Layer):
    """Adds normal noise in training.

    Args:
        stddev: Its standard deviation.
        seed: As in Keras, and without effect: all random numbers follow from `fit`'s seed.

    Input and output shape: any.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import GaussianNoise
        >>> GaussianNoise(0.1)(np.ones((1, 2))).tolist()
        [[1.0, 1.0]]
    """

    stddev: float
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stddev < 0:
            raise ConfigError(f"GaussianNoise: stddev: expected from 0, received {self.stddev}")

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Return the input, noisy in training."""
        if not training or not self.stddev:
            return x
        return under_layout(lambda v: v + ops.random_normal(v.static_shape, 0.0, self.stddev), x)


class GaussianDropout(Layer):
    """Multiplies by normal noise around 1 in training.

    Args:
        rate: As of `Dropout`: the noise has the variance ``rate / (1 - rate)``.
        seed: As in Keras, and without effect: all random numbers follow from `fit`'s seed.

    Input and output shape: any.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import GaussianDropout
        >>> GaussianDropout(0.1)(np.ones((1, 2))).tolist()
        [[1.0, 1.0]]
    """

    rate: float
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate(self)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Return the input, noisy in training."""
        if not training or not self.rate:
            return x
        deviation = float(np.sqrt(self.rate / (1.0 - self.rate)))
        return under_layout(lambda v: v * ops.random_normal(v.static_shape, 1.0, deviation), x)
