"""Activations as layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml import activations, ops
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Tensor, as_tensor, emit
from edgeml.layers._layer import Layer
from edgeml.layers._layout import channels_first, channels_last, pending, per_channel, under_layout


class Activation(Layer):
    """An activation by name, or a function of a tensor.

    Args:
        activation: Keras's or TensorFlow.js's name, or ``fn(tensor) -> tensor``.

    Input and output shape: any.

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
        return under_layout(fn, x) if activations.is_elementwise(fn) else fn(x)


class ReLU(Layer):
    """``max(x, 0)``, with Keras's options.

    Args:
        max_value: Largest output, or None.
        negative_slope: Slope below `threshold`.
        threshold: Below it the input does not get through.

    Input and output shape: any.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import ReLU
        >>> ReLU(6)(np.array([-1.0, 2.0, 8.0])).tolist()
        [0.0, 2.0, 6.0]
    """

    max_value: float | None = None
    negative_slope: float = 0.0
    threshold: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for what in ("max_value", "negative_slope", "threshold"):
            if (getattr(self, what) or 0.0) < 0:
                raise ConfigError(
                    f"ReLU: {what}: expected a number from 0, received {getattr(self, what)}"
                )

    def call(self, x: Tensor) -> Tensor:
        """Return the activated input."""
        return under_layout(
            lambda v: activations.relu(v, self.negative_slope, self.max_value, self.threshold), x
        )


class ThresholdedReLU(Layer):
    """`x` above a threshold, else 0; TensorFlow.js's (in Keras 3: ``ReLU(threshold=theta)``).

    Args:
        theta: The threshold, from 0.

    Input and output shape: any.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import ThresholdedReLU
        >>> ThresholdedReLU()(np.array([-1.0, 0.5, 2.0])).tolist()
        [0.0, 0.0, 2.0]
    """

    theta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.theta < 0:
            raise ConfigError(f"ThresholdedReLU: theta: expected from 0, received {self.theta}")

    def call(self, x: Tensor) -> Tensor:
        """Return the activated input."""
        return under_layout(lambda v: activations.threshold(v, self.theta, 0.0), x)


class LeakyReLU(Layer):
    """`x`, times `negative_slope` where it is negative.

    Args:
        negative_slope: The slope.

    Input and output shape: any.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import LeakyReLU
        >>> LeakyReLU(0.5)(np.array([-1.0, 2.0])).tolist()
        [-0.5, 2.0]
    """

    negative_slope: float = 0.3

    def call(self, x: Tensor) -> Tensor:
        """Return the activated input."""
        return under_layout(lambda v: ops.leaky_relu(v, self.negative_slope), x)


class ELU(Layer):
    """`x`, or ``alpha * (exp(x) - 1)`` where it is negative.

    Args:
        alpha: What it goes to, negative, far below zero.

    Input and output shape: any.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import ELU
        >>> ELU()(np.array([-100.0, 2.0])).tolist()
        [-1.0, 2.0]
    """

    alpha: float = 1.0

    def call(self, x: Tensor) -> Tensor:
        """Return the activated input."""
        return under_layout(lambda v: ops.elu(v, self.alpha), x)


class PReLU(Layer):
    """`x`, times a learned slope where it is negative.

    Args:
        alpha_initializer: Initializer of the slopes.
        alpha_regularizer: Penalty on the slopes, added to the loss.
        alpha_constraint: What the slopes are kept to after each update.
        shared_axes: Axes, counted from 1, along which a slope is shared.

    Input and output shape: any. Weights: alpha, of the input's shape without the batch, 1 along
    the shared axes.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import PReLU
        >>> PReLU("ones")(np.array([[-1.0, 2.0]])).tolist()
        [[-1.0, 2.0]]
    """

    alpha_initializer: Any = "zeros"
    alpha_regularizer: Any = None
    alpha_constraint: Any = None
    shared_axes: Any = None

    def build(self, input_shape: Any) -> None:
        """Make the slopes."""
        shape = list(input_shape[1:])
        axes = [self.shared_axes] if isinstance(self.shared_axes, int) else self.shared_axes or ()
        for axis in axes:
            shape[axis - 1] = 1
        if None in shape:
            raise ShapeError(
                f"PReLU has a slope for each place of {input_shape}: name the axes whose size is "
                "not known in shared_axes"
            )
        self.alpha = self.add_own_weight("alpha", shape)

    def call(self, x: Tensor) -> Tensor:
        """Return the activated input."""
        if not pending(x):
            return emit("PRelu", x, self.alpha)
        first = channels_first(x)
        return channels_last(emit("PRelu", first, per_channel(self.alpha, first)))


class Softmax(Layer):
    """Probabilities along `axis`.

    Args:
        axis: The axis, or several.

    Input and output shape: any.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Softmax
        >>> Softmax()(np.array([[1.0, 1.0]])).tolist()
        [[0.5, 0.5]]
    """

    axis: Any = -1

    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        """Return the probabilities.

        Args:
            x: Scores.
            mask: Which of them count, bool, broadcasting to `x`: the others get zero.
        """
        if mask is x.graph.root().masks.get(x) and x.ndim != 2:
            mask = None  # the steps' mask that came with the input, not one of the scores
        if mask is not None:
            mask = ops.cast(as_tensor(mask), np.bool_)
            x = ops.where(mask, x, -1e9)
        axes = [self.axis] if isinstance(self.axis, int) else list(self.axis)
        several = len(axes) > 1
        y = ops.exp(x - ops.logsumexp(x, axes, True)) if several else ops.softmax(x, axes[0])
        return y if mask is None else ops.where(mask, y, 0.0)
