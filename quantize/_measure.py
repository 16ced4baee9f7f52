"""How long models take, side by side, and what they take up."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Timing:
    """How long one model takes beside another, in rounds that take turns.

    Args:
        milliseconds: Of each round, the median of its calls.
        ratio: How many times as fast as the first model, median of the rounds.
        low: Lower end of the ratio's 95% interval.
        high: Upper end.
    """

    milliseconds: tuple[float, ...]
    ratio: float
    low: float
    high: float

    @property
    def median(self) -> float:
        """The median round, milliseconds."""
        return float(np.median(self.milliseconds))

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        p = np.percentile(self.milliseconds, [5, 50, 95])
        return {
            "p5_ms": float(p[0]), "median_ms": float(p[1]), "p95_ms": float(p[2]),
            "ratio": self.ratio, "ratio_low": self.low, "ratio_high": self.high,
            "rounds": list(self.milliseconds),
        }  # fmt: skip


def side_by_side(
    sessions: Sequence[Any], feeds: Sequence[Mapping[str, Array]], *,
    rounds: int = 15, seconds: float = 0.05,
) -> list[Timing]:  # fmt: skip
    """Time sessions in turns; ratios are to the first one, round by round.

    Args:
        sessions: Of ONNX Runtime.
        feeds: Inputs, taken in turn.
        rounds: How often each has its turn.
        seconds: How long a turn lasts, at least three calls.
    """
    calls = []
    for session in sessions:
        start = time.perf_counter()
        for feed in feeds[:3]:
            session.run(None, dict(feed))  # warms up
        once = (time.perf_counter() - start) / max(1, min(3, len(feeds)))
        calls.append(int(np.clip(seconds / max(once, 1e-6), 3, 1000)))
    times = np.empty((rounds, len(sessions)))
    for r in range(rounds):
        order = range(len(sessions)) if r % 2 == 0 else reversed(range(len(sessions)))
        for k in order:
            times[r, k] = _turn(sessions[k], feeds, calls[k])
    return [_timing(times[:, 0], times[:, k]) for k in range(len(sessions))]


def _turn(session: Any, feeds: Sequence[Mapping[str, Array]], calls: int) -> float:
    took = []
    for i in range(calls):
        feed = dict(feeds[i % len(feeds)])
        start = time.perf_counter()
        session.run(None, feed)
        took.append(time.perf_counter() - start)
    return float(np.median(took)) * 1e3


def _timing(first: Array, times: Array) -> Timing:
    ratios = first / times
    rng = np.random.default_rng(0)
    draws = np.median(rng.choice(ratios, (1000, len(ratios))), 1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return Timing(tuple(map(float, times)), float(np.median(ratios)), float(low), float(high))
