"""Pictures from a command that writes raw frames to its standard output."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence

from edgeml.devices._camera._capture import Capture, Frame, FrameCounts, resized
from edgeml.devices._camera._pixels import Layout
from edgeml.devices._camera._target import mask_text
from edgeml.errors import DeviceError, DeviceLost, DeviceNotFound, MediaError

log = logging.getLogger("edgeml.devices")

TAIL = 2000  # characters of stderr that go into an error
PATIENCE = 0.5  # s from SIGTERM to SIGKILL
F_SETPIPE_SZ = 1031
PIPE_BYTES = 1 << 20  # what an unprivileged user may ask for; the default is 64 KiB
NS = 1_000_000_000


class CommandCapture(Capture):
    """A process whose whole group is killed when it ends, hangs or is closed.

    The thread waits for the process's output, its messages and `stop` at the same time,
    so a process that hangs never holds the thread.
    """

    def __init__(
        self,
        argv: Sequence[str],
        label: str,
        counts: FrameCounts,
        layout: Layout,
        *,
        size: tuple[int, int] | None,
        fps: float | None,
        live: bool,
    ) -> None:
        super().__init__(counts)
        self.argv = list(argv)
        self.label = label
        self.layout = layout
        self.size = size
        self.fps = fps
        self.live = live
        self._process: subprocess.Popen[bytes] | None = None
        self._tail = b""
        self._given = 0
        self._waker, self._wake = -1, -1
        self._lock = threading.Lock()  # so that `stop` never writes to a closed pipe

    def open(self) -> None:
        if shutil.which(self.argv[0]) is None:
            raise DeviceNotFound(
                f"{self.label}: there is no command {self.argv[0]!r}; install it or give its "
                "full path",
                device=self.label,
            )
        self._waker, self._wake = os.pipe()
        try:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise DeviceNotFound(
                f"{self.label}: {self.argv[0]!r} cannot be started: {error.strerror}",
                device=self.label,
            ) from error
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._out, self._err = self._process.stdout.fileno(), self._process.stderr.fileno()
        os.set_blocking(self._out, False)
        os.set_blocking(self._err, False)
        import fcntl

        with contextlib.suppress(OSError):  # the user's quota is used up
            fcntl.fcntl(self._out, F_SETPIPE_SZ, PIPE_BYTES)
        self._poll = select.poll()
        for fd in (self._out, self._err, self._waker):
            self._poll.register(fd, select.POLLIN)
        if self.stopped.is_set():  # while opening: nobody will write to the pipe any more
            raise EOFError

    def read(self) -> Frame:
        raw = self.layout.new()
        view = memoryview(raw.data)
        filled = 0
        while filled < len(view):
            n = self._receive(view[filled:])
            if n == 0:
                raise self._ended(filled)
            filled += n
        self.counts.decoded += 1
        pts = None
        if not self.live and self.fps is not None:
            pts = round(self._given * NS / self.fps)
        self._given += 1
        return Frame(resized(self.layout.to_bgr(raw), self.size), pts)

    def _receive(self, view: memoryview) -> int:
        """Wait for output and put it into `view`; 0 at its end."""
        while True:
            ready = {fd for fd, _ in self._poll.poll()}
            if self.stopped.is_set():
                raise EOFError
            if self._err in ready:
                self._listen()
            if self._out in ready:
                with contextlib.suppress(BlockingIOError):
                    return os.readv(self._out, [view])

    def _listen(self) -> None:
        with contextlib.suppress(BlockingIOError):
            text = os.read(self._err, 65536)
            if not text:
                self._poll.unregister(self._err)
                self._err = -1
            self._tail = (self._tail + text)[-TAIL:]

    def _ended(self, leftover: int) -> Exception:
        """Return what to raise when the process has closed its output."""
        assert self._process is not None
        if leftover:
            self.counts.skipped += 1
            log.warning(
                "%s: the last frame is incomplete (%d of %d bytes) and left out",
                self.label,
                leftover,
                self.layout.nbytes,
            )
        try:
            code: int | None = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            code = None
        if code == 0 and not self.live and self._given:
            return EOFError()
        while self._err >= 0 and select.select([self._err], [], [], 0)[0]:
            self._listen()
        said = mask_text(self._tail.decode(errors="replace").strip()) or "no message"
        how = "closed its output" if code is None else f"ended with exit status {code}"
        kind: type[DeviceError] = DeviceLost if self.live else MediaError
        when = f"after {self._given} frames"
        if not self._given:
            when = "before its first whole frame"
            kind = DeviceNotFound if self.live else MediaError
        return kind(f"{self.label}: the command {how} {when}: {said}", device=self.label)

    def stop(self) -> None:
        super().stop()
        with self._lock:
            if self._wake >= 0:
                os.write(self._wake, b"x")

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            _signal(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            _signal(process, signal.SIGKILL)  # also children that outlive it
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        with self._lock:
            for fd in (self._waker, self._wake):
                if fd >= 0:
                    os.close(fd)
            self._waker, self._wake = -1, -1


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
