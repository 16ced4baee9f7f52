"""Tasks on windows of a sensor's readings: readings come as they come, windows by their times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeml.errors import InputError, ModelError
from edgeml.streams import Sample
from edgeml.tasks._arguments import check_seconds, number_in, rate_in, whole_in
from edgeml.tasks._task import Model, Task

if TYPE_CHECKING:
    from edgeml.runtime import Session

Rows = NDArray[np.float32]


class WindowTask(Task):
    """A task that looks at a window of readings at a time; the base of those on sensors.

    Takes samples of one reading each ([channels]) or of several ([n, channels], spread over the
    sample's duration), by their times: they are interpolated onto the model's grid. Each source
    is followed by itself, and starts anew after a gap. A plain array is one whole window.

    Args:
        model: As for `Task`.
        hop: Seconds from one window to the next; None: what the model's metadata says.
        max_gap: Seconds between readings above which it starts anew; None: five readings.
        preprocess: {"sample_rate": Hz, "window": readings, "hop": readings, "channels":
            [names]}, instead of the metadata's.
        **options: As for `Task`.

    Attributes:
        restarts: Gaps so far.
    """

    _outside = ("channels",)

    def __init__(
        self, model: Model, *, hop: float | None, max_gap: float | None,
        preprocess: Mapping[str, Any] | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(model, **options)
        check_seconds(self.name, **({} if max_gap is None else {"max_gap": max_gap}))
        if hop is not None and not hop > 0:
            raise ValueError(f"{self.name}: hop must be positive seconds; received {hop!r}")
        self.hop = hop
        self.max_gap = max_gap
        self.restarts = 0
        self._preprocess_given = preprocess
        self._sources: dict[str, Readings] = {}

    def _prepare(self, session: Session) -> None:
        spec = self._preprocess_given or session.metadata.preprocess
        try:
            self.rate, self.window = rate_in(spec), whole_in(spec, "window")
            self.channels = tuple(spec["channels"])
            hop = self.hop or number_in(spec, "hop", self.window, least=1) / self.rate
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{self.name}: {session.path} does not say how motion becomes its input (wrong "
                f'at {error}); pass preprocess={{"sample_rate": 50, "window": 100, '
                f'"channels": ["ax", …]}}',
                path=session.path,
            ) from error
        self._period = 1e9 / self.rate  # ns
        self._hop = round(hop * 1e9)
        if self.max_gap is None:
            self.max_gap = 5 / self.rate

    def _try_out(self, session: Session) -> None:
        self._result(np.zeros((self.window, len(self.channels)), np.float32), session, "")

    def __call__(self, item: Any) -> Any:
        """Return the results that a sample completes, as an iterator, or that of an array."""
        session = self.session
        if isinstance(item, Sample):
            return self._results(item)
        rows = self._rows(item)
        if len(rows) != self.window:
            expected = f"a window [{self.window}, {len(self.channels)}]"
            raise InputError(
                f"{self.name}: expected {expected}, received {list(rows.shape)}; pass Samples "
                f"for readings one by one",
                name=session.inputs[0].name,
                expected=expected,
                received=rows.shape,
            )
        return self._result(rows, session, "")

    def _results(self, sample: Sample[Any]) -> Iterator[Sample[Any]]:
        rows = self._rows(sample.data)
        times = sample.t + np.arange(len(rows)) * (sample.duration / max(1, len(rows)))
        readings = self._sources.setdefault(sample.source, Readings(self))
        readings.task = self  # another may have taken its place, and goes on with its readings
        if readings.is_gap(int(times[0])) or sample.meta.get("discontinuity"):
            self.restarts += bool(readings.times)
            readings.reset()
        for start, window in readings.push(times.astype(np.int64).tolist(), rows):
            duration = round(self.window * self._period)
            found = self._result(window, self.session, sample.source)
            yield self._after(sample.replace(data=found, t=start, duration=duration))

    def _result(self, window: Rows, session: Session, source: str) -> Any:
        """Return what a window of a source shows."""
        raise NotImplementedError

    def _after(self, result: Sample[Any]) -> Sample[Any]:
        """Return what goes out for a result."""
        return result

    def _rows(self, data: Any) -> Rows:
        """Return readings [n, channels]."""
        try:
            rows = np.atleast_2d(np.asarray(data, np.float32))
        except (TypeError, ValueError) as error:
            raise self._refuse(f"{type(data).__name__} ({error})") from error
        if rows.ndim != 2 or rows.shape[1] != len(self.channels):
            raise self._refuse(f"{list(np.shape(data))}")
        if not np.isfinite(rows).all():
            raise self._refuse("NaN or infinity in a reading")
        return rows

    def _refuse(self, received: str) -> InputError:
        expected = f"readings of {len(self.channels)} channels ({', '.join(self.channels)})"
        return InputError(
            f"{self.name}: expected {expected}; received {received}. Choose the channels at the "
            f"source: Sensor(…, columns=[…])",
            name="motion",
            expected=expected,
            received=received,
        )


class Readings:
    """One source: the readings that are still needed, and where windows begin.

    Args:
        task: What says how a window is made: `window`, `max_gap`, `_period`, `_hop`.
    """

    def __init__(self, task: Any) -> None:
        self.task = task
        self.times: list[int] = []
        self.rows: list[Rows] = []
        self.start = 0  # of the next window, ns

    def reset(self) -> None:
        """Forget all readings."""
        self.times.clear()
        self.rows.clear()

    def is_gap(self, t: int) -> bool:
        """Whether a reading of time `t` does not follow the last one."""
        return bool(self.times) and not 0 <= t - self.times[-1] <= self.task.max_gap * 1e9

    def push(self, times: Sequence[int], rows: Rows) -> Iterator[tuple[int, Rows]]:
        """Add readings, and yield the windows that are complete, with their start times."""
        if not self.times:
            self.start = times[0]
        self.times.extend(times)
        self.rows.extend(rows)
        task = self.task
        offsets = np.arange(task.window) * task._period
        # The last reading of a window may come a little early, with nothing after it yet.
        while self.times[-1] - self.start >= offsets[-1] - task._period / 2:
            grid = self.start + offsets
            have = np.array(self.times, np.float64)
            columns = np.stack(self.rows, axis=1)
            window = np.stack([np.interp(grid, have, column) for column in columns], axis=1)
            yield self.start, window.astype(np.float32)
            self.start += task._hop
            self._forget()

    def _forget(self) -> None:
        """Drop the readings before the next window, but the last of them, to interpolate."""
        before = int(np.searchsorted(self.times, self.start, side="right"))
        keep = min(max(0, before - 1), len(self.times) - 1)
        del self.times[:keep]
        del self.rows[:keep]
