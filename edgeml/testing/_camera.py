"""A simulated camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from edgeml.devices._camera._camera import Camera
from edgeml.devices._camera._capture import Capture, Frame, Image, resized
from edgeml.devices._camera._target import Target
from edgeml.errors import DeviceLost, DeviceNotFound

NS = 1_000_000_000


class FakeCamera(Camera):
    """Gives pictures at the rate of a real camera, and fails like one when told to.

    Args:
        frames: The pictures (uint8, HWC, BGR), or how many to draw; None never ends.
        fps: Pictures a second, if live; their distance in time, if not.
        live: A camera that runs in real time, or a recording that can wait.
        shape: Height and width of the pictures that it draws.
        stall_after: From this picture on, a read hangs as in a dead driver, until `resume`.
        fail_after: Each time it was opened, it is lost after this many pictures.
        **options: `size`, `pace`, and all of `Source`'s, as for `edgeml.Camera`.

    Example:
        >>> import asyncio
        >>> async def main():
        ...     return [s.seq async for s in FakeCamera(3, fps=1000)]
        >>> asyncio.run(main())
        [0, 1, 2]
    """

    def __init__(
        self,
        frames: int | Iterable[Image] | None = None,
        *,
        fps: float = 30.0,
        live: bool = True,
        shape: tuple[int, int] = (48, 64),
        stall_after: int | None = None,
        fail_after: int | None = None,
        size: tuple[int, int] | None = None,
        pace: Any = "auto",
        **options: Any,
    ) -> None:
        self._target = Target("path", "", "a simulated camera", live)
        options.setdefault("name", None)
        self._set_up(self._target.label, live=live, size=size, fps=fps, pace=pace, base=options)
        self._pictures = (
            _drawn(frames, shape) if frames is None or isinstance(frames, int) else (iter(frames))
        )
        self._stall_after = stall_after
        self._fail_after = fail_after
        self._gone = False
        self._awake = threading.Event()
        self._given = 0

    def resume(self) -> None:
        """Let reads that hang return, and hang no more."""
        self._stall_after = None
        self._awake.set()

    def unplug(self) -> None:
        """Take the camera away."""
        self._gone = True

    def plug_in(self) -> None:
        """Bring it back."""
        self._gone = False

    def _new_capture(self) -> Capture:
        return _FakeCapture(self)


class _FakeCapture(Capture):
    def __init__(self, camera: FakeCamera) -> None:
        super().__init__(camera.counts)
        self.camera = camera
        self.given = 0

    def open(self) -> None:
        if self.camera._gone:
            raise DeviceNotFound(f"{self.camera.name} is unplugged", device=self.camera.name)
        self.due = time.monotonic_ns()

    def read(self) -> Frame:
        camera = self.camera
        if camera._stall_after is not None and camera._given >= camera._stall_after:
            camera._awake.wait()
        if camera._gone or self.given == camera._fail_after:
            raise DeviceLost(f"{camera.name} was unplugged", device=camera.name)
        image = next(camera._pictures, None)
        if image is None:
            raise EOFError
        assert camera._fps is not None
        period = round(NS / camera._fps)
        if camera.live:
            self.due += period
            self.stopped.wait(max(0, self.due - time.monotonic_ns()) / NS)
        pts = None if camera.live else camera._given * period
        self.given += 1
        camera._given += 1
        self.counts.decoded += 1
        return Frame(resized(image, camera._size), pts)


def _drawn(count: int | None, shape: tuple[int, int]) -> Iterator[Image]:
    """Yield pictures of a bright bar that moves over a dark ground."""
    n = 0
    while count is None or n < count:
        image = np.full((*shape, 3), 32, np.uint8)
        at = n * 4 % shape[1]
        image[:, at : at + 4] = 220
        yield image
        n += 1
