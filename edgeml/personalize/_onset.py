"""Where something begins and ends in a signal, and the window around it."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeml.errors import ConfigError, InputError
from edgeml.streams import Sample, Stage
from edgeml.tasks._audio import check_audio

if TYPE_CHECKING:
    from edgeml.personalize._backbone import Signal

Array = np.ndarray[Any, Any]
_QUIETEST = -60.0  # dB; what is below is as quiet
_MEMORY = 3.0  # s; the quietest of it is the background
_PATIENCE = 5.0  # s without anything before it is told


@dataclass(frozen=True, slots=True)
class Rejected:
    """A part of a signal that makes no example.

    Attributes:
        reason: Why.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class _Rules:
    """What counts as one event, in frames.

    Attributes:
        margin: Level above the background at which it begins, dB; it ends below half of that.
        silence: How long it must be quiet after it.
        shortest: Below this it is a knock.
        longest: Above this it is more than one.
    """

    margin: float
    silence: int
    shortest: int
    longest: int


class _Events:
    """Finds events in the levels of frames, against the quietest of the last seconds.

    Args:
        rules: What counts.
        memory: Frames whose quietest is the background.
    """

    def __init__(self, rules: _Rules, memory: int) -> None:
        self.rules = rules
        self._levels: deque[float] = deque(maxlen=memory)
        self.begin: int | None = None  # of the event that goes on, or None
        self._last = 0  # its last loud frame
        self._spent = False
        self._at = 0

    def push(self, level: float) -> tuple[int, int] | str | None:
        """Take the next frame; return an event's first frame and end, or why it is none."""
        rules, at = self.rules, self._at
        self._at += 1
        level = max(level, _QUIETEST)
        self._levels.append(level)
        above = level - min(self._levels)
        if above >= (rules.margin if self.begin is None else rules.margin / 2):
            if self.begin is None:
                self.begin, self._spent = at, False
            self._last = at
        if self.begin is None or (self._spent and at - self._last < rules.silence):
            return None
        if at - self._last >= rules.silence:
            return self.finish()
        if self._last + 1 - self.begin > rules.longest:
            self._spent = True
            return "long"
        return None

    def finish(self) -> tuple[int, int] | str | None:
        """End the event that goes on, if any, and return it."""
        begin, self.begin = self.begin, None
        if begin is None or self._spent:
            return None
        end = self._last + 1
        return "short" if end - begin < self.rules.shortest else (begin, end)


class Cutter(Stage):
    """Cuts windows out of a stream of short pieces; the base of `Utterances` and `Gestures`.

    As a stage it gives out the windows; what was rejected is counted. It follows one source.

    Attributes:
        rejected: How often nothing was cut, by reason.
    """

    what = "event"
    _frame: int  # rows

    def __init__(self, rate: float, window: int, rules: _Rules, **options: Any) -> None:
        super().__init__(**options)
        if not rate > 0 or window < 1:
            raise ConfigError(
                f"{self.name}: expected a rate above 0 Hz and a window of at least 1; received "
                f"{rate!r} and {window!r}"
            )
        self.rate = rate
        self.window = window
        self.rejected: Counter[str] = Counter()
        self._rules = rules
        self._reset()

    def _reset(self) -> None:
        self._events = _Events(self._rules, math.ceil(_MEMORY * self.rate / self._frame))
        self._rows: Array | None = None
        self._first = 0  # number of the first row that is kept
        self._done = 0  # rows of whole frames that were judged
        self._quiet_since = 0
        self._pending: list[int] = []  # first rows of windows
        self._item: Any = None
        self._t, self._row = 0, 0  # time of a row
        self._began: int | None = None  # time of the first row

    def __call__(self, item: Any) -> Iterator[Any]:
        """Return the windows that a piece completes."""
        for cut in self.push(item):
            if isinstance(cut, Rejected):
                self.rejected[cut.reason] += 1
            else:
                yield cut

    def push(self, item: Any) -> Iterator[Any]:
        """Yield the windows that a piece completes, and what was `Rejected`.

        A window is a `Sample` if the piece is one, else an array.

        Raises:
            InputError: the piece is not the signal that is expected.
        """
        rows = self._checked(item)
        if isinstance(item, Sample):
            self._check_rate(item, len(rows))
            if self._rows is not None and self._is_gap(item):
                self._reset()
            self._t, self._row = item.t, self._first + self._kept()
            self._began = item.t if self._began is None else self._began
        self._item = item
        self._rows = rows if self._rows is None else np.concatenate([self._rows, rows])
        while self._done + self._frame <= self._first + self._kept():
            self._done += self._frame
            yield from self._judge()
        yield from self._ready()
        self._forget()

    def flush(self) -> Iterator[Any]:
        """Yield what the end of the stream completes; what would come after it is silence."""
        if self._rows is not None:
            yield from self._judged(self._events.finish())
            missing = max(self._pending, default=0) + self.window - self._first - self._kept()
            if self._pending and missing > 0:
                self._rows = np.concatenate([self._rows, self._silence(missing)])
            yield from self._ready()
        self._reset()

    def _judge(self) -> Iterator[Rejected]:
        """Look at the last frame."""
        level = self._level(self._between(self._done - self._frame, self._done))
        return self._judged(self._events.push(level))

    def _judged(self, found: tuple[int, int] | str | None) -> Iterator[Rejected]:
        if found is None:
            if self._events.begin is not None:
                self._quiet_since = self._done
            elif self._done - self._quiet_since >= _PATIENCE * self.rate:
                since, self._quiet_since = self._quiet_since, self._done
                yield Rejected(self._nothing(self._between(since, self._done)))
            return
        self._quiet_since = self._done
        if isinstance(found, str):
            yield Rejected(self._why(found))
            return
        begin, end = found[0] * self._frame, found[1] * self._frame
        if reason := self._bad(self._between(begin, end)):
            yield Rejected(reason)
        else:
            self._pending.append(self._start(begin, end))

    def _ready(self) -> Iterator[Any]:
        while self._pending and self._pending[0] + self.window <= self._first + self._kept():
            start = self._pending.pop(0)
            data = self._between(max(start, self._first), start + self.window)
            if len(data) < self.window:  # the stream began within it
                data = np.concatenate([self._silence(self.window - len(data)), data])
            if isinstance(self._item, Sample):
                t = self._t + round((start - self._row) * 1e9 / self.rate)
                duration = round(self.window * 1e9 / self.rate)
                yield self._item.replace(data=data, t=t, duration=duration)
            else:
                yield data

    def _forget(self) -> None:
        keep = max(2 * self.window + (self._rules.longest + self._rules.silence) * self._frame,
                   round(_PATIENCE * self.rate))  # fmt: skip
        if self._rows is not None and len(self._rows) > 2 * keep:
            self._first += len(self._rows) - keep
            self._rows = self._rows[-keep:]

    def _kept(self) -> int:
        return 0 if self._rows is None else len(self._rows)

    def _between(self, start: int, end: int) -> Array:
        assert self._rows is not None
        return self._rows[max(0, start - self._first) : end - self._first]

    def _silence(self, count: int) -> Array:
        assert self._rows is not None
        return np.zeros((count, *self._rows.shape[1:]), self._rows.dtype)

    def _is_gap(self, item: Sample[Any]) -> bool:
        expected = self._t + (self._first + self._kept() - self._row) * 1e9 / self.rate
        return bool(item.meta.get("discontinuity")) or abs(item.t - expected) > 0.25e9

    def _check_rate(self, item: Sample[Any], rows: int) -> None:
        """Refuse readings of another rate, by their duration or by the times of many."""
        passed = 0 if self._began is None else item.t - self._began
        so_far = self._first + self._kept()
        if item.duration and rows > 1:
            measured = rows * 1e9 / item.duration
        elif passed > 0 and so_far >= self.rate:
            measured = so_far * 1e9 / passed
        else:
            return
        if abs(measured / self.rate - 1) > 0.2:
            raise InputError(
                f"{self.name}: expected {self.rate:g} Hz, received {measured:.3g} Hz: ask the "
                "source for that rate, or resample before it",
                name="rate", expected=self.rate, received=measured,
            )  # fmt: skip

    def _seconds(self, rows: float) -> str:
        return f"{rows / self.rate:.2g} s"

    def _why(self, kind: str) -> str:
        limit = getattr(self._rules, "longest" if kind == "long" else "shortest") * self._frame
        return (
            f"the {self.what} is longer than {self._seconds(limit)}: pause before and after it"
            if kind == "long"
            else f"the {self.what} is shorter than {self._seconds(limit)}: a knock?"
        )

    def _checked(self, item: Any) -> Array:
        raise NotImplementedError

    def _level(self, frame: Array) -> float:
        raise NotImplementedError

    def _start(self, begin: int, end: int) -> int:
        raise NotImplementedError

    def _nothing(self, rows: Array) -> str:
        raise NotImplementedError

    def _bad(self, rows: Array) -> str | None:
        """Return what is wrong with an event."""


class Utterances(Cutter):
    """Cuts what is said out of live sound, one window each; a stage.

    Something is said where the level rises `margin` dB above the quietest of the last 3 s, until
    it is quiet again. The window ends shortly after it, as it will when a stream is searched for
    it. Rejected with the reason: clipped, too short, too long, and 5 s of nothing.

    Args:
        rate: Samples a second; at another rate put a `Resample` before it.
        window: Samples of a window.
        after: Seconds from the end of what is said to the window's end.
        margin: Level above the background, dB.
        silence: Seconds of quiet that end it, at least `after`.
        **options: As for `Stage`.

    Input: `Sample` of float32 in -1 to 1 or int16, [n], of any length. Output: [window].

    Raises:
        InputError: the sound is not mono, or of another rate.

    Example:
        >>> import numpy as np
        >>> from edgeml.personalize import Utterances
        >>> sound = np.random.default_rng(0).normal(0, 0.001, 48000)
        >>> sound[20000:28000] += 0.3 * np.sin(np.arange(8000) / 5)
        >>> [window] = Utterances(16000, 26480)(sound)
        >>> len(window), int(np.flatnonzero(abs(window) > 0.1).max()) < 26480 - 3000
        (26480, True)
    """

    what = "utterance"

    def __init__(
        self, rate: int = 16000, window: int = 26480, *, after: float = 0.2,
        margin: float = 12.0, silence: float = 0.3, **options: Any,
    ) -> None:  # fmt: skip
        self._frame = max(1, rate // 50)
        longest = window - round(after * rate)
        rules = _Rules(margin, math.ceil(silence * 50), 5, max(6, longest // self._frame))
        super().__init__(rate, window, rules, **options)
        if not 0 <= after <= silence or not 0 < margin < 60:
            raise ConfigError(
                f"{self.name}: expected 0 <= after <= silence seconds, margin from 0 to 60 dB; "
                f"received {after!r}, {silence!r}, {margin!r}"
            )
        self.after = after

    def _checked(self, item: Any) -> Array:
        return check_audio(item, int(self.rate), self.name)

    def _level(self, frame: Array) -> float:
        return 10 * math.log10(float(np.mean(np.square(frame))) + 1e-12)

    def _start(self, begin: int, end: int) -> int:
        return end + round(self.after * self.rate) - self.window

    def _bad(self, rows: Array) -> str | None:
        if (np.abs(rows) >= 0.999).mean() > 0.01:
            return "the sound is clipped: lower the gain, or speak from further away"
        return None

    def _nothing(self, rows: Array) -> str:
        if np.abs(rows).max(initial=0) < 1e-3:
            return "the sound is silent: is the microphone muted?"
        return f"nothing was said in {_PATIENCE:.0f} s: speak up, or come closer"


class Gestures(Cutter):
    """Cuts gestures out of live motion, one window each; a stage.

    A gesture is where the readings vary `margin` dB more than when it was quietest in the last
    3 s, until they rest again. The window has it in the middle; of a longer one, it is where most
    moves. Rejected with the reason: jerks, what goes on and on, and 5 s of nothing.

    Args:
        rate: Readings a second.
        window: Readings of a window.
        margin: How much more the readings vary, dB.
        rest: Seconds of rest that end it.
        **options: As for `Stage`.

    Input: `Sample` of one reading [channels], or several [n, channels]. Output: [window,
    channels].

    Example:
        >>> import numpy as np
        >>> from edgeml.personalize import Gestures
        >>> motion = np.random.default_rng(0).normal(0, 0.05, (500, 3))
        >>> motion[200:260, 0] += 8 * np.sin(np.arange(60) / 4)
        >>> [window] = Gestures(50, 100)(motion)
        >>> window.shape, bool(abs(window[20:80]).max() > 7)
        ((100, 3), True)
    """

    what = "gesture"

    def __init__(
        self, rate: float = 50.0, window: int = 100, *, margin: float = 12.0, rest: float = 0.4,
        **options: Any,
    ) -> None:  # fmt: skip
        self._frame = max(2, round(0.2 * rate))  # readings that vary together
        rules = _Rules(
            margin, max(1, math.ceil(rest * rate / self._frame)), 2, 3 * window // self._frame
        )
        super().__init__(rate, window, rules, **options)

    def _reset(self) -> None:
        super()._reset()
        self._columns: int | None = None

    def _checked(self, item: Any) -> Array:
        data = item.data if isinstance(item, Sample) else item
        rows = np.atleast_2d(np.asarray(data, np.float32))
        expected = f"readings of {self._columns or 'several'} channels"
        if rows.ndim != 2 or (self._columns or rows.shape[1]) != rows.shape[1]:
            raise InputError(f"{self.name}: expected {expected}, received {list(np.shape(data))}",
                             name="motion", expected=expected, received=np.shape(data))  # fmt: skip
        if not np.isfinite(rows).all():
            raise InputError(f"{self.name}: expected {expected}, received NaN or infinity",
                             name="motion", expected=expected, received="NaN")  # fmt: skip
        self._columns = rows.shape[1]
        return rows

    def _level(self, frame: Array) -> float:
        return 10 * math.log10(float(frame.var(0).sum()) + 1e-12)

    def _movement(self, start: int, end: int) -> float:
        return float(self._between(start, end).var(0).sum())

    def _start(self, begin: int, end: int) -> int:
        if end - begin <= self.window:
            return (begin + end - self.window) // 2
        starts = range(begin, end - self.window + 1)
        return max(starts, key=lambda start: self._movement(start, start + self.window))

    def _nothing(self, rows: Array) -> str:
        if np.ptp(rows, axis=0).max(initial=0) == 0:
            return "all readings are the same: is the sensor frozen?"
        return f"nothing moved in {_PATIENCE:.0f} s"


class Everything(Cutter):
    """Cuts a stream into windows, one after another: what is of no class is anything."""

    def __init__(self, inner: Cutter) -> None:
        self._frame, self._inner = inner._frame, inner
        super().__init__(inner.rate, inner.window, inner._rules)

    def _checked(self, item: Any) -> Array:
        return self._inner._checked(item)

    def _reset(self) -> None:
        super()._reset()
        self._next = 0

    def _judge(self) -> Iterator[Rejected]:
        """Ask for nothing: each window follows the one before."""
        while self._next + self.window <= self._done:
            self._pending.append(self._next)
            self._next += self.window
        return iter(())

    def flush(self) -> Iterator[Any]:
        """Yield nothing: what is left is less than a window."""
        return iter(())


def cutter_for(signal: Signal, everything: bool) -> Cutter:
    """Return what cuts a stream of short pieces into what a backbone takes."""
    cutter: Cutter
    if signal.kind == "audio":
        cutter = Utterances(round(signal.rate), signal.window)
    else:
        cutter = Gestures(signal.rate, signal.window)
    return Everything(cutter) if everything else cutter
