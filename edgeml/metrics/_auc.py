"""The area under a curve of decisions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from edgeml.errors import ConfigError
from edgeml.metrics._arrays import EPSILON, Array, check_numbers, pair, share, weights
from edgeml.metrics._base import Configured, metric

_log = logging.getLogger("edgeml.metrics")


@metric()
class AUC(Configured):
    """Area under the ROC or the precision-recall curve, at fixed thresholds as Keras has it.

    Args:
        num_thresholds: Number of thresholds from 0 to 1; more are more exact.
        curve: "ROC" or "PR".
        summation_method: "interpolation", "minoring" (from below) or "majoring" (from above).
        thresholds: Thresholds between 0 and 1, instead of even ones.
        multi_label: Whether each column of (examples, labels) has a curve of its own; the result
            is their mean. Otherwise all values make one curve.
        label_weights: Weight of each label.
        from_logits: Whether outputs are before the sigmoid.
        name: Its name in history and logs.

    Example:
        >>> from edgeml.metrics import AUC
        >>> round(AUC()([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 6)
        0.75
    """

    num_thresholds: int = 200
    curve: str = "ROC"
    summation_method: str = "interpolation"
    thresholds: Sequence[float] | None = None
    multi_label: bool = False
    label_weights: Sequence[float] | None = None
    from_logits: bool = False
    direction: ClassVar[str] = "up"

    def reset_state(self) -> None:
        """Forget all that was counted."""
        if self.curve.upper() not in ("ROC", "PR"):
            raise ConfigError(
                f"{self.name}: curve: expected 'ROC' or 'PR', received {self.curve!r}"
            )
        if self.summation_method not in ("interpolation", "minoring", "majoring"):
            raise ConfigError(
                f"{self.name}: summation_method: expected 'interpolation', 'minoring' or "
                f"'majoring', received {self.summation_method!r}"
            )
        self._limits: Array | None = None
        self._size = self.num_thresholds
        if self.thresholds is not None:
            inner = sorted(self.thresholds)
            if inner and not 0 <= inner[0] <= inner[-1] <= 1:
                raise ConfigError(
                    f"{self.name}: thresholds: expected numbers from 0 to 1, received {inner}"
                )
            self._limits = np.array([-EPSILON, *inner, 1 + EPSILON], np.float32)
            self._size = len(inner) + 2
        if self._size < 2:
            raise ConfigError(
                f"{self.name}: num_thresholds: expected at least 2, received {self.num_thresholds}"
            )
        # How much lies between each threshold and the next, for each label.
        self._positives = self._negatives = np.zeros((1, self._size))
        self._told = False

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Args:
            y_true: Targets, 0 or 1, in the outputs' shape.
            y_pred: Outputs from 0 to 1; any with `from_logits`.
            sample_weight: Weight of each example, or of each value.

        Raises:
            ShapeError: targets, outputs or weights do not fit together.
            NonFinite: there is NaN in the outputs.
        """
        p = np.asarray(y_pred, np.float32)
        if self.from_logits:
            # 1 / (1 + exp(-p)), which does not overflow.
            p = (0.5 + 0.5 * np.tanh(0.5 * p)).astype(np.float32)
        y, p = pair(self.name, y_true, p)
        check_numbers(self.name, p)
        w = weights(self.name, sample_weight, p.shape)
        if self.label_weights is not None and not self.multi_label:
            w = w * np.asarray(self.label_weights, np.float64)
        labels = p.shape[-1] if self.multi_label and p.ndim > 1 else 1
        place = self._places(p) + self._size * np.arange(labels)
        positive, size = y != 0, labels * self._size
        found = np.bincount(place.ravel(), (w * positive).ravel(), size)
        alarms = np.bincount(place.ravel(), (w * ~positive).ravel(), size)
        self._positives = self._positives + found.reshape(labels, -1)
        self._negatives = self._negatives + alarms.reshape(labels, -1)

    def _places(self, p: Array) -> Array:
        """Return the number of the highest threshold that each output is above."""
        if p.size and not self._told and (p.min() < 0 or p.max() > 1):
            self._told = True
            _log.warning(
                "%s: outputs are not all from 0 to 1 and count as 0 or 1: set from_logits=True "
                "when they are logits", self.name,
            )  # fmt: skip
        p = np.clip(p, 0.0, 1.0)
        if self._limits is not None:
            return np.searchsorted(self._limits, p, side="left") - 1
        # Even thresholds need no search. In float32, as Keras: outputs on a threshold fall alike.
        place = np.ceil(p * np.float32(self._size - 1)).astype(np.int64) - 1
        return np.maximum(place, 0)

    def result(self) -> float:
        """Return the area; 0 when nothing was counted."""
        tp, fp = (np.cumsum(a[:, ::-1], -1)[:, ::-1] for a in (self._positives, self._negatives))
        # All outputs are above the first threshold.
        positives, negatives = tp[:, :1], fp[:, :1]
        recall = share(tp, np.broadcast_to(positives, tp.shape))
        if self.curve.upper() == "ROC":
            area = self._sum(share(fp, np.broadcast_to(negatives, fp.shape)), recall)
        elif self.summation_method == "interpolation":
            area = _pr_area(tp, fp, positives)
        else:
            area = self._sum(recall, share(tp, tp + fp))
        if self.multi_label and self.label_weights is not None:
            return float(np.average(area, weights=self.label_weights))
        return float(area.mean())

    def _sum(self, x: Array, y: Array) -> Array:
        low, high = np.minimum(y[:, :-1], y[:, 1:]), np.maximum(y[:, :-1], y[:, 1:])
        method = self.summation_method
        height = {"interpolation": (low + high) / 2, "minoring": low, "majoring": high}[method]
        return np.asarray(((x[:, :-1] - x[:, 1:]) * height).sum(-1))


def _pr_area(tp: Array, fp: Array, positives: Array) -> Array:
    """Interpolate between thresholds as Davis and Goadrich (2006) do, which Keras follows."""
    chosen = tp + fp
    this, after = chosen[:, :-1], chosen[:, 1:]
    gained = tp[:, :-1] - tp[:, 1:]
    slope = share(gained, this - after)
    intercept = tp[:, 1:] - slope * after
    both = (this > 0) & (after > 0)
    ratio = np.divide(this, after, out=np.ones_like(gained), where=both)
    area = (slope * (gained + intercept * np.log(ratio))).sum(-1)
    return share(area, positives[:, 0])
