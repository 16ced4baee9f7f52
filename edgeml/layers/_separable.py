"""Convolutions of each channel by itself, alone and followed by one that mixes the channels."""

from __future__ import annotations

from typing import Any

from edgeml import ops
from edgeml.graph import Tensor
from edgeml.layers._layout import channels_first
from edgeml.layers._windows import Windowed, channels_of, convolve, finish, kernel_first


def depthwise(x: Tensor, kernel: Any, layer: Any, bias: Any = None) -> Tensor:
    """Emit the convolution of each channel by itself, channels first."""
    *window, channels, multiplier = kernel.shape
    rank = len(window)
    first = ops.transpose(kernel, [rank, rank + 1, *range(rank)])
    flat = ops.reshape(first, [channels * multiplier, 1, *window])
    return convolve(
        x, flat, strides=layer.strides, padding=layer.padding,
        dilations=layer.dilation_rate, groups=channels, bias=bias,
    )  # fmt: skip


class BaseDepthwiseConv(Windowed):
    """What the depthwise convolutions share; see `DepthwiseConv2D`."""

    kernel_size: Any
    strides: Any = 1
    padding: str = "valid"
    depth_multiplier: int = 1
    data_format: str | None = None
    dilation_rate: Any = 1
    activation: Any = None
    use_bias: bool = True
    depthwise_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"
    depthwise_regularizer: Any = None
    bias_regularizer: Any = None
    activity_regularizer: Any = None
    depthwise_constraint: Any = None
    bias_constraint: Any = None

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias."""
        channels = channels_of(input_shape, self.rank, type(self).__name__)
        self.kernel = self.add_own_weight(
            "kernel", (*self.kernel_size, channels, self.depth_multiplier), "depthwise"
        )
        self.bias = (
            self.add_own_weight("bias", (channels * self.depth_multiplier,))
            if self.use_bias
            else None
        )

    def call(self, x: Tensor) -> Tensor:
        """Return the convolution of each channel by itself."""
        return finish(depthwise(channels_first(x), self.kernel, self, self.bias), self.activation)


class DepthwiseConv1D(BaseDepthwiseConv):
    """Convolution of each channel by itself, over time; see `DepthwiseConv2D`.

    Input shape: (batch, steps, channels). Output shape: (batch, new steps, channels * multiplier).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import DepthwiseConv1D
        >>> DepthwiseConv1D(3, depth_multiplier=2)(np.ones((1, 5, 2))).shape
        (1, 3, 4)
    """

    rank = 1


class DepthwiseConv2D(BaseDepthwiseConv):
    """Convolution of each channel by itself.

    Args:
        kernel_size: Rows and columns that a filter sees.
        strides: Rows and columns from one output to the next.
        padding: "valid" or "same".
        depth_multiplier: Output channels of each input channel.
        data_format: None or "channels_last".
        dilation_rate: Distance between the places that a filter sees.
        activation: Name or function.
        use_bias: Whether to add a bias.
        depthwise_initializer: Initializer of the kernel.
        bias_initializer: Initializer of the bias.
        depthwise_regularizer: Penalty on the kernel, added to the loss.
        bias_regularizer: Penalty on the bias.
        activity_regularizer: Penalty on the output.
        depthwise_constraint: What the depthwise kernel is kept to after each update, from
            `edgeml.constraints`.
        bias_constraint: What the bias is kept to after each update.

    Input shape: (batch, rows, columns, channels). Output shape: (batch, new rows, new columns,
    channels * multiplier). Weights: kernel (rows, columns, channels, multiplier), bias
    (channels * multiplier,).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import DepthwiseConv2D
        >>> DepthwiseConv2D(3, padding="same")(np.ones((1, 5, 5, 2))).shape
        (1, 5, 5, 2)
    """

    rank = 2


class BaseSeparableConv(Windowed):
    """What the separable convolutions share; see `SeparableConv2D`."""

    filters: int
    kernel_size: Any
    strides: Any = 1
    padding: str = "valid"
    data_format: str | None = None
    dilation_rate: Any = 1
    depth_multiplier: int = 1
    activation: Any = None
    use_bias: bool = True
    depthwise_initializer: Any = "glorot_uniform"
    pointwise_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"
    depthwise_regularizer: Any = None
    pointwise_regularizer: Any = None
    bias_regularizer: Any = None
    activity_regularizer: Any = None
    depthwise_constraint: Any = None
    pointwise_constraint: Any = None
    bias_constraint: Any = None

    def build(self, input_shape: Any) -> None:
        """Make both kernels and the bias."""
        channels = channels_of(input_shape, self.rank, type(self).__name__)
        self.depthwise_kernel = self.add_own_weight(
            "depthwise_kernel", (*self.kernel_size, channels, self.depth_multiplier), "depthwise"
        )
        ones = (1,) * self.rank
        self.pointwise_kernel = self.add_own_weight(
            "pointwise_kernel", (*ones, channels * self.depth_multiplier, self.filters), "pointwise"
        )
        self.bias = self.add_own_weight("bias", (self.filters,)) if self.use_bias else None

    def call(self, x: Tensor) -> Tensor:
        """Return the two convolutions, one after the other."""
        deep = depthwise(channels_first(x), self.depthwise_kernel, self)
        ones = [1] * self.rank
        y = convolve(
            deep, kernel_first(self.pointwise_kernel, self.rank), strides=ones,
            padding="valid", dilations=ones, groups=1, bias=self.bias,
        )  # fmt: skip
        return finish(y, self.activation)


class SeparableConv1D(BaseSeparableConv):
    """A depthwise convolution over time and one that mixes channels; see `SeparableConv2D`.

    Input shape: (batch, steps, channels). Output shape: (batch, new steps, filters).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import SeparableConv1D
        >>> SeparableConv1D(4, 3)(np.ones((1, 5, 2))).shape
        (1, 3, 4)
    """

    rank = 1


class SeparableConv2D(BaseSeparableConv):
    """A depthwise convolution and one that mixes channels: much of Conv2D for little work.

    Args:
        filters: Number of output channels.
        kernel_size: Rows and columns that a depthwise filter sees.
        strides: Rows and columns from one output to the next.
        padding: "valid" or "same".
        data_format: None or "channels_last".
        dilation_rate: Distance between the places that a filter sees.
        depth_multiplier: Depthwise channels of each input channel.
        activation: Name or function.
        use_bias: Whether to add a bias.
        depthwise_initializer: Initializer of the depthwise kernel.
        pointwise_initializer: Initializer of the kernel that mixes channels.
        bias_initializer: Initializer of the bias.
        depthwise_regularizer: Penalty on the depthwise kernel, added to the loss.
        pointwise_regularizer: Penalty on the kernel that mixes channels.
        bias_regularizer: Penalty on the bias.
        activity_regularizer: Penalty on the output.
        depthwise_constraint: What the depthwise kernel is kept to after each update, from
            `edgeml.constraints`.
        pointwise_constraint: What the kernel that mixes channels is kept to after each update.
        bias_constraint: What the bias is kept to after each update.

    Input shape: (batch, rows, columns, channels). Output shape: (batch, new rows, new columns,
    filters). Weights: depthwise_kernel (rows, columns, channels, multiplier), pointwise_kernel
    (1, 1, channels * multiplier, filters), bias (filters,).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import SeparableConv2D
        >>> SeparableConv2D(4, 3)(np.ones((1, 5, 5, 2))).shape
        (1, 3, 3, 4)
    """

    rank = 2
