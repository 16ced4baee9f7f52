"""USB and other V4L2 cameras through OpenCV."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from edgeml._require import require
from edgeml.devices._camera._capture import Capture, Frame, FrameCounts, Image, resized
from edgeml.errors import DeviceLost, DeviceNotFound

log = logging.getLogger("edgeml.devices")

# A driver's stamp older than this, or in the future, is on another clock.
OLDEST_STAMP = 10_000_000_000


class Grabber(Protocol):
    """The part of ``cv2.VideoCapture`` that is used."""

    def isOpened(self) -> bool: ...  # noqa: N802 - OpenCV's name
    def read(self) -> tuple[bool, Image | None]: ...
    def get(self, prop: int) -> float: ...
    def release(self) -> None: ...


Opener = Callable[[str, Sequence[int]], Grabber]


class V4l2Capture(Capture):
    """A ``/dev/video*`` node."""

    def __init__(
        self,
        path: str,
        counts: FrameCounts,
        *,
        size: tuple[int, int] | None,
        fps: float | None,
        fourcc: str | None,
        opener: Opener | None = None,
    ) -> None:
        super().__init__(counts)
        self.path = path
        self.size = size
        self.fps = fps
        self.fourcc = fourcc
        self._opener = opener
        self._grabber: Grabber | None = None

    def open(self) -> None:
        cv2 = require("cv2", extra="camera", purpose="edgeml.Camera")
        opener = self._opener
        if opener is None:
            check_node(self.path)
            opener = _open_cv2
        self._grabber = opener(self.path, self._parameters(cv2))
        if not self._grabber.isOpened():
            raise DeviceNotFound(
                f"{self.path} is there but gives no pictures: another program uses it "
                f"(fuser -v {self.path}), or it is not a camera (edgeml devices lists cameras)",
                device=self.path,
            )
        self._position = cv2.CAP_PROP_POS_MSEC
        self._tell_differences(cv2)

    def _parameters(self, cv2: Any) -> list[int]:
        # The order matters to drivers: the pixel format decides which sizes there are.
        wanted: list[int] = []
        if self.fourcc is not None:
            wanted += [cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*self.fourcc)]
        if self.size is not None:
            wanted += [cv2.CAP_PROP_FRAME_WIDTH, self.size[0]]
            wanted += [cv2.CAP_PROP_FRAME_HEIGHT, self.size[1]]
        if self.fps is not None:
            wanted += [cv2.CAP_PROP_FPS, round(self.fps)]
        return [*wanted, cv2.CAP_PROP_BUFFERSIZE, 1]

    def _tell_differences(self, cv2: Any) -> None:
        assert self._grabber is not None
        get = self._grabber.get
        size = (int(get(cv2.CAP_PROP_FRAME_WIDTH)), int(get(cv2.CAP_PROP_FRAME_HEIGHT)))
        if self.size is not None and all(size) and size != self.size:
            log.warning(
                "%s: the camera has no %dx%d; its %dx%d is resized",
                *(self.path, *self.size, *size),
            )
        fps = get(cv2.CAP_PROP_FPS)
        if self.fps is not None and fps and abs(fps - self.fps) > 0.5:
            log.warning("%s: asked for %g fps, the camera gives %g", self.path, self.fps, fps)

    def read(self) -> Frame:
        assert self._grabber is not None
        ok, image = self._grabber.read()
        if not ok or image is None:
            raise DeviceLost(f"{self.path}: the camera stopped or was unplugged", device=self.path)
        now = time.monotonic_ns()
        stamp = round(self._grabber.get(self._position) * 1e6)
        self.counts.decoded += 1
        known = 0 <= now - stamp < OLDEST_STAMP
        return Frame(resized(image, self.size), stamp=stamp if known else None)

    def close(self) -> None:
        grabber, self._grabber = self._grabber, None
        if grabber is not None:
            grabber.release()


def _open_cv2(path: str, parameters: Sequence[int]) -> Grabber:
    import cv2

    try:
        grabber: Grabber = cv2.VideoCapture(path, cv2.CAP_V4L2, list(parameters))
    except cv2.error as error:
        raise DeviceNotFound(
            f"{path}: the driver refused to open it ({error.err})", device=path
        ) from error
    return grabber


def check_node(path: str, open_: Callable[[str, int], int] = os.open) -> None:
    """Raise what is wrong with a device node, if anything.

    Raises:
        DeviceNotFound: it does not exist, or this user may not open it.
    """
    try:
        os.close(open_(path, os.O_RDWR | os.O_NONBLOCK))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.ENOTDIR):
            nodes = sorted(str(node) for node in Path("/dev").glob("video*"))
            there = ", ".join(nodes) if nodes else "no /dev/video* at all"
            raise DeviceNotFound(
                f"{path}: there is no such camera; found {there}. A ribbon-cable camera is "
                '"csi:0"; in a container, pass the device in',
                device=path,
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise DeviceNotFound(
                f"{path}: this user may not use the camera; add it to the group that may: "
                "sudo usermod -aG video $USER, then log in again",
                device=path,
            ) from error
        raise DeviceNotFound(f"{path} cannot be opened: {error.strerror}", device=path) from error
