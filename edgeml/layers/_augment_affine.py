"""Augmentations that turn, shift, stretch and shear pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError
from edgeml.graph import Tensor, emit
from edgeml.layers._augment import BaseAugmentation, chosen, limits
from edgeml.layers._image import size_of
from edgeml.layers._layout import channels_first, channels_last

_FILLS = {"reflect": "reflection", "nearest": "border", "constant": "zeros", "wrap": "border"}
_MODES = {"bilinear": ("bilinear", "linear"), "nearest": ("nearest", "nearest")}

Matrix = Sequence[Any]
"""(a0, a1, a2, b0, b1, b2): the pixel (x, y) is read at (a0 x + a1 y + a2, b0 x + b1 y + b2).

Each is a number, or a tensor (batch, 1).
"""


class BaseAffine(BaseAugmentation):
    """What affine augmentations share; see `RandomRotation`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for what, known in (("fill_mode", _FILLS), ("interpolation", _MODES)):
            given = getattr(self, what)
            if given not in known:
                raise ConfigError(
                    f"{type(self).__name__}: {what}: expected one of {', '.join(known)}, "
                    f"received {given!r}"
                )

    def augment(self, x: Tensor) -> Tensor:
        """Return the pictures, each moved by a matrix of its own."""
        return channels_last(self.warp(channels_first(x), self.matrix(channels_first(x))))

    def matrix(self, x: Tensor) -> Matrix:
        """Return a random matrix for each of the channels-first pictures."""
        raise NotImplementedError

    def warp(self, x: Tensor, matrix: Matrix) -> Tensor:
        """Return channels-first pictures, each pixel read at another place."""
        options: dict[str, Any] = vars(self)
        fill_mode, fill_value = options["fill_mode"], float(options["fill_value"])
        height, width = size_of(x)
        shape = [x.static_shape[0], 1]
        numbers = [
            ops.broadcast_to(np.float32(m), shape) if isinstance(m, float) else m for m in matrix
        ]
        both = ops.reshape(ops.concatenate(numbers, 1), [shape[0], 2, 3])
        rows, columns = np.indices((height, width), dtype=np.float32).reshape(2, -1)
        places = ops.matmul(both, np.stack([columns, rows, np.ones_like(rows)]))
        size = np.array([[width], [height]], np.float32)
        if fill_mode == "wrap":  # a frame of one pixel, for what lies between the last and first
            places = emit("Mod", places, size, fmod=1)
            places = ops.where(places < 0.0, places + size, places) + 1.0
            x = _framed(_framed(x, 2), 3)
            size = size + 2.0
        constant = fill_value if fill_mode == "constant" else 0.0
        grid = ops.swapaxes((places * 2.0 + 1.0) / size - 1.0, 1, 2)
        old, new = _MODES[options["interpolation"]]
        made = emit(
            "GridSample", x - constant if constant else x,
            ops.reshape(grid, [shape[0], height, width, 2]),
            mode=old if x.graph.opset < 20 else new, padding_mode=_FILLS[fill_mode],
            align_corners=0,
        )  # fmt: skip
        return made + constant if constant else made


def _framed(x: Tensor, axis: int) -> Tensor:
    """Return pictures with the last pixels before the first, and the first after the last."""
    size = x.static_shape[axis]
    return emit("Gather", x, np.array([size - 1, *range(size), 0]), axis=axis)


def _random(x: Tensor, pair: tuple[float, float]) -> Tensor:
    return ops.random_uniform((x.static_shape[0], 1), *pair)


class RandomRotation(BaseAffine):
    """Turns pictures in training, about their middle.

    Args:
        factor: A fraction of a full turn, drawn from (-factor, factor) or a pair.
        fill_mode: What is outside: "reflect" (with the edge twice), "nearest", "wrap", "constant".
        interpolation: "bilinear" or "nearest".
        seed: Of what is drawn for arrays; in a model all follows from `fit`'s.
        fill_value: What is outside, when that is constant.
        data_format: None or "channels_last".

    Input and output shape: (batch, rows, columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RandomRotation
        >>> x = np.arange(4.0).reshape(1, 2, 2, 1)
        >>> RandomRotation((0.25, 0.25))(x, training=True).round(3).ravel().tolist()
        [1.0, 3.0, 0.0, 2.0]
    """

    factor: Any
    fill_mode: str = "reflect"
    interpolation: str = "bilinear"
    seed: int | None = None
    fill_value: float = 0.0
    data_format: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._limits = limits(self, "factor")

    def matrix(self, x: Tensor) -> Matrix:
        """Return rotations."""
        return rotation(_random(x, self._limits), *size_of(x))


def rotation(turns: Tensor, height: int, width: int) -> Matrix:
    """Return rotations about the middle, by fractions of a full turn (batch, 1)."""
    angle = turns * (2.0 * math.pi)
    cos, sin = ops.cos(angle), ops.sin(angle)
    x, y = (width - 1) / 2.0, (height - 1) / 2.0
    return cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y


class RandomTranslation(BaseAffine):
    """Shifts pictures in training.

    Args:
        height_factor: A fraction of the height, drawn from (-factor, factor) or a pair; positive
            is down.
        width_factor: The same of the width; positive is right.
        fill_mode: What is outside; see `RandomRotation`.
        interpolation: "bilinear" or "nearest".
        seed: Of what is drawn for arrays; in a model all follows from `fit`'s.
        fill_value: What is outside, when that is constant.
        data_format: None or "channels_last".

    Input and output shape: (batch, rows, columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RandomTranslation
        >>> x = np.arange(1.0, 5.0).reshape(1, 1, 4, 1)
        >>> shift = RandomTranslation(0.0, (0.25, 0.25), fill_mode="constant")
        >>> shift(x, training=True).ravel().tolist()
        [0.0, 1.0, 2.0, 3.0]
    """

    height_factor: Any
    width_factor: Any
    fill_mode: str = "reflect"
    interpolation: str = "bilinear"
    seed: int | None = None
    fill_value: float = 0.0
    data_format: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._limits = limits(self, "height_factor"), limits(self, "width_factor")

    def matrix(self, x: Tensor) -> Matrix:
        """Return shifts."""
        down, right = (_random(x, pair) for pair in self._limits)
        height, width = size_of(x)
        return 1.0, 0.0, right * -float(width), 0.0, 1.0, down * -float(height)


class RandomZoom(BaseAffine):
    """Stretches pictures in training, about their middle.

    Args:
        height_factor: How much more of the height is seen, drawn from (-factor, factor) or a
            pair: 0.5 shrinks to two thirds, -0.5 enlarges to twice the size.
        width_factor: The same of the width; None: as the height.
        fill_mode: What is outside; see `RandomRotation`.
        interpolation: "bilinear" or "nearest".
        seed: Of what is drawn for arrays; in a model all follows from `fit`'s.
        fill_value: What is outside, when that is constant.
        data_format: None or "channels_last".

    Input and output shape: (batch, rows, columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RandomZoom
        >>> RandomZoom(0.5)(np.ones((1, 4, 4, 3)), training=True).shape
        (1, 4, 4, 3)
    """

    height_factor: Any
    width_factor: Any = None
    fill_mode: str = "reflect"
    interpolation: str = "bilinear"
    seed: int | None = None
    fill_value: float = 0.0
    data_format: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._height = limits(self, "height_factor")
        self._width = None if self.width_factor is None else limits(self, "width_factor")

    def matrix(self, x: Tensor) -> Matrix:
        """Return zooms."""
        height, width = size_of(x)
        tall = 1.0 + _random(x, self._height)
        wide = tall if self._width is None else 1.0 + _random(x, self._width)
        right, down = ((n - 1) / 2.0 for n in (width, height))
        return wide, 0.0, (1.0 - wide) * right, 0.0, tall, (1.0 - tall) * down


class RandomShear(BaseAffine):
    """Shears pictures in training: rows are shifted by their number, and columns.

    Args:
        x_factor: Shift of a row against the one above, drawn from (-factor, factor) or a pair of
            numbers from 0 to 1; half of the pictures are sheared the other way.
        y_factor: The same of columns.
        interpolation: "bilinear" or "nearest".
        fill_mode: What is outside; see `RandomRotation`.
        fill_value: What is outside, when that is constant.
        data_format: None or "channels_last".
        seed: Of what is drawn for arrays; in a model all follows from `fit`'s.

    Input and output shape: (batch, rows, columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RandomShear
        >>> RandomShear(0.3)(np.ones((1, 4, 4, 3)), training=True).shape
        (1, 4, 4, 3)
    """

    x_factor: Any = 0.0
    y_factor: Any = 0.0
    interpolation: str = "bilinear"
    fill_mode: str = "reflect"
    fill_value: float = 0.0
    data_format: str | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._limits = [limits(self, f"{axis}_factor", 0.0, least=-1.0) for axis in "xy"]

    def matrix(self, x: Tensor) -> Matrix:
        """Return shears."""
        way = ops.where(chosen(x, 0.5), 1.0, -1.0)
        sign = ops.reshape(way, [x.static_shape[0], 1])
        right, down = (_random(x, pair) * sign for pair in self._limits)
        return 1.0, right, 0.0, down, 1.0, 0.0
