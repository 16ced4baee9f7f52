"""Pictures for people: small, and not too often."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml._require import require
from edgeml.streams import SKIP, Sample, Stage

_QUALITIES = (85, 70, 55, 40, 25, 10)
_LEAST_BYTES = 1000  # the header of a JPEG alone takes about 600


class Snapshot(Stage):
    """Turns a frame into JPEG bytes, capped in size and rate; the frames between are skipped.

    A frame that is too large at the lowest quality is halved until it fits.

    Args:
        max_bytes: Largest JPEG.
        every: Least time between two snapshots, seconds of capture time.
        options: As for `Stage`.

    The samples have ``meta["task"] == "snapshot"``, so that an `MqttSink` publishes them to
    a topic of their own.

    Example:
        ``camera | tee(people | mqtt, Snapshot(every=60) | mqtt)``
    """

    def __init__(self, *, max_bytes: int = 100_000, every: float = 10.0, **options: Any) -> None:
        super().__init__(**{"name": "snapshot", **options})
        if not every >= 0:
            raise ValueError(f"every must be a number of seconds, 0 or more; received {every!r}")
        _check(max_bytes)
        self.max_bytes = max_bytes
        self.every = round(every * 1e9)
        self._next: int | None = None

    def __call__(self, sample: Sample[Any]) -> Any:
        """Return a sample of JPEG bytes, or SKIP."""
        if self._next is not None and sample.t < self._next:
            return SKIP
        self._next = sample.t + self.every
        return sample.with_data(encode_jpeg(sample.data, self.max_bytes), task="snapshot")


def encode_jpeg(frame: np.ndarray[Any, Any], max_bytes: int) -> bytes:
    """Return a frame, uint8 [height, width, 3] BGR or [height, width], as a JPEG that fits.

    Raises:
        ValueError: the frame is no picture, or `max_bytes` too small for any.
        MissingExtra: OpenCV is not installed.
    """
    _check(max_bytes)
    is_picture = isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.size
    if not is_picture or (frame.ndim != 2 and (frame.ndim != 3 or frame.shape[2] != 3)):
        what = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame)
        raise ValueError(
            "a snapshot takes a frame, uint8 [height, width, 3] or [height, width]; "
            f"received {what}"
        )
    cv2 = require("cv2", extra="camera", purpose="A snapshot")
    while True:
        for quality in _QUALITIES:
            _, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if len(data) <= max_bytes:
                return bytes(data)
        size = (max(1, frame.shape[1] // 2), max(1, frame.shape[0] // 2))
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def _check(max_bytes: int) -> None:
    if max_bytes < _LEAST_BYTES:
        raise ValueError(f"max_bytes must be at least {_LEAST_BYTES}; received {max_bytes}")
