"""When to do less, and when to do more again: the rule of the governor, without a clock."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_PLAUSIBLE = (-40.0, 150.0)  # °C; outside it the sensor is wrong, not the board
_READINGS = 3  # whose median counts: one that jumps is outvoted
_WINDOW = 5  # readings among which these must be, of which some may be missing


class Verdict(NamedTuple):
    """A step that should be taken.

    Attributes:
        step: +1 is one level down, to less work; -1 one up.
        why: In words.
    """

    step: int
    why: str


class Control:
    """Decides on steps from temperatures and throttle flags.

    One step down when a sensor comes within `margin` of where the board throttles, or the
    board says that it is slowed down; one up when all have been below by `margin` and
    `hysteresis` for as long as `dwell`. Between two steps, `dwell` passes. Without a reading
    it stays where it is.

    Args:
        limits: °C at which the board throttles, by sensor.
        levels: How many there are.
        margin: °C.
        hysteresis: °C.
        dwell: Seconds.
    """

    def __init__(
        self,
        limits: Mapping[str, float],
        levels: int,
        *,
        margin: float,
        hysteresis: float,
        dwell: float,
    ) -> None:
        self.limits = limits
        self.levels = levels
        self.margin = margin
        self.hysteresis = hysteresis
        self.dwell = dwell
        self.level = 0
        self.blind = False
        self._recent = {name: deque[float](maxlen=_WINDOW) for name in limits}
        self._stepped = -math.inf  # when
        self._cool_since: float | None = None

    def decide(
        self, now: float, temperatures: Mapping[str, float], throttled: Sequence[str]
    ) -> Verdict | None:
        """Take readings in; return the step to take now, which counts as taken.

        Args:
            now: Seconds, of a clock that does not go back.
            temperatures: °C by sensor; what is not a plausible number counts as missing.
            throttled: Why the board is slower than it could be.
        """
        judged = self._take_in(temperatures)
        nearest = min(judged, key=lambda name: self.limits[name] - judged[name], default=None)
        room = math.nan if nearest is None else self.limits[nearest] - judged[nearest]
        is_cool = not throttled and room >= self.margin + self.hysteresis
        if not is_cool:
            self._cool_since = None
        elif self._cool_since is None:
            self._cool_since = now
        if now - self._stepped < self.dwell:
            return None
        why = ""
        if nearest is not None:
            why = f"{nearest} at {judged[nearest]:.1f} °C, throttles at {self.limits[nearest]:g} °C"
        if (throttled or room <= self.margin) and self.level < self.levels - 1:
            return self._step(now, +1, throttled[0] if throttled else why)
        if self._cool_since is not None and now - self._cool_since >= self.dwell and self.level:
            return self._step(now, -1, why)
        return None

    def _take_in(self, temperatures: Mapping[str, float]) -> dict[str, float]:
        """Return what each sensor shows; one that jumps once, or is missing, says nothing."""
        low, high = _PLAUSIBLE
        shown = {}
        self.blind = True
        for name, recent in self._recent.items():
            value = temperatures.get(name, math.nan)
            recent.append(value if low <= value <= high else math.nan)
            there = [v for v in recent if not math.isnan(v)][-_READINGS:]
            self.blind = self.blind and not there
            if len(there) > 1:
                shown[name] = statistics.median_low(there)
        return shown

    def _step(self, now: float, step: int, why: str) -> Verdict:
        self._stepped = now
        self.level += step
        return Verdict(step, why)
