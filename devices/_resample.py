"""Resampling of audio streams, with soxr."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.streams import SKIP, Sample, Stage

Audio = NDArray[np.float32]


class Resampler:
    """Resamples a stream chunk by chunk; exactly ``round(n * out / in)`` samples come out.

    Not a stage: `Resample` is. Input is float32, [n] or [n, channels], and the shape's
    rank must not change within a stream.
    """

    def __init__(self, rate_in: float, rate_out: float, channels: int | None = None) -> None:
        self.ratio = rate_out / rate_in
        self._columns = channels
        self._taken = 0
        self._given = 0
        self._stream: Any = None
        if rate_in != rate_out:
            soxr = require("soxr", extra="audio", purpose="resampling")
            self._stream = soxr.ResampleStream(rate_in, rate_out, channels or 1, dtype="float32")

    def push(self, chunk: Audio, *, last: bool = False) -> Audio:
        """Return what is ready after `chunk`; with `last`, all the rest."""
        if self._stream is None:
            return chunk
        self._taken += len(chunk)
        out: Audio = self._stream.resample_chunk(np.ascontiguousarray(chunk), last=last)
        if last:
            out = self._to_exact(out)
        self._given += len(out)
        return out

    def _to_exact(self, out: Audio) -> Audio:
        missing = round(self._taken * self.ratio) - self._given - len(out)
        if missing > 0:
            return np.concatenate([out, np.zeros((missing, *out.shape[1:]), np.float32)])
        return out[: len(out) + missing]


class Resample(Stage):
    """Changes the sampling rate of audio samples; keeps the filter's state between them.

    Times stay true: the result's `t` is the capture time of its own first sample. When a
    sample says ``discontinuity`` in its `meta` the filter starts afresh.

    Args:
        rate_in: Rate of the incoming samples, Hz.
        rate_out: Rate of the outgoing samples, Hz.
        name: As for every stage.

    Input: `Sample` of float32 [n] or [n, channels]. Output: the same with another n; the
    filter holds some milliseconds back, so now and then a short input gives none.

    Raises:
        MissingExtra: soxr is not installed.

    Example:
        >>> from edgeml.streams import Sample
        >>> import numpy as np
        >>> resample = Resample(48000, 16000)
        >>> block = Sample(np.zeros(48000, np.float32), t=0, arrived=0, duration=10**9)
        >>> len(resample(block).data) > 15000
        True
    """

    def __init__(self, rate_in: float, rate_out: float, *, name: str | None = None) -> None:
        super().__init__(name=name)
        for key, rate in (("rate_in", rate_in), ("rate_out", rate_out)):
            if not rate > 0:
                raise ValueError(f"{key} must be a positive number of Hz; received {rate!r}")
        self.rate_in = rate_in
        self.rate_out = rate_out
        self._resampler: Resampler | None = None
        self._start = 0
        self._taken = 0
        self._given = 0

    def __call__(self, item: Any) -> Any:
        """Return the resampled sample, or SKIP while the filter fills."""
        if not isinstance(item, Sample):
            raise TypeError(f"Resample takes Samples of audio; received {type(item).__name__}")
        data = np.asarray(item.data, dtype=np.float32)
        # Where this block should begin if nothing is missing before it.
        expected = self._start + round(self._taken * 1e9 / self.rate_in)
        if self._resampler is None or item.meta.get("discontinuity"):
            channels = data.shape[1] if data.ndim == 2 else None
            self._resampler = Resampler(self.rate_in, self.rate_out, channels)
            self._start, self._taken, self._given = item.t, 0, 0
        else:
            self._start += (item.t - expected) // 16  # follow the driver's clock, smoothed
        out = self._resampler.push(data)
        t = self._start + round(self._given * 1e9 / self.rate_out)
        self._taken += len(data)
        self._given += len(out)
        if not len(out):
            return SKIP
        return item.replace(data=out, t=t, duration=round(len(out) * 1e9 / self.rate_out))

    def aclose(self) -> None:
        """Forget the filter's state."""
        self._resampler = None
