"""Counts of decisions, and one rate where another one is good enough."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from edgeml.errors import ConfigError
from edgeml.metrics._arrays import Array, check_numbers, pair, share, weights
from edgeml.metrics._base import Configured, metric
from edgeml.metrics._counts import Decisions, at_least


class _Count(Decisions):
    """One of the four counts."""

    top_k: int | None = None
    class_id: int | None = None
    counted: ClassVar[str] = ""

    def result(self) -> Any:
        """Return the count: a float, or an array for several thresholds."""
        found = getattr(self, self.counted)
        return float(found[0]) if len(found) == 1 else found.copy()


@metric()
class TruePositives(_Count):
    """How many positive decisions are right.

    Args:
        thresholds: Number from 0 to 1 above which an output is positive, by default 0.5; a list
            gives an array of results.
        name: Its name in history and logs.

    Example:
        >>> from edgeml.metrics import TruePositives
        >>> TruePositives()([0, 1, 1, 1], [0.9, 0.1, 0.8, 0.7])
        2.0
    """

    thresholds: Any = None
    direction: ClassVar[str] = "up"
    counted: ClassVar[str] = "true_positives"


@metric()
class TrueNegatives(_Count):
    """How many negative decisions are right; see `TruePositives`.

    Example:
        >>> from edgeml.metrics import TrueNegatives
        >>> TrueNegatives()([0, 1, 0, 1], [0.2, 0.1, 0.8, 0.7])
        1.0
    """

    thresholds: Any = None
    direction: ClassVar[str] = "up"
    counted: ClassVar[str] = "true_negatives"


@metric()
class FalsePositives(_Count):
    """How many positive decisions are wrong; see `TruePositives`.

    Example:
        >>> from edgeml.metrics import FalsePositives
        >>> FalsePositives()([0, 1, 0, 1], [0.2, 0.1, 0.8, 0.7])
        1.0
    """

    thresholds: Any = None
    direction: ClassVar[str] = "down"
    counted: ClassVar[str] = "false_positives"


@metric()
class FalseNegatives(_Count):
    """How many negative decisions are wrong; see `TruePositives`.

    Example:
        >>> from edgeml.metrics import FalseNegatives
        >>> FalseNegatives()([0, 1, 1, 1], [0.9, 0.1, 0.8, 0.7])
        1.0
    """

    thresholds: Any = None
    direction: ClassVar[str] = "down"
    counted: ClassVar[str] = "false_negatives"


class _At(Configured):
    """The best of one rate over all thresholds where another rate is high enough."""

    num_thresholds: int
    class_id: int | None
    direction: ClassVar[str] = "up"
    least: ClassVar[str] = ""
    """The field with what the other rate must reach."""

    def reset_state(self) -> None:
        """Forget all that was counted."""
        value = getattr(self, self.least)
        if not 0 <= value <= 1:
            raise ConfigError(f"{self.name}: {self.least}: expected 0 to 1, received {value!r}")
        if self.num_thresholds < 1:
            raise ConfigError(
                f"{self.name}: num_thresholds: expected at least 1, received {self.num_thresholds}"
            )
        self.true_positives, self.false_positives = np.zeros((2, self.num_thresholds))
        self._positives = self._negatives = 0.0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Args:
            y_true: Targets, 0 or 1, in the outputs' shape.
            y_pred: Outputs from 0 to 1.
            sample_weight: Weight of each example, or of each value.

        Raises:
            ShapeError: targets, outputs or weights do not fit together.
            NonFinite: there is NaN in the outputs.
        """
        y, p = pair(self.name, y_true, np.asarray(y_pred, np.float32))
        check_numbers(self.name, p)
        w = weights(self.name, sample_weight, p.shape)
        if self.class_id is not None:
            y, p, w = (a[..., self.class_id] for a in (y, p, w))
        positive, w, size = y.ravel() != 0, w.ravel(), self.num_thresholds
        if size == 1:
            above = (p.ravel() > 0.5).astype(np.int64)
        else:  # how many of the even thresholds from 0 to 1 an output is above; in float32
            above = np.ceil(np.clip(p.ravel(), 0, 1) * np.float32(size - 1)).astype(np.int64)
        found = at_least(np.bincount(above, w * positive, size + 1))
        alarms = at_least(np.bincount(above, w * ~positive, size + 1))
        self.true_positives += found[1 : size + 1]
        self.false_positives += alarms[1 : size + 1]
        self._positives += float(found[0])
        self._negatives += float(alarms[0])

    def _recall(self) -> Array:
        return share(self.true_positives, np.full(self.num_thresholds, self._positives))

    def _precision(self) -> Array:
        return share(self.true_positives, self.true_positives + self.false_positives)

    def _specificity(self) -> Array:
        rejected = self._negatives - self.false_positives
        return share(rejected, np.full(self.num_thresholds, self._negatives))

    def _best(self, of: Array, where: Array) -> float:
        good = where >= getattr(self, self.least)
        return float(of[good].max(initial=0.0))


@metric()
class PrecisionAtRecall(_At):
    """The best precision of all thresholds with at least this recall; 0 when there is none.

    Args:
        recall: 0 to 1.
        num_thresholds: Number of thresholds from 0 to 1.
        class_id: Count only this class.
        name: Its name in history and logs.

    Example:
        >>> from edgeml.metrics import PrecisionAtRecall
        >>> PrecisionAtRecall(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
        0.5
    """

    recall: float
    num_thresholds: int = 200
    class_id: int | None = None
    least: ClassVar[str] = "recall"

    def result(self) -> float:
        """Return the precision."""
        return self._best(self._precision(), self._recall())


@metric()
class RecallAtPrecision(_At):
    """The best recall of all thresholds with at least this precision; see `PrecisionAtRecall`.

    Example:
        >>> from edgeml.metrics import RecallAtPrecision
        >>> RecallAtPrecision(0.8)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
        0.5
    """

    precision: float
    num_thresholds: int = 200
    class_id: int | None = None
    least: ClassVar[str] = "precision"

    def result(self) -> float:
        """Return the recall."""
        return self._best(self._recall(), self._precision())


@metric()
class SensitivityAtSpecificity(_At):
    """The best share of positives found where this share of negatives is left alone.

    See `PrecisionAtRecall`.

    Example:
        >>> from edgeml.metrics import SensitivityAtSpecificity
        >>> SensitivityAtSpecificity(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
        0.5
    """

    specificity: float
    num_thresholds: int = 200
    class_id: int | None = None
    least: ClassVar[str] = "specificity"

    def result(self) -> float:
        """Return the sensitivity."""
        return self._best(self._recall(), self._specificity())


@metric()
class SpecificityAtSensitivity(_At):
    """The best share of negatives left alone where this share of positives is found.

    See `PrecisionAtRecall`.

    Example:
        >>> from edgeml.metrics import SpecificityAtSensitivity
        >>> SpecificityAtSensitivity(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
        0.6666666666666666
    """

    sensitivity: float
    num_thresholds: int = 200
    class_id: int | None = None
    least: ClassVar[str] = "sensitivity"

    def result(self) -> float:
        """Return the specificity."""
        return self._best(self._specificity(), self._recall())
