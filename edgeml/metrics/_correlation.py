"""How targets and outputs vary together."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from edgeml.metrics._arrays import EPSILON, Array, pair
from edgeml.metrics._base import OfExamples, metric


@metric()
class PearsonCorrelation(OfExamples):
    """Mean correlation of each target with its output: 1 same, 0 none, -1 opposite.

    Args:
        axis: Axis that values vary along.

    Example:
        >>> from edgeml.metrics import PearsonCorrelation
        >>> round(PearsonCorrelation()([[0.0, 1.0, 0.5]], [[0.1, 0.9, 1.0]]), 3)
        0.811
    """

    name: str = "pearson_correlation"
    axis: int = -1
    direction: ClassVar[str] = "up"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return the correlation of each example."""
        y, p = (self._centred(a.astype(np.float64)) for a in pair(self.name, y_true, y_pred))
        spread = np.sqrt((y * y).mean(self.axis) * (p * p).mean(self.axis))
        with np.errstate(divide="ignore", invalid="ignore"):  # what does not vary has none: NaN
            return np.asarray((y * p).mean(self.axis) / spread)

    def _centred(self, x: Array) -> Array:
        return np.asarray(x - x.mean(self.axis, keepdims=True))


@metric()
class ConcordanceCorrelation(OfExamples):
    """Mean agreement of each target with its output: as correlation, less for scale and shift.

    Args:
        axis: Axis that values vary along.

    Example:
        >>> from edgeml.metrics import ConcordanceCorrelation
        >>> round(ConcordanceCorrelation()([[0.0, 1.0, 0.5]], [[0.1, 0.9, 1.0]]), 3)
        0.748
    """

    name: str = "concordance_correlation"
    axis: int = -1
    direction: ClassVar[str] = "up"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return the agreement of each example."""
        y, p = (a.astype(np.float64) for a in pair(self.name, y_true, y_pred))
        shift = y.mean(self.axis, keepdims=True) - p.mean(self.axis, keepdims=True)
        away_y = y - y.mean(self.axis, keepdims=True)
        away_p = p - p.mean(self.axis, keepdims=True)
        both = (away_y * away_p).mean(self.axis)
        spread = np.square(away_y) + np.square(away_p) + np.square(shift)
        return np.asarray(2.0 * both / (spread.mean(self.axis) + EPSILON))
