"""Sound in blocks of any length, cut into the windows that a model takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml.errors import InputError
from edgeml.streams import Sample

_GAP = 250_000_000  # ns; live time stamps are off by less, and less sound than that may be lost
Floats = NDArray[np.float32]


class Windows:
    """Collects sound and gives it out in windows, each with the time of its first sample.

    Args:
        size: Of a window, samples.
        rate: Samples a second.
    """

    def __init__(self, size: int, rate: int) -> None:
        self.size = size
        self.rate = rate
        self._pending = np.empty(0, np.float32)
        self._t = 0  # of the first pending sample, ns
        self._started = False

    @property
    def end(self) -> int:
        """Time just after the last sample, ns."""
        return self._t + self._ns(len(self._pending))

    def is_gap(self, sample: Sample[Any]) -> bool:
        """Whether sound is missing between what came before and this sample."""
        if not self._started:
            return False
        return bool(sample.meta.get("discontinuity")) or abs(sample.t - self.end) > _GAP

    def reset(self) -> None:
        """Forget what is pending."""
        self._pending = self._pending[:0]
        self._started = False

    def push(self, audio: Floats, t: int | None = None) -> Iterator[tuple[Floats, int]]:
        """Add sound of time `t` ns (None: just after the last), and yield windows with times."""
        if t is not None:
            # Each block's own stamp counts, so that a device whose clock is off does not drift.
            self._t = t - self._ns(len(self._pending))
        self._started = True
        self._pending = np.concatenate([self._pending, audio])
        while len(self._pending) >= self.size:
            window, self._pending = self._pending[: self.size], self._pending[self.size :]
            start = self._t
            self._t += self._ns(self.size)
            yield window, start

    def _ns(self, samples: int) -> int:
        return round(samples * 1e9 / self.rate)


def check_audio(item: Any, rate: int, who: str) -> Floats:
    """Return the sound of a sample or an array as float32 [n] in -1 to 1.

    Raises:
        InputError: it is not mono, not at `rate`, or not sound at all.
    """
    data = item.data if isinstance(item, Sample) else item
    expected = f"sound as float32 or int16 [n], mono at {rate} Hz"
    if not isinstance(data, np.ndarray):
        raise _refuse(who, expected, type(data).__name__, "pass numpy.asarray(sound)")
    if data.ndim == 2 and data.shape[1] == 1:
        data = data[:, 0]
    received = f"{data.dtype} {list(data.shape)}"
    if data.ndim != 1:
        raise _refuse(who, expected, received, "mix the channels: Microphone(channels=1)")
    if data.dtype == np.int16:
        data = data.astype(np.float32) / 32768
    elif data.dtype.kind != "f":
        raise _refuse(who, expected, received, "convert it to float32 in -1 to 1")
    if isinstance(item, Sample) and item.duration and len(data):
        measured = len(data) * 1e9 / item.duration
        if abs(measured - rate) > 0.02 * rate:
            raise _refuse(
                who, expected, f"{measured:.0f} Hz", f"ask for it: Microphone(rate={rate})"
            )
    if not np.isfinite(data).all():
        raise _refuse(who, expected, "NaN or infinity in it", "check the source")
    sound: Floats = data.astype(np.float32, copy=False)
    return sound


def _refuse(who: str, expected: str, received: str, what_to_do: str) -> InputError:
    return InputError(
        f"{who}: expected {expected}; received {received}: {what_to_do}",
        name="sound",
        expected=expected,
        received=received,
    )
