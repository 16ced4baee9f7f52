"""Dense: the fully connected layer."""

from __future__ import annotations

from typing import Any

from edgeml import activations, ops
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Tensor
from edgeml.layers._layer import Layer


class Dense(Layer):
    """``activation(x @ kernel + bias)``, over the last axis.

    Args:
        units: Size of the output's last axis.
        activation: Name or function of a tensor; None for none.
        use_bias: Whether to add a bias.
        kernel_initializer: Initializer of the kernel, (input's last axis, units).
        bias_initializer: Initializer of the bias, (units,).
        kernel_regularizer: Penalty on the kernel, added to the loss.
        bias_regularizer: Penalty on the bias.
        activity_regularizer: Penalty on the output.
        kernel_constraint: What the kernel is kept to after each update, from `edgeml.constraints`.
        bias_constraint: What the bias is kept to after each update.

    Input shape: (batch, ..., features). Output shape: (batch, ..., units). Weights: kernel
    (features, units), bias (units,).

    Raises:
        ShapeError: the input's last axis is not known.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Dense
        >>> Dense(2, kernel_initializer="ones")(np.ones((1, 3))).tolist()
        [[3.0, 3.0]]
    """

    units: int
    activation: Any = None
    use_bias: bool = True
    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"
    kernel_regularizer: Any = None
    bias_regularizer: Any = None
    activity_regularizer: Any = None
    kernel_constraint: Any = None
    bias_constraint: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.units < 1:
            raise ConfigError(f"Dense: units: expected a positive number, received {self.units}")

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias."""
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ShapeError(
                f"Dense takes (batch, ..., features) with known features, received {input_shape}",
                received=input_shape,
            )
        self.kernel = self.add_own_weight("kernel", (input_shape[-1], self.units))
        self.bias = self.add_own_weight("bias", (self.units,)) if self.use_bias else None

    def call(self, x: Tensor) -> Tensor:
        """Return the output; see the class."""
        y = ops.matmul(x, self.kernel)
        return activations.get(self.activation)(y if self.bias is None else y + self.bias)
