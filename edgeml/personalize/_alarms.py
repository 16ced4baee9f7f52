"""How high a score must be, for so few false alarms a day; and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
DAY = 86400.0  # seconds
_TAIL = 0.1  # share of the windows whose scores show how the tail falls
_FEWEST = 10  # peaks, to tell how it falls


@dataclass(frozen=True)
class Timeline:
    """Scores of normal windows, in the order in which they were recorded.

    Args:
        scores: One for each window.
        starts: When it starts, s.
        recordings: Which recording it is of, a number.
        hop: Seconds from one window to the next.
        window: Seconds of a window.
    """

    scores: Array
    starts: Array
    recordings: Array
    hop: float
    window: float

    @property
    def seconds(self) -> float:
        """Time that they span."""
        return len(self.scores) * self.hop

    def peaks(self, level: float) -> Array:
        """Return the highest score of each time that it is above a level.

        Windows that overlap are one time: they would be one alarm.
        """
        above = np.flatnonzero(self.scores > level)
        if not len(above):
            return np.empty(0)
        apart = np.diff(self.starts[above]) >= self.window - 1e-9
        apart |= np.diff(self.recordings[above]) != 0
        starts = np.r_[0, np.flatnonzero(apart) + 1]
        found: Array = np.maximum.reduceat(self.scores[above], starts)
        return found


def threshold_for(timeline: Timeline, alarms_per_day: float) -> float:
    """Return the score above which there are so many false alarms a day, as far as can be told.

    Where the recording is long enough, that many of its own alarms are allowed. Else the tail of
    its highest tenth is continued: a generalized Pareto distribution over a threshold (Pickands,
    1975), fitted by probability-weighted moments (Hosking and Wallis, 1987) and never with a
    lighter tail than the exponential one.
    """
    allowed = alarms_per_day * timeline.seconds / DAY
    level = float(np.quantile(timeline.scores, 1 - _TAIL))
    peaks = np.sort(timeline.peaks(level))
    if allowed >= len(peaks) or not len(peaks):
        return level
    if allowed >= _FEWEST:
        return float(peaks[-1 - math.floor(allowed)])
    excess = peaks - level
    mean = float(excess.mean())
    shape = 0.0
    if len(excess) >= _FEWEST:
        share = 1 - (np.arange(1, len(excess) + 1) - 0.35) / len(excess)
        weighted = float((share * excess).mean())
        if mean > 2 * weighted:
            shape = min(max(2 - mean / (mean - 2 * weighted), 0.0), 0.5)
    ratio = float(len(excess) / allowed)
    if shape < 1e-6:
        return level + mean * math.log(ratio)
    return level + mean * (1 - shape) / shape * (math.pow(ratio, shape) - 1)


def at_most(count: int, seconds: float) -> float:
    """Return how many a day there are at most, when so many were seen (Poisson, 95%)."""
    low, high = float(count), count + 10 + 5 * math.sqrt(count)
    for _ in range(60):
        mean = (low + high) / 2
        terms = np.cumsum([0.0, *(math.log(mean) - math.log(i) for i in range(1, count + 1))])
        if float(np.exp(terms - mean).sum()) > 0.05:
            low = mean
        else:
            high = mean
    return high * DAY / seconds
