"""What only training does: dropout and noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError
from edgeml.graph import Tensor, emit
from edgeml.layers._layer import Layer
from edgeml.layers._layout import channels_first, channels_last, check_data_format, under_layout
from edgeml.regularizers import L1L2


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


def mask_shape(x: Tensor, noise_shape: Any) -> list[int]:
    """Return the shape of a mask for `x`: where `noise_shape` has None, its own."""
    given = noise_shape or [None] * x.ndim
    pairs = zip(x.static_shape, given, strict=True)
    return [n if size is None else int(size) for n, size in pairs]


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
        return drop(x, self.rate, mask_shape(x, self.noise_shape))


class BaseSpatialDropout(Layer):
    """What the dropouts of whole channels share; see `SpatialDropout2D`."""

    rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate(self)
        check_data_format(getattr(self, "data_format", None))

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
        seed: As in Keras, and without effect: all random numbers follow from `fit`'s seed.

    Input and output shape: (batch, steps, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import SpatialDropout1D
        >>> SpatialDropout1D(0.5)(np.ones((1, 4, 2))).shape
        (1, 4, 2)
    """

    seed: int | None = None


class SpatialDropout2D(BaseSpatialDropout):
    """Sets whole channels of pictures to zero in training.

    Args:
        rate: The fraction of the channels.
        data_format: None or "channels_last".
        seed: As in Keras, and without effect: all random numbers follow from `fit`'s seed.

    Input and output shape: (batch, rows, columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import SpatialDropout2D
        >>> SpatialDropout2D(0.5)(np.ones((1, 4, 4, 2))).shape
        (1, 4, 4, 2)
    """

    data_format: str | None = None
    seed: int | None = None


class SpatialDropout3D(BaseSpatialDropout):
    """Sets whole channels of volumes to zero in training; see `SpatialDropout2D`.

    Input and output shape: (batch, depth, rows, columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import SpatialDropout3D
        >>> SpatialDropout3D(0.5)(np.ones((1, 2, 4, 4, 2))).shape
        (1, 2, 4, 4, 2)
    """

    data_format: str | None = None
    seed: int | None = None


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


# What SELU tends to far below zero: what is dropped takes this value, and keeps mean and variance.
_SATURATED = -1.6732632423543772 * 1.0507009873554805


class AlphaDropout(Layer):
    """Dropout that keeps mean and variance, for SELU (Klambauer et al., 2017).

    Args:
        rate: The fraction that is dropped in training.
        noise_shape: Shape of the mask, with 1 along axes that share it (None: the input's size).
        seed: As in Keras, and without effect: all random numbers follow from `fit`'s seed.

    Input and output shape: any.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import AlphaDropout
        >>> AlphaDropout(0.5)(np.ones((1, 2))).tolist()
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
            return x
        scale: float = ((1.0 - self.rate) * (1.0 + self.rate * _SATURATED**2)) ** -0.5
        shift = -scale * _SATURATED * self.rate
        keep = ops.random_bernoulli(mask_shape(x, self.noise_shape), 1.0 - self.rate)
        return ops.where(keep, x, _SATURATED) * scale + shift


class ActivityRegularization(Layer):
    """Returns its input, and adds a penalty on it to the loss.

    Args:
        l1: Factor of the sum of absolute values, as a mean over the batch.
        l2: Factor of the sum of squares.

    Input and output shape: any.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import ActivityRegularization
        >>> ActivityRegularization(l2=0.1)(np.ones((1, 2))).tolist()
        [[1.0, 1.0]]
    """

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.activity_regularizer = L1L2(self.l1, self.l2)

    def call(self, x: Tensor) -> Tensor:
        """Return the input."""
        return x
