"""Convolutions."""

from __future__ import annotations

from typing import Any

from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Tensor
from edgeml.layers._layout import channels_first
from edgeml.layers._windows import Windowed, channels_of, convolve, finish, kernel_first


class BaseConv(Windowed):
    """What all convolutions share; see `Conv2D`."""

    filters: int
    kernel_size: Any
    strides: Any = 1
    padding: str = "valid"
    data_format: str | None = None
    dilation_rate: Any = 1
    groups: int = 1
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
        if self.groups < 1 or self.filters < 1 or self.filters % self.groups:
            raise ConfigError(
                f"{type(self).__name__}: filters: expected a positive multiple of "
                f"{self.groups} groups, received {self.filters}"
            )

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias."""
        channels = channels_of(input_shape, self.rank, type(self).__name__)
        if channels % self.groups:
            raise ShapeError(f"{channels} input channels are no multiple of {self.groups} groups")
        self.kernel = self.add_own_weight(
            "kernel", (*self.kernel_size, channels // self.groups, self.filters)
        )
        self.bias = self.add_own_weight("bias", (self.filters,)) if self.use_bias else None

    def call(self, x: Tensor) -> Tensor:
        """Return the convolution; (batch, ..., channels) in and out."""
        y = convolve(
            channels_first(x), kernel_first(self.kernel, self.rank), bias=self.bias,
            strides=self.strides, padding=self.padding, dilations=self.dilation_rate,
            groups=self.groups,
        )  # fmt: skip
        return finish(y, self.activation)


class Conv1D(BaseConv):
    """Convolution over time.

    Args:
        filters: Number of output channels.
        kernel_size: Steps that a filter sees.
        strides: Steps from one output to the next.
        padding: "valid", "same" or "causal" (outputs see nothing of what comes later).
        data_format: None or "channels_last".
        dilation_rate: Distance between the steps that a filter sees.
        groups: Groups of channels that do not see each other.
        activation: Name or function.
        use_bias: Whether to add a bias.
        kernel_initializer: Initializer of the kernel.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Penalty on the kernel, added to the loss.
        bias_regularizer: Penalty on the bias.
        activity_regularizer: Penalty on the output.
        kernel_constraint: What the kernel is kept to after each update, from `edgeml.constraints`.
        bias_constraint: What the bias is kept to after each update.

    Input shape: (batch, steps, channels). Output shape: (batch, new steps, filters).
    Weights: kernel (kernel_size, channels / groups, filters), bias (filters,).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Conv1D
        >>> Conv1D(4, 3, padding="causal")(np.ones((1, 10, 2))).shape
        (1, 10, 4)
    """

    rank = 1
    paddings = ("valid", "same", "causal")


class Conv2D(BaseConv):
    """Convolution over pictures.

    Args:
        filters: Number of output channels.
        kernel_size: Rows and columns that a filter sees.
        strides: Rows and columns from one output to the next.
        padding: "valid" or "same".
        data_format: None or "channels_last".
        dilation_rate: Distance between the places that a filter sees.
        groups: Groups of channels that do not see each other.
        activation: Name or function.
        use_bias: Whether to add a bias.
        kernel_initializer: Initializer of the kernel.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Penalty on the kernel, added to the loss.
        bias_regularizer: Penalty on the bias.
        activity_regularizer: Penalty on the output.
        kernel_constraint: What the kernel is kept to after each update, from `edgeml.constraints`.
        bias_constraint: What the bias is kept to after each update.

    Input shape: (batch, rows, columns, channels). Output shape: (batch, new rows, new columns,
    filters). Weights: kernel (rows, columns, channels / groups, filters), bias (filters,).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Conv2D
        >>> Conv2D(8, 3, strides=2, padding="same", activation="relu")(np.ones((1, 9, 9, 3))).shape
        (1, 5, 5, 8)
    """

    rank = 2


class Conv3D(BaseConv):
    """Convolution over volumes; see `Conv2D` for the arguments.

    Input shape: (batch, depth, rows, columns, channels). Output shape: (batch, new depth,
    new rows, new columns, filters).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Conv3D
        >>> Conv3D(4, 2)(np.ones((1, 5, 5, 5, 2))).shape
        (1, 4, 4, 4, 4)
    """

    rank = 3
