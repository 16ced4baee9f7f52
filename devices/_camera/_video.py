"""Video files and network streams through FFmpeg's libraries."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeml._require import require
from edgeml.devices._camera._capture import Capture, Frame, FrameCounts, Image
from edgeml.errors import DeviceError, DeviceLost, DeviceNotFound, DeviceTimeout, MediaError

log = logging.getLogger("edgeml.devices")

NS = 1_000_000_000


class Decoder:
    """Decodes the first video stream of an opened container into BGR pictures."""

    def __init__(self, container: Any, label: str, size: tuple[int, int] | None) -> None:
        from av.video.reformatter import VideoReformatter

        if not container.streams.video:
            others = ", ".join(f"{s.type} ({s.name})" for s in container.streams) or "no streams"
            raise MediaError(
                f"{label} has no video stream; expected a video, found {others}", device=label
            )
        if container.format.name == "tty":  # FFmpeg draws any text file as a picture
            raise MediaError(f"{label} is a text file; expected a video", device=label)
        self.container = container
        self.stream = container.streams.video[0]
        self.size = size
        # One reformatter for all frames: it keeps its set-up, which costs more than a conversion.
        self._reformatter = VideoReformatter()

    def frames(self, capture: Capture) -> Iterator[Any]:
        """Yield decoded frames; those that cannot be decoded are counted."""
        import av

        for packet in self.container.demux(self.stream):
            if capture.stopped.is_set():
                return
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                capture.counts.skipped += 1
                continue
            for frame in frames:
                if frame.is_corrupt:
                    capture.counts.skipped += 1
                else:
                    yield frame

    def image(self, frame: Any) -> Image:
        """Convert a decoded frame: BGR, upright, at the wanted size."""
        turns = round(frame.rotation / 90) % 4  # counter-clockwise, as NumPy counts
        width, height = frame.width, frame.height
        how = "BICUBIC"
        if self.size is not None:
            width, height = self.size if turns % 2 == 0 else self.size[::-1]
            how = "AREA" if width <= frame.width and height <= frame.height else "BILINEAR"
        converted = self._reformatter.reformat(
            frame, width, height, "bgr24", interpolation=how, threads=1
        )
        image: Any = converted.to_ndarray()
        upright: Image = np.ascontiguousarray(np.rot90(image, turns) if turns else image)
        return upright


class FileCapture(Capture):
    """A video file, or a recorded video behind a URL."""

    def __init__(
        self,
        source: str,
        label: str,
        counts: FrameCounts,
        *,
        size: tuple[int, int] | None,
        fps: float | None,
        loop: bool,
        options: Mapping[str, str],
        timeouts: tuple[float | None, float | None],
    ) -> None:
        super().__init__(counts)
        self.source = source
        self.label = label
        self.size = size
        self.fps = fps
        self.loop = loop
        self.options = options
        self.timeouts = timeouts
        self._container: Any = None
        self._offset = 0  # ns, where this round of a loop begins
        self._pts = -1
        self._shown = 0
        self._round = 0

    def open(self) -> None:
        self._container = open_container(self.source, self.label, self.options, self.timeouts)
        self._decoder = Decoder(self._container, self.label, self.size)
        stream = self._decoder.stream
        # Frame threads cost more CPU a frame than slices do, and yet a model behind them gets
        # more frames: its threads never wait for a picture.
        stream.thread_type = "AUTO"
        rate = stream.average_rate or stream.guessed_rate
        self._period = round(NS / rate) if rate else NS // 25
        self._frames = self._decoder.frames(self)
        self._first: int | None = None
        self._before = (self.counts.decoded, self.counts.skipped)
        if self.counts.promised is None:
            self.counts.promised = stream.frames or None

    def read(self) -> Frame:
        while True:
            frame = next_frame(self._frames, self.label)
            if self.stopped.is_set():
                raise EOFError
            if frame is None:
                self._finish()
                continue
            self.counts.decoded += 1
            begins = self._first is None
            pts = self._advance(frame)
            if self.fps is not None and pts * self.fps < self._shown * NS:
                continue
            if self.fps is not None:
                self._shown = int(pts * self.fps // NS) + 1
            meta = {"discontinuity": True} if begins and self._round else {}
            return Frame(self._decoder.image(frame), pts, meta=meta)

    def _advance(self, frame: Any) -> int:
        """Return the frame's time since the first of all, ns; it never goes back."""
        if frame.pts is None or frame.time_base is None:
            own = self._pts + self._period if self._first is not None else 0
            self._first = 0 if self._first is None else self._first
            self._pts = max(own, self._offset, self._pts)
            return self._pts
        at = round(frame.pts * frame.time_base * NS)
        if self._first is None:
            self._first = at
        self._pts = max(self._offset + at - self._first, self._pts)
        return self._pts

    def _finish(self) -> None:
        """At the end of the file: account for what came, and begin again or stop."""
        decoded = self.counts.decoded - self._before[0]
        skipped = self.counts.skipped - self._before[1]
        if decoded == 0:
            raise MediaError(
                f"{self.label}: not one frame could be decoded ({skipped} corrupt packets); the "
                "file is damaged",
                device=self.label,
            )
        promised = self.counts.promised or 0
        if skipped or decoded < promised:
            log.warning(
                "%s: the header promises %s frames; %d decoded, %d corrupt and left out",
                self.label,
                promised or "no number of",
                decoded,
                skipped,
            )
        if not self.loop:
            raise EOFError
        self._offset = self._pts + self._period
        self._round += 1
        self.close()
        self.open()

    def close(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            container.close()


class StreamCapture(Capture):
    """A live network stream: RTSP, RTMP, MJPEG over HTTP, and what else FFmpeg reads."""

    def __init__(
        self,
        url: str,
        label: str,
        counts: FrameCounts,
        *,
        size: tuple[int, int] | None,
        fps: float | None,
        options: Mapping[str, str],
        timeouts: tuple[float | None, float | None],
    ) -> None:
        super().__init__(counts)
        self.url = url
        self.label = label
        self.size = size
        self.fps = fps
        self.options = options
        self.timeouts = timeouts
        self._container: Any = None
        self._shown = 0
        self._first: float | None = None

    def open(self) -> None:
        options = {"fflags": "nobuffer", **self.options}
        if self.url.lower().startswith(("rtsp://", "rtsps://")):
            options.setdefault("rtsp_transport", "tcp")
        self._container = open_container(self.url, self.label, options, self.timeouts)
        self._decoder = Decoder(self._container, self.label, self.size)
        self._decoder.stream.thread_type = "SLICE"  # frame threads hold frames back
        self._frames = self._decoder.frames(self)
        if self._container.duration:
            log.warning(
                "%s is a recording of %.1f s, read as if live: frames may be dropped; "
                "Camera(..., live=False) reads all of it",
                self.label,
                self._container.duration / 1e6,
            )

    def read(self) -> Frame:
        while True:
            frame = next_frame(self._frames, self.label)
            if frame is None:
                raise DeviceLost(f"{self.label}: the stream ended", device=self.label)
            self.counts.decoded += 1
            if not self._skips(frame):
                return Frame(self._decoder.image(frame))

    def _skips(self, frame: Any) -> bool:
        if self.fps is None or frame.time is None:
            return False
        if self._first is None:
            self._first = frame.time
        at = (frame.time - self._first) * self.fps
        if at < self._shown:
            return True
        self._shown = int(at) + 1
        return False

    def close(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            container.close()


def open_container(
    source: str,
    label: str,
    options: Mapping[str, str],
    timeouts: tuple[float | None, float | None],
) -> Any:
    """Open a file or URL with FFmpeg's libraries.

    Raises:
        DeviceNotFound: there is nothing at this address.
        DeviceTimeout: no answer in time.
        MediaError: what is there is not a video.
    """
    av = require("av", extra="camera", purpose="edgeml.Camera")
    try:
        return av.open(source, options=dict(options), timeout=timeouts)
    except Exception as error:
        failure = translated(error, label, lost=False)
    raise failure  # here, so that the original and its URL are not its context


def next_frame(frames: Iterator[Any], label: str) -> Any:
    """Return the next decoded frame, None at the end; errors are ours."""
    try:
        return next(frames, None)
    except Exception as error:
        failure = translated(error, label, lost=True)
    raise failure


def translated(error: Exception, label: str, *, lost: bool) -> Exception:
    """Return our error for one of PyAV's; its text may hold a password, so it isn't kept."""
    import av

    if isinstance(error, DeviceError) or not isinstance(error, av.error.FFmpegError | OSError):
        return error
    why = getattr(error, "strerror", None) or type(error).__name__
    if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        return DeviceNotFound(f"{label} refuses the user and password ({why})", device=label)
    if isinstance(error, av.error.ExitError | TimeoutError):  # interrupted by its deadline
        return DeviceTimeout(f"{label} did not answer in time", device=label)
    if lost:
        return DeviceLost(f"{label}: the stream broke off: {why}", device=label)
    if isinstance(error, av.error.HTTPError):
        return DeviceNotFound(f"{label}: the server has no such stream ({why})", device=label)
    if isinstance(error, PermissionError):
        return DeviceNotFound(f"{label} may not be read by this user ({why})", device=label)
    if isinstance(error, av.error.InvalidDataError):
        return MediaError(
            f"{label} cannot be decoded ({why}): it is not a video, or its beginning or index is "
            "missing (a download or recording that was cut off)",
            device=label,
        )
    hint = "; is the address right, and the camera on?" if "://" in label else ""
    return DeviceNotFound(f"{label} cannot be opened: {why}{hint}", device=label)


def check_file(path: Path, label: str) -> None:
    """Raise a clear error for a path that cannot be a video."""
    if not path.exists():
        folder = path.parent
        hint = "" if folder.is_dir() else f"; there is no folder {folder}, either"
        raise DeviceNotFound(f"{label}: there is no such file or folder{hint}", device=label)
    if path.is_file() and path.stat().st_size == 0:
        raise MediaError(f"{label} is empty (0 bytes); expected a video", device=label)
