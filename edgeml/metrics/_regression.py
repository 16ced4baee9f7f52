"""Metrics of numbers, and the cross-entropies as metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeml.metrics._accuracy import alike, labels_of
from edgeml.metrics._base import Array, Mean, Metric, named

_EPSILON = 1e-7


@named("mse")
@dataclass
class MeanSquaredError(Mean):
    """Mean of ``(y_true - y_pred) ** 2``."""

    def values(self, y_true: Array, y_pred: Array) -> Array:
        """Return the mean of each example."""
        return _rows((y_pred - alike(y_true, y_pred)) ** 2)


@named("rmse")
@dataclass
class RootMeanSquaredError(MeanSquaredError):
    """Root of the mean of ``(y_true - y_pred) ** 2``."""

    def result(self) -> float:
        """Return the root."""
        return float(np.sqrt(super().result()))


@named("mae")
@dataclass
class MeanAbsoluteError(Mean):
    """Mean of ``|y_true - y_pred|``."""

    def values(self, y_true: Array, y_pred: Array) -> Array:
        """Return the mean of each example."""
        return _rows(np.abs(y_pred - alike(y_true, y_pred)))


@named("mape")
@dataclass
class MeanAbsolutePercentageError(Mean):
    """Mean of ``100 |y_true - y_pred| / |y_true|``."""

    def values(self, y_true: Array, y_pred: Array) -> Array:
        """Return the mean of each example."""
        y = alike(y_true, y_pred)
        return 100.0 * _rows(np.abs(y - y_pred) / np.maximum(np.abs(y), _EPSILON))


@named("cosine_proximity")
@dataclass
class CosineSimilarity(Mean):
    """Mean cosine of the angle between target and output."""

    def values(self, y_true: Array, y_pred: Array) -> Array:
        """Return the cosine of each example."""

        def unit(x: Array) -> Array:
            return np.asarray(x / np.sqrt(np.maximum((x * x).sum(-1, keepdims=True), _EPSILON)))

        return np.asarray((unit(y_true.astype(np.float64)) * unit(y_pred)).sum(-1))


@named("r2")
@dataclass
class R2Score(Metric):
    """Share of the targets' variance that the outputs explain; the mean over several targets."""

    def reset_state(self) -> None:
        """Forget all that was counted."""
        self._count: Any = 0.0
        self._sum: Any = 0.0
        self._square: Any = 0.0
        self._error: Any = 0.0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch; see `Metric`."""
        predicted = np.asarray(y_pred, np.float64)
        y = alike(np.asarray(y_true, np.float64), predicted)
        weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight)
        weight = weight.reshape(-1, *[1] * (y.ndim - 1))
        self._count = self._count + weight.sum(0)
        self._sum = self._sum + (y * weight).sum(0)
        self._square = self._square + (y * y * weight).sum(0)
        self._error = self._error + ((y - predicted) ** 2 * weight).sum(0)

    def result(self) -> float:
        """Return the score; 0 when the targets do not vary."""
        if not np.any(self._count):
            return 0.0
        spread = self._square - self._sum**2 / self._count
        score = np.where(spread > 0, 1.0 - self._error / np.where(spread > 0, spread, 1.0), 0.0)
        return float(np.mean(score))


@named("bce")
@dataclass
class BinaryCrossentropy(Mean):
    """Cross-entropy of yes-or-no targets.

    Args:
        from_logits: Whether outputs are before the sigmoid.
    """

    from_logits: bool = False

    def values(self, y_true: Array, y_pred: Array) -> Array:
        """Return the mean of each example."""
        y = alike(y_true, y_pred)
        p = 1.0 / (1.0 + np.exp(-y_pred)) if self.from_logits else y_pred
        p = np.clip(p, _EPSILON, 1.0 - _EPSILON)
        return _rows(-(y * np.log(p) + (1.0 - y) * np.log(1.0 - p)))


@named("cce")
@dataclass
class CategoricalCrossentropy(Mean):
    """Cross-entropy of one-hot targets.

    Args:
        from_logits: Whether outputs are before the softmax.
    """

    from_logits: bool = False

    def values(self, y_true: Array, y_pred: Array) -> Array:
        """Return the cross-entropy of each example."""
        return np.asarray(-(y_true * _log_p(y_pred, self.from_logits)).sum(-1))


@named("scce")
@dataclass
class SparseCategoricalCrossentropy(Mean):
    """Cross-entropy of class numbers.

    Args:
        from_logits: Whether outputs are before the softmax.
    """

    from_logits: bool = False

    def values(self, y_true: Array, y_pred: Array) -> Array:
        """Return the cross-entropy of each example."""
        labels = labels_of(y_true, y_pred).astype(np.int64)
        log_p = _log_p(y_pred, self.from_logits)
        return -np.take_along_axis(log_p, labels[..., None], -1)[..., 0]


def _log_p(y_pred: Array, from_logits: bool) -> Array:
    if from_logits:
        shifted = y_pred - y_pred.max(-1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))
    p = y_pred / y_pred.sum(-1, keepdims=True)
    return np.asarray(np.log(np.clip(p, _EPSILON, 1.0 - _EPSILON)))


def _rows(values: Array) -> Array:
    return np.asarray(values.mean(axis=-1) if values.ndim > 1 else values)
