"""Steadier results, by the time of the samples and never by counting frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any

from edgeml.errors import InputError
from edgeml.streams import SKIP, Sample, Stage
from edgeml.tasks._arguments import check_seconds

Key = Callable[[Any], Hashable]


def state_of(result: Any) -> Hashable:
    """Return what a result says, without scores: its `state`, or the plain value itself."""
    state: Hashable = getattr(result, "state", result)
    return state


class Timed(Stage):
    """A stage that remembers something for each source of samples; the base of those here.

    A time before the last one, or a ``discontinuity``, starts that source anew.
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name, inline=True)
        self._memory: dict[str, Any] = {}
        self._last: dict[str, int] = {}

    def __call__(self, item: Any) -> Any:
        """Process one sample."""
        if not isinstance(item, Sample):
            raise InputError(
                f"{self.name}: expected a Sample, whose time it needs; received "
                f"{type(item).__name__}",
                name=self.name,
            )
        last = self._last.get(item.source)
        if last is not None and (item.t < last or item.meta.get("discontinuity")):
            self._memory.pop(item.source, None)
        self._last[item.source] = item.t
        return self._next(item)

    def aclose(self) -> None:
        """Forget everything."""
        self._memory.clear()
        self._last.clear()

    def _next(self, sample: Sample[Any]) -> Any:
        raise NotImplementedError


class Smooth(Timed):
    """Average class probabilities, or numbers, over time.

    An exponential average with a time constant: what is `seconds` old weighs 37 % of what
    is new, whatever the frame rate and however irregular it is.

    Args:
        seconds: The time constant.
        name: Of the stage.

    Example:
        >>> from edgeml import Sample
        >>> from edgeml.tasks import Smooth
        >>> smooth = Smooth(1.0)
        >>> [round(smooth(Sample(x, t, t)).data, 2) for x, t in [(0.0, 0), (1.0, 10**9)]]
        [0.0, 0.63]
    """

    def __init__(self, seconds: float, *, name: str | None = None) -> None:
        check_seconds("Smooth", seconds=seconds)
        super().__init__(name)
        self.seconds = seconds

    def _next(self, sample: Sample[Any]) -> Any:
        with_scores = getattr(sample.data, "with_scores", None)
        new = sample.data if with_scores is None else sample.data.scores
        before = self._memory.get(sample.source)
        if before is not None and self.seconds:
            t, old = before
            weight = -math.expm1(-(sample.t - t) / (self.seconds * 1e9))
            new = old + weight * (new - old)
        self._memory[sample.source] = (sample.t, new)
        return sample.with_data(new if with_scores is None else with_scores(new))


class Hold(Timed):
    """Keep each state for at least some time: a change that comes sooner waits.

    While a state is held, its result is repeated with the times of the new samples.

    Args:
        seconds: The shortest time of a state.
        key: What makes the state of a result; by default its `state`, such as the label.
        name: Of the stage.
    """

    def __init__(self, seconds: float, *, key: Key = state_of, name: str | None = None) -> None:
        check_seconds("Hold", seconds=seconds)
        super().__init__(name)
        self.seconds = seconds
        self._key = key

    def _next(self, sample: Sample[Any]) -> Any:
        state = self._key(sample.data)
        held = self._memory.get(sample.source)
        if held is None or (held[0] != state and sample.t - held[1] >= self.seconds * 1e9):
            self._memory[sample.source] = (state, sample.t, sample.data)
            return sample
        if held[0] == state:
            self._memory[sample.source] = (state, held[1], sample.data)
            return sample
        return sample.with_data(held[2])


class Debounce(Timed):
    """Let a state pass only after it has lasted for some time.

    Until then the last state's result is repeated, and nothing comes out before the first
    state has lasted.

    Args:
        seconds: How long a new state must last.
        key: What makes the state of a result; by default its `state`, such as the label.
        name: Of the stage.
    """

    def __init__(self, seconds: float, *, key: Key = state_of, name: str | None = None) -> None:
        check_seconds("Debounce", seconds=seconds)
        super().__init__(name)
        self.seconds = seconds
        self._key = key

    def _next(self, sample: Sample[Any]) -> Any:
        state = self._key(sample.data)
        memory = self._memory.setdefault(sample.source, _Candidate(state, sample.t))
        if state != memory.state:
            memory.state, memory.since = state, sample.t
        if sample.t - memory.since >= self.seconds * 1e9:
            memory.passed = sample.data
        elif memory.passed is not SKIP and self._key(memory.passed) == state:
            memory.passed = sample.data  # back to what it was
        return SKIP if memory.passed is SKIP else sample.with_data(memory.passed)


class _Candidate:
    __slots__ = ("passed", "since", "state")

    def __init__(self, state: Hashable, since: int) -> None:
        self.state = state
        self.since = since
        self.passed: Any = SKIP


class Changed(Timed):
    """Let only changes of state pass, and a heartbeat.

    Args:
        heartbeat: Let a result pass after this many seconds without one; None: only changes.
        key: What makes the state of a result; by default its `state`, such as the label.
        name: Of the stage.

    Example:
        >>> from edgeml import SKIP, Sample
        >>> from edgeml.tasks import Changed
        >>> changed = Changed()
        >>> [changed(Sample(x, t, t)) is not SKIP for t, x in enumerate("aabba")]
        [True, False, True, False, True]
    """

    def __init__(
        self, heartbeat: float | None = None, *, key: Key = state_of, name: str | None = None
    ) -> None:
        if heartbeat is not None:
            check_seconds("Changed", heartbeat=heartbeat)
        super().__init__(name)
        self.heartbeat = heartbeat
        self._key = key

    def _next(self, sample: Sample[Any]) -> Any:
        state = self._key(sample.data)
        passed = self._memory.get(sample.source)
        if passed is not None and passed[0] == state and not self._is_due(sample.t - passed[1]):
            return SKIP
        self._memory[sample.source] = (state, sample.t)
        return sample

    def _is_due(self, age: int) -> bool:
        return self.heartbeat is not None and age >= self.heartbeat * 1e9
