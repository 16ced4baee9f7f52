"""Pictures of another size: in training and after it."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Tensor, emit
from edgeml.layers._layer import Layer
from edgeml.layers._layout import channels_first, channels_last, check_data_format
from edgeml.layers._parameter import Array

_MODES = {"nearest": "nearest", "bilinear": "linear", "bicubic": "cubic"}


class Resizing(Layer):
    """Pictures of another size.

    Args:
        height: New number of rows.
        width: New number of columns.
        interpolation: "bilinear", "nearest" or "bicubic" (with -0.75, as PyTorch's).
        crop_to_aspect_ratio: Whether to cut edges off first, so that nothing is stretched.
        pad_to_aspect_ratio: Whether to add edges of `fill_value` first, so that nothing is
            stretched.
        fill_mode: "constant".
        fill_value: What is added.
        antialias: Whether to filter before making pictures smaller (as PIL: the cubic then has
            -0.5); not for "nearest".
        data_format: None or "channels_last".

    Input shape: (batch, rows, columns, channels), of any dtype. Output shape: (batch, height,
    width, channels), float32.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Resizing
        >>> Resizing(4, 4)(np.zeros((1, 8, 6, 3), np.uint8)).shape
        (1, 4, 4, 3)
    """

    height: int
    width: int
    interpolation: str = "bilinear"
    crop_to_aspect_ratio: bool = False
    pad_to_aspect_ratio: bool = False
    fill_mode: str = "constant"
    fill_value: float = 0.0
    antialias: bool = False
    data_format: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_data_format(self.data_format)
        check_size(self)
        if self.interpolation not in _MODES:
            raise ConfigError(
                f"Resizing: interpolation: expected one of {', '.join(_MODES)}, received "
                f"{self.interpolation!r}"
            )
        if self.crop_to_aspect_ratio and self.pad_to_aspect_ratio:
            raise ConfigError("Resizing: crop_to_aspect_ratio or pad_to_aspect_ratio, not both")
        if self.fill_mode != "constant":
            raise ConfigError(f"Resizing: fill_mode is 'constant', received {self.fill_mode!r}")

    def call(self, x: Tensor) -> Tensor:
        """Return the pictures in the new size."""
        first = channels_first(ops.cast(x, np.float32))
        if self.crop_to_aspect_ratio:
            first = crop_to_ratio(first, self.height, self.width)
        elif self.pad_to_aspect_ratio:
            first = self._padded(first)
        mode, size = _MODES[self.interpolation], (self.height, self.width)
        if self.antialias and mode != "nearest":
            rows, columns = (
                _weights(old, new, mode) for old, new in zip(size_of(first), size, strict=True)
            )
            return channels_last(ops.matmul(ops.matmul(rows, first), columns.T.copy()))
        return channels_last(ops.resize(first, size, mode=mode, nearest="round_prefer_ceil"))

    def _padded(self, x: Tensor) -> Tensor:
        rows, columns = size_of(x)
        tall = max(rows, columns * self.height // self.width)
        wide = max(columns, rows * self.width // self.height)
        edges = [((n - old) // 2,) * 2 for n, old in ((tall, rows), (wide, columns))]
        return ops.pad(x, [(0, 0), (0, 0), *edges], value=self.fill_value)


def _weights(old: int, new: int, mode: str) -> Array:
    """Return the share (new, old) of each old pixel in each new one, filtered as PIL does.

    The runtime's own antialias was seen to give other values than PIL's and PyTorch's.
    """
    scale = old / new
    centre = (np.arange(new)[:, None] + 0.5) * scale - 0.5
    away = np.abs(np.arange(old) - centre) / max(scale, 1.0)
    if mode == "linear":
        weights = np.maximum(1.0 - away, 0.0)
    else:  # Keys's cubic with a = -0.5
        near = (1.5 * away - 2.5) * away**2 + 1.0
        far = ((-0.5 * away + 2.5) * away - 4.0) * away + 2.0
        weights = np.where(away < 1.0, near, np.where(away < 2.0, far, 0.0))
    found: Array = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return found


class CenterCrop(Layer):
    """The middle of pictures; those that are too small are resized without stretching them.

    Args:
        height: Rows of the middle.
        width: Columns of the middle.
        data_format: None or "channels_last".

    Input shape: (batch, rows, columns, channels), of any dtype. Output shape: (batch, height,
    width, channels), float32.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import CenterCrop
        >>> CenterCrop(1, 2)(np.arange(12.0).reshape(1, 3, 4, 1)).ravel().tolist()
        [5.0, 6.0]
    """

    height: int
    width: int
    data_format: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_data_format(self.data_format)
        check_size(self)

    def call(self, x: Tensor) -> Tensor:
        """Return the middle."""
        return channels_last(
            middle(channels_first(ops.cast(x, np.float32)), self.height, self.width)
        )


def check_size(layer: Any) -> None:
    """Refuse a height or width that is not positive.

    Raises:
        ConfigError: it is not.
    """
    if layer.height < 1 or layer.width < 1:
        raise ConfigError(
            f"{type(layer).__name__}: height and width: expected positive numbers, received "
            f"{layer.height} and {layer.width}"
        )


def size_of(x: Tensor) -> tuple[int, int]:
    """Return rows and columns of channels-first pictures.

    Raises:
        ShapeError: they are not known.
    """
    shape = x.known_shape
    if len(shape) != 4 or any(isinstance(dim, str) for dim in shape[2:]):
        raise ShapeError(
            f"expected pictures (batch, rows, columns, channels) of a known size, received {x!r}",
            received=shape,
        )
    return int(shape[2]), int(shape[3])


def middle(x: Tensor, height: int, width: int) -> Tensor:
    """Return the middle of channels-first pictures, or all of small ones, resized."""
    rows, columns = size_of(x)
    if rows >= height and columns >= width:
        return crop(x, (rows - height) // 2, (columns - width) // 2, height, width)
    return ops.resize(crop_to_ratio(x, height, width), (height, width))


def crop_to_ratio(x: Tensor, height: int, width: int) -> Tensor:
    """Return the largest middle of channels-first pictures that has the ratio of a size."""
    rows, columns = size_of(x)
    tall = max(min(rows, columns * height // width), 1)
    wide = max(min(columns, rows * width // height), 1)
    return crop(x, (rows - tall) // 2, (columns - wide) // 2, tall, wide)


def crop(x: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """Return a part of channels-first pictures."""
    if (height, width) == size_of(x):
        return x
    return ops.slice_(x, [top, left], [top + height, left + width], [2, 3])


def gather_crop(x: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """Return a part whose place is computed; its size is fixed."""
    rows = emit("Gather", x, top + np.arange(height), axis=2)
    return emit("Gather", rows, left + np.arange(width), axis=3)
