"""What augmentations share, and those that move whole pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError
from edgeml.graph import Tensor, emit, function
from edgeml.layers._image import check_size, gather_crop, middle, size_of
from edgeml.layers._layer import Layer
from edgeml.layers._layout import channels_first, channels_last, check_data_format


class BaseAugmentation(Layer):
    """What changes examples at random in training, and leaves them as they are after it.

    In a model the random numbers follow from `fit`'s seed. Called on arrays, such as in a
    pipeline of data, with ``training=True``, they follow from the layer's own.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        check_data_format(getattr(self, "data_format", None))

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Return the input as float32, changed in training."""
        x = ops.cast(x, np.float32)
        return self.augment(x) if training else x

    def augment(self, x: Tensor) -> Tensor:
        """Return the input, changed at random."""
        raise NotImplementedError

    def _eagerly(self) -> Any:
        if "_eager" not in self.__dict__:
            self._eager = function(self, seed=getattr(self, "seed", None) or 0)
        return self._eager


def limits(
    layer: Layer, what: str, low: float = -1.0, high: float = 1.0, *, least: float | None = None
) -> tuple[float, float]:
    """Return the range that a factor stands for: a number f means (-f, f).

    Args:
        layer: Whose field it is.
        what: The field.
        low: Least that may be given.
        high: Most that may be given.
        least: Where (-f, f) starts at the earliest; None: at `low`.

    Raises:
        ConfigError: it is no number, no pair, or out of bounds.
    """
    given = getattr(layer, what)
    if isinstance(given, (int, float)):
        pair = (max(-abs(given), low if least is None else least), abs(given))
        inside = low <= given <= high
    else:
        pair = tuple(sorted(given)) if isinstance(given, (list, tuple)) else ()
        inside = len(pair) == 2 and low <= pair[0] and pair[1] <= high
    if not inside:
        raise ConfigError(
            f"{type(layer).__name__}: {what}: expected a number, or two, from {low} to {high}, "
            f"received {given!r}"
        )
    return float(pair[0]), float(pair[1])


def draw(x: Tensor, low: float, high: float) -> Tensor:
    """Return a random number for each example, that broadcasts to `x`."""
    return ops.random_uniform([x.static_shape[0], *[1] * (x.ndim - 1)], low, high)


def chosen(x: Tensor, probability: float | tuple[float, float]) -> Tensor:
    """Return for each example whether it is changed, that broadcasts to `x`."""
    low, high = probability if isinstance(probability, tuple) else (probability, probability)
    limit: Any = draw(x, low, high) if low != high else low
    return emit("Less", draw(x, 0.0, 1.0), limit)


class RandomFlip(BaseAugmentation):
    """Mirrors half of the pictures in training.

    Args:
        mode: "horizontal", "vertical" or "horizontal_and_vertical" (both at once, as in Keras).
        seed: Of what is drawn for arrays; in a model all follows from `fit`'s.
        data_format: None or "channels_last".

    Input and output shape: (batch, rows, columns, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RandomFlip
        >>> x = np.arange(6.0).reshape(1, 1, 6, 1)
        >>> RandomFlip("horizontal")(x).ravel().tolist()
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """

    mode: str = "horizontal_and_vertical"
    seed: int | None = None
    data_format: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in _FLIPS:
            raise ConfigError(
                f"RandomFlip: mode: expected one of {', '.join(_FLIPS)}, received {self.mode!r}"
            )

    def augment(self, x: Tensor) -> Tensor:
        """Return the pictures, some of them mirrored."""
        first = channels_first(x)
        flipped = ops.flip(first, _FLIPS[self.mode])
        return channels_last(ops.where(chosen(first, 0.5), flipped, first))


_FLIPS = {"horizontal": [3], "vertical": [2], "horizontal_and_vertical": [2, 3]}


class RandomCrop(BaseAugmentation):
    """A part of pictures: anywhere in training (one place for a batch), the middle after it.

    Args:
        height: Rows of the part.
        width: Columns of the part.
        seed: Of what is drawn for arrays; in a model all follows from `fit`'s.
        data_format: None or "channels_last".

    Input shape: (batch, rows, columns, channels). Output shape: (batch, height, width, channels).
    Pictures that are not larger are resized without stretching them.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RandomCrop
        >>> RandomCrop(2, 2)(np.zeros((1, 4, 6, 3)), training=True).shape
        (1, 2, 2, 3)
    """

    height: int
    width: int
    seed: int | None = None
    data_format: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Return the part, float32."""
        first = channels_first(ops.cast(x, np.float32))
        rows, columns = size_of(first)
        if not training or rows <= self.height or columns <= self.width:
            return channels_last(middle(first, self.height, self.width))
        top, left = (
            ops.cast(ops.floor(ops.random_uniform((1,), 0.0, float(n + 1))), np.int64)
            for n in (rows - self.height, columns - self.width)
        )
        return channels_last(gather_crop(first, top, left, self.height, self.width))
