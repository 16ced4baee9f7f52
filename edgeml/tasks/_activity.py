"""What somebody does, from motion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeml.errors import InputError, ModelError
from edgeml.streams import Sample, Stage
from edgeml.tasks._arguments import check_seconds, check_share
from edgeml.tasks._outputs import check_finite, pick_output, probabilities
from edgeml.tasks._results import Activity
from edgeml.tasks._task import Model, Task
from edgeml.tasks._timing import Smooth

if TYPE_CHECKING:
    from edgeml.events import Output
    from edgeml.runtime import Session

Rows = NDArray[np.float32]


class ActivityRecognizer(Task):
    """Tell what somebody does: one `Activity` for each window of motion.

    Takes samples of one reading each ([channels]) or of several ([n, channels], spread over
    the sample's duration), by their times: they are interpolated onto the model's grid, so
    jitter and another rate do no harm. After a gap it starts anew.

    Each source of samples is followed by itself. A plain array is one whole window
    [window, channels], and gives its result.

    Args:
        model: Path, URL, ``"edgeml:NAME"``, or a `Session`. The shipped one knows seven
            shoulder exercises from a watch: acceleration in m/s² with gravity, and rotation
            in rad/s.
        hop: Seconds from one window to the next; None: what the model's metadata says.
        smooth: Time constant over which class probabilities are averaged, seconds; 0: each
            window by itself.
        max_gap: Seconds between readings above which it starts anew.
        min_score: Below this the label is ``"unknown"``.
        labels: Names of the classes, instead of the metadata's.
        preprocess: {"sample_rate": Hz, "window": readings, "hop": readings, "channels":
            [names]}, instead of the metadata's.
        postprocess: {"output": name, "activation": "softmax" | "sigmoid" | "none"}, instead
            of the metadata's.
        **options: delegate, threads, and as for `Stage`: name, on_error, timeout.

    Attributes:
        restarts: Gaps so far.

    Raises:
        ModelError: the model is for something else, or does not say how it is fed.
        InputError: a reading has other channels, or NaN in it.
        OutputError: the model returned NaN or infinity.

    Example:
        >>> import numpy as np
        >>> from edgeml import ActivityRecognizer
        >>> len(ActivityRecognizer()(np.zeros((100, 6), np.float32)).top)
        7
    """

    task = "activity-recognition"
    _outside = ("channels",)

    def __init__(
        self,
        model: Model = "edgeml:activity_watch_int8.onnx",
        *,
        hop: float | None = None,
        smooth: float = 0.0,
        max_gap: float = 0.2,
        min_score: float = 0.0,
        labels: Sequence[str] | None = None,
        preprocess: Mapping[str, Any] | None = None,
        postprocess: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, labels=labels, **options)
        check_share(self.name, min_score=min_score)
        check_seconds(self.name, smooth=smooth, max_gap=max_gap)
        if hop is not None and not hop > 0:
            raise ValueError(f"{self.name}: hop must be positive seconds; received {hop!r}")
        self.hop = hop
        self.max_gap = max_gap
        self.min_score = min_score
        self.restarts = 0
        self._preprocess_given = preprocess
        self._postprocess_given = postprocess
        self._smooth: Stage | None = Smooth(smooth) if smooth else None
        self._motions: dict[str, _Motion] = {}

    def _prepare(self, session: Session) -> None:
        if self._preprocess_given is None:
            self._check_task(session, "preprocess={…}", "postprocess={…}", "labels=[…]")
        spec = self._preprocess_given or session.metadata.preprocess
        try:
            self.rate, self.window = float(spec["sample_rate"]), int(spec["window"])
            self.channels = tuple(spec["channels"])
            hop = self.hop or float(spec.get("hop", self.window)) / self.rate
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{self.name}: {session.path} does not say how motion becomes its input (wrong "
                f'at {error}); pass preprocess={{"sample_rate": 50, "window": 100, '
                f'"channels": ["ax", …]}}',
                path=session.path,
            ) from error
        self._period = 1e9 / self.rate  # ns
        self._hop = round(hop * 1e9)
        self._postprocess = self._postprocess_given or session.metadata.postprocess

    def _try_out(self, session: Session) -> None:
        self._classify(np.zeros((self.window, len(self.channels)), np.float32), session)

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
        return self._classify(rows, session)

    def _results(self, sample: Sample[Any]) -> Iterator[Sample[Any]]:
        rows = self._rows(sample.data)
        times = sample.t + np.arange(len(rows)) * (sample.duration / max(1, len(rows)))
        motion = self._motions.setdefault(sample.source, _Motion(self))
        motion.task = self  # another may have taken its place, and goes on with its readings
        if motion.is_gap(int(times[0])) or sample.meta.get("discontinuity"):
            self.restarts += bool(motion.times)
            motion.reset()
        for start, window in motion.push(times.astype(np.int64).tolist(), rows):
            duration = round(self.window * self._period)
            found = self._classify(window, self.session)
            result = sample.replace(data=found, t=start, duration=duration)
            yield result if self._smooth is None else self._smooth(result)

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

    def _classify(self, window: Rows, session: Session) -> Activity:
        outputs = session.run({session.inputs[0].name: window[None]})
        check_finite(outputs, session.path)
        spec = self._postprocess
        values = pick_output(outputs, spec, session.path)
        scores = probabilities(values, spec.get("activation", "none"), session.path)
        labels = self._labels_of(session, len(scores))
        result: Activity = Activity.of(scores, labels, top=len(labels), min_score=self.min_score)
        return result

    def outputs(self) -> Sequence[Output]:
        """Return what the task publishes, for discovery."""
        from edgeml.events import Output

        return (Output("Activity", "sensor", "{{ value_json.data.label }}", icon="mdi:run"),)


class _Motion:
    """One source of motion: the readings that are still needed, and where windows begin."""

    def __init__(self, task: ActivityRecognizer) -> None:
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
