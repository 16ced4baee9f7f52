"""Pictures for people: small, and not too often."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml._require import require
from edgeml.streams import SKIP, Sample, Stage

_QUALITIES = (85, 70, 55, 40, 25, 10)


class Snapshot(Stage):
    """Turns a frame into JPEG bytes, capped in size and rate; the frames between are skipped.

    A frame that is too large at the lowest quality is halved until it fits.

    Args:
        max_bytes: Largest JPEG.
        every: Least time between two snapshots, seconds of capture time.
        options: As for `Stage`.

    Example:
        ``camera | tee(detector | mqtt) | Snapshot(every=60) | MqttSink(task="snapshot")``
    """

    def __init__(self, *, max_bytes: int = 100_000, every: float = 10.0, **options: Any) -> None:
        super().__init__(**{"name": "snapshot", **options})
        if max_bytes < 1000:
            raise ValueError(f"max_bytes must be at least 1000; received {max_bytes}")
        self.max_bytes = max_bytes
        self.every = round(every * 1e9)
        self._next: int | None = None

    def __call__(self, sample: Sample[Any]) -> Any:
        """Return a sample of JPEG bytes, or SKIP."""
        if self._next is not None and sample.t < self._next:
            return SKIP
        self._next = sample.t + self.every
        return sample.with_data(encode_jpeg(sample.data, self.max_bytes))


def encode_jpeg(frame: np.ndarray[Any, Any], max_bytes: int) -> bytes:
    """Return a frame, uint8 [height, width, 3] BGR or [height, width], as a JPEG that fits."""
    cv2 = require("cv2", extra="camera", purpose="A snapshot")
    while True:
        for quality in _QUALITIES:
            done, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if not done:
                raise ValueError(f"a frame of {frame.dtype} {frame.shape} is no picture")
            if len(data) <= max_bytes:
                return bytes(data)
        size = (max(1, frame.shape[1] // 2), max(1, frame.shape[0] // 2))
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
