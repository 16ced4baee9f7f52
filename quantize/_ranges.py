"""From a stream of values to a range to quantize to, in memory that does not grow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml.errors import InputError

Array = NDArray[Any]
BINS = 4096
_SAMPLED = 1 << 17  # values of one array that enter the histogram; extremes see all


class Histogram:
    """A histogram over a range that doubles when a value falls outside.

    The range is [-r, r) with r a power of two, so that doubling it merges pairs of bins and the
    result does not depend on the order of the values.

    Attributes:
        low: Least value seen.
        high: Greatest value seen.
        radius: r.
        counts: int64 [4096].
    """

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self.radius = 2.0**-24
        self.counts = np.zeros(BINS, np.int64)

    def add(self, values: Array) -> None:
        """Count an array's values.

        Raises:
            InputError: there is NaN or infinity among them.
        """
        flat = np.asarray(values).reshape(-1)
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise InputError("NaN or infinity: there is no range to quantize to")
        self.low, self.high = min(self.low, low), max(self.high, high)
        while -low > self.radius or high >= self.radius:
            self._double()
        # Odd, so that it does not keep meeting the same column of a picture.
        step = -(-flat.size // _SAMPLED) | 1
        # Times a power of two is exact, and so is floor: merged bins are those of a wider range.
        bins = np.floor(flat[::step] * np.float32(BINS / 2 / self.radius)).astype(np.int32)
        self.counts += np.bincount(bins + BINS // 2, minlength=BINS)

    def _double(self) -> None:
        pairs = self.counts.reshape(-1, 2).sum(1)
        self.counts = np.zeros(BINS, np.int64)
        self.counts[BINS // 4 : BINS // 4 + BINS // 2] = pairs
        self.radius *= 2

    @property
    def centers(self) -> Array:
        """The bins' middles, float64 [4096]; those at the ends lie within what was seen."""
        middles = (np.arange(BINS) + 0.5 - BINS / 2) * (2 * self.radius / BINS)
        return np.asarray(np.clip(middles, self.low, self.high))


Range = tuple[float, float]


def minmax(found: Histogram) -> Range:
    """Return the extremes."""
    return found.low, found.high


def percentile(found: Histogram, share: float = 0.9999) -> Range:
    """Return the range that holds a share of the values, the rest cut off evenly at both ends."""
    total = found.counts.sum()
    below = np.cumsum(found.counts)
    tail = total * (1 - share) / 2
    first = int(np.searchsorted(below, tail, side="right"))
    last = int(np.searchsorted(below, total - tail, side="left"))
    edges = (np.arange(BINS + 1) - BINS / 2) * (2 * found.radius / BINS)
    return max(found.low, float(edges[first])), min(found.high, float(edges[last + 1]))


def mse(found: Histogram, levels: int = 256) -> Range:
    """Return the range whose rounding and clipping errors, squared, are least in all."""
    x, counts = _occupied(found)
    best, least = (found.low, found.high), math.inf
    for low, high in _narrower(found):
        error = float(counts @ (_rounded(x, low, high, levels) - x) ** 2)
        if error < least:
            best, least = (low, high), error
    return best


def entropy(found: Histogram, levels: int = 256) -> Range:
    """Return the range whose rounded distribution is nearest, by Kullback-Leibler divergence.

    Source: S. Migacz, "8-bit inference with TensorRT", GTC 2017; here for ranges that are not
    symmetric, and zero is left out: it is always a level of its own, while as the peak of most
    activations it would ask for levels as fine as the histogram.
    """
    x, counts = _occupied(found)
    others = np.abs(x) > found.radius / BINS
    x, counts = x[others], counts[others]
    total = counts.sum()
    best, least = (found.low, found.high), math.inf
    for low, high in _narrower(found):
        inside = (x >= low) & (x <= high)
        if not inside.any():
            continue
        kept = counts[inside].astype(np.float64)
        kept[0] += counts[x < low].sum()
        kept[-1] += counts[x > high].sum()
        scale = max(high - low, 1e-30) / (levels - 1)
        group = np.rint((x[inside] - low) / scale).astype(np.int64)
        # Within a level all that is left of the distribution is its mean over the bins in it.
        sums = np.bincount(group, counts[inside], levels + 1)
        many = np.bincount(group, minlength=levels + 1)
        spread = sums[group] / np.maximum(many[group], 1)
        p, q = kept / total, np.maximum(spread / total, 1e-12)
        divergence = float(np.sum(p * np.log(p / q)))
        if divergence < least:
            best, least = (low, high), divergence
    return best


METHODS: dict[str, Callable[[Histogram], Range]] = {
    "minmax": minmax, "percentile": percentile, "entropy": entropy, "mse": mse,
}  # fmt: skip


def narrowed_below(found: Histogram, given: Range, slope: float, levels: int = 256) -> Range:
    """Return a range whose lower end is nearer to zero where values below are made smaller next.

    Args:
        found: What was seen.
        given: The range; its upper end stays.
        slope: What values below zero are multiplied with, after rounding.
        levels: Steps of the integers.
    """
    low, high = given
    if low >= 0 or high <= 0 or not 0 <= slope < 1:
        return given
    x, counts = _occupied(found)
    weights = counts * np.where(x < 0, slope * slope, 1.0)

    def error(share: float) -> float:
        return float(weights @ (_rounded(x, low * share, high, levels) - x) ** 2)

    return low * min(_SHARES, key=error), high


_SHARES = tuple(float(share) for share in np.linspace(1.0, 0.05, 20))


def _occupied(found: Histogram) -> tuple[Array, Array]:
    some = found.counts > 0
    return found.centers[some], found.counts[some]


def _narrower(found: Histogram) -> list[Range]:
    """Return ranges to try: each end moved towards zero, alone and together."""
    low, high = min(found.low, 0.0), max(found.high, 0.0)
    shares = np.linspace(1.0, 0.2, 41)
    if low == 0.0 or high == 0.0:
        return [(low * s, high * s) for s in shares]
    coarse = np.linspace(1.0, 0.2, 17)
    return [(low * a, high * b) for a in coarse for b in coarse]


def _rounded(x: Array, low: float, high: float, levels: int) -> Array:
    scale = (high - low) / (levels - 1)
    if scale <= 0:
        return np.zeros_like(x)
    zero = np.rint(-low / scale)
    return np.asarray((np.clip(np.rint(x / scale) + zero, 0, levels - 1) - zero) * scale)
