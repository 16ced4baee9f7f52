"""Estimates with intervals: Wilson's for shares, the bootstrap for all else, clusters as one.

What is drawn anew are *units*: examples, or whole groups when examples of one group (a person, a
recording) resemble each other. Sources, by function:

- shares: Wilson (1927); with groups the sample counts as many examples as its variance, by Taylor
  linearisation, is worth, and Student's t has its degrees of freedom (Korn and Graubard 1998;
  Dean and Pagano 2015);
- all else: resampling of whole groups (Cameron, Gelbach and Miller 2008), percentiles widened
  for small numbers of units (Hesterberg 2015, section 5.3).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Protocol

import numpy as np

from edgeml.errors import ConfigError, DataError

Array = np.ndarray[Any, Any]

LEAST_UNITS = 5
"""Units below which the spread of a sample says too little for an interval."""

_CHUNK = 4_000_000  # weights drawn at a time
_MOST_UNDEFINED = 0.1  # of the resamples, above which there is no interval
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(64)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number from a sample, and where the number of all data of this kind lies.

    Attributes:
        value: What was measured; NaN where it is not defined, such as a recall without cases.
        low: Lower end of the interval; None when there is none.
        high: Upper end.
        method: How the interval was made: "wilson", "bootstrap", or "clustered" before these.
        note: Why there is no interval, or no value.

    Example:
        >>> from edgeml.evaluation import Estimate
        >>> print(Estimate(0.9, 0.86, 0.93, "wilson"))
        0.9 [0.86, 0.93]
    """

    value: float
    low: float | None = None
    high: float | None = None
    method: str = ""
    note: str = ""

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "undefined"
        if self.low is None or self.high is None:
            return f"{self.value:.4g}"
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        found = asdict(self)
        found["value"] = None if math.isnan(self.value) else self.value
        return {key: value for key, value in found.items() if value != ""}


@dataclass(frozen=True, slots=True)
class Options:
    """How intervals are made.

    Attributes:
        level: Share of intervals that hold the true number.
        resamples: Draws of the bootstrap.
        seed: Of the draws.
    """

    level: float = 0.95
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.5 <= self.level < 1:
            raise ConfigError(f"level: expected a number from 0.5 to below 1, got {self.level!r}")
        if self.resamples < 100:
            raise ConfigError(f"resamples: expected at least 100, received {self.resamples!r}")


class Measured(Protocol):
    """A metric of some examples, as a function of their weights."""

    def values(self, weights: Array) -> Array:
        """Return the metric for each row of weights (draws, examples)."""


class Share:
    """Successes over trials, each counted by example; its intervals are Wilson's.

    Args:
        successes: Of each example.
        trials: Of each example; None is one each.
    """

    def __init__(self, successes: Any, trials: Any = None) -> None:
        self.successes = np.asarray(successes, np.float64)
        self.trials = np.ones_like(self.successes) if trials is None else np.asarray(trials, float)

    def values(self, weights: Array) -> Array:
        """Return the share for each row of weights."""
        return divide(weights @ self.successes, weights @ self.trials)


@dataclass(frozen=True, slots=True)
class Units:
    """What is drawn anew.

    Attributes:
        of: Number of its unit, for each example.
        count: Number of units.
        grouped: Whether units are groups.
    """

    of: Array
    count: int
    grouped: bool

    @classmethod
    def make(cls, n: int, groups: Any = None) -> Units:
        """Return the units of `n` examples.

        Raises:
            DataError: there is not one group for each example.
        """
        if groups is None:
            return cls(np.arange(n), n, False)
        names = np.asarray(groups)
        if names.shape != (n,):
            raise DataError(
                f"groups: expected one for each of the {n} examples, received shape {names.shape}"
            )
        if names.dtype.kind == "f" and np.isnan(names).any():
            raise DataError("groups: some are NaN; every example needs one")
        if names.dtype == object:
            names = names.astype(str)
        found, of = np.unique(names, return_inverse=True)
        return cls(of, len(found), True)

    def take(self, index: Array) -> Units:
        """Return the units of some examples."""
        found, of = np.unique(self.of[index], return_inverse=True)
        return Units(of, len(found), self.grouped)

    @property
    def noun(self) -> str:
        """What they are called."""
        return "groups" if self.grouped else "examples"

    def draws(self, options: Options) -> Iterator[Array]:
        """Yield weights (draws, examples): how often each example is in a resample."""
        rng = np.random.default_rng(options.seed)
        size = max(1, _CHUNK // max(len(self.of), 1))
        for start in range(0, options.resamples, size):
            draws = min(size, options.resamples - start)
            drawn = rng.integers(0, self.count, (draws, self.count))
            drawn += np.arange(draws)[:, None] * self.count  # one histogram for all rows
            counts = np.bincount(drawn.ravel(), minlength=draws * self.count)
            rows = counts.reshape(draws, self.count).astype(np.float64)
            yield rows[:, self.of] if self.grouped else rows

    def sums(self, values: Array) -> Array:
        """Return the sum of each unit."""
        return np.asarray(np.bincount(self.of, values, self.count))


def resample(measured: Mapping[str, Measured], units: Units, options: Options) -> dict[str, Array]:
    """Return each metric in every resample; the draws are the same for all, so they pair."""
    found: dict[str, list[Array]] = {name: [] for name in measured}
    for weights in units.draws(options):
        for name, metric in measured.items():
            found[name].append(metric.values(weights))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def point(metric: Measured, n: int) -> float:
    """Return a metric of `n` examples as they are."""
    return float(metric.values(np.ones((1, n)))[0])


def estimates(
    measured: Mapping[str, Measured], units: Units, options: Options
) -> dict[str, Estimate]:
    """Return each metric with its interval."""
    found = {}
    open_ones = {}
    for name, metric in measured.items():
        value = point(metric, len(units.of))
        if math.isnan(value):
            found[name] = Estimate(value, note="not defined on these examples")
        elif isinstance(metric, Share):
            found[name] = wilson(metric, units, options.level)
        elif units.count < LEAST_UNITS:
            found[name] = Estimate(value, note=too_few(units))
        else:
            found[name] = Estimate(value)
            open_ones[name] = metric
    for name, draws in resample(open_ones, units, options).items():
        found[name] = percentiles(found[name].value, draws, units, options.level)
    return found


def too_few(units: Units) -> str:
    """Say why there is no interval."""
    return f"{units.count} {units.noun} are too few for an interval; it takes {LEAST_UNITS}"


def percentiles(value: float, draws: Array, units: Units, level: float) -> Estimate:
    """Return the interval that resamples give."""
    defined = draws[np.isfinite(draws)]
    if len(defined) < len(draws) * (1 - _MOST_UNDEFINED):
        return Estimate(value, note="not defined in many resamples: too few cases of a class")
    if np.ptp(defined) <= 1e-12 * max(1.0, abs(value)):
        return Estimate(value, note="the same in all resamples, which says nothing of its spread")
    tail = _widened((1 - level) / 2, units.count)
    low, high = np.quantile(defined, [tail, 1 - tail])
    method = "clustered bootstrap" if units.grouped else "bootstrap"
    return Estimate(value, float(low), float(high), method)


def _widened(tail: float, units: int) -> float:
    """Return the tail that makes percentiles as wide as Student's t of this many units."""
    spread = math.sqrt(units / (units - 1)) * t_quantile(1 - tail, units - 1)
    return NormalDist().cdf(-spread)


def wilson(share: Share, units: Units, level: float) -> Estimate:
    """Return a share with Wilson's interval.

    With groups, the share's variance over groups says how many independent examples the sample
    is worth; when all examples agree it says nothing, and a group counts as one example.
    """
    trials = share.trials.sum()
    value = float(share.successes.sum() / trials)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    if not units.grouped:
        return Estimate(value, *_wilson(value, trials, z), "wilson")
    seen = int((units.sums(share.trials) > 0).sum())
    if seen < LEAST_UNITS:
        note = f"{seen} groups are too few for an interval; it takes {LEAST_UNITS}"
        return Estimate(value, note=note)
    variance = clustered_variance(share.successes - value * share.trials, units, seen) / trials**2
    worth = effective_size(value * (1 - value), variance, trials, seen)
    worth *= (z / t_quantile(0.5 + level / 2, seen - 1)) ** 2
    return Estimate(value, *_wilson(value, worth, z), "clustered wilson")


def clustered_variance(residuals: Array, units: Units, count: int) -> float:
    """Return the variance of a sum of residuals (mean zero) whose groups are independent."""
    return float((units.sums(residuals) ** 2).sum() * count / (count - 1))


def effective_size(spread: float, variance: float, n: float, groups: int) -> float:
    """Return how many independent examples have the variance that was found over groups.

    Args:
        spread: Variance of one example.
        variance: Of the mean, over groups.
        n: Number of examples, which is the most.
        groups: Number of groups, which it is when examples do not vary.
    """
    if spread <= 0:
        return float(groups)
    return float(n) if variance <= 0 else min(float(n), spread / variance)


def _wilson(p: float, n: float, z: float) -> tuple[float, float]:
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def t_cdf(t: float, df: float) -> float:
    """Return the probability that Student's t is at most `t`."""
    # With t = sqrt(df) tan(a) the density is a power of a cosine.
    angle = math.atan(t / math.sqrt(df))
    inner = angle / 2 * (_NODES + 1)
    area = angle / 2 * float(_NODE_WEIGHTS @ np.cos(inner) ** (df - 1))
    scale = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(math.pi)
    return 0.5 + area * scale


def t_quantile(p: float, df: float) -> float:
    """Return the value that Student's t is below with probability `p`, at least one half."""
    if df > 2000:
        return NormalDist().inv_cdf(p)
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        below = t_cdf(math.sqrt(df) * math.tan(middle), df) < p
        low, high = (middle, high) if below else (low, middle)
    return math.sqrt(df) * math.tan(low)


def divide(a: Array, b: Array) -> Array:
    """Return a / b, and NaN where b is 0."""
    out = np.full(np.shape(a), np.nan)
    return np.asarray(np.divide(a, b, out=out, where=np.asarray(b) != 0))
