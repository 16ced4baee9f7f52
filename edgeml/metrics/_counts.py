"""Metrics from counts of right and wrong decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeml.errors import ConfigError
from edgeml.metrics._base import Array, Metric, named


@dataclass
class _Decisions(Metric):
    thresholds: Any = None
    top_k: int | None = None
    class_id: int | None = None

    def _limits(self) -> Array:
        given = 0.5 if self.thresholds is None else self.thresholds
        return np.atleast_1d(np.asarray(given, np.float64))

    def reset_state(self) -> None:
        """Forget all that was counted."""
        count = len(self._limits())
        self.true_positives, self.predicted, self.actual = (np.zeros(count) for _ in range(3))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch; see `Metric`."""
        p = np.asarray(y_pred, np.float64)
        y = np.asarray(y_true, np.float64).reshape(p.shape)
        weight = np.ones(len(p)) if sample_weight is None else np.asarray(sample_weight)
        weight = np.broadcast_to(weight.reshape(-1, *[1] * (p.ndim - 1)), p.shape)
        if self.top_k is not None:
            rank = np.argsort(np.argsort(-p, axis=-1, kind="stable"), axis=-1)
            p = np.where(rank < self.top_k, p, -np.inf)
            limits = np.full(1, -np.inf) if self.thresholds is None else self._limits()
        else:
            limits = self._limits()
        if self.class_id is not None:
            y, p, weight = (a[..., self.class_id] for a in (y, p, weight))
        actual, p, weight = y.ravel() > 0.5, p.ravel(), weight.ravel()
        for i, limit in enumerate(limits):
            positive = p > limit
            self.true_positives[i] += weight[positive & actual].sum()
            self.predicted[i] += weight[positive].sum()
            self.actual[i] += weight[actual].sum()

    def _share(self, of: Array) -> Any:
        found = np.divide(self.true_positives, of, out=np.zeros_like(of), where=of > 0)
        return float(found[0]) if np.ndim(self.thresholds) == 0 else found


@named()
@dataclass
class Precision(_Decisions):
    """Share of the positive decisions that are right.

    Args:
        thresholds: Output above which a decision is positive; a list gives an array.
        top_k: Count only the `top_k` largest outputs as positive.
        class_id: Count only this class.
    """

    def result(self) -> Any:
        """Return the precision."""
        return self._share(self.predicted)


@named()
@dataclass
class Recall(_Decisions):
    """Share of the positives that are found.

    Args:
        thresholds: Output above which a decision is positive; a list gives an array.
        top_k: Count only the `top_k` largest outputs as positive.
        class_id: Count only this class.
    """

    def result(self) -> Any:
        """Return the recall."""
        return self._share(self.actual)


@named("f1", "f1_score")
@dataclass
class F1Score(Metric):
    """Harmonic mean of precision and recall, of one-hot targets.

    Args:
        average: None (one for each class), "micro", "macro" or "weighted".
        threshold: Output above which a class is positive; None: the largest output is.
    """

    average: str | None = None
    threshold: float | None = None

    def reset_state(self) -> None:
        """Forget all that was counted."""
        if self.average not in (None, "micro", "macro", "weighted"):
            raise ConfigError(f"average: expected micro, macro or weighted, got {self.average!r}")
        self._right: Any = 0.0
        self._predicted: Any = 0.0
        self._actual: Any = 0.0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch; see `Metric`."""
        p, y = np.asarray(y_pred), np.asarray(y_true, np.float64)
        if y.ndim == p.ndim - 1 or (y.shape[-1] == 1 and p.shape[-1] > 1):
            y = np.eye(p.shape[-1])[y.astype(np.int64).reshape(p.shape[:-1])]
        if self.threshold is None:
            positive = (p == p.max(-1, keepdims=True)) & (np.abs(p) > 1e-9)
        else:
            positive = p > self.threshold
        weight = 1.0 if sample_weight is None else np.asarray(sample_weight).reshape(-1, 1)
        self._right = self._right + (positive * y * weight).sum(0)
        self._predicted = self._predicted + (positive * weight).sum(0)
        self._actual = self._actual + (y * weight).sum(0)

    def result(self) -> Any:
        """Return the score: an array when `average` is None."""
        right, predicted, actual = (
            np.atleast_1d(a) for a in (self._right, self._predicted, self._actual)
        )
        if self.average == "micro":
            right, predicted, actual = right.sum(), predicted.sum(), actual.sum()
        score = 2.0 * right / np.maximum(predicted + actual, 1e-7)
        if self.average is None:
            return score
        if self.average == "weighted":
            return float((score * actual).sum() / max(actual.sum(), 1e-7))
        return float(np.mean(score))


@named()
@dataclass
class ConfusionMatrix(Metric):
    """How often each class (row) was taken for each other (column).

    Args:
        num_classes: Number of classes; None: as many as there are outputs.
    """

    num_classes: int | None = None

    def reset_state(self) -> None:
        """Forget all that was counted."""
        size = self.num_classes or 0
        self._matrix = np.zeros((size, size))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch; see `Metric`."""
        p, y = np.asarray(y_pred), np.asarray(y_true)
        size = self.num_classes or max(p.shape[-1], 2)
        if not len(self._matrix):
            self._matrix = np.zeros((size, size))
        if p.ndim > 1 and p.shape[-1] > 1:
            if y.shape == p.shape:
                y = y.argmax(-1)
            p = p.argmax(-1)
        elif p.dtype.kind == "f":
            p = p > 0.5
        weight = np.ones(y.size) if sample_weight is None else np.asarray(sample_weight).ravel()
        places = (y.ravel().astype(np.int64), p.ravel().astype(np.int64))
        np.add.at(self._matrix, places, weight)

    def result(self) -> Array:
        """Return the matrix: targets by decisions."""
        return self._matrix.copy()


@named()
@dataclass
class AUC(Metric):
    """Area under the ROC or the precision-recall curve, at fixed thresholds as Keras has it.

    Args:
        num_thresholds: Number of thresholds between 0 and 1.
        curve: "ROC" or "PR".
        from_logits: Whether outputs are before the sigmoid.
    """

    num_thresholds: int = 200
    curve: str = "ROC"
    from_logits: bool = False

    def reset_state(self) -> None:
        """Forget all that was counted."""
        if self.curve not in ("ROC", "PR") or self.num_thresholds < 2:
            raise ConfigError("AUC: curve is 'ROC' or 'PR', num_thresholds at least 2")
        inner = np.arange(1, self.num_thresholds - 1) / (self.num_thresholds - 1)
        self._limits = np.concatenate([[-1e-7], inner, [1.0 + 1e-7]])
        self._positives, self._negatives = (np.zeros(self.num_thresholds + 1) for _ in range(2))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch; see `Metric`."""
        p = np.asarray(y_pred, np.float64)
        y = np.asarray(y_true).reshape(p.shape)
        if self.from_logits:
            p = 1.0 / (1.0 + np.exp(-p))
        weight = np.ones(len(p)) if sample_weight is None else np.asarray(sample_weight)
        weight = np.broadcast_to(weight.reshape(-1, *[1] * (p.ndim - 1)), p.shape).ravel()
        # How many thresholds an output is above: a histogram, from which all counts follow.
        above = np.searchsorted(self._limits, p.ravel(), side="left")
        size, positive = self.num_thresholds + 1, y.ravel() > 0.5
        self._positives += np.bincount(above, weight * positive, size)
        self._negatives += np.bincount(above, weight * ~positive, size)

    def result(self) -> float:
        """Return the area."""
        tp = np.cumsum(self._positives[::-1])[::-1][1:]
        fp = np.cumsum(self._negatives[::-1])[::-1][1:]
        positives, negatives = self._positives.sum(), self._negatives.sum()
        if self.curve == "ROC":
            x = fp / negatives if negatives else np.zeros_like(fp)
            y = tp / positives if positives else np.zeros_like(tp)
            return float(np.sum((x[:-1] - x[1:]) * (y[:-1] + y[1:]) / 2.0))
        return _pr_area(tp, fp, positives)


def _pr_area(tp: Array, fp: Array, positives: float) -> float:
    """Interpolate between thresholds as Davis and Goadrich (2006) do, which Keras follows."""
    dtp, p = tp[:-1] - tp[1:], tp + fp
    dp = p[:-1] - p[1:]
    slope = np.divide(dtp, dp, out=np.zeros_like(dtp), where=dp > 0)
    intercept = tp[1:] - slope * p[1:]
    both = (p[:-1] > 0) & (p[1:] > 0)
    ratio = np.divide(p[:-1], p[1:], out=np.ones_like(dtp), where=both)
    area = slope * (dtp + intercept * np.log(ratio))
    return float(area.sum() / positives) if positives else 0.0
