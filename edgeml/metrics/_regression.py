"""Metrics of numbers."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from edgeml.errors import ConfigError
from edgeml.metrics._arrays import EPSILON, Array, pair, weights
from edgeml.metrics._base import Configured, OfExamples, metric


@metric("mse")
class MeanSquaredError(OfExamples):
    """Mean of ``(y_true - y_pred) ** 2``.

    Example:
        >>> import numpy as np
        >>> from edgeml.metrics import MeanSquaredError
        >>> y, p = np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]])
        >>> round(MeanSquaredError()(y, p), 3)
        2.0
    """

    name: str = "mean_squared_error"
    direction: ClassVar[str] = "down"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return the square of each difference."""
        y, p = pair(self.name, y_true, y_pred)
        return np.asarray(np.square(p - y))


@metric("rmse")
class RootMeanSquaredError(MeanSquaredError):
    """Root of the mean of ``(y_true - y_pred) ** 2``.

    Example:
        >>> import numpy as np
        >>> from edgeml.metrics import RootMeanSquaredError
        >>> y, p = np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]])
        >>> round(RootMeanSquaredError()(y, p), 3)
        1.414
    """

    name: str = "root_mean_squared_error"

    def result(self) -> float:
        """Return the root of the mean; 0 when nothing was counted."""
        return float(np.sqrt(super().result()))


@metric("mae")
class MeanAbsoluteError(OfExamples):
    """Mean of ``|y_true - y_pred|``.

    Example:
        >>> import numpy as np
        >>> from edgeml.metrics import MeanAbsoluteError
        >>> y, p = np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]])
        >>> round(MeanAbsoluteError()(y, p), 3)
        1.0
    """

    name: str = "mean_absolute_error"
    direction: ClassVar[str] = "down"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return each difference."""
        y, p = pair(self.name, y_true, y_pred)
        return np.asarray(np.abs(p - y))


@metric("mape")
class MeanAbsolutePercentageError(OfExamples):
    """Mean of ``100 |y_true - y_pred| / |y_true|``, in percent.

    Example:
        >>> import numpy as np
        >>> from edgeml.metrics import MeanAbsolutePercentageError
        >>> y, p = np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]])
        >>> round(MeanAbsolutePercentageError()(y, p), 3)
        50.0
    """

    name: str = "mean_absolute_percentage_error"
    direction: ClassVar[str] = "down"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return each difference, in percent of its target."""
        y, p = pair(self.name, y_true, y_pred)
        return np.asarray(100.0 * np.abs(y - p) / np.maximum(np.abs(y), EPSILON))


@metric("cosine_proximity")
class CosineSimilarity(OfExamples):
    """Mean cosine of the angle between target and output: 1 same, 0 orthogonal, -1 opposite.

    Args:
        axis: Axis of the vectors.

    Example:
        >>> import numpy as np
        >>> from edgeml.metrics import CosineSimilarity
        >>> y, p = np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]])
        >>> round(CosineSimilarity()(y, p), 3)
        0.707
    """

    name: str = "cosine_similarity"
    axis: int = -1
    direction: ClassVar[str] = "up"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return the cosine of each pair of vectors."""
        y, p = (self._unit(a.astype(np.float64)) for a in pair(self.name, y_true, y_pred))
        return np.asarray((y * p).sum(self.axis))

    def _unit(self, x: Array) -> Array:
        norm = np.sqrt(np.square(x).sum(self.axis, keepdims=True))
        return np.asarray(x / np.maximum(norm, EPSILON))


@metric("r2")
class R2Score(Configured):
    """Share of the targets' variance that the outputs explain; 1 at best.

    Targets that do not vary score 1 when met exactly, else 0.

    Args:
        class_aggregation: Of several targets, "uniform_average" (their mean),
            "variance_weighted_average", or None (one score for each).
        num_regressors: Number of inputs, for the adjusted score; 0: the plain one.
        name: Its name in history and logs.

    Example:
        >>> from edgeml.metrics import R2Score
        >>> R2Score()([1.0, 2.0, 3.0], [1.0, 2.0, 2.0])
        0.5
    """

    class_aggregation: str | None = "uniform_average"
    num_regressors: int = 0
    direction: ClassVar[str] = "up"

    def reset_state(self) -> None:
        """Forget all that was counted."""
        if self.class_aggregation not in (None, "uniform_average", "variance_weighted_average"):
            raise ConfigError(
                "class_aggregation: expected 'uniform_average', 'variance_weighted_average' or "
                f"None, received {self.class_aggregation!r}"
            )
        self._examples = 0
        self._count = self._mean = self._spread = self._error = np.zeros(())

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: targets and outputs (examples,) or (examples, targets)."""
        y, p = (a.astype(np.float64) for a in pair(self.name, y_true, y_pred))
        if not len(y):
            return
        w = weights(self.name, sample_weight, y.shape)
        # Sums of squares would lose all digits where targets are large and vary little: batches
        # are merged by their means (Chan, Golub and LeVeque).
        count = w.sum(0)
        mean = np.divide((y * w).sum(0), count, out=np.zeros(y.shape[1:]), where=count > 0)
        total = self._count + count
        share = np.divide(count, total, out=np.zeros(y.shape[1:]), where=total > 0)
        away = mean - self._mean
        self._spread = self._spread + (w * (y - mean) ** 2).sum(0) + away**2 * self._count * share
        self._mean = self._mean + away * share
        self._error = self._error + (w * (y - p) ** 2).sum(0)
        self._count, self._examples = total, self._examples + len(y)

    def result(self) -> Any:
        """Return the score: a float, or an array when `class_aggregation` is None."""
        if not np.any(self._count):
            return 0.0
        varies = self._spread > 0
        lost = np.divide(self._error, self._spread, out=np.ones(np.shape(varies)), where=varies)
        score: Any = 1.0 - np.where(varies, lost, self._error > 0)
        if self.class_aggregation == "variance_weighted_average" and np.any(varies):
            score = np.average(score, weights=self._spread)
        elif self.class_aggregation is not None:
            score = np.mean(score)
        free = self._examples * np.size(self._mean) - self.num_regressors - 1
        if self.num_regressors and free > 0:
            score = 1.0 - (1.0 - score) * (free + self.num_regressors) / free
        return float(score) if np.ndim(score) == 0 else score
