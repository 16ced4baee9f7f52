"""Convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeml import ops
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Tensor, emit
from edgeml.layers import _activations as activations
from edgeml.layers._layer import Layer
from edgeml.layers._layout import channels_first, channels_last


def spread(value: Any, rank: int, what: str) -> tuple[int, ...]:
    """Return one positive number for each dimension.

    Raises:
        ConfigError: it is neither a number nor as many numbers as there are dimensions.
    """
    found = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(found) != rank or any(int(n) < 1 for n in found):
        raise ConfigError(f"{what}: expected {rank} positive numbers, received {value!r}")
    return tuple(int(n) for n in found)


def same_pads(
    sizes: Sequence[int | None], window: Sequence[int], strides: Sequence[int]
) -> list[int] | None:
    """Return ONNX's pads for "same" (more at the end), or None when a size is not known."""
    before, after = [], []
    for size, k, stride in zip(sizes, window, strides, strict=True):
        if size is None:
            if stride > 1:
                return None
            total = k - 1
        else:
            total = max((-(-size // stride) - 1) * stride + k - size, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return before + after


def pads_of(
    padding: str, sizes: Sequence[int | None], window: Sequence[int], strides: Sequence[int]
) -> dict[str, Any]:
    """Return the ONNX attributes of a padding: "valid", "same" or "causal".

    Raises:
        ConfigError: there is no such padding.
    """
    if padding == "valid":
        return {}
    if padding == "causal":
        return {"pads": [window[0] - 1, 0]}
    if padding != "same":
        raise ConfigError(f"padding: expected valid, same or causal, received {padding!r}")
    pads = same_pads(sizes, window, strides)
    return {"auto_pad": "SAME_UPPER"} if pads is None else {"pads": pads}


class BaseConv(Layer):
    """What all convolutions share; see `Conv2D`."""

    rank = 2

    filters: int
    kernel_size: Any
    strides: Any = 1
    padding: str = "valid"
    dilation_rate: Any = 1
    groups: int = 1
    activation: Any = None
    use_bias: bool = True
    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"
    kernel_regularizer: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.kernel_size = spread(self.kernel_size, self.rank, "kernel_size")
        self.strides = spread(self.strides, self.rank, "strides")
        self.dilation_rate = spread(self.dilation_rate, self.rank, "dilation_rate")
        if self.filters < 1 or self.filters % self.groups:
            raise ConfigError(f"filters: expected a multiple of {self.groups}, got {self.filters}")

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias."""
        channels = channels_of(input_shape, self.rank, type(self).__name__)
        if channels % self.groups:
            raise ShapeError(f"{channels} input channels are no multiple of {self.groups} groups")
        self.kernel = self.add_weight(
            "kernel", (*self.kernel_size, channels // self.groups, self.filters),
            self.kernel_initializer, regularizer=self.kernel_regularizer,
        )  # fmt: skip
        if self.use_bias:
            self.bias = self.add_weight("bias", (self.filters,), self.bias_initializer)

    def call(self, x: Tensor) -> Tensor:
        """Return the convolution; (batch, ..., channels) in and out."""
        y = convolve(
            channels_first(x), kernel_first(self.kernel, self.rank),
            strides=self.strides, padding=self.padding, dilations=self.dilation_rate,
            groups=self.groups, bias=self.bias if self.use_bias else None,
        )  # fmt: skip
        return finish(y, self.activation)


def channels_of(shape: Any, rank: int, what: str) -> int:
    """Return the channels of a channels-last shape.

    Raises:
        ShapeError: the rank is another, or the channels are not known.
    """
    if shape is None or len(shape) != rank + 2 or shape[-1] is None:
        raise ShapeError(
            f"{what} takes (batch, {', '.join(['…'] * rank)}, channels), received {shape}",
            expected=rank + 2, received=shape,
        )  # fmt: skip
    return int(shape[-1])


def kernel_first(kernel: Any, rank: int) -> Tensor:
    """Return a kernel (..., inputs, outputs) as ONNX's (outputs, inputs, ...)."""
    return ops.transpose(kernel, [rank + 1, rank, *range(rank)])


def convolve(
    x: Tensor, kernel: Tensor, *, strides: Sequence[int], padding: str,
    dilations: Sequence[int], groups: int, bias: Any,
) -> Tensor:  # fmt: skip
    """Emit a Conv on channels-first tensors with Keras's padding."""
    window = [(int(k) - 1) * d + 1 for k, d in zip(kernel.known_shape[2:], dilations, strict=True)]
    lengths = [None if isinstance(n, str) else n for n in x.known_shape[2:]]
    return emit(
        "Conv", x, kernel, bias, strides=list(strides), dilations=list(dilations), group=groups,
        kernel_shape=list(kernel.known_shape[2:]), **pads_of(padding, lengths, window, strides),
    )  # fmt: skip


def finish(y: Tensor, activation: Any) -> Tensor:
    """Apply an activation to a channels-first tensor, and return it channels-last."""
    if activation is None:
        return channels_last(y)
    fn = activations.get(activation)
    if fn in activations.OVER_LAST_AXIS or not activations.is_known(fn):
        return fn(channels_last(y))
    return channels_last(fn(y))


class Conv1D(BaseConv):
    """Convolution over time.

    Args:
        filters: Number of output channels.
        kernel_size: Steps that a filter sees.
        strides: Steps from one output to the next.
        padding: "valid", "same" or "causal".
        dilation_rate: Distance between the steps that a filter sees.
        groups: Groups of channels that do not see each other.
        activation: Name or function.
        use_bias: Whether to add a bias.

    Input shape: (batch, steps, channels). Output shape: (batch, new steps, filters).
    Kernel: (kernel_size, channels / groups, filters).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Conv1D
        >>> Conv1D(4, 3, padding="causal")(np.ones((1, 10, 2))).shape
        (1, 10, 4)
    """

    rank = 1


class Conv2D(BaseConv):
    """Convolution over pictures; see `Conv1D` for the arguments.

    Input shape: (batch, rows, columns, channels). Kernel: (rows, columns, channels, filters).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Conv2D
        >>> Conv2D(8, 3, strides=2, padding="same", activation="relu")(np.ones((1, 9, 9, 3))).shape
        (1, 5, 5, 8)
    """

    rank = 2


class Conv3D(BaseConv):
    """Convolution over volumes; see `Conv1D` for the arguments.

    Input shape: (batch, depth, rows, columns, channels).
    """

    rank = 3


class BaseConvTranspose(Layer):
    """What the transposed convolutions share; see `Conv2DTranspose`."""

    rank = 2

    filters: int
    kernel_size: Any
    strides: Any = 1
    padding: str = "valid"
    output_padding: Any = None
    dilation_rate: Any = 1
    activation: Any = None
    use_bias: bool = True
    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.kernel_size = spread(self.kernel_size, self.rank, "kernel_size")
        self.strides = spread(self.strides, self.rank, "strides")
        self.dilation_rate = spread(self.dilation_rate, self.rank, "dilation_rate")

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias."""
        channels = channels_of(input_shape, self.rank, type(self).__name__)
        self.kernel = self.add_weight(
            "kernel", (*self.kernel_size, self.filters, channels), self.kernel_initializer
        )
        if self.use_bias:
            self.bias = self.add_weight("bias", (self.filters,), self.bias_initializer)

    def call(self, x: Tensor) -> Tensor:
        """Return the transposed convolution; (batch, ..., channels) in and out."""
        rank = self.rank
        kernel = ops.transpose(self.kernel, [rank + 1, rank, *range(rank)])
        pads, extra = self._pads()
        y = emit(
            "ConvTranspose", channels_first(x), kernel, self.bias if self.use_bias else None,
            strides=list(self.strides), dilations=list(self.dilation_rate),
            kernel_shape=list(self.kernel_size), pads=pads, output_padding=extra,
        )  # fmt: skip
        return finish(y, self.activation)

    def _pads(self) -> tuple[list[int], list[int]]:
        """Return ONNX's pads and output_padding for Keras's output length."""
        if self.padding not in ("valid", "same"):
            raise ConfigError(f"padding: expected valid or same, received {self.padding!r}")
        before, after, extra = [], [], []
        given = None if self.output_padding is None else (
            (self.output_padding,) * self.rank
            if isinstance(self.output_padding, int) else tuple(self.output_padding)
        )  # fmt: skip
        for i, (k, stride, d) in enumerate(
            zip(self.kernel_size, self.strides, self.dilation_rate, strict=True)
        ):
            window = (k - 1) * d + 1
            if self.padding == "valid":
                lead = trail = 0
                more = max(stride - window, 0) if given is None else given[i]
            elif given is None:
                total = max(window - stride, 0)
                lead, more = total // 2, max(stride - window, 0)
                trail = total - lead
            else:
                lead = trail = window // 2
                more = given[i] + (1 - window % 2)
            before.append(lead)
            after.append(trail)
            extra.append(more)
        return before + after, extra


class Conv1DTranspose(BaseConvTranspose):
    """Transposed convolution over time; see `Conv2DTranspose`.

    Input shape: (batch, steps, channels).
    """

    rank = 1


class Conv2DTranspose(BaseConvTranspose):
    """Transposed convolution over pictures: the way from small to large.

    Args:
        filters: Number of output channels.
        kernel_size: Rows and columns that an input reaches.
        strides: How much larger the output is.
        padding: "valid" or "same" (the output is the input times `strides`).
        output_padding: Rows and columns to add at the end.
        dilation_rate: Distance between the places that an input reaches.
        activation: Name or function.
        use_bias: Whether to add a bias.

    Input shape: (batch, rows, columns, channels). Kernel: (rows, columns, filters, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Conv2DTranspose
        >>> Conv2DTranspose(4, 3, strides=2, padding="same")(np.ones((1, 5, 5, 2))).shape
        (1, 10, 10, 4)
    """

    rank = 2


class Conv3DTranspose(BaseConvTranspose):
    """Transposed convolution over volumes; see `Conv2DTranspose`.

    Input shape: (batch, depth, rows, columns, channels).
    """

    rank = 3


class BaseDepthwiseConv(Layer):
    """What the depthwise convolutions share; see `DepthwiseConv2D`."""

    rank = 2

    kernel_size: Any
    strides: Any = 1
    padding: str = "valid"
    depth_multiplier: int = 1
    dilation_rate: Any = 1
    activation: Any = None
    use_bias: bool = True
    depthwise_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.kernel_size = spread(self.kernel_size, self.rank, "kernel_size")
        self.strides = spread(self.strides, self.rank, "strides")
        self.dilation_rate = spread(self.dilation_rate, self.rank, "dilation_rate")

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias."""
        channels = channels_of(input_shape, self.rank, type(self).__name__)
        self.kernel = self.add_weight(
            "kernel", (*self.kernel_size, channels, self.depth_multiplier),
            self.depthwise_initializer,
        )  # fmt: skip
        if self.use_bias:
            size = channels * self.depth_multiplier
            self.bias = self.add_weight("bias", (size,), self.bias_initializer)

    def call(self, x: Tensor) -> Tensor:
        """Return the convolution of each channel by itself."""
        bias = self.bias if self.use_bias else None
        y = depthwise(channels_first(x), self.kernel, self, bias)
        return finish(y, self.activation)


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


class DepthwiseConv1D(BaseDepthwiseConv):
    """Convolution of each channel by itself, over time; see `DepthwiseConv2D`."""

    rank = 1


class DepthwiseConv2D(BaseDepthwiseConv):
    """Convolution of each channel by itself.

    Args:
        kernel_size: Rows and columns that a filter sees.
        strides: Steps from one output to the next.
        padding: "valid" or "same".
        depth_multiplier: Output channels of each input channel.
        dilation_rate: Distance between the places that a filter sees.
        activation: Name or function.
        use_bias: Whether to add a bias.

    Input shape: (batch, rows, columns, channels). Kernel: (rows, columns, channels, multiplier).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import DepthwiseConv2D
        >>> DepthwiseConv2D(3, padding="same")(np.ones((1, 5, 5, 2))).shape
        (1, 5, 5, 2)
    """

    rank = 2


class BaseSeparableConv(Layer):
    """What the separable convolutions share; see `SeparableConv2D`."""

    rank = 2

    filters: int
    kernel_size: Any
    strides: Any = 1
    padding: str = "valid"
    dilation_rate: Any = 1
    depth_multiplier: int = 1
    activation: Any = None
    use_bias: bool = True
    depthwise_initializer: Any = "glorot_uniform"
    pointwise_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.kernel_size = spread(self.kernel_size, self.rank, "kernel_size")
        self.strides = spread(self.strides, self.rank, "strides")
        self.dilation_rate = spread(self.dilation_rate, self.rank, "dilation_rate")

    def build(self, input_shape: Any) -> None:
        """Make both kernels and the bias."""
        channels = channels_of(input_shape, self.rank, type(self).__name__)
        self.depthwise_kernel = self.add_weight(
            "depthwise_kernel", (*self.kernel_size, channels, self.depth_multiplier),
            self.depthwise_initializer,
        )  # fmt: skip
        ones = (1,) * self.rank
        self.pointwise_kernel = self.add_weight(
            "pointwise_kernel", (*ones, channels * self.depth_multiplier, self.filters),
            self.pointwise_initializer,
        )  # fmt: skip
        if self.use_bias:
            self.bias = self.add_weight("bias", (self.filters,), self.bias_initializer)

    def call(self, x: Tensor) -> Tensor:
        """Return the two convolutions, one after the other."""
        deep = depthwise(channels_first(x), self.depthwise_kernel, self)
        ones = [1] * self.rank
        y = convolve(
            deep, kernel_first(self.pointwise_kernel, self.rank), strides=ones,
            padding="valid", dilations=ones, groups=1, bias=self.bias if self.use_bias else None,
        )  # fmt: skip
        return finish(y, self.activation)


class SeparableConv1D(BaseSeparableConv):
    """A depthwise convolution over time and one that mixes channels; see `SeparableConv2D`."""

    rank = 1


class SeparableConv2D(BaseSeparableConv):
    """A depthwise convolution and one that mixes channels: much of Conv2D for little work.

    Args:
        filters: Number of output channels.
        kernel_size: Rows and columns that a depthwise filter sees.
        strides: Steps from one output to the next.
        padding: "valid" or "same".
        dilation_rate: Distance between the places that a filter sees.
        depth_multiplier: Depthwise channels of each input channel.
        activation: Name or function.
        use_bias: Whether to add a bias.

    Input shape: (batch, rows, columns, channels). Output shape: (batch, ..., filters).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import SeparableConv2D
        >>> SeparableConv2D(4, 3)(np.ones((1, 5, 5, 2))).shape
        (1, 3, 3, 4)
    """

    rank = 2
