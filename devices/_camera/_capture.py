"""What every way of capturing has in common."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(slots=True)
class Frame:
    """One picture as a driver gives it.

    Attributes:
        data: uint8, HWC, BGR, contiguous.
        pts: Time since the first picture, ns, for recorded pictures; None for live ones.
        stamp: The driver's capture time, monotonic ns, if it has one.
        meta: What goes into the sample's `meta`.
    """

    data: Image
    pts: int | None = None
    stamp: int | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class FrameCounts:
    """What a camera has delivered so far, over all its reconnects and loops.

    Attributes:
        promised: Frames that a file's header announces; None when it doesn't say.
        decoded: Frames that came out.
        skipped: Frames that were corrupt, incomplete or unreadable, and left out.
    """

    promised: int | None = None
    decoded: int = 0
    skipped: int = 0


class Capture:
    """One opened device or file; a camera makes a new one for each attempt.

    `open`, `read` and `close` run in the camera's thread; `stop` comes from the loop's
    thread and makes a waiting call return soon where the driver allows it.
    """

    def __init__(self, counts: FrameCounts) -> None:
        self.counts = counts
        self.stopped = threading.Event()

    def open(self) -> None:
        """Acquire the device."""

    def read(self) -> Frame:
        """Return the next picture; raise EOFError at the end."""
        raise NotImplementedError

    def close(self) -> None:
        """Release it; idempotent, and works after a failed open."""

    def stop(self) -> None:
        """Let a call that waits in another thread come back."""
        self.stopped.set()


def resized(image: Image, size: tuple[int, int] | None) -> Image:
    """Return the picture at `size` (width, height): averaged when it shrinks."""
    height, width = image.shape[:2]
    if size is None or size == (width, height):
        return image
    import cv2

    shrinks = size[0] <= width and size[1] <= height
    result: Image = cv2.resize(
        image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    return result
