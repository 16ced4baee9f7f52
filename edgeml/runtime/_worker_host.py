"""One worker for each accelerator, shared by all sessions of the program, and its restarts."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Protocol

from edgeml.errors import EdgeMLError, WorkerLost
from edgeml.runtime._worker_process import NotSent, Process

log = logging.getLogger("edgeml.runtime")

_DEADLY = 2  # workers that ended while opening a model, after which it comes last
_KILL_TIME = 2.0  # seconds that a killed process may take to end
_LONGEST = 1e9  # seconds that something may be allowed: what the system's clocks can count
_FIRST_DELAY = 0.1  # seconds before the second attempt in a row


@dataclass(frozen=True)
class Isolation:
    """How an isolated model is guarded; see ``isolated=`` of `edgeml.load`.

    Args:
        deadline: Seconds that one call may take; then the worker is killed.
        load_deadline: Seconds that opening the model may take, the worker's start included.
        restarts: How often the worker is started anew `within` some seconds at most. Attempts
            that fail one after the other wait ever longer in between. Of a worker that several
            sessions share, the first one's count.
        within: See `restarts`, seconds.
        fallback: Whether the CPU answers while another delegate is away.
        finite: Whether a delegate whose outputs have NaN or infinity where the CPU's have numbers
            counts as failed, and the CPU answers; every output is looked through. Without
            fallback, `OutputError` is raised.

    Raises:
        ValueError: a number is not positive, or not one that the system can wait for.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.runtime import Isolation
        >>> guard = Isolation(deadline=2.0)
        >>> model = "edgeml:activity_watch_int8.onnx"
        >>> with edgeml.load(model, "cpu", isolated=guard) as session:
        ...     outputs = session.run(np.zeros((1, 100, 6), np.float32))
        >>> outputs["probabilities"].shape
        (1, 7)
    """

    deadline: float = 10.0
    load_deadline: float = 60.0
    restarts: int = 5
    within: float = 60.0
    fallback: bool = True
    finite: bool = False

    def __post_init__(self) -> None:
        for name in ("deadline", "load_deadline", "within"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0 < value <= _LONGEST):
                raise ValueError(
                    f"Isolation: {name} must be a positive number of seconds, at most "
                    f"{_LONGEST:g}; received {value!r}"
                )
        if not (isinstance(self.restarts, int) and self.restarts > 0):
            raise ValueError(
                f"Isolation: restarts must be a whole number from 1; received {self.restarts!r}"
            )


class Seat(Protocol):
    """A model's place on the worker of a host."""

    def sit(self, process: Process) -> None:
        """Open the model there."""

    def lost(self, process: Process, cause: str) -> None:
        """Know that the process is gone."""

    def rest(self, cause: str) -> None:
        """Know that the next attempt is some time away."""


class Budget:
    """When a worker may be started next."""

    def __init__(self, restarts: int, within: float) -> None:
        self._within = within
        self.longest = within / restarts
        self._starts: deque[float] = deque(maxlen=restarts)
        self._failed = 0

    def succeeded(self) -> None:
        """Note that the last one has worked."""
        self._failed = 0

    def delay(self) -> float:
        """Return how many seconds to wait."""
        backoff = min(_FIRST_DELAY * 2 ** (self._failed - 1), self.longest) if self._failed else 0
        return max(backoff, self.spent())

    def spent(self) -> float:
        """Return how many seconds no start is left for; 0 when there is one."""
        if len(self._starts) < (self._starts.maxlen or 0):
            return 0.0
        return max(0.0, self._starts[0] + self._within - time.monotonic())

    def note(self) -> None:
        """Count an attempt, which has failed until it has `succeeded`."""
        self._starts.append(time.monotonic())
        self._failed += 1


class Host:
    """The worker of one accelerator: started with its first model, ended with its last.

    Args:
        key: The delegate with its device.
        isolation: How often it may be restarted.
    """

    def __init__(self, key: str, isolation: Isolation) -> None:
        self.key = key
        self.changed = threading.Condition()
        self._isolation = isolation
        self._budget = Budget(isolation.restarts, isolation.within)
        self._seats: set[Seat] = set()
        self._process: Process | None = None
        self._deadly: Counter[Seat] = Counter()  # how often the worker ended while opening each
        self._starting: Process | None = None  # while its models are being opened
        self._recovering = False
        self._recoverer: threading.Thread | None = None
        self._closed = threading.Event()

    @classmethod
    def join(cls, seat: Seat, key: str, isolation: Isolation) -> Host:
        """Return the host of an accelerator, with one seat more."""
        with _lock:
            if (host := _hosts.get(key)) is None:
                host = _hosts[key] = cls(key, isolation)
            host._seats.add(seat)
            return host

    def leave(self, seat: Seat) -> None:
        """Take a seat away; the worker ends with the last one."""
        with _lock:
            self._seats.discard(seat)
            del self._deadly[seat]
            if self._seats or self._closed.is_set():
                return
            if _hosts.get(self.key) is self:
                del _hosts[self.key]
            self._closed.set()
        with self.changed:
            process, self._process = self._process, None
            starting = self._starting
            self.changed.notify_all()
        if process is not None:
            process.close()
        if starting is not None:
            starting.kill("it was closed")
        with self.changed:
            if self._recoverer is not threading.current_thread():
                self.changed.wait_for(lambda: not self._recovering, _KILL_TIME)

    def process(self, timeout: float) -> Process:
        """Return the worker; start it when there is none, wait when it is being restarted.

        Raises:
            WorkerLost: there is none, and will be none for a while.
        """
        with self.changed:
            self.changed.wait_for(lambda: not self._recovering or self.resting(), timeout)
            if self._process is not None:
                return self._process
            if self._recovering:
                late = f"worker {self.key}: it did not start within {timeout:g} s"
                raise WorkerLost(self.resting() or late)
            self._process = self._start()
            return self._process

    def _start(self) -> Process:
        try:
            return Process(self.key, self._gone)
        except OSError as error:
            raise WorkerLost(f"worker {self.key}: it cannot be started: {error}") from error

    def resting(self) -> str | None:
        """Return why there is no worker and will be none for a while; None otherwise."""
        if self._process is not None or self._starting is not None or not self._budget.spent():
            return None
        return (
            f"worker {self.key}: all {self._isolation.restarts} restarts within "
            f"{self._isolation.within:g} s are spent; the next is in {self._budget.spent():.1f} s"
        )

    def _gone(self, process: Process) -> None:
        """Start another process when the one in use has ended; runs in the ended one's thread."""
        with self.changed:
            if self._process is not process:
                return  # one of the attempts below, or it was closed
            self._process = None
            self._recovering = True
            self._recoverer = threading.current_thread()
        cause = process.cause or ""
        log.info("worker %s: %s", self.key, cause)
        for seat in self._members():
            seat.lost(process, cause)
        if process.worked:
            self._budget.succeeded()
        while not self._pause(self._budget.delay()):
            self._budget.note()
            if self._recover():
                return
        with self.changed:
            self._recovering = False
            self.changed.notify_all()

    def _pause(self, delay: float) -> bool:
        """Wait; return whether the host was closed, or nobody sits here."""
        if (why := self.resting()) is not None:
            log.warning("%s", why)
            for seat in self._members():
                seat.rest(why)
            with self.changed:
                self.changed.notify_all()
        return self._closed.wait(delay)

    def _recover(self) -> bool:
        """Start a process with all models; return whether it stands."""
        try:
            process = self._start()
        except WorkerLost as error:
            log.warning("%s", error)
            return False
        self._starting = process
        members = self._members()
        # A model that ends each worker must not keep the others from theirs.
        trusted = [seat for seat in members if self._deadly[seat] < _DEADLY] or members
        left = self._seated(process, [] if self._closed.is_set() else trusted)
        left += [seat for seat in members if seat not in trusted]
        with self.changed:
            self._starting = None
            if process.cause is not None or self._closed.is_set():
                stands = False
            else:
                stands, self._process, self._recovering = True, process, False
            self.changed.notify_all()
        if not stands:
            for seat in members:
                seat.lost(process, process.cause or "")
            process.close()
            return False
        log.info("worker %s: it runs again, as process %d", self.key, process.pid)
        self._seat_later(process, left)
        return True

    def _seat_later(self, process: Process, left: list[Seat]) -> None:
        """Try again to open the models that did not open, while the process stands."""
        deadly = any(self._deadly[seat] for seat in left)
        delay = self._isolation.within if deadly else _FIRST_DELAY
        while left and process.cause is None and not self._closed.wait(delay):
            delay = min(2 * delay, self._budget.longest)
            left = self._seated(process, [seat for seat in self._members() if seat in left])

    def _seated(self, process: Process, seats: list[Seat]) -> list[Seat]:
        """Open models; return those that failed."""
        left = []
        for seat in seats:
            try:
                seat.sit(process)
                del self._deadly[seat]
            except NotSent:
                left.append(seat)
            except EdgeMLError as error:
                log.warning("worker %s: %s", self.key, error)
                self._deadly[seat] += isinstance(error, WorkerLost)
                left.append(seat)
        return left

    def _members(self) -> list[Seat]:
        with _lock:
            return list(self._seats)


_hosts: dict[str, Host] = {}
_lock = threading.Lock()


def _forked() -> None:
    """Leave the parent's workers alone: a child that loads models gets workers of its own."""
    global _lock
    _hosts.clear()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
