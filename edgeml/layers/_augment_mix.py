"""Augmentations that mix the examples of a batch, labels included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError, DataError
from edgeml.graph import Tensor, emit_many
from edgeml.layers._augment import BaseAugmentation
from edgeml.layers._image import size_of
from edgeml.layers._layout import channels_first, channels_last

_TRIES = 24


class BaseMix(BaseAugmentation):
    """What mixtures share; see `MixUp`."""

    def call(self, x: Any, training: bool = False) -> Any:
        """Return pictures, or a dict of ``images`` and one-hot ``labels``, mixed in training."""
        given = x if isinstance(x, Mapping) else {"images": x}
        unknown = set(given) - {"images", "labels"}
        if "images" not in given or unknown:
            raise DataError(
                f"{type(self).__name__}: expected pictures, or a dict of images and labels, "
                f"received {', '.join(given)}"
            )
        made = {name: ops.cast(value, np.float32) for name, value in given.items()}
        if training:
            images = made["images"]
            order = shuffled(images.static_shape[0])
            first = channels_first(images)
            mixed, share = self.mix(first, ops.take(first, order))
            made["images"] = channels_last(mixed)
            if "labels" in made:
                other = ops.take(made["labels"], order)
                made["labels"] = other + (made["labels"] - other) * share
        return made if isinstance(x, Mapping) else made["images"]

    def mix(self, x: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Return channels-first mixtures, and (batch, 1): how much of `x` is in them."""
        raise NotImplementedError


def shuffled(count: int) -> Tensor:
    """Return the numbers from 0 to below `count`, in random order."""
    return emit_many(2, "TopK", ops.random_uniform((count,)), np.array([count], np.int64))[1]


def beta(count: int, alpha: float) -> Tensor:
    """Return numbers (count, 1) from the Beta distribution with both parameters `alpha`.

    Johnk's method: of u^(1/a) and v^(1/a), the first pair whose sum is at most 1 gives the share
    of the first (M. D. Johnk, "Erzeugung von betaverteilten und gammaverteilten Zufallszahlen",
    1964). Of so many tries one succeeds but for one time in ten million, up to alpha = 1.
    """
    u, v = (ops.power(ops.random_uniform((count, _TRIES), 1e-12), 1.0 / alpha) for _ in range(2))
    total = u + v
    good = ops.cast(ops.less_equal(total, 1.0), np.float32)
    at = ops.expand_dims(ops.argmax(good, axis=1), 1)
    share = ops.take_along_axis(u / ops.maximum(total, 1e-30), at, 1)
    return ops.where(ops.greater(ops.max(good, axis=1, keepdims=True), 0.5), share, 0.5)


def _check_alpha(layer: Any) -> None:
    if not 0.05 <= layer.alpha <= 1.0:
        raise ConfigError(
            f"{type(layer).__name__}: alpha: expected a number from 0.05 to 1, received "
            f"{layer.alpha}"
        )


class MixUp(BaseMix):
    """Adds to each picture another one, and to its label the other's, in training.

    Zhang et al., "mixup: beyond empirical risk minimization", 2018. It stands in the pipeline of
    data, where labels can be had: ``MixUp()({"images": x, "labels": one_hot}, training=True)``.

    Args:
        alpha: Both parameters of the Beta distribution that the shares come from, up to 1.
        data_format: None or "channels_last".
        seed: Of what is drawn for arrays; in a model all follows from `fit`'s.

    Input and output shape: (batch, rows, columns, channels); labels (batch, classes).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import MixUp
        >>> both = {"images": np.ones((4, 2, 2, 1)), "labels": np.eye(4)}
        >>> MixUp()(both, training=True)["labels"].sum(1).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """

    alpha: float = 0.2
    data_format: str | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_alpha(self)

    def mix(self, x: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Return weighted means."""
        share = beta(x.static_shape[0], self.alpha)
        return other + (x - other) * ops.reshape(share, [-1, 1, 1, 1]), share


class CutMix(BaseMix):
    """Puts a rectangle of another picture into each, in training; labels follow the areas.

    Yun et al., "CutMix", 2019; see `MixUp` for how to use it.

    Args:
        factor: Both parameters of the Beta distribution that the shares come from, up to 1.
        seed: Of what is drawn for arrays; in a model all follows from `fit`'s.
        data_format: None or "channels_last".

    Input and output shape: (batch, rows, columns, channels); labels (batch, classes).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import CutMix
        >>> both = {"images": np.ones((4, 2, 2, 1)), "labels": np.eye(4)}
        >>> CutMix()(both, training=True)["labels"].sum(1).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """

    factor: float = 1.0
    seed: int | None = None
    data_format: str | None = None

    @property
    def alpha(self) -> float:
        """The parameter of the Beta distribution."""
        return self.factor

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_alpha(self)

    def mix(self, x: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pictures with a rectangle of the others."""
        count = x.static_shape[0]
        side = ops.reshape(ops.sqrt(1.0 - beta(count, self.alpha)), [-1, 1, 1, 1])
        inside: Any = None
        for axis, length in zip((2, 3), size_of(x), strict=True):
            half = side * (length / 2.0)
            centre = ops.random_uniform((count, 1, 1, 1), 0.0, float(length))
            shape = [1, 1, 1, 1]
            shape[axis] = length
            places = np.arange(length, dtype=np.float32).reshape(shape) + 0.5
            own = ops.less(ops.absolute(places - centre), half)
            inside = own if inside is None else ops.logical_and(inside, own)
        share = 1.0 - ops.mean(ops.cast(inside, np.float32), axis=(2, 3))
        return ops.where(inside, other, x), share
