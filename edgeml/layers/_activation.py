"""Activations as layers, and what only training does."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError
from edgeml.graph import Tensor, emit
from edgeml.layers import _activations as activations
from edgeml.layers._layer import Layer
from edgeml.layers._layout import under_layout


class Activation(Layer):
    """An activation by name, or a function of a tensor.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Activation
        >>> Activation("relu")(np.array([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """

    activation: Any

    def call(self, x: Tensor) -> Tensor:
        """Return the activated input."""
        fn = activations.get(self.activation)
        if activations.is_elementwise(fn):
            return under_layout(fn, x)
        return fn(x)


class ReLU(Layer):
    """``max(x, 0)``, with Keras's options.

    Args:
        max_value: Largest output, or None.
        negative_slope: Slope below `threshold`.
        threshold: Below it the input does not get through.
    """

    max_value: float | None = None
    negative_slope: float = 0.0
    threshold: float = 0.0

    def call(self, x: Tensor) -> Tensor:
        """Return the activated input."""
        return under_layout(self._apply, x)

    def _apply(self, x: Tensor) -> Tensor:
        if not self.threshold and not self.negative_slope:
            return ops.relu(x) if self.max_value is None else ops.clip(x, 0.0, self.max_value)
        low = (x - self.threshold) * self.negative_slope
        y = ops.where(x > self.threshold, x, low)
        return y if self.max_value is None else ops.minimum(y, self.max_value)


class LeakyReLU(Layer):
    """`x`, times `negative_slope` where it is negative."""

    negative_slope: float = 0.3

    def call(self, x: Tensor) -> Tensor:
        """Return the activated input."""
        return under_layout(lambda v: ops.leaky_relu(v, self.negative_slope), x)


class ELU(Layer):
    """`x`, or ``alpha * (exp(x) - 1)`` where it is negative."""

    alpha: float = 1.0

    def call(self, x: Tensor) -> Tensor:
        """Return the activated input."""
        return under_layout(lambda v: ops.elu(v, self.alpha), x)


class PReLU(Layer):
    """`x`, times a learned slope where it is negative.

    Args:
        alpha_initializer: Initializer of the slopes.
        shared_axes: Axes, counted from 1, along which a slope is shared.
    """

    alpha_initializer: Any = "zeros"
    shared_axes: Any = None

    def build(self, input_shape: Any) -> None:
        """Make the slopes."""
        shape = list(input_shape[1:])
        for axis in self.shared_axes or ():
            shape[axis - 1] = 1
        self.alpha = self.add_weight("alpha", shape, self.alpha_initializer)

    def call(self, x: Tensor) -> Tensor:
        """Return the activated input."""
        return emit("PRelu", x, self.alpha)


class Softmax(Layer):
    """Probabilities along `axis`; where `mask` is false they are zero."""

    axis: int = -1

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the probabilities."""
        if mask is not None and mask.shape == x.shape:
            x = ops.where(mask, x, -3.4e38)
        return ops.softmax(x, self.axis)


def _check_rate(rate: float) -> None:
    if not 0.0 <= rate < 1.0:
        raise ConfigError(f"rate: expected a number from 0 to below 1, received {rate}")


class Dropout(Layer):
    """Sets a fraction of the values to zero in training (Srivastava et al., 2014).

    Args:
        rate: The fraction; what is left is scaled by ``1 / (1 - rate)``.
        noise_shape: Shape of the mask, with 1 (or None) along axes that share it.
    """

    rate: float
    noise_shape: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rate(self.rate)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Return the input, with values dropped in training."""
        if training and self.rate:
            return under_layout(self._drop, x) if self.noise_shape is None else self._drop(x)
        # A node that does nothing: a file can be trained again.
        return under_layout(lambda v: emit("Dropout", v, np.float32(self.rate)), x)

    def _drop(self, x: Tensor) -> Tensor:
        shape = list(x.static_shape)
        for i, size in enumerate(self.noise_shape or ()):
            shape[i] = shape[i] if size is None else int(size)
        keep = ops.random_bernoulli(shape, 1.0 - self.rate)
        return ops.where(keep, x * (1.0 / (1.0 - self.rate)), 0.0)


class _SpatialDropout(Dropout):
    def _drop(self, x: Tensor) -> Tensor:
        shape = [x.static_shape[0], *[1] * (x.ndim - 2), x.static_shape[-1]]
        keep = ops.random_bernoulli(shape, 1.0 - self.rate)
        return ops.where(keep, x * (1.0 / (1.0 - self.rate)), 0.0)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Return the input, with whole channels dropped in training."""
        if training and self.rate:
            return self._drop(x)
        return super().call(x, False)


class SpatialDropout1D(_SpatialDropout):
    """Drops whole channels of (batch, steps, channels)."""


class SpatialDropout2D(_SpatialDropout):
    """Drops whole channels of (batch, rows, columns, channels)."""


class SpatialDropout3D(_SpatialDropout):
    """Drops whole channels of (batch, depth, rows, columns, channels)."""


class GaussianNoise(Layer):
    """Adds normal noise in training.

    Args:
        stddev: Its standard deviation.
    """

    stddev: float

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Return the input, noisy in training."""
        return x + ops.random_normal(x.static_shape, 0.0, self.stddev) if training else x


class GaussianDropout(Layer):
    """Multiplies by normal noise around 1 in training.

    Args:
        rate: As of `Dropout`: the noise has the variance ``rate / (1 - rate)``.
    """

    rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rate(self.rate)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Return the input, noisy in training."""
        if not training or not self.rate:
            return x
        deviation = float(np.sqrt(self.rate / (1.0 - self.rate)))
        return x * ops.random_normal(x.static_shape, 1.0, deviation)
