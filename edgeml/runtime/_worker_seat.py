"""A model on a worker, and the CPU's while that is away."""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from edgeml.errors import DelegateError, EdgeMLError, ModelError, WorkerLost
from edgeml.runtime._backend import Delegate
from edgeml.runtime._worker_host import Host, Isolation
from edgeml.runtime._worker_process import NotSent, Process
from edgeml.runtime._worker_protocol import Message, Value

log = logging.getLogger("edgeml.runtime")

CPU = Delegate("cpu")


@dataclass(frozen=True)
class SessionState:
    """Payload of the event ``"state"`` of an isolated session.

    Attributes:
        state: ``"running"`` on its delegate; ``"fallback"`` on the CPU, as the delegate's worker
            is away; ``"lost"`` while nothing runs the model, and calls wait for the worker.
        delegate: Which one runs the model now.
        cause: What happened; "" when all is well again.
    """

    state: Literal["running", "fallback", "lost"]
    delegate: str
    cause: str


@dataclass(frozen=True)
class Source:
    """What to open.

    Attributes:
        file: The model.
        name: What the user calls it.
        threads: Threads of one call; None is all.
        stamp: What changes when the file does.
    """

    file: Path
    name: str
    threads: int | None
    stamp: tuple[int, ...]

    @classmethod
    def of(cls, file: Path, name: str, threads: int | None) -> Source:
        """Describe the file as it is now."""
        return cls(file, name, threads, _stamp(file))


@dataclass(frozen=True)
class _Remote:
    """A model that is open in a process."""

    process: Process
    number: int


class _Call:
    """A call that runs. One that Ctrl-C ended at a bad moment is forgotten, not waited for."""


class Seat:
    """A model on the worker of its delegate.

    Args:
        source: What to open.
        entry: On which delegate.
        isolation: How it is guarded.
        notify: Gets each change of state, in order, in whatever thread finds out.
    """

    def __init__(
        self,
        source: Source,
        entry: Delegate,
        isolation: Isolation,
        notify: Callable[[SessionState], None] = lambda state: None,
    ) -> None:
        self.info: dict[str, Any] = {}
        self._source, self._entry, self._isolation = source, entry, isolation
        self._notify = notify
        self._sitting = threading.Lock()
        self._telling = threading.RLock()
        self._untold: deque[SessionState] = deque()
        self._calls: weakref.WeakSet[_Call] = weakref.WeakSet()
        self._closed = False
        self._spare: Seat | None = None
        self._spare_lock = threading.Lock()
        self._spare_calls = 0
        self._remote: _Remote | None = None
        self._host = Host.join(self, str(entry), isolation)
        try:
            while self._remote is None:
                with contextlib.suppress(NotSent):  # it went before; there will be another
                    self.sit(self._host.process(isolation.load_deadline))
        except BaseException:
            self._closed = True
            self._host.leave(self)
            raise

    @property
    def pid(self) -> int | None:
        """The process in which the model is open."""
        remote = self._remote
        return None if remote is None else remote.process.pid

    @property
    def falls_back(self) -> bool:
        """Whether the CPU answers while the worker is away."""
        return self._isolation.fallback and self.info["delegate"] != CPU.name

    # --- calls ---

    def call(
        self,
        message: Message,
        inputs: Mapping[str, Value],
        use: Callable[[dict[str, Any]], Any],
        deadline: float | None = None,
    ) -> Any:
        """Call the worker, or the CPU's while it is away; see `Process.call`."""
        with self._counted():
            while True:
                remote = self._remote
                if remote is None:
                    if self.falls_back:
                        return self._by_cpu(None, message, inputs, use, deadline)
                    remote = self._returned()
                try:
                    return self._by_worker(remote, message, inputs, use, deadline)
                except NotSent:
                    self.lost(remote.process, remote.process.cause or "")
                except WorkerLost as error:
                    self.lost(remote.process, remote.process.cause or "")
                    if not self.falls_back:
                        raise
                    return self._by_cpu(error, message, inputs, use, deadline)

    def _by_worker(
        self,
        remote: _Remote,
        message: Message,
        inputs: Mapping[str, Value],
        use: Callable[[dict[str, Any]], Any],
        deadline: float | None,
    ) -> Any:
        process = remote.process
        message = {**message, "model": remote.number}
        try:
            result = process.call(message, inputs, deadline or self._isolation.deadline, use)
        except DelegateError as error:  # the device has failed: only a new process gets it back
            process.kill(str(error))
            raise WorkerLost(f"{self._source.name}: {error}", cause=str(error)) from error
        process.worked = True
        return result

    def by_cpu(
        self, message: Message, inputs: Mapping[str, Value], use: Callable[[dict[str, Any]], Any]
    ) -> Any:
        """Have the CPU's worker answer."""
        with self._counted():
            return self._by_cpu(None, message, inputs, use, None)

    def _by_cpu(self, lost: WorkerLost | None, *call: Any) -> Any:
        try:
            with self._lent_spare() as spare:
                return spare.call(*call)
        except WorkerLost as error:
            raise (lost or error) from error

    def blame(self, cause: str) -> None:
        """Give up the worker, as what it returns is wrong."""
        if (remote := self._remote) is not None:
            remote.process.kill(cause)
            self.lost(remote.process, cause)

    def tell(self, message: Message) -> None:
        """Call the worker if it is there; whatever happens is of no interest any more."""
        if (remote := self._remote) is not None:
            with contextlib.suppress(EdgeMLError, NotSent):
                remote.process.call(
                    {**message, "model": remote.number}, {}, self._isolation.deadline, dict
                )

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        call = _Call()
        with self._host.changed:
            if self._closed:
                raise self._is_closed()
            self._calls.add(call)
        try:
            yield
        finally:
            with self._host.changed:
                self._calls.discard(call)
                self._host.changed.notify_all()

    def _returned(self) -> _Remote:
        """Wait for the worker to return."""
        host, timeout = self._host, self._isolation.load_deadline
        with host.changed:
            host.changed.wait_for(
                lambda: self._remote is not None or self._closed or host.resting(), timeout
            )
            if self._remote is not None:
                return self._remote
            if self._closed:
                raise self._is_closed()
        cause = host.resting() or f"worker {host.key}: it did not return within {timeout:g} s"
        raise WorkerLost(f"{self._source.name}: {cause}", cause=cause)

    def _is_closed(self) -> ModelError:
        name = self._source.name
        return ModelError(f"{name}: the session is closed; load it again", path=name)

    # --- the worker comes and goes ---

    def sit(self, process: Process) -> None:
        """Open the model in a process; see `Host`."""
        with self._sitting:
            if self._closed or (self._remote is not None and self._remote.process is process):
                return
            if self._source.stamp != _stamp(self._source.file):
                name = self._source.name
                raise ModelError(f"{name}: the file has changed; load it again", path=name)
            message = {
                "op": "load", "file": str(self._source.file.absolute()),
                "name": self._source.name, "delegate": self._entry.to_dict(),
                "threads": self._source.threads, "level": log.getEffectiveLevel(),
            }  # fmt: skip
            info = process.call(message, {}, self._isolation.load_deadline, dict)["model"]
            for name, level, text in info.pop("log"):
                logging.getLogger(name).log(level, "%s", text)
            remote = _Remote(process, info.pop("number"))
            with self._host.changed:
                returns = bool(self.info)
                self.info, self._remote = info, remote
                if returns:
                    self._untold.append(SessionState("running", info["delegate"], ""))
                self._host.changed.notify_all()
        self._tell()
        self._end_spare()

    def lost(self, process: Process, cause: str) -> None:
        """Know that a process is gone; see `Host`."""
        with self._host.changed:
            if self._remote is None or self._remote.process is not process:
                return
            self._remote = None
            self._untold.append(self._away(cause))
        self._tell()

    def rest(self, cause: str) -> None:
        """Know that the next attempt is some time away; see `Host`."""
        with self._host.changed:
            if not self.info:  # it is being opened for the first time
                return
            self._untold.append(self._away(cause))
        self._tell()

    def _away(self, cause: str) -> SessionState:
        if self.falls_back:
            return SessionState("fallback", CPU.name, cause)
        return SessionState("lost", self.info["delegate"], cause)

    def _tell(self) -> None:
        with self._telling:
            while self._untold:
                self._notify(self._untold.popleft())

    # --- the CPU in its stead ---

    @contextlib.contextmanager
    def _lent_spare(self) -> Iterator[Seat]:
        """Lend the model on the CPU's worker; it is opened when first needed."""
        with self._spare_lock:
            if self._spare is None:
                self._spare = Seat(self._source, CPU, replace(self._isolation, fallback=False))
            spare = self._spare
            self._spare_calls += 1
        try:
            yield spare
        finally:
            with self._spare_lock:
                self._spare_calls -= 1
            self._end_spare()

    def _end_spare(self) -> None:
        """Free the model on the CPU when it is not needed any more."""
        with self._spare_lock:
            if self._spare_calls or (self._remote is None and not self._closed):
                return
            spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()

    def close(self) -> None:
        """Free the model; idempotent. Calls that run finish first."""
        with self._host.changed:
            if self._closed:
                return
            self._closed = True
            self._host.changed.notify_all()
            self._host.changed.wait_for(lambda: not self._calls)
        self._host.leave(self)  # the last one takes the worker with it
        with self._sitting:  # a restarted worker may be opening it
            self.tell({"op": "unload"})
            self._remote = None
        self._end_spare()


def _stamp(file: Path) -> tuple[int, ...]:
    try:
        stat = file.stat()
    except OSError:
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
