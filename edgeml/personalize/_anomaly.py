"""What is normal for a sensor, learned from normal readings alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeml.errors import ConfigError, DataError, ShapeError
from edgeml.personalize._alarms import Timeline, at_most, threshold_for
from edgeml.personalize._normal import Normal, Scale

Array = np.ndarray[Any, Any]
_PARTS = 5  # in which normal data are held out
_FEWEST = 40  # windows


@dataclass(frozen=True)
class NormalReport:
    """What is known of a detector of anomalies before it has seen one.

    Attributes:
        windows: How many normal windows it has learned from.
        hours: Time of normal readings on which it was tried, each part held out in turn.
        threshold: Score above which a window is an anomaly.
        alarms_per_day: How many false alarms a day the threshold is meant for.
        at_most: How many there are at most, as far as those hours prove it (95%).
        notes: What is worth knowing.

    Example:
        >>> from edgeml.personalize import NormalReport
        >>> print(NormalReport(900, 0.5, 2.1, 1.0, 144.0))
        900 normal windows, 0.5 h held out; threshold 2.1 is meant for 1 false alarm a day
        those hours prove no more than: at most 144 a day
    """

    windows: int
    hours: float
    threshold: float
    alarms_per_day: float
    at_most: float
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        s = "" if self.alarms_per_day == 1 else "s"
        lines = [
            (f"{self.windows} normal windows, {self.hours:.2g} h held out; threshold "
             f"{self.threshold:.3g} is meant for {self.alarms_per_day:g} false alarm{s} a day"),
            f"those hours prove no more than: at most {self.at_most:.3g} a day",
        ]  # fmt: skip
        return "\n".join([*lines, *self.notes])

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "windows": self.windows, "hours": self.hours, "threshold": self.threshold,
            "alarms_per_day": self.alarms_per_day, "at_most": self.at_most,
            "notes": list(self.notes),
        }  # fmt: skip


@dataclass(frozen=True)
class NormalModel:
    """What `learn_normal` returns: a model for `edgeml.tasks.AnomalyDetector`.

    A `Store` of its own keeps its versions: ``store.accept(model.content, model.info)``, and
    ``AnomalyDetector(store.current()[1])``.

    Attributes:
        content: Its ONNX file, from a window of readings to a score, and what each channel adds.
        report: What is known of it.

    Example:
        >>> import numpy as np
        >>> from edgeml.personalize import learn_normal
        >>> hum = np.random.default_rng(0).normal(size=(3000, 2))
        >>> model = learn_normal(hum, rate=50, window=1.0)
        >>> model.report.windows
        119
    """

    content: bytes = field(repr=False)
    report: NormalReport

    @property
    def info(self) -> dict[str, Any]:
        """What a store keeps of it."""
        return {"schema": 1, "method": "anomaly", **self.report.to_dict()}

    def export(self, path: Any) -> None:
        """Write the ONNX file."""
        from edgeml.training._files import writing

        with writing(path) as file:
            file.write(self.content)


@dataclass(frozen=True)
class _Windows:
    """Windows as views (n, readings, channels), of which recording, and where they start, s."""

    views: list[Array]
    recordings: Array
    starts: Array
    seconds: float
    hop: float


def learn_normal(
    readings: Any, *, rate: float, window: float = 2.0, hop: float | None = None,
    channels: Sequence[str] | None = None, alarms_per_day: float = 1.0, most: int = 1000,
) -> NormalModel:  # fmt: skip
    """Learn what is normal for a sensor, from readings in which nothing was wrong.

    A window is described by its level, its spread, its steps and its spectrum, channel by channel.
    Its score is how far it is from the three most alike normal windows (Ramaswamy et al., 2000:
    k-nearest neighbours), as a multiple of how normal windows differ. The threshold is set on
    normal windows that were held out, and from them it is told what it proves.

    Args:
        readings: float (readings, channels) or (readings,); or a list of such: recordings, of
            which what follows does not follow in time.
        rate: Readings a second.
        window: Seconds that are looked at together; long enough to hold what repeats.
        hop: Seconds from one window to the next; None: half a window.
        channels: Names; None: "0", "1", …
        alarms_per_day: False alarms a day that the threshold is meant for.
        most: Normal windows that the model keeps, those which are least alike.

    Raises:
        DataError: there are too few readings, NaN, or a channel that never changes.
        ShapeError: recordings have other channels.
        ConfigError: a setting is out of range.

    Example:
        >>> import numpy as np
        >>> from edgeml.tasks import AnomalyDetector
        >>> from edgeml.personalize import learn_normal
        >>> rng = np.random.default_rng(0)
        >>> hum = np.sin(np.arange(6000) / 3)[:, None] + rng.normal(0, 0.1, (6000, 1))
        >>> model = learn_normal(hum, rate=50, window=1.0)
        >>> detector = AnomalyDetector(model)
        >>> detector(hum[200:250]).state, detector(hum[200:250] * 3).state
        ('normal', 'anomaly')
    """
    hop = window / 2 if hop is None else hop
    length, step = _checked_settings(rate, window, hop, alarms_per_day, most)
    recordings = _recordings(readings)
    names = _names(channels, recordings)
    _check_values(recordings, names)
    windows = _cut(recordings, length, step, rate)
    scale = Scale.of(np.concatenate(recordings))
    features = scale(*windows.views)
    normal = Normal.of(features, most)
    held = Timeline(_held_out(windows, features, most), windows.starts, windows.recordings,
                    windows.hop, windows.seconds)  # fmt: skip
    threshold = threshold_for(held, alarms_per_day)
    alarms = len(held.peaks(threshold))
    report = NormalReport(
        len(features), held.seconds / 3600, threshold, alarms_per_day,
        at_most(alarms, held.seconds), tuple(_notes(held, alarms_per_day, features, most)),
    )  # fmt: skip
    spec = {"type": "motion", "sample_rate": rate, "window": length, "hop": step, "channels": names}
    return NormalModel(normal.to_onnx(scale, _metadata(spec, scale, report)), report)


def _metadata(spec: Mapping[str, Any], scale: Scale, report: NormalReport) -> dict[str, str]:
    return {
        "edgeml.schema": "1", "edgeml.task": "anomaly-detection",
        "edgeml.preprocess": json.dumps(spec),
        "edgeml.postprocess": json.dumps({
            "score": "score", "contributions": "contributions", "threshold": report.threshold,
            "level": [float(v) for v in scale.level]}),
        "edgeml.personalize": json.dumps({"method": "anomaly", **report.to_dict()}),
    }  # fmt: skip


def _checked_settings(
    rate: float, window: float, hop: float, alarms_per_day: float, most: int
) -> tuple[int, int]:
    """Return the readings of a window, and from one to the next."""
    given = (rate, window, hop, alarms_per_day)
    if not (all(0 < value < math.inf for value in given) and most >= 10):
        raise ConfigError(
            "learn_normal: expected finite rate, window, hop and alarms_per_day above 0 and most "
            f"of at least 10; received {rate!r}, {window!r}, {hop!r}, {alarms_per_day!r}, {most!r}"
        )
    length, step = round(window * rate), max(1, round(hop * rate))
    if not 8 <= length <= 2048:
        raise ConfigError(
            f"window: expected 8 to 2048 readings, received {window:g} s at {rate:g} readings a "
            f"second, which are {length}"
        )
    return length, step


def _recordings(readings: Any) -> list[Array]:
    try:
        given = readings if isinstance(readings, list | tuple) else [readings]
        found = [np.asarray(values, np.float32) for values in given]
    except (TypeError, ValueError) as error:
        raise ShapeError(f"readings: expected numbers (readings, channels): {error}") from error
    found = [values[:, None] if values.ndim == 1 else values for values in found]
    shapes = [values.shape for values in found]
    if not found or any(len(s) != 2 or s[1] != shapes[0][1] or not s[1] for s in shapes):
        raise ShapeError(
            "readings: expected an array (readings, channels), or a list of them with the same "
            f"channels; received shapes {shapes[:5]}"
        )
    return found


def _names(channels: Sequence[str] | None, recordings: list[Array]) -> list[str]:
    count = recordings[0].shape[1]
    names = [str(i) for i in range(count)] if channels is None else list(map(str, channels))
    if len(names) != count:
        raise ShapeError(f"channels: there are {count}, and {len(names)} names",
                         expected=count, received=len(names))  # fmt: skip
    return names


def _check_values(recordings: list[Array], names: list[str]) -> None:
    for number, name in enumerate(names):
        values = np.concatenate([r[:, number] for r in recordings])
        if bad := int((~np.isfinite(values)).sum()):
            raise DataError(
                f"channel {name!r} holds NaN or infinity in {bad} of {len(values)} readings: cut "
                "them out, and pass what is left as several recordings"
            )
        if len(values) and np.ptp(values) <= 5e-7 * abs(float(values[0])):  # as float32 goes
            raise DataError(
                f"channel {name!r} is {values[0]:g} in all readings: is the sensor frozen? "
                "Leave the channel out"
            )


def _cut(recordings: list[Array], length: int, step: int, rate: float) -> _Windows:
    views, of, starts = [], [], []
    for number, values in enumerate(recordings):
        if len(values) < length:
            continue
        view = np.lib.stride_tricks.sliding_window_view(values, length, axis=0)[::step]
        views.append(view.transpose(0, 2, 1))
        of.append(np.full(len(view), number))
        starts.append(np.arange(len(view)) * step / rate)
    count = sum(map(len, starts))
    if count < _FEWEST:
        need = (length + (_FEWEST - 1) * step) / rate
        have = sum(map(len, recordings)) / rate
        raise DataError(
            f"there are {have:g} s of normal readings, {count} windows; expected at least "
            f"{_FEWEST}, {need:g} s: record more"
        )
    return _Windows(views, np.concatenate(of), np.concatenate(starts), length / rate, step / rate)


def _held_out(windows: _Windows, features: Array, most: int) -> Array:
    """Return the score of each window by a model that has seen nothing which overlaps it."""
    scores = np.empty(len(features), np.float32)
    for out in _parts(windows.recordings):
        own = windows.recordings[out]
        apart = ~out
        for number in np.unique(own):
            first, last = windows.starts[out & (windows.recordings == number)][[0, -1]]
            near = (windows.starts > first - windows.seconds) & (
                windows.starts < last + windows.seconds)  # fmt: skip
            apart &= ~(near & (windows.recordings == number))
        scores[out] = Normal.of(features[apart], most).score(features[out])
    return scores


def _parts(recordings: Array) -> Iterator[Array]:
    """Yield which windows are held out: whole recordings where there are enough, else spans."""
    names = np.unique(recordings)
    parts = np.arange(len(recordings)) * _PARTS // len(recordings)
    if len(names) >= _PARTS:
        parts = np.searchsorted(names, recordings) * _PARTS // len(names)
    for part in range(_PARTS):
        yield parts == part


def _notes(held: Timeline, asked: float, features: Array, most: int) -> Iterator[str]:
    days = held.seconds / 86400
    if asked * days < 1:
        yield (f"the threshold continues the tail of the scores: a day with {asked:g} would need "
               f"{1 / asked / days:.0f} times as many readings to be seen")  # fmt: skip
    if len(features) > most:
        yield f"of {len(features)} windows the model keeps the {most} that are least alike"
