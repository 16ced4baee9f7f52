"""Losses of numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeml import ops
from edgeml.errors import ShapeError
from edgeml.graph import Tensor
from edgeml.losses._base import Loss, differ, named

_EPSILON = 1e-7


def matched(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return the targets as float, in the shape of the output when only a last 1 is missing.

    Raises:
        ShapeError: they do not fit.
    """
    y = ops.cast(y_true, y_pred.dtype)
    given, shape = y.known_shape, list(y_pred.known_shape)
    own = list(given)
    if len(own) == len(shape) - 1 and shape[-1] == 1:
        y, own = ops.expand_dims(y, -1), [*own, 1]
    elif len(own) == len(shape) + 1 and own[-1] == 1:
        y, own = ops.squeeze(y, -1), own[:-1]
    if differ(own, shape):
        raise ShapeError(
            f"targets have the shape {tuple(given)}, and the output "
            f"{tuple(shape)}: they must be equal",
            expected=tuple(shape), received=tuple(given),
        )  # fmt: skip
    return y


def _mean(values: Tensor) -> Tensor:
    return ops.mean(values, axis=-1) if values.ndim > 1 else values


@named("mse")
@dataclass
class MeanSquaredError(Loss):
    """Mean over the last axis of ``(y_true - y_pred) ** 2``.

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.MeanSquaredError())
        >>> round(float(loss(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]))), 3)
        2.0
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        return _mean(ops.square(y_pred - matched(y_true, y_pred)))


@named("mae", "absolute_difference")
@dataclass
class MeanAbsoluteError(Loss):
    """Mean over the last axis of ``|y_true - y_pred|``.

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.MeanAbsoluteError())
        >>> round(float(loss(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]))), 3)
        1.0
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        return _mean(ops.absolute(y_pred - matched(y_true, y_pred)))


@named("mape")
@dataclass
class MeanAbsolutePercentageError(Loss):
    """Mean over the last axis of ``100 |y_true - y_pred| / |y_true|``.

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.MeanAbsolutePercentageError())
        >>> round(float(loss(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]))), 3)
        50.0
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        y = matched(y_true, y_pred)
        off = ops.absolute((y - y_pred) / ops.maximum(ops.absolute(y), _EPSILON))
        return _mean(off) * 100.0


@named("msle")
@dataclass
class MeanSquaredLogarithmicError(Loss):
    """Mean over the last axis of ``(log(1 + y_true) - log(1 + y_pred)) ** 2``.

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.MeanSquaredLogarithmicError())
        >>> round(float(loss(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]))), 3)
        0.13
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        first = ops.log1p(ops.maximum(y_pred, _EPSILON))
        second = ops.log1p(ops.maximum(matched(y_true, y_pred), _EPSILON))
        return _mean(ops.square(first - second))


@named("huber_loss")
@dataclass
class Huber(Loss):
    """Squared near the target, linear beyond `delta` (Huber, 1964).

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.Huber(delta=1.0))
        >>> round(float(loss(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]))), 3)
        0.75
    """

    delta: float = 1.0

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        error = ops.absolute(y_pred - matched(y_true, y_pred))
        near = ops.minimum(error, self.delta)
        return _mean(0.5 * near * near + self.delta * (error - near))


@named("logcosh")
@dataclass
class LogCosh(Loss):
    """Mean over the last axis of ``log(cosh(y_pred - y_true))``.

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.LogCosh())
        >>> round(float(loss(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]))), 3)
        0.663
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        x = y_pred - matched(y_true, y_pred)
        return _mean(x + ops.softplus(x * -2.0) - math.log(2.0))


@named("kld", "kullback_leibler_divergence", "kl_divergence")
@dataclass
class KLDivergence(Loss):
    """``sum(y_true * log(y_true / y_pred))`` over the last axis, of probabilities.

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.KLDivergence())
        >>> round(float(loss(np.array([[0.5, 0.5]]), np.array([[0.9, 0.1]]))), 3)
        0.511
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        y = ops.clip(matched(y_true, y_pred), _EPSILON, 1.0)
        return ops.sum(y * (ops.log(y) - ops.log(ops.clip(y_pred, _EPSILON, 1.0))), axis=-1)


@named()
@dataclass
class Poisson(Loss):
    """Mean over the last axis of ``y_pred - y_true * log(y_pred)``.

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.Poisson())
        >>> round(float(loss(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]))), 3)
        1.114
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        return _mean(y_pred - matched(y_true, y_pred) * ops.log(y_pred + _EPSILON))


@named("cosine_proximity")
@dataclass
class CosineSimilarity(Loss):
    """Minus the cosine of the angle between target and output.

    Args:
        axis: The axis of the vectors.

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.CosineSimilarity())
        >>> round(float(loss(np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]]))), 3)
        -0.707
    """

    axis: int = -1

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        y = matched(y_true, y_pred)

        def unit(x: Tensor) -> Tensor:
            square = ops.sum(x * x, axis=self.axis, keepdims=True)
            return x * ops.rsqrt(ops.maximum(square, _EPSILON**2))

        return -ops.sum(unit(y) * unit(y_pred), axis=self.axis)


@named()
@dataclass
class CosineDistance(Loss):
    """One minus the product of target and output, of length 1 both; TensorFlow.js's.

    Args:
        axis: The axis of the vectors.

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.CosineDistance())
        >>> round(float(loss(np.array([[1.0, 0.0]]), np.array([[0.6, 0.8]]))), 3)
        0.4
    """

    axis: int = -1

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        return 1.0 - ops.sum(matched(y_true, y_pred) * y_pred, axis=self.axis)


@named("hinge_loss")
@dataclass
class Hinge(Loss):
    """Mean over the last axis of ``max(1 - y_true * y_pred, 0)``; targets -1 and 1 (or 0 and 1).

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.Hinge())
        >>> round(float(loss(np.array([[1.0, -1.0]]), np.array([[0.3, -2.0]]))), 3)
        0.35
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        return _mean(ops.relu(1.0 - _signs(y_true, y_pred) * y_pred))


@named()
@dataclass
class SquaredHinge(Loss):
    """The square of the hinge loss's terms.

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.SquaredHinge())
        >>> round(float(loss(np.array([[1.0, -1.0]]), np.array([[0.3, -2.0]]))), 3)
        0.245
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        return _mean(ops.square(ops.relu(1.0 - _signs(y_true, y_pred) * y_pred)))


@named()
@dataclass
class CategoricalHinge(Loss):
    """``max(largest wrong - right + 1, 0)`` of one-hot targets, over the last axis.

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.CategoricalHinge())
        >>> round(float(loss(np.array([[0.0, 1.0]]), np.array([[0.2, 0.8]]))), 3)
        0.4
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        y = matched(y_true, y_pred)
        right = ops.sum(y * y_pred, axis=-1)
        wrong = ops.max((1.0 - y) * y_pred, axis=-1)
        return ops.relu(wrong - right + 1.0)


def _signs(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Targets 0 and 1 stand for -1 and 1, when all of them are 0 or 1."""
    y = matched(y_true, y_pred)
    binary = ops.all(ops.logical_or(ops.equal(y, 0.0), ops.equal(y, 1.0)))
    return ops.where(binary, 2.0 * y - 1.0, y)
