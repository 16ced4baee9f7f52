"""Augmentations of spectrograms and of sensors' windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError
from edgeml.graph import Tensor, emit
from edgeml.layers._augment import BaseAugmentation, draw


class SpecAugment(BaseAugmentation):
    """Hides bands of time and of frequency of spectrograms, in training.

    Park et al., "SpecAugment", 2019, without the warping of time. The width of each band is drawn
    from 0 to the given one.

    Args:
        time_masks: Number of bands of time.
        time_width: Most frames of one.
        frequency_masks: Number of bands of frequency.
        frequency_width: Most bins of one.
        value: What is written there; None: the mean of the spectrogram.
        seed: Of what is drawn for arrays; in a model all follows from `fit`'s.

    Input and output shape: (batch, frames, bins), or (batch, frames, bins, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import SpecAugment
        >>> SpecAugment(2, 10, 2, 8)(np.ones((1, 98, 40)), training=True).shape
        (1, 98, 40)
    """

    time_masks: int = 2
    time_width: int = 25
    frequency_masks: int = 2
    frequency_width: int = 8
    value: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("time_masks", "time_width", "frequency_masks", "frequency_width"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"SpecAugment: {name}: at least 0, received {getattr(self, name)}"
                )

    def augment(self, x: Tensor) -> Tensor:
        """Return the spectrograms with bands hidden."""
        axes = tuple(range(1, x.ndim))
        value: Any = ops.mean(x, axis=axes, keepdims=True) if self.value is None else self.value
        bands = [(1, self.time_width)] * self.time_masks
        bands += [(2, self.frequency_width)] * self.frequency_masks
        for axis, width in bands:
            x = ops.where(_band(x, axis, width), value, x)
        return x


def _band(x: Tensor, axis: int, most: int) -> Tensor:
    """Return where a band of random width and place is."""
    length = x.static_shape[axis]
    width = ops.floor(draw(x, 0.0, min(most, length) + 1.0))
    start = ops.floor(draw(x, 0.0, 1.0) * (float(length + 1) - width))
    shape = [1] * x.ndim
    shape[axis] = length
    places = np.arange(length, dtype=np.float32).reshape(shape)
    return ops.logical_and(ops.greater_equal(places, start), ops.less(places, start + width))


class RandomJitter(BaseAugmentation):
    """Adds noise of its own to each value of a window, in training, as a sensor does.

    Args:
        stddev: Standard deviation of the noise: a number, or one for each channel.
        seed: Of what is drawn for arrays; in a model all follows from `fit`'s.

    Input and output shape: (batch, ..., channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RandomJitter
        >>> RandomJitter(0.05)(np.zeros((1, 100, 3)), training=True).shape
        (1, 100, 3)
    """

    stddev: Any = 0.05
    seed: int | None = None

    def augment(self, x: Tensor) -> Tensor:
        """Return the windows with noise."""
        return x + ops.random_normal(x.static_shape) * np.asarray(self.stddev, np.float32)


class RandomScaling(BaseAugmentation):
    """Multiplies each channel of a window by a number near 1, in training.

    Args:
        stddev: Standard deviation of the number.
        seed: Of what is drawn for arrays; in a model all follows from `fit`'s.

    Input and output shape: (batch, steps, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RandomScaling
        >>> RandomScaling(0.1)(np.ones((1, 100, 3)), training=True).shape
        (1, 100, 3)
    """

    stddev: float = 0.1
    seed: int | None = None

    def augment(self, x: Tensor) -> Tensor:
        """Return the windows, louder and softer."""
        shape = [x.static_shape[0], *[1] * (x.ndim - 2), x.static_shape[-1]]
        return x * ops.random_normal(shape, 1.0, self.stddev)


class RandomTimeWarp(BaseAugmentation):
    """Makes parts of a window faster and others slower, in training; its ends stay.

    The speed follows a smooth random curve (Um et al., "Data augmentation of wearable sensor data",
    2017), which is the sum of a few half waves here; values between steps are interpolated.

    Args:
        strength: Standard deviation of the speed, from 0 to below 0.5; 0.2 is common.
        knots: Number of half waves.
        seed: Of what is drawn for arrays; in a model all follows from `fit`'s.

    Input and output shape: (batch, steps, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RandomTimeWarp
        >>> RandomTimeWarp(0.2)(np.ones((1, 100, 3)), training=True).shape
        (1, 100, 3)
    """

    strength: float = 0.2
    knots: int = 4
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.strength < 0.5 or self.knots < 1:
            raise ConfigError(
                "RandomTimeWarp: strength from 0 to below 0.5 and at least one knot, received "
                f"{self.strength} and {self.knots}"
            )

    def augment(self, x: Tensor) -> Tensor:
        """Return the windows with another course of time."""
        batch, steps = x.static_shape[:2]
        share = np.arange(steps, dtype=np.float32)[None] / max(steps - 1, 1)
        waves = np.cos(np.pi * np.arange(1, self.knots + 1)[:, None] * share).astype(np.float32)
        weight = self.strength * np.sqrt(2.0 / self.knots)
        # The speed stays positive: time never runs backwards.
        speed = ops.exp(ops.matmul(ops.random_normal((batch, self.knots), 0.0, weight), waves))
        gone = ops.cumsum(speed, axis=1)
        first, last = ops.slice_(gone, [0], [1], [1]), ops.slice_(gone, [-1], [steps], [1])
        return resampled(x, (gone - first) / (last - first + 1e-12) * float(steps - 1))


def resampled(x: Tensor, places: Tensor) -> Tensor:
    """Return windows (batch, steps, channels) at steps (batch, new steps), interpolated."""
    last = float(x.static_shape[1] - 1)
    below = ops.clip(ops.floor(places), 0.0, max(last - 1.0, 0.0))
    share = ops.expand_dims(ops.clip(places, 0.0, last) - below, -1)
    lower, upper = (
        emit("GatherND", x, ops.expand_dims(ops.cast(index, np.int64), -1), batch_dims=1)
        for index in (below, ops.minimum(below + 1.0, last))
    )
    return lower + (upper - lower) * share
