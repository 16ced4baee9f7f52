"""Transposed convolutions."""

from __future__ import annotations

from typing import Any

from edgeml import ops
from edgeml.graph import Tensor, emit
from edgeml.layers._layout import channels_first
from edgeml.layers._windows import Windowed, channels_of, finish


class BaseConvTranspose(Windowed):
    """What the transposed convolutions share; see `Conv2DTranspose`."""

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias."""
        own: Any = self  # the fields stand in the subclasses, in the order of Keras's arguments
        channels = channels_of(input_shape, self.rank, type(self).__name__)
        shape = (*own.kernel_size, own.filters, channels)
        self.kernel = self.add_own_weight("kernel", shape)
        self.bias = self.add_own_weight("bias", (own.filters,)) if own.use_bias else None

    def call(self, x: Tensor) -> Tensor:
        """Return the transposed convolution; (batch, ..., channels) in and out."""
        own: Any = self
        rank = self.rank
        kernel = ops.transpose(self.kernel, [rank + 1, rank, *range(rank)])
        cuts = [self._cut(i) for i in range(rank)]
        y = emit(
            "ConvTranspose", channels_first(x), kernel, self.bias,
            strides=list(own.strides), dilations=list(own.dilation_rate),
            kernel_shape=list(own.kernel_size),
            pads=[before for before, _ in cuts] + [max(after, 0) for _, after in cuts],
            output_padding=[max(-after, 0) for _, after in cuts],
        )  # fmt: skip
        return finish(y, own.activation)

    def _cut(self, i: int) -> tuple[int, int]:
        """Return what to cut from both ends of a dimension; negative: what to add."""
        own: Any = self
        stride = own.strides[i]
        window = (own.kernel_size[i] - 1) * own.dilation_rate[i] + 1
        given = own.output_padding
        extra = given if given is None or isinstance(given, int) else given[i]
        if own.padding == "valid":
            return 0, -(max(stride - window, 0) if extra is None else extra)
        # The output has `stride` times the input's size or, with a given padding, Keras's.
        kept = window + (stride if extra is None else window % 2 + extra) - 2
        before = min(kept - kept // 2, window - 1)
        return window - 1 - before, window - 1 - (kept - before)


class _ConvTranspose(BaseConvTranspose):
    filters: int
    kernel_size: Any
    strides: Any = 1
    padding: str = "valid"
    output_padding: Any = None
    data_format: str | None = None
    dilation_rate: Any = 1
    activation: Any = None
    use_bias: bool = True
    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"
    kernel_regularizer: Any = None
    bias_regularizer: Any = None
    activity_regularizer: Any = None
    kernel_constraint: Any = None
    bias_constraint: Any = None


class Conv1DTranspose(_ConvTranspose):
    """Transposed convolution over time; see `Conv2DTranspose` for the arguments.

    Input shape: (batch, steps, channels). Output shape: (batch, new steps, filters).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Conv1DTranspose
        >>> Conv1DTranspose(4, 3, strides=2, padding="same")(np.ones((1, 5, 2))).shape
        (1, 10, 4)
    """

    rank = 1


class Conv2DTranspose(_ConvTranspose):
    """Transposed convolution over pictures: the way from small to large.

    Args:
        filters: Number of output channels.
        kernel_size: Rows and columns that an input reaches.
        strides: How much larger the output is.
        padding: "valid" or "same" (the output is the input times `strides`).
        output_padding: Rows and columns to add at the end.
        data_format: None or "channels_last".
        dilation_rate: Distance between the places that an input reaches.
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
    filters). Weights: kernel (rows, columns, filters, channels), bias (filters,).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Conv2DTranspose
        >>> Conv2DTranspose(4, 3, strides=2, padding="same")(np.ones((1, 5, 5, 2))).shape
        (1, 10, 10, 4)
    """

    rank = 2


class Conv3DTranspose(BaseConvTranspose):
    """Transposed convolution over volumes; see `Conv2DTranspose` for the arguments.

    As in Keras, `data_format` stands before `output_padding` here.

    Input shape: (batch, depth, rows, columns, channels). Output shape: (batch, new depth,
    new rows, new columns, filters).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Conv3DTranspose
        >>> Conv3DTranspose(4, 2, strides=2)(np.ones((1, 2, 2, 2, 3))).shape
        (1, 4, 4, 4, 4)
    """

    rank = 3

    filters: int
    kernel_size: Any
    strides: Any = 1
    padding: str = "valid"
    data_format: str | None = None
    output_padding: Any = None
    dilation_rate: Any = 1
    activation: Any = None
    use_bias: bool = True
    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"
    kernel_regularizer: Any = None
    bias_regularizer: Any = None
    activity_regularizer: Any = None
    kernel_constraint: Any = None
    bias_constraint: Any = None
