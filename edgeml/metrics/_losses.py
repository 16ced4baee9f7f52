"""Losses as metrics, by Keras's numerics."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from edgeml.metrics._arrays import EPSILON, Array, pair
from edgeml.metrics._base import OfExamples, metric


def _signs(y: Array) -> Array:
    """Targets 0 and 1 stand for -1 and 1, when all of a batch are 0 or 1."""
    return 2.0 * y - 1.0 if np.isin(y, (0, 1)).all() else y


@metric()
class Hinge(OfExamples):
    """Mean of ``max(1 - y_true * y_pred, 0)``; targets -1 and 1 (or 0 and 1).

    Example:
        >>> from edgeml.metrics import Hinge
        >>> round(Hinge()([[1.0, -1.0]], [[0.3, -2.0]]), 3)
        0.35
    """

    name: str = "hinge"
    direction: ClassVar[str] = "down"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return the loss of each value."""
        y, p = pair(self.name, y_true, y_pred)
        return np.maximum(1.0 - _signs(y) * p, 0.0)


@metric()
class SquaredHinge(Hinge):
    """Mean of the squares of the hinge loss's terms.

    Example:
        >>> from edgeml.metrics import SquaredHinge
        >>> round(SquaredHinge()([[1.0, -1.0]], [[0.3, -2.0]]), 3)
        0.245
    """

    name: str = "squared_hinge"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return the loss of each value."""
        return np.asarray(np.square(super().values(y_true, y_pred)))


@metric()
class CategoricalHinge(OfExamples):
    """Mean of ``max(largest wrong - right + 1, 0)`` of one-hot targets.

    Example:
        >>> from edgeml.metrics import CategoricalHinge
        >>> round(CategoricalHinge()([[0.0, 1.0]], [[0.2, 0.8]]), 3)
        0.4
    """

    name: str = "categorical_hinge"
    direction: ClassVar[str] = "down"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return the loss of each example."""
        y, p = pair(self.name, y_true, y_pred)
        return np.asarray(np.maximum(((1.0 - y) * p).max(-1) - (y * p).sum(-1) + 1.0, 0.0))


@metric("kld", "kullback_leibler_divergence")
class KLDivergence(OfExamples):
    """Mean of ``sum(y_true * log(y_true / y_pred))``, of probabilities.

    Example:
        >>> from edgeml.metrics import KLDivergence
        >>> round(KLDivergence()([[0.5, 0.5]], [[0.9, 0.1]]), 3)
        0.511
    """

    name: str = "kl_divergence"
    direction: ClassVar[str] = "down"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return the divergence of each example."""
        y, p = (np.clip(a, EPSILON, 1.0) for a in pair(self.name, y_true, y_pred))
        return np.asarray((y * np.log(y / p)).sum(-1))


@metric()
class Poisson(OfExamples):
    """Mean of ``y_pred - y_true * log(y_pred)``.

    Example:
        >>> from edgeml.metrics import Poisson
        >>> round(Poisson()([[1.0, 2.0]], [[1.0, 4.0]]), 3)
        1.114
    """

    name: str = "poisson"
    direction: ClassVar[str] = "down"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return the loss of each value."""
        y, p = pair(self.name, y_true, y_pred)
        return np.asarray(p - y * np.log(p + EPSILON))


@metric("log_cosh")
class LogCoshError(OfExamples):
    """Mean of ``log(cosh(y_pred - y_true))``.

    Example:
        >>> from edgeml.metrics import LogCoshError
        >>> round(LogCoshError()([[1.0, 2.0]], [[1.0, 4.0]]), 3)
        0.663
    """

    name: str = "logcosh"
    direction: ClassVar[str] = "down"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return the loss of each value."""
        y, p = pair(self.name, y_true, y_pred)
        x = np.abs(p - y)
        return np.asarray(x + np.log1p(np.exp(-2.0 * x)) - np.log(2.0))


@metric("msle")
class MeanSquaredLogarithmicError(OfExamples):
    """Mean of ``(log(1 + y_true) - log(1 + y_pred)) ** 2``.

    Example:
        >>> from edgeml.metrics import MeanSquaredLogarithmicError
        >>> round(MeanSquaredLogarithmicError()([[1.0, 2.0]], [[1.0, 4.0]]), 3)
        0.13
    """

    name: str = "mean_squared_logarithmic_error"
    direction: ClassVar[str] = "down"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return the square of each difference."""
        y, p = (np.log1p(np.maximum(a, EPSILON)) for a in pair(self.name, y_true, y_pred))
        return np.asarray(np.square(p - y))
