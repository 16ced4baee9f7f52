"""A sample: data with its capture time."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    return _NOTHING


@dataclass(frozen=True, slots=True)
class Sample(Generic[T]):
    """Data with its capture time; what sources yield and stages pass on.

    Attributes:
        data: A NumPy array, a reading, a result, or anything else.
        t: Capture time of the first element, int ns on the pipeline's clock. Live: the
            driver's stamp, or arrival minus duration. File: start plus its own PTS.
        arrived: Monotonic ns after the blocking read returned. For age and latency only.
        source: Name of the source.
        seq: Number of the sample within its source, from 0.
        duration: Time that the data spans, ns; 0 for an instant such as a picture.
        meta: Anything else, such as ``discontinuity`` after a reconnect.

    Example:
        >>> import edgeml
        >>> sample = edgeml.Sample(data=21.5, t=0, arrived=0, source="room")
        >>> sample.with_data(sample.data * 1.8 + 32).data
        70.7
    """

    data: T
    t: int
    arrived: int
    source: str = ""
    seq: int = 0
    duration: int = 0
    meta: Mapping[str, Any] = field(default_factory=_nothing)

    def with_data(self, data: U, **meta: Any) -> Sample[U]:
        """Return a copy that has other data and the same times; `meta` is added."""
        merged = {**self.meta, **meta} if meta else self.meta
        return Sample(data, self.t, self.arrived, self.source, self.seq, self.duration, merged)

    def replace(self, **changes: Any) -> Sample[Any]:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    @property
    def end(self) -> int:
        """Capture time just after the last element: ``t + duration``, ns."""
        return self.t + self.duration


class Clock:
    """The pipeline's clock: monotonic, in ns, with the wall time worked out when asked.

    Attributes:
        start: Reading at which the pipeline started. A file's first frame has this time.
    """

    def __init__(self) -> None:
        self.start = time.monotonic_ns()

    def now(self) -> int:
        """Return the current time, ns."""
        return time.monotonic_ns()

    def wall(self, t: int) -> datetime.datetime:
        """Return the wall time (UTC) of `t`, by the system clock as it is set now."""
        wall_ns = time.time_ns() - (self.now() - t)
        return datetime.datetime.fromtimestamp(wall_ns / 1e9, tz=datetime.UTC)
