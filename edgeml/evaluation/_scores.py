"""The difference of two models whose examples are scored one by one."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml.errors import DataError
from edgeml.evaluation._differences import _of_shares
from edgeml.evaluation._measures import mean
from edgeml.evaluation._stats import (
    LEAST_UNITS,
    Estimate,
    Options,
    Share,
    Units,
    percentiles,
    resample,
    too_few,
)


def score_difference(
    a: Any, b: Any, groups: Any = None, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Estimate:
    """Return the mean of ``a - b`` over examples, with its interval.

    Scores that are all 0 or 1 have the interval of Bonett and Price (2012), which is honest also
    when no example differs; others are resampled, with groups whole.

    Args:
        a: A score an example (n).
        b: The other model's, of the same examples.
        groups: What each example belongs to, such as a person.
        level: Of the interval.
        resamples: Draws of the bootstrap.
        seed: Of the draws.

    Raises:
        DataError: there are not as many scores on both sides, or none.

    Example:
        >>> import numpy as np
        >>> from edgeml.evaluation import score_difference
        >>> same = score_difference(np.ones(300), np.ones(300))
        >>> same.value, round(same.low, 3)
        (0.0, -0.009)
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.ndim != 1 or first.shape != second.shape or not first.size:
        raise DataError(
            f"expected two scores for each example, received shapes {first.shape}, {second.shape}"
        )
    units = Units.make(len(first), groups)
    value = float((first - second).mean())
    if units.count < LEAST_UNITS:
        return Estimate(value, note=too_few(units))
    if np.isin(first, (0, 1)).all() and np.isin(second, (0, 1)).all():
        return _of_shares(Share(first), Share(second), 1.0, units, level)
    options = Options(level, resamples, seed)
    draws = resample({"gap": mean(first - second)}, units, options)["gap"]
    return percentiles(value, draws, units, level)
