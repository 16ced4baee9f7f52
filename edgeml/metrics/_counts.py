"""Metrics from counts of right and wrong decisions."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from edgeml.errors import ConfigError, DataError
from edgeml.metrics._arrays import (
    Array,
    check_labels,
    check_numbers,
    floats,
    pair,
    share,
    weights,
)
from edgeml.metrics._base import Configured, metric

# Below every output: with top_k alone, being among the k largest is all that counts.
_LOWEST = -1e10


class Decisions(Configured):
    """Counts of decisions, above one or several thresholds."""

    thresholds: Any
    top_k: int | None
    class_id: int | None

    def reset_state(self) -> None:
        """Forget all that was counted."""
        given = self.thresholds
        if given is None:
            given = 0.5 if self.top_k is None else _LOWEST
        # Compared as float32, as outputs are: an output of float32(0.3) is not above 0.3.
        limits = np.atleast_1d(np.asarray(given, np.float32))
        if self.thresholds is not None and not ((limits >= 0) & (limits <= 1)).all():
            raise ConfigError(
                f"{self.name}: thresholds: expected numbers from 0 to 1, received {given}"
            )
        self._order = np.argsort(limits, kind="stable")
        self._limits = limits[self._order]
        self.true_positives, self.false_positives = np.zeros((2, len(limits)))
        self.false_negatives, self.true_negatives = np.zeros((2, len(limits)))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Args:
            y_true: Targets, 0 or 1 (one-hot for several classes), in the outputs' shape.
            y_pred: Outputs.
            sample_weight: Weight of each example, or of each value.

        Raises:
            ShapeError: targets, outputs or weights do not fit together.
            NonFinite: there is NaN in the outputs.
        """
        y, p = pair(self.name, y_true, np.asarray(y_pred, np.float32))
        check_numbers(self.name, p)
        w = weights(self.name, sample_weight, p.shape)
        if self.top_k is not None:
            rank = np.argsort(np.argsort(-p, axis=-1, kind="stable"), axis=-1)
            p = np.where(rank < self.top_k, p, -np.inf)
        if self.class_id is not None:
            if p.ndim < 2 or not -p.shape[-1] <= self.class_id < p.shape[-1]:
                raise ConfigError(
                    f"{self.name}: class_id={self.class_id}: outputs of shape {p.shape} have no "
                    "such class"
                )
            y, p, w = (a[..., self.class_id] for a in (y, p, w))
        # How many thresholds an output is above: from their histogram all counts follow.
        above = np.searchsorted(self._limits, p.ravel(), side="left")
        positive, w, size = y.ravel() != 0, w.ravel(), len(self._limits) + 1
        found = at_least(np.bincount(above, w * positive, size))
        alarms = at_least(np.bincount(above, w * ~positive, size))
        self.true_positives[self._order] += found[1:]
        self.false_positives[self._order] += alarms[1:]
        self.false_negatives[self._order] += found[0] - found[1:]
        self.true_negatives[self._order] += alarms[0] - alarms[1:]

    def _result(self, whole: Array) -> Any:
        found = share(self.true_positives, whole)
        return float(found[0]) if len(found) == 1 else found


def at_least(histogram: Array) -> Array:
    """Return how much lies in each place and above it."""
    return np.cumsum(histogram[::-1])[::-1]


@metric()
class Precision(Decisions):
    """Share of the positive decisions that are right.

    Args:
        thresholds: Number from 0 to 1 above which an output is positive, by default 0.5; a list
            gives an array of results.
        top_k: Count only the `top_k` largest outputs of each example as positive.
        class_id: Count only this class.
        name: Its name in history and logs.

    Example:
        >>> from edgeml.metrics import Precision
        >>> Precision()([0, 1, 1, 1], [0.9, 0.1, 0.8, 0.7])
        0.6666666666666666
    """

    thresholds: Any = None
    top_k: int | None = None
    class_id: int | None = None
    direction: ClassVar[str] = "up"

    def result(self) -> Any:
        """Return the precision: a float, or an array for several thresholds."""
        return self._result(self.true_positives + self.false_positives)


@metric()
class Recall(Decisions):
    """Share of the positives that are found.

    Args:
        thresholds: Number from 0 to 1 above which an output is positive, by default 0.5; a list
            gives an array of results.
        top_k: Count only the `top_k` largest outputs of each example as positive.
        class_id: Count only this class.
        name: Its name in history and logs.

    Example:
        >>> from edgeml.metrics import Recall
        >>> Recall()([0, 1, 1, 1], [0.9, 0.1, 0.8, 0.7])
        0.6666666666666666
    """

    thresholds: Any = None
    top_k: int | None = None
    class_id: int | None = None
    direction: ClassVar[str] = "up"

    def result(self) -> Any:
        """Return the recall: a float, or an array for several thresholds."""
        return self._result(self.true_positives + self.false_negatives)


@metric()
class FBetaScore(Configured):
    """Harmonic mean of precision and recall of each class, recall counting `beta` times as much.

    Targets are one-hot or several-hot, or class numbers. With a single output set a threshold:
    without one, the largest output of each example is its positive, and that is the only one.

    Args:
        average: None (one score for each class), "micro" (all decisions together), "macro" (the
            mean of the classes), or "weighted" (the mean by how often they occur).
        beta: Above 0.
        threshold: Output above which a class is positive; None: the largest output is.
        name: Its name in history and logs.

    Example:
        >>> from edgeml.metrics import FBetaScore
        >>> score = FBetaScore("macro", beta=2.0)
        >>> round(score([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), 3)
        0.694
    """

    name: str = dataclasses.field(default="fbeta_score", kw_only=True)
    average: str | None = None
    beta: float = 1.0
    threshold: float | None = None
    direction: ClassVar[str] = "up"

    def reset_state(self) -> None:
        """Forget all that was counted."""
        if self.average not in (None, "micro", "macro", "weighted"):
            raise ConfigError(
                f"{self.name}: average: expected None, 'micro', 'macro' or 'weighted', received "
                f"{self.average!r}"
            )
        if not self.beta > 0:
            raise ConfigError(f"{self.name}: beta: expected above 0, received {self.beta!r}")
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise ConfigError(
                f"{self.name}: threshold: expected a number above 0, at most 1, received "
                f"{self.threshold!r}"
            )
        self._right = self._predicted = self._actual = np.zeros(1)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Args:
            y_true: Targets (examples, classes), or class numbers (examples,).
            y_pred: Outputs (examples, classes).
            sample_weight: Weight of each example.

        Raises:
            ShapeError: targets, outputs or weights do not fit together.
            DataError: a class number is not below the number of classes.
            NonFinite: there is NaN in the outputs.
        """
        p = floats(y_pred)
        p = p.reshape(-1, p.shape[-1]) if p.ndim > 1 else p[:, None]
        check_numbers(self.name, p)
        y, p = pair(self.name, _several_hot(self.name, y_true, p), p)
        if self.threshold is None:
            positive = (p == p.max(-1, keepdims=True)) & (np.abs(p) > 1e-9)
        else:
            positive = p > self.threshold
        w = weights(self.name, sample_weight, p.shape)
        self._right = self._right + (positive * y * w).sum(0, dtype=np.float64)
        self._predicted = self._predicted + (positive * w).sum(0, dtype=np.float64)
        self._actual = self._actual + (y * w).sum(0, dtype=np.float64)

    def result(self) -> Any:
        """Return the score: a float, or an array of one for each class when `average` is None."""
        square = self.beta**2
        right, actual = self._right, self._actual
        both = self._predicted + actual * square
        if self.average == "micro":
            right, both = right.sum(keepdims=True), both.sum(keepdims=True)
        score = share((1.0 + square) * right, both)
        if self.average is None:
            return score
        if self.average == "weighted":
            return float(share((score * actual).sum(), actual.sum()))
        return float(score.mean())


@metric("f1")
class F1Score(FBetaScore):
    """Harmonic mean of precision and recall of each class; see `FBetaScore`.

    Example:
        >>> from edgeml.metrics import F1Score
        >>> F1Score("macro")([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
        0.6666666666666666
    """

    name: str = dataclasses.field(default="f1_score", kw_only=True)
    beta: float = dataclasses.field(default=1.0, init=False)


def _several_hot(name: str, y_true: Any, p: Array) -> Array:
    y = np.asarray(y_true)
    if y.size * p.shape[-1] == p.size and p.shape[-1] > 1:
        numbers = y.astype(np.int64).ravel()
        check_labels(name, numbers, p.shape[-1])
        return np.equal(numbers[:, None], np.arange(p.shape[-1]))
    return y.reshape(-1, y.shape[-1]) if y.ndim > 2 else y


@metric()
class ConfusionMatrix(Configured):
    """How often each class (row) was taken for each other (column).

    Args:
        num_classes: Number of classes; None: as many as there are outputs, two for a single one.
        threshold: For a single output: above it is class 1.
        name: Its name in history and logs.

    Example:
        >>> from edgeml.metrics import ConfusionMatrix
        >>> ConfusionMatrix()([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
        array([[1., 0.],
               [1., 1.]])
    """

    num_classes: int | None = None
    threshold: float = 0.5

    def reset_state(self) -> None:
        """Forget all that was counted."""
        size = self.num_classes or 0
        self._matrix = np.zeros((size, size))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Args:
            y_true: Class numbers, or one-hot targets in the outputs' shape.
            y_pred: Outputs: a value for each class; one value; or class numbers (integers).
            sample_weight: Weight of each example.

        Raises:
            ShapeError: targets, outputs or weights do not fit together.
            DataError: a class number is not below the number of classes.
            NonFinite: there is NaN in the outputs.
        """
        y, p = np.asarray(y_true), np.asarray(y_pred)
        if p.dtype.kind == "f":
            check_numbers(self.name, p)
        size = self.num_classes or 2
        if p.ndim > 1 and p.shape[-1] > 1:
            size = self.num_classes or p.shape[-1]
            y = y.argmax(-1) if y.shape == p.shape else y
            p = p.argmax(-1)
        elif p.dtype.kind == "f":
            p = p > self.threshold
        elif self.num_classes is None:
            raise DataError(f"{self.name}: set num_classes: outputs are class numbers")
        actual, decided = (a.astype(np.int64).ravel() for a in pair(self.name, y, p))
        check_labels(self.name, actual, size)
        check_labels(self.name, decided, size)
        w = None if sample_weight is None else weights(self.name, sample_weight, p.shape).ravel()
        if len(self._matrix) != size:
            self._matrix = np.zeros((size, size))
        counts = np.bincount(actual * size + decided, w, size * size)
        self._matrix += counts.reshape(size, size)

    def result(self) -> Array:
        """Return the matrix (classes, classes): targets by decisions."""
        return self._matrix.copy()
