"""Convolutions, pools, resizing and normalization; channels come second, as in ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeml.errors import ShapeError
from edgeml.graph import Tensor, as_tensor, emit
from edgeml.ops._math import Like
from edgeml.ops._shape import reshape

Sizes = int | Sequence[int]


def conv(
    x: Like, kernel: Like, bias: Like = None, *, strides: Sizes = 1,
    padding: str | Sizes = "valid", dilations: Sizes = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Return the convolution of `x`, over one, two or three axes.

    Args:
        x: Tensor (batch, channels, *sizes).
        kernel: Weights (filters, channels / groups, *taps).
        bias: Tensor (filters,), or None.
        strides: Distance between neighbouring windows; one number is for all axes.
        padding: ``"valid"`` for none; ``"same"`` for outputs of size ``ceil(size / stride)``; or
            how much at both ends: a number, one for each axis, or all starts and then all ends.
        dilations: Distance between neighbouring taps.
        groups: Groups of channels that do not mix; as many as channels is depthwise.

    Returns:
        A tensor (batch, filters, *sizes).

    Raises:
        ShapeError: the shapes do not fit.

    Example:
        >>> import numpy as np, edgeml
        >>> x, w = np.ones((1, 3, 8, 8)), np.ones((4, 3, 3, 3))
        >>> edgeml.function(lambda x, w: edgeml.ops.conv(x, w, padding="same"))(x, w).shape
        (1, 4, 8, 8)
    """
    value, weights = as_tensor(x), as_tensor(kernel)
    rank = weights.ndim - 2
    _check_channels("conv", value, weights.known_shape[1], groups)
    steps, gaps = _each(strides, rank), _each(dilations, rank)
    if padding == "same":
        extents = [d * (k - 1) + 1 for k, d in zip(weights.static_shape[2:], gaps, strict=True)]
        padding = _same(value, extents, steps)
    return emit("Conv", value, weights, bias, strides=steps, dilations=gaps, group=groups,
                **_padding(padding, rank))  # fmt: skip


def conv_transpose(
    x: Like, kernel: Like, bias: Like = None, *, strides: Sizes = 1,
    padding: str | Sizes = "valid", output_padding: Sizes = 0, dilations: Sizes = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """Return the transposed convolution of `x`: each value is spread by the kernel.

    Args:
        x: Tensor (batch, channels, *sizes).
        kernel: Weights (channels, filters / groups, *taps).
        bias: Tensor (filters,), or None.
        strides: How far apart the spread values are.
        padding: What is cut from the output: ``"valid"`` for nothing; ``"same"`` for outputs of
            size ``size * stride``; or numbers as for `conv`.
        output_padding: What is added at the end of each axis.
        dilations: Distance between neighbouring taps.
        groups: Groups of channels that do not mix.

    Returns:
        A tensor (batch, filters, *sizes).

    Raises:
        ShapeError: the shapes do not fit.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x, y: edgeml.ops.conv_transpose(x, y, strides=2))
        >>> run(np.ones((1, 3, 4, 4)), np.ones((3, 2, 2, 2))).shape
        (1, 2, 8, 8)
    """
    value, weights = as_tensor(x), as_tensor(kernel)
    _check_channels("conv_transpose", value, weights.known_shape[0], 1)
    taps = weights.static_shape[2:]
    rank = len(taps)
    steps, gaps = _each(strides, rank), _each(dilations, rank)
    extra = _each(output_padding, rank)
    if padding == "same":  # written out: the runtime's own idea of it differs
        totals = [d * (k - 1) + 1 - s for k, d, s in zip(taps, gaps, steps, strict=True)]
        cut = [max(n, 0) for n in totals]
        padding = [n // 2 for n in cut] + [n - n // 2 for n in cut]
        extra = [e + max(-n, 0) for e, n in zip(extra, totals, strict=True)]
    return emit(
        "ConvTranspose", value, weights, bias, strides=steps, dilations=gaps, group=groups,
        output_padding=extra, **_padding(padding, rank),
    )  # fmt: skip


def max_pool(
    x: Like, pool_size: Sizes, strides: Sizes | None = None, *, padding: str | Sizes = "valid",
    dilations: Sizes = 1, ceil_mode: bool = False,
) -> Tensor:  # fmt: skip
    """Return the largest value of each window.

    Args:
        x: Tensor (batch, channels, *sizes).
        pool_size: Size of the window; one number is for all axes.
        strides: Distance between neighbouring windows; None is `pool_size`.
        padding: As for `conv`; what is padded is never the largest.
        dilations: Distance between the values of a window.
        ceil_mode: Whether a last window may reach beyond the end.

    Raises:
        ShapeError: the window does not fit.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.max_pool(x, 2))
        >>> run(np.ones((1, 1, 4, 4))).shape
        (1, 1, 2, 2)
    """
    value = as_tensor(x)
    rank = value.ndim - 2
    gaps = _each(dilations, rank)
    return _pool("MaxPool", value, pool_size, strides, padding, dilations=gaps,
                 ceil_mode=int(ceil_mode))  # fmt: skip


def average_pool(
    x: Like, pool_size: Sizes, strides: Sizes | None = None, *, padding: str | Sizes = "valid",
    ceil_mode: bool = False, count_include_pad: bool = False,
) -> Tensor:  # fmt: skip
    """Return the mean of each window.

    Args:
        x: Tensor (batch, channels, *sizes).
        pool_size: Size of the window; one number is for all axes.
        strides: Distance between neighbouring windows; None is `pool_size`.
        padding: As for `conv`.
        ceil_mode: Whether a last window may reach beyond the end.
        count_include_pad: Whether padding counts as zeros; else it is left out of the mean.

    Raises:
        ShapeError: the window does not fit.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.average_pool(x, 2))
        >>> run(np.ones((1, 1, 4, 4))).shape
        (1, 1, 2, 2)
    """
    return _pool("AveragePool", as_tensor(x), pool_size, strides, padding,
                 ceil_mode=int(ceil_mode), count_include_pad=int(count_include_pad))  # fmt: skip


def global_average_pool(x: Like, *, keepdims: bool = False) -> Tensor:
    """Return the mean of each channel: (batch, channels), or with axes of size one kept.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.global_average_pool(x))
        >>> run(np.ones((1, 1, 4, 4))).shape
        (1, 1)
    """
    return _global("GlobalAveragePool", x, keepdims)


def global_max_pool(x: Like, *, keepdims: bool = False) -> Tensor:
    """Return the largest value of each channel: (batch, channels), or with axes of one kept.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.global_max_pool(x))
        >>> run(np.ones((1, 1, 4, 4))).shape
        (1, 1)
    """
    return _global("GlobalMaxPool", x, keepdims)


def resize(
    x: Like, size: Sequence[int], *, mode: str = "linear", coordinates: str = "half_pixel",
    nearest: str = "round_prefer_floor", antialias: bool = False,
) -> Tensor:  # fmt: skip
    """Return images of another size.

    Args:
        x: Tensor (batch, channels, *sizes).
        size: New size of each spatial axis.
        mode: ``"nearest"``, ``"linear"`` or ``"cubic"``.
        coordinates: ONNX's ``coordinate_transformation_mode``; PyTorch's are
            ``"pytorch_half_pixel"`` and ``"align_corners"``, and ``"asymmetric"`` for nearest.
        nearest: ONNX's ``nearest_mode``; PyTorch's is ``"floor"``.
        antialias: Whether to filter before making images smaller.

    Raises:
        ShapeError: `size` does not have a number for each spatial axis.

    Example:
        >>> import numpy as np, edgeml
        >>> grow = edgeml.function(lambda x: edgeml.ops.resize(x, (4, 6), mode="nearest"))
        >>> grow(np.ones((1, 1, 2, 3))).shape
        (1, 1, 4, 6)
    """
    value = as_tensor(x)
    new = _each(size, value.ndim - 2)
    lead, old = value.known_shape[:2], value.known_shape[2:]
    if mode == "cubic" and not any(isinstance(dim, str) for dim in (lead[1], *old)):
        # The runtime moves a transposition behind Resize, where its cubic kernel fails; not so
        # across a change of the channels.
        value = emit("Reshape", value, np.array([-1, 1, *old], np.int64))
    made = _resized(
        value, new, mode=mode, coordinate_transformation_mode=coordinates,
        nearest_mode=nearest if mode == "nearest" else None, antialias=1 if antialias else None,
    )  # fmt: skip
    if made.known_shape[1] == lead[1]:
        return made
    return emit("Reshape", made, np.array([-1, lead[1], *new], np.int64))


def _resized(x: Tensor, size: Sequence[int], **attributes: Any) -> Tensor:
    """Emit Resize with the sizes of all axes: with `axes` the runtime refuses transposed inputs."""
    lead, new = x.known_shape[:2], np.array(size, np.int64)
    if all(isinstance(dim, int) for dim in lead):
        return emit("Resize", x, None, None, np.array([*lead, *new], np.int64), **attributes)
    sizes = emit("Concat", emit("Shape", x, end=2), new, axis=0)
    return emit("Resize", x, None, None, sizes, types=[(x.dtype, (*lead, *size))], **attributes)


def batch_norm(
    x: Like, scale: Like, bias: Like, mean: Like, variance: Like, *, epsilon: float = 1e-3
) -> Tensor:
    """Return ``(x - mean) / sqrt(variance + epsilon) * scale + bias``, per channel (axis 1)."""
    return emit("BatchNormalization", x, scale, bias, mean, variance, epsilon=float(epsilon))


def layer_norm(
    x: Like, scale: Like, bias: Like = None, *, axis: int = -1, epsilon: float = 1e-3
) -> Tensor:
    """Return `x` with mean zero and variance one over `axis` and all after it, scaled.

    Args:
        x: A tensor.
        scale: Factors, of the shape of the normalized axes.
        bias: Offsets of that shape, or None.
        axis: First axis to normalize.
        epsilon: Added to the variance.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x, y, z: edgeml.ops.layer_norm(x, y, z))
        >>> run(np.ones((2, 3)), np.ones(3), np.zeros(3)).shape
        (2, 3)
    """
    return emit("LayerNormalization", x, scale, bias, axis=axis, epsilon=float(epsilon))


def instance_norm(x: Like, scale: Like, bias: Like, *, epsilon: float = 1e-3) -> Tensor:
    """Return each channel of each image with mean zero and variance one, scaled per channel.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x, y, z: edgeml.ops.instance_norm(x, y, z))
        >>> run(np.ones((1, 4, 5)), np.ones(4), np.zeros(4)).shape
        (1, 4, 5)
    """
    return emit("InstanceNormalization", x, scale, bias, epsilon=float(epsilon))


def group_norm(x: Like, scale: Like, bias: Like, groups: int, *, epsilon: float = 1e-3) -> Tensor:
    """Return groups of channels with mean zero and variance one, scaled per channel.

    Args:
        x: Tensor (batch, channels, *sizes) of a static shape.
        scale: Factors (channels,).
        bias: Offsets (channels,).
        groups: Number of groups.
        epsilon: Added to the variance.

    Raises:
        ShapeError: `groups` does not divide the channels.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x, y, z: edgeml.ops.group_norm(x, y, z, 2))
        >>> run(np.ones((1, 4, 5)), np.ones(4), np.zeros(4)).shape
        (1, 4, 5)
    """
    value = as_tensor(x)
    shape = value.static_shape
    channels = shape[1]
    if channels % groups:
        raise ShapeError(
            f"{channels} channels cannot be split into {groups} groups", received=groups
        )
    count = int(np.prod(shape[1:])) // groups
    rows = reshape(value, (shape[0], groups, count))
    normal = layer_norm(rows, np.ones(count, np.float32), epsilon=epsilon)
    per_channel = (channels, *[1] * (len(shape) - 2))
    return reshape(normal, shape) * reshape(scale, per_channel) + reshape(bias, per_channel)


def _pool(
    op: str, x: Tensor, size: Sizes, strides: Sizes | None, padding: str | Sizes, **more: Any
) -> Tensor:
    rank = x.ndim - 2
    window = _each(size, rank)
    steps = window if strides is None else _each(strides, rank)
    return emit(op, x, kernel_shape=window, strides=steps, **_padding(padding, rank), **more)


def _global(op: str, x: Like, keepdims: bool) -> Tensor:
    value = as_tensor(x)
    made = emit(op, value)
    if keepdims:
        return made
    return emit("Squeeze", made, np.arange(2, value.ndim))


def _each(value: Sizes, rank: int) -> list[int]:
    found = [value] * rank if isinstance(value, int) else [int(n) for n in value]
    if len(found) != rank:
        raise ShapeError(
            f"expected a number for each of {rank} axes, or one for all, received {value}",
            expected=rank, received=value,
        )  # fmt: skip
    return found


def _check_channels(name: str, x: Tensor, channels: int | str, groups: int) -> None:
    received = x.known_shape[1]
    if isinstance(channels, int) and isinstance(received, int) and channels * groups != received:
        raise ShapeError(
            f"{name}: the kernel is for {channels * groups} channels ({groups} groups of "
            f"{channels}), received {x!r}, which has {received}",
            expected=channels * groups, received=received,
        )  # fmt: skip


def _same(x: Tensor, extents: Sequence[int], strides: Sequence[int]) -> str | list[int]:
    """Return the pads of "same" in numbers where they are known: dilation needs them."""
    totals = []
    for size, extent, stride in zip(x.known_shape[2:], extents, strides, strict=True):
        if stride == 1:
            totals.append(extent - 1)
        elif isinstance(size, int):
            totals.append(max((-(-size // stride) - 1) * stride + extent - size, 0))
        else:
            return "same"
    return [n // 2 for n in totals] + [n - n // 2 for n in totals]


def _padding(padding: str | Sizes, rank: int) -> dict[str, Any]:
    """Return the attributes that say it."""
    if isinstance(padding, str):
        if padding not in ("valid", "same"):
            raise ShapeError(
                f'padding must be "valid", "same" or numbers, received {padding!r}',
                received=padding,
            )
        return {"auto_pad": "SAME_UPPER"} if padding == "same" else {}
    if not isinstance(padding, int) and len(padding) == 2 * rank:
        return {"pads": [int(n) for n in padding]}
    return {"pads": _each(padding, rank) * 2}
