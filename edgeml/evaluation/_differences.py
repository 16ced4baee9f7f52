"""The difference of two models on the same examples."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from edgeml.errors import DataError
from edgeml.evaluation._measures import Measure, measure_of
from edgeml.evaluation._problem import Problem, problem
from edgeml.evaluation._stats import (
    LEAST_UNITS,
    Array,
    Estimate,
    Measured,
    Options,
    Share,
    Units,
    clustered_variance,
    effective_size,
    estimates,
    percentiles,
    point,
    resample,
    t_quantile,
    too_few,
)


@dataclass(frozen=True, slots=True)
class Difference:
    """How much one model is better than another, on the same examples.

    Attributes:
        metric: Name of the metric.
        better: "up" when larger values of it are better, "down" when smaller.
        first: The first model's metric.
        second: The second's.
        gain: How much better the first is, in the metric's unit: positive is better whatever the
            metric. With an interval, unless examples are too few.
        level: Of the interval.

    Example:
        >>> import numpy as np
        >>> from edgeml.evaluation import paired_difference
        >>> y = np.arange(300) % 3
        >>> difference = paired_difference(y, np.where(y == 2, 0, y), y)
        >>> difference.verdict, round(difference.gain.value, 3)
        ('better', 0.333)
    """

    metric: str
    better: str
    first: Estimate
    second: Estimate
    gain: Estimate
    level: float = 0.95

    @property
    def verdict(self) -> str:
        """What the first model is: "better", "worse", "no difference" (seen) or "cannot say"."""
        if self.gain.low is None or self.gain.high is None:
            return "cannot say"
        if self.gain.low > 0:
            return "better"
        return "worse" if self.gain.high < 0 else "no difference"

    def not_worse_by(self, margin: float) -> bool:
        """Return whether the data show that the first is at most `margin` worse.

        It is the test of non-inferiority, one-sided at half of what the level leaves (2.5% at
        0.95): a sample that is too small shows nothing, and the answer is False.
        """
        return self.gain.low is not None and self.gain.low >= -abs(margin)

    def __str__(self) -> str:
        said = {
            "better": "significantly better", "worse": "significantly worse",
            "no difference": "no significant difference",
            "cannot say": f"cannot say: {self.gain.note}",
        }[self.verdict]  # fmt: skip
        return (f"{self.metric} {self.first.value:.4g} against {self.second.value:.4g}, a gain of "
                f"{self.gain}: {said}")  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        found = asdict(self)
        for name in ("first", "second", "gain"):
            found[name] = getattr(self, name).to_dict()
        return {**found, "verdict": self.verdict}


def paired_difference(
    a: Any, b: Any, y: Any, metric: Any = None, groups: Any = None, *, kind: str | None = None,
    level: float = 0.95, resamples: int = 1000, seed: int = 0,
) -> Difference:  # fmt: skip
    """Return how much better predictions `a` are than `b`, on the same targets.

    Both are resampled together, so what is easy or hard for both does not blur the difference;
    with groups these are resampled whole. The difference of two shares of right answers has the
    interval of Bonett and Price (2012), which holds also when the two hardly differ.

    Args:
        a: Predictions of one model, as `evaluate` takes them.
        b: Predictions of the other.
        y: Targets.
        metric: Name, or `Measure`; None is the kind's first.
        groups: What each example belongs to, such as a person.
        kind: Kind of problem; None infers it.
        level: Of the interval.
        resamples: Draws of the bootstrap.
        seed: Of the draws.

    Raises:
        DataError: targets and predictions do not fit together.
        OutputError: predictions hold NaN or infinity.

    Example:
        >>> import numpy as np
        >>> from edgeml.evaluation import paired_difference
        >>> y, odd = np.sin(np.arange(100.0)), np.arange(100) % 2
        >>> paired_difference(y + 0.1 * odd, y + 0.1 * (1 - odd), y).verdict
        'no difference'
    """
    options = Options(level, resamples, seed)
    first = problem(y, a, kind)
    second = problem(y, b, kind)
    if first.kind != second.kind:
        raise DataError(f"one model is {first.kind}, the other {second.kind}: give kind=")
    units = Units.make(len(first), groups)
    return difference(measure_of(metric, first), first, second, units, options)


def difference(
    measure: Measure, first: Problem, second: Problem, units: Units, options: Options
) -> Difference:
    """Return how much better the first predictions are."""
    both: dict[str, Measured] = {"a": measure.prepare(first), "b": measure.prepare(second)}
    a, b = both["a"], both["b"]
    sign = 1.0 if measure.better == "up" else -1.0
    values = {name: point(metric, len(units.of)) for name, metric in both.items()}
    value = sign * (values["a"] - values["b"])
    if math.isnan(value) or units.count < LEAST_UNITS or isinstance(a, Share):
        found = estimates(both, units, options)
    if math.isnan(value):
        gain = Estimate(value, note="not defined on these examples")
    elif units.count < LEAST_UNITS:
        gain = Estimate(value, note=too_few(units))
    elif _of_all(a) and _of_all(b):
        gain = _of_shares(a, b, sign, units, options.level)  # type: ignore[arg-type]
    else:
        draws = resample(both, units, options)
        gain = percentiles(value, sign * (draws["a"] - draws["b"]), units, options.level)
        if not isinstance(a, Share):
            found = {name: percentiles(values[name], draws[name], units, options.level)
                     for name in both}  # fmt: skip
    return Difference(measure.name, measure.better, found["a"], found["b"], gain, options.level)


def _of_all(measured: Measured) -> bool:
    return isinstance(measured, Share) and bool(np.all(measured.trials == 1))


def _of_shares(a: Share, b: Share, sign: float, units: Units, level: float) -> Estimate:
    """Return the difference of two shares of the same examples (Bonett and Price 2012).

    With groups, examples count as in `wilson`: as many as their variance over groups is worth.
    """
    gaps = a.successes - b.successes
    n = float(len(gaps))
    won, lost = float((gaps > 0).mean()), float((gaps < 0).mean())
    worth, quantile = n, NormalDist().inv_cdf(0.5 + level / 2)
    if units.grouped:
        spread = won + lost - (won - lost) ** 2
        variance = clustered_variance(gaps - gaps.mean(), units, units.count) / n**2
        worth = effective_size(spread, variance, n, units.count)
        quantile = t_quantile(0.5 + level / 2, units.count - 1)
    won, lost = (won * worth + 1) / (worth + 2), (lost * worth + 1) / (worth + 2)
    half = quantile * math.sqrt((won + lost - (won - lost) ** 2) / (worth + 2))
    low, high = max(-1.0, won - lost - half), min(1.0, won - lost + half)
    low, high = (low, high) if sign > 0 else (-high, -low)
    method = "clustered adjusted wald" if units.grouped else "adjusted wald"
    return Estimate(sign * float(gaps.mean()), low, high, method)


def worse_than(part: Estimate, rest: Estimate, better: str, level: float) -> float:
    """Return the probability (one-sided p) of a gap like this if `part` were as good as `rest`.

    The gap's interval is made of the two intervals (Newcombe 1998; Zou and Donner 2008), which
    are those of independent examples.
    """
    ends = (part.low, part.high, rest.low, rest.high)
    if any(end is None for end in ends):
        return math.nan
    low, high, rest_low, rest_high = (float(end) for end in ends if end is not None)
    if better == "up":
        gap, half = rest.value - part.value, math.hypot(high - part.value, rest.value - rest_low)
    else:
        gap, half = part.value - rest.value, math.hypot(part.value - low, rest_high - rest.value)
    if half <= 0:
        return math.nan
    return NormalDist().cdf(-gap / half * NormalDist().inv_cdf(0.5 + level / 2))


def holm(p: Array) -> Array:
    """Return p-values that allow for how many there are (Holm 1979); NaN is not counted."""
    found = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    scaled = p[order] * np.arange(len(order), 0, -1)
    found[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return found
