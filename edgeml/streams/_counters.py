"""The ledger: what came in, what became of it, and how long it took."""

from __future__ import annotations

import math
from typing import Any

_BUCKETS_PER_OCTAVE = 16


class Histogram:
    """Counts of durations in buckets 4.4 % wide: percentiles of any run in constant memory."""

    __slots__ = ("_counts", "n")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.n = 0

    def add(self, ns: int) -> None:
        """Count one duration, ns."""
        bucket = int(math.log2(ns) * _BUCKETS_PER_OCTAVE) if ns > 1 else 0
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.n += 1

    def percentile(self, q: float) -> float:
        """Return the q-th percentile (0 to 100), ns; 0 when nothing was counted."""
        if not self.n:
            return 0.0
        rank = max(1, math.ceil(self.n * q / 100))
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= rank:
                break
        return float(2 ** ((bucket + 0.5) / _BUCKETS_PER_OCTAVE))


class Counters:
    """The ledger of one stage: `in == done + skipped + dropped + failed + in_flight`."""

    __slots__ = (
        "busy", "concurrency", "done", "dropped", "emitted", "failed", "in_", "in_flight",
        "name", "service", "skipped",
    )  # fmt: skip

    def __init__(self, name: str, concurrency: int) -> None:
        self.name = name
        self.concurrency = concurrency
        self.in_ = 0
        self.done = 0
        self.skipped = 0
        self.dropped: dict[str, int] = {}
        self.failed = 0
        self.in_flight = 0
        self.emitted = 0
        self.busy = 0  # ns inside calls, all threads together
        self.service = 0.0  # ns a call takes, moving average

    def timed(self, ns: int) -> None:
        """Count the time of one call."""
        self.busy += ns
        self.service += (ns - self.service) * (0.1 if self.service else 1.0)


class SourceCounters:
    """The ledger of one source, from its arrivals to the ends of the pipeline."""

    __slots__ = ("dropped", "failed", "first", "in_", "last", "latency", "out")

    def __init__(self) -> None:
        self.in_ = 0
        self.out = 0
        self.failed = 0
        self.dropped: dict[str, int] = {}
        self.first = 0
        self.last = 0
        self.latency = Histogram()

    def arrived(self, now: int) -> None:
        """Count one arrival at `now`, ns."""
        if not self.in_:
            self.first = now
        self.last = now
        self.in_ += 1

    def rate(self) -> float:
        """Return the mean arrivals a second."""
        span = self.last - self.first
        return (self.in_ - 1) * 1e9 / span if span > 0 else 0.0


def add_to(counts: dict[str, int], cause: str, n: int = 1) -> None:
    """Add to a count by cause."""
    counts[cause] = counts.get(cause, 0) + n


def describe(value: Any) -> str:
    """Return a short text for a log line; never the contents of a frame."""
    return f"{type(value).__name__}" + (
        f" seq {value.seq} of {value.source}" if hasattr(value, "seq") else ""
    )
