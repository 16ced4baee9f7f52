"""Augmentations that change the values of pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError
from edgeml.graph import Tensor
from edgeml.layers._augment import BaseAugmentation, chosen, draw, limits
from edgeml.layers._image import size_of
from edgeml.layers._layout import channels_first, channels_last

_GRAY = np.array([0.2989, 0.5870, 0.1140], np.float32)  # as luma of ITU-R BT.601


class BaseColor(BaseAugmentation):
    """What augmentations of values share; see `RandomContrast`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        given = getattr(self, "value_range", (0, 1))
        if len(given) != 2 or not given[0] < given[1]:
            raise ConfigError(
                f"{type(self).__name__}: value_range: expected (least, most), received {given!r}"
            )

    def augment(self, x: Tensor) -> Tensor:
        """Return the pictures in other colours."""
        return channels_last(self.colour(channels_first(x)))

    def colour(self, x: Tensor) -> Tensor:
        """Return channels-first pictures in other colours."""
        raise NotImplementedError


def blend(first: Any, second: Any, share: Any) -> Any:
    """Return ``first + share * (second - first)``."""
    return first + (second - first) * share


class RandomContrast(BaseColor):
    """Changes how far pixels are from their picture's mean, in training.

    Args:
        factor: The distance is multiplied by a number from ``1 - factor`` to ``1 + factor``; a
            pair gives both ends. From 0 to 1.
        value_range: Least and most that a pixel may be.
        seed: Of what is drawn for arrays; in a model all follows from `fit`'s.

    Input and output shape: (batch, rows, columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RandomContrast
        >>> RandomContrast(0.2)(np.ones((1, 2, 2, 1)), training=True).ravel().tolist()
        [1.0, 1.0, 1.0, 1.0]
    """

    factor: Any
    value_range: Any = (0, 255)
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = limits(self, "factor", 0.0, least=-1.0)
        self._limits = (1.0 + low if low < 0 else 1.0 - low), 1.0 + high

    def colour(self, x: Tensor) -> Tensor:
        """Return the pictures with another contrast."""
        return self.contrasted(x, draw(x, *self._limits))

    def contrasted(self, x: Tensor, factor: Any) -> Tensor:
        """Return channels-first pictures whose distances from the mean are multiplied."""
        mean = ops.mean(x, axis=(2, 3), keepdims=True)
        return ops.clip(blend(mean, x, factor), *map(float, self.value_range))


class RandomBrightness(BaseColor):
    """Adds a number to all pixels of a picture, in training.

    Args:
        factor: A fraction of the range, drawn from (-factor, factor) or a pair; from -1 to 1.
        value_range: Least and most that a pixel may be.
        seed: Of what is drawn for arrays; in a model all follows from `fit`'s.

    Input and output shape: (batch, rows, columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RandomBrightness
        >>> brighter = RandomBrightness((0.5, 0.5), value_range=(0, 1))
        >>> brighter(np.zeros((1, 1, 2, 1)), training=True).ravel().tolist()
        [0.5, 0.5]
    """

    factor: Any
    value_range: Any = (0, 255)
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._limits = limits(self, "factor")

    def colour(self, x: Tensor) -> Tensor:
        """Return brighter and darker pictures."""
        low, high = map(float, self.value_range)
        return ops.clip(x + draw(x, *self._limits) * (high - low), low, high)


class RandomGrayscale(BaseColor):
    """Takes the colour out of some pictures, in training; they keep three channels.

    Args:
        factor: The fraction of pictures.
        data_format: None or "channels_last".
        seed: Of what is drawn for arrays; in a model all follows from `fit`'s.

    Input and output shape: (batch, rows, columns, 3).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RandomGrayscale
        >>> gray = RandomGrayscale(1.0)(np.array([[[[1.0, 0, 0]]]]), training=True)
        >>> gray.astype(float).round(3).ravel().tolist()
        [0.299, 0.299, 0.299]
    """

    factor: float = 0.5
    data_format: str | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        limits(self, "factor", 0.0)

    def colour(self, x: Tensor) -> Tensor:
        """Return the pictures, some of them gray."""
        gray = ops.sum(x * _GRAY[:, None, None], axis=1, keepdims=True)
        return ops.where(chosen(x, self.factor), gray, x)


class RandomInvert(BaseColor):
    """Makes negatives of some pictures, in training.

    Args:
        factor: The fraction of pictures; of a pair, or of (0, factor), it is drawn.
        value_range: Least and most that a pixel may be.
        seed: Of what is drawn for arrays; in a model all follows from `fit`'s.
        data_format: None or "channels_last".

    Input and output shape: (batch, rows, columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RandomInvert
        >>> RandomInvert((1.0, 1.0))(np.zeros((1, 1, 1, 1)), training=True).ravel().tolist()
        [255.0]
    """

    factor: Any = 1.0
    value_range: Any = (0, 255)
    seed: int | None = None
    data_format: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._limits = limits(self, "factor", 0.0)

    def colour(self, x: Tensor) -> Tensor:
        """Return the pictures, some of them as negatives."""
        return ops.where(chosen(x, self._limits), float(sum(self.value_range)) - x, x)


class AutoContrast(BaseColor):
    """Stretches each picture's values over the whole range, each channel for itself, in training.

    Args:
        value_range: Least and most that a pixel may be.

    Input and output shape: (batch, rows, columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import AutoContrast
        >>> AutoContrast()(np.array([[[[1.0], [2.0]]]]), training=True).ravel().tolist()
        [0.0, 255.0]
    """

    value_range: Any = (0, 255)

    def colour(self, x: Tensor) -> Tensor:
        """Return the stretched pictures; those of one value stay."""
        low, high = map(float, self.value_range)
        least = ops.min(x, axis=(2, 3), keepdims=True)
        width = ops.max(x, axis=(2, 3), keepdims=True) - least
        flat = ops.equal(width, 0.0)
        stretched = (x - least) / ops.where(flat, 1.0, width) * (high - low) + low
        return ops.where(flat, x, ops.clip(stretched, low, high))


class Solarization(BaseColor):
    """Inverts pixels that are brighter than a threshold, in training.

    Args:
        addition_factor: Added first: a fraction of the range, drawn from (0, factor) or a pair.
        threshold_factor: A fraction of the range, drawn from (0, factor) or a pair.
        value_range: Least and most that a pixel may be.
        seed: Of what is drawn for arrays; in a model all follows from `fit`'s.

    Input and output shape: (batch, rows, columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Solarization
        >>> negative = Solarization(value_range=(0, 1))
        >>> negative(np.array([[[[0.25], [1.0]]]]), training=True).ravel().tolist()
        [0.75, 0.0]
    """

    addition_factor: Any = 0.0
    threshold_factor: Any = 0.0
    value_range: Any = (0, 255)
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._limits = [limits(self, f"{n}_factor", 0.0) for n in ("addition", "threshold")]

    def colour(self, x: Tensor) -> Tensor:
        """Return the pictures, their bright parts as negatives."""
        low, high = map(float, self.value_range)
        more, limit = (draw(x, *pair) * (high - low) for pair in self._limits)
        x = ops.clip(x + more, low, high)
        return ops.where(ops.less(x, limit + low), x, low + high - x)


class RandomGaussianBlur(BaseColor):
    """Blurs some pictures, in training.

    Args:
        factor: The fraction of pictures; of a pair, or of (0, factor), it is drawn.
        kernel_size: Rows and columns of the filter, odd.
        sigma: Standard deviation in pixels, drawn from (0, sigma) or a pair.
        value_range: Least and most that a pixel may be.
        data_format: None or "channels_last".
        seed: Of what is drawn for arrays; in a model all follows from `fit`'s.

    Input and output shape: (batch, rows, columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RandomGaussianBlur
        >>> RandomGaussianBlur()(np.ones((1, 4, 4, 3)), training=True).shape
        (1, 4, 4, 3)
    """

    factor: Any = 1.0
    kernel_size: Any = 3
    sigma: Any = 1.0
    value_range: Any = (0, 255)
    data_format: str | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        size = self.kernel_size
        self._sizes = [size, size] if isinstance(size, int) else list(size)
        if any(n < 1 or n % 2 == 0 for n in self._sizes):
            raise ConfigError(
                f"RandomGaussianBlur: kernel_size: expected odd numbers, received {size!r}"
            )
        self._factor = limits(self, "factor", 0.0)
        self._sigma = limits(self, "sigma", 0.0, np.inf)

    def colour(self, x: Tensor) -> Tensor:
        """Return the pictures, some of them blurred."""
        size_of(x)
        made = x
        for axis, size in zip((2, 3), self._sizes, strict=True):
            sigma = ops.maximum(ops.random_uniform((1,), *self._sigma), 1e-6)
            made = blurred(made, sigma, size, axis)
        made = ops.clip(made, *map(float, self.value_range))
        return ops.where(chosen(x, self._factor), made, x)


def blurred(x: Tensor, sigma: Any, size: int, axis: int) -> Tensor:
    """Return channels-first pictures, filtered along one axis; outside is zero."""
    away = np.arange(size, dtype=np.float32) - (size - 1) / 2
    kernel = ops.exp(ops.square(away / sigma) * -0.5)
    kernel = kernel / ops.sum(kernel)
    half = size // 2
    widths = [(half, half) if a == axis else (0, 0) for a in range(4)]
    padded, length = ops.pad(x, widths), x.static_shape[axis]
    parts = [ops.slice_(padded, [i], [i + length], [axis]) * kernel[i] for i in range(size)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


class RandomErasing(BaseColor):
    """Writes over a rectangle of some pictures, in training.

    Args:
        factor: The fraction of pictures; of a pair, or of (0, factor), it is drawn.
        scale: The rectangle's share of the area, a pair.
        fill_value: What is written: a number, one for each channel, or None for noise.
        value_range: Least and most that a pixel may be.
        seed: Of what is drawn for arrays; in a model all follows from `fit`'s.
        data_format: None or "channels_last".

    Input and output shape: (batch, rows, columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RandomErasing
        >>> whole = RandomErasing((1.0, 1.0), scale=(1.0, 1.0), fill_value=7.0)
        >>> whole(np.zeros((1, 1, 3, 1)), training=True).ravel().tolist()
        [7.0, 7.0, 7.0]
    """

    factor: Any = 1.0
    scale: Any = (0.02, 0.33)
    fill_value: Any = None
    value_range: Any = (0, 255)
    seed: int | None = None
    data_format: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._factor, self._scale = limits(self, "factor", 0.0), limits(self, "scale", 0.0)

    def colour(self, x: Tensor) -> Tensor:
        """Return the pictures, parts of some of them written over."""
        inside: Any = None
        for axis, length in zip((2, 3), size_of(x), strict=True):
            part = ops.sqrt(draw(x, *self._scale)) * float(length)
            start = draw(x, 0.0, 1.0) * (float(length) - part)
            shape = [1, 1, 1, 1]
            shape[axis] = length
            places = np.arange(length, dtype=np.float32).reshape(shape)
            own = ops.logical_and(ops.greater_equal(places, start), ops.less(places, start + part))
            inside = own if inside is None else ops.logical_and(inside, own)
        low, high = map(float, self.value_range)
        if self.fill_value is None:
            fill = ops.random_normal(x.static_shape) * high
        else:
            fill = ops.reshape(np.atleast_1d(np.float32(self.fill_value)), [1, -1, 1, 1])
        filled = ops.where(inside, ops.clip(fill, low, high), x)
        return ops.where(chosen(x, self._factor), filled, x)
