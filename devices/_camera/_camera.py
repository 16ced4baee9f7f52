"""The camera: a source of pictures from whatever gives pictures."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from edgeml.devices._camera import _csi
from edgeml.devices._camera._capture import Capture, Frame, FrameCounts, Image
from edgeml.devices._camera._command import CommandCapture
from edgeml.devices._camera._folder import FolderCapture
from edgeml.devices._camera._pixels import Layout
from edgeml.devices._camera._target import Target, parse
from edgeml.devices._camera._v4l2 import V4l2Capture
from edgeml.devices._camera._video import FileCapture, StreamCapture, check_file
from edgeml.streams import Backoff, BlockingSource, Sample

Pace = Literal["auto", "realtime"] | None

# Which options mean something for which kind of device.
_MAX_SIDE = 16_384  # pixels

_OPTIONS = {
    "loop": ("path", "recording"),
    "fourcc": ("v4l2",),
    "options": ("url", "recording", "path"),
}


class Camera(BlockingSource[Sample[Image]]):
    """A source of pictures: a camera, a network stream, a video file, a folder, a command.

    What `device` may be:

    - ``0`` or ``"/dev/video0"``: a USB or other V4L2 camera;
    - ``"csi:0"``: a ribbon-cable camera of a Raspberry Pi (rpicam-vid) or a Jetson
      (nvarguscamerasrc);
    - ``"rtsp://user:password@host/path"``, ``"rtmp://…"``, ``"http://…"``: a stream;
    - ``"video.mp4"``, or its address on a web server: a recording, every frame of it;
    - ``"folder/"``: its pictures (bmp, jpg, png, webp) in the order of their names;
    - ``"edgeml:street.mp4"``: a clip that comes with this package;

    and `Camera.command` reads any program that writes raw frames.

    A sample's `data` is uint8, HWC, BGR, contiguous. Its `t` is the driver's stamp, else
    the arrival, for what is live; for a recording it is the clock's start plus the
    frame's own time. A live camera that is lost is opened again (`reconnect`); one that
    hangs is given up after `read_timeout`.

    Args:
        device: See above.
        size: Width and height of the pictures, pixels; by default what the device gives.
            A device that has no such size is resized.
        fps: A camera is asked for this rate; of a recording or a stream no more frames
            than this a second are delivered; a folder's pictures are this far apart.
        pace: When a recording's frames come. ``"auto"``: as fast as they decode, but a
            folder with `fps` at that rate. ``"realtime"``: when they are due. None: always
            as fast as possible.
        loop: Begin a recording again at its end; `t` goes on.
        live: Whether an address on the web is a camera (True) or a recording (False). By
            default it is a recording when the path ends like one, as in ``.mp4``.
        fourcc: A V4L2 camera's pixel format; many need ``"MJPG"`` for more than 640x480 at
            30 frames a second.
        options: FFmpeg's options for a stream, such as ``{"rtsp_transport": "udp"}``.
        name: See `Source`, as are `keep`, `max_age`, `reconnect`, `open_timeout` and
            `read_timeout`. Reconnecting and a read time-out of 10 s are on for what is live.
        keep: See `Source`.
        max_age: See `Source`.
        reconnect: See `Source`; None never reconnects.
        open_timeout: Longest time to open, seconds.
        read_timeout: Longest time for one picture, seconds.

    Attributes:
        device: The device's name, without passwords.
        counts: Frames promised, decoded and skipped so far; see `FrameCounts`.

    Raises:
        DeviceNotFound: when read: there is no such device, file or host.
        MediaError: when read: what is there is no video, or damaged.

    Example:
        >>> import asyncio, edgeml
        >>> async def main():
        ...     async with edgeml.Camera("edgeml:street.mp4", size=(320, 240)) as camera:
        ...         async for sample in camera:
        ...             return sample.data.shape
        >>> asyncio.run(main())
        (240, 320, 3)
    """

    def __init__(
        self,
        device: int | str | os.PathLike[str] = 0,
        *,
        size: tuple[int, int] | None = None,
        fps: float | None = None,
        pace: Pace = "auto",
        loop: bool = False,
        live: bool | None = None,
        fourcc: str | None = None,
        options: Mapping[str, str] | None = None,
        name: str | None = None,
        keep: Literal["every", "freshest", "auto"] = "auto",
        max_age: float | None = None,
        reconnect: Backoff | Literal["auto"] | None = "auto",
        open_timeout: float | None = 10.0,
        read_timeout: float | Literal["auto"] | None = "auto",
    ) -> None:
        target = parse(device)
        if live is not None:
            if target.kind != "url" and live != target.live:
                raise ValueError(f"live= is for addresses on the web; received {target.label}")
            target = target._replace(live=live)
        kind = "recording" if target.kind == "url" and not target.live else target.kind
        for option, given in (("loop", loop), ("fourcc", fourcc), ("options", options)):
            if given and kind not in _OPTIONS[option]:
                raise ValueError(f"{option}= means nothing for {target.label}")
        if fourcc is not None and len(fourcc) != 4:
            raise ValueError(f'fourcc has four letters, as in "MJPG"; received {fourcc!r}')
        self._target = target
        self._loop = loop
        self._fourcc = fourcc
        self._options = dict(options or {})
        self._command: tuple[list[str], Layout] | None = None
        self._set_up(
            target.label,
            live=target.live,
            size=size,
            fps=fps,
            pace=pace,
            base={
                "name": name,
                "keep": keep,
                "max_age": max_age,
                "reconnect": reconnect,
                "open_timeout": open_timeout,
                "read_timeout": read_timeout,
            },
        )

    @classmethod
    def command(
        cls,
        argv: Sequence[str],
        *,
        size: tuple[int, int],
        pixel_format: str = "bgr24",
        stride: int | None = None,
        fps: float | None = None,
        live: bool = True,
        pace: Pace = "auto",
        **source: Any,
    ) -> Self:
        """Make a camera of a program that writes raw frames to its standard output.

        The program runs in a process group of its own, which is killed when the camera is
        closed, hangs or loses its frames.

        Args:
            argv: The program and its arguments; no shell is involved.
            size: Width and height that it writes, pixels.
            pixel_format: bgr24, rgb24, bgra, rgba, gray8, yuv420p, nv12, yuyv422 or uyvy422.
            stride: Bytes from row to row of the first plane, if the rows are padded.
            fps: Frames a second of a recording, for their `t`.
            live: Whether the end of the output is a loss (True) or the end.
            pace: See `Camera`.
            source: `name`, `keep`, `max_age`, `reconnect`, `open_timeout`, `read_timeout`.

        Example:
            >>> import edgeml
            >>> screen = edgeml.Camera.command(
            ...     ["ffmpeg", "-loglevel", "error", "-f", "x11grab", "-i", ":0", "-vf",
            ...      "scale=640:360", "-pix_fmt", "bgr24", "-f", "rawvideo", "-"],
            ...     size=(640, 360),
            ... )
        """
        if isinstance(argv, str) or not argv:
            raise ValueError(
                f"argv is a list of the program and its arguments; received {argv!r}"
                + (f": perhaps {shlex.split(argv)}" if isinstance(argv, str) and argv else "")
            )
        camera = cls.__new__(cls)
        camera._target = Target("csi", "", os.path.basename(argv[0]), live)
        camera._command = (list(argv), Layout(_checked_size(size), pixel_format, stride))
        camera._set_up(camera._target.label, live=live, size=None, fps=fps, pace=pace, base=source)
        return camera

    def _set_up(
        self,
        label: str,
        *,
        live: bool,
        size: tuple[int, int] | None,
        fps: float | None,
        pace: Pace,
        base: Mapping[str, Any],
    ) -> None:
        if fps is not None and not fps > 0:
            raise ValueError(f"fps must be a positive number; received {fps!r}")
        if pace not in ("auto", "realtime", None):
            raise ValueError(f'pace must be "auto", "realtime" or None; received {pace!r}')
        base = dict(base)
        if base.setdefault("reconnect", "auto") == "auto":
            base["reconnect"] = Backoff() if live else None
        if base.setdefault("read_timeout", "auto") == "auto":
            base["read_timeout"] = 10.0 if live else None
        super().__init__(**base)
        self.device = label
        self.live = live
        self.counts = FrameCounts()
        self._size = None if size is None else _checked_size(size)
        self._fps = fps
        self._pace = pace
        self._current: Capture | None = None

    def _new_capture(self) -> Capture:
        """Return a capture, not yet opened; a camera of another kind overrides this."""
        target, size, fps = self._target, self._size, self._fps
        if target.kind == "csi":
            argv, layout = self._command or _csi.command(int(target.value), size, fps)
            return CommandCapture(
                argv,
                self.device,
                self.counts,
                layout,
                size=size,
                fps=fps,
                live=self.live,
            )
        if target.kind == "v4l2":
            return V4l2Capture(target.value, self.counts, size=size, fps=fps, fourcc=self._fourcc)
        timeouts = (self.open_timeout, self.read_timeout)
        if target.kind == "url" and target.live:
            return StreamCapture(
                target.value,
                self.device,
                self.counts,
                size=size,
                fps=fps,
                options=self._options,
                timeouts=timeouts,
            )
        source = target.value
        if target.kind == "path":
            path = Path(source)
            check_file(path, self.device)
            if path.is_dir():
                return FolderCapture(
                    path, self.device, self.counts, size=size, fps=fps, loop=self._loop
                )
            source = f"file:{source}"  # so that a name with a colon is not taken for a URL
        return FileCapture(
            source,
            self.device,
            self.counts,
            size=size,
            fps=fps,
            loop=self._loop,
            options=self._options,
            timeouts=timeouts,
        )

    async def _open(self) -> None:
        self._current = None
        await super()._open()

    def _open_blocking(self) -> Capture:
        capture = self._current = self._new_capture()
        try:
            capture.open()
        except BaseException:
            capture.close()
            raise
        return capture

    def _read_blocking(self, handle: Capture) -> Sample[Image]:
        frame = handle.read()
        t = frame.stamp
        if frame.pts is not None:
            t = self.clock.start + frame.pts
            if self._is_paced(handle):
                handle.stopped.wait(max(0, t - self.clock.now()) / 1e9)
        if handle.stopped.is_set():  # given up meanwhile: nobody waits for this one
            raise EOFError
        return self._stamp(frame, t)

    def _is_paced(self, handle: Capture) -> bool:
        if self._pace == "auto":
            return isinstance(handle, FolderCapture)
        return self._pace == "realtime"

    def _stamp(self, frame: Frame, t: int | None) -> Sample[Image]:
        sample: Sample[Image] = self._sample(frame.data, t=t, **frame.meta)
        return sample

    def _close_blocking(self, handle: Capture) -> None:
        handle.close()

    async def _close(self) -> None:
        if self._current is not None:
            self._current.stop()
        await super()._close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.device} {self.state}>"


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    try:
        width, height = size
        valid = all(int(n) == n and 1 <= n <= _MAX_SIDE for n in (width, height))
    except (TypeError, ValueError, OverflowError):
        valid = False
    if not valid:
        raise ValueError(
            f"size must be (width, height) in pixels, each 1 to {_MAX_SIDE}; received {size!r}"
        )
    return int(width), int(height)
