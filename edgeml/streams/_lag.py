"""The loop-lag guard: measures how late the loop is, and names what blocks it."""

from __future__ import annotations

import asyncio
import logging
import selectors
import sys
import threading
import time

from edgeml.streams._counters import Histogram

log = logging.getLogger("edgeml.streams")

_BEAT = 0.02  # seconds between two beats of the loop


class LagGuard:
    """Measures the lag of a loop, and names the task that blocks it.

    The loop beats; a thread looks whether the beats come. When they don't, the task that
    the loop is in is the one that blocks it, and tasks of a pipeline are named after their
    stage.

    Args:
        limit: Lag that is reported, seconds.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.lags = Histogram()
        self.blockers: dict[str, float] = {}  # longest seconds by task name
        self._stop = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        """Start measuring the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread_of_loop = threading.get_ident()
        self._due = time.monotonic() + _BEAT
        self._timer = self._loop.call_later(_BEAT, self._beat)
        self._thread = threading.Thread(target=self._watch, name="edgeml-lag", daemon=True)
        self._thread.start()

    def _at_work(self) -> str | None:
        """Return what runs on the loop now."""
        task = asyncio.current_task(self._loop)
        if task is not None:
            return task.get_name()
        frame = sys._current_frames().get(self._thread_of_loop)
        waits = frame is None or frame.f_code.co_filename == selectors.__file__
        return None if waits else "a callback"

    async def stop(self) -> None:
        """Stop measuring; idempotent."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        self._stop.set()
        self._thread.join(1.0)

    def _beat(self) -> None:
        now = time.monotonic()
        self.lags.add(max(1, int((now - self._due) * 1e9)))
        self._due = now + _BEAT
        self._timer = self._loop.call_later(_BEAT, self._beat)

    def _watch(self) -> None:
        while not self._stop.wait(self.limit / 2):
            late = time.monotonic() - self._due
            if late < self.limit:
                continue
            name = self._at_work()
            if name is None:
                continue  # the machine is busy: the loop waits for its turn, and nothing blocks it
            if name not in self.blockers:
                log.warning(
                    "%s has blocked the event loop for %.0f ms; make it a sync stage, which runs "
                    "in a thread, or await inside it",
                    name,
                    late * 1e3,
                )
            self.blockers[name] = max(late, self.blockers.get(name, 0.0))
