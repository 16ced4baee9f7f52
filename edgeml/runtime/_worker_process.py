"""A worker as the program sees it: a process that is started, called, and gone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from edgeml import errors
from edgeml.errors import EdgeMLError, ModelError, WorkerLost, WorkerTimeout
from edgeml.platform import cores
from edgeml.runtime._worker_protocol import (
    PACKET,
    Message,
    Received,
    Sent,
    Shared,
    Value,
    lay_out,
    pack,
    send,
)

_TAIL = 2000  # bytes of what a worker wrote last that an error quotes
_END_TIME = 2.0  # seconds that a worker may take to free its models

# Not -m: the program's own import path, and nothing of the folder that it runs in.
_MAIN = (
    "import json, sys, faulthandler; faulthandler.enable(all_threads=False); "
    "sys.path[:] = json.loads(sys.argv[1]); "
    "from edgeml.runtime._worker_main import main; main()"
)


class NotSent(Exception):
    """The worker was gone before it got the call."""


class Process:
    """One worker process; it is never started again.

    Args:
        name: What messages and threads call it.
        gone: Called in a thread of its own when the process has ended, and may stay there.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, name: str, gone: Callable[[Process], None]) -> None:
        if not sys.executable or getattr(sys, "frozen", False):
            raise OSError("this program is no script, so there is no Python to start it with")
        self.name = name
        self.cause: str | None = None  # why it is of no use any more
        self.worked = False  # whether it has run a model
        self.ended = threading.Event()  # it was reaped
        self._owner = os.getpid()
        self._idle: list[_Lane] = []
        # Weak: a lane that Ctrl-C took at a bad moment is given back by being forgotten.
        self._lanes: weakref.WeakSet[_Lane] = weakref.WeakSet()
        self._changed = threading.Condition()
        self._most = max(4, 2 * cores())
        with contextlib.ExitStack() as on_error:
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            on_error.callback(self._control.close)
            with theirs:
                self._popen = subprocess.Popen(
                    [sys.executable, "-P", "-c", _MAIN, json.dumps(_import_path())],
                    stdin=theirs.fileno(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    bufsize=0,
                    start_new_session=True,  # the terminal's Ctrl-C is the program's
                )  # fmt: skip
            on_error.pop_all()
        self.pid = self._popen.pid
        reading, self._lifeline = os.pipe()
        with contextlib.suppress(OSError):  # it is gone: the thread finds out
            send(self._control, pack({"parent": self._owner}), [reading])
        os.close(reading)
        self._thread = threading.Thread(
            target=self._watch, args=(gone,), name=f"edgeml-worker-{name}", daemon=True
        )
        self._thread.start()

    def call(
        self,
        message: Message,
        inputs: Mapping[str, Value],
        deadline: float,
        use: Callable[..., Any],
    ) -> Any:
        """Call the worker once, and return what `use` makes of its answer.

        Args:
            message: What to do.
            inputs: Values that go with it.
            deadline: Seconds that it may take; then the process is killed.
            use: Gets the values by name; tensors are views, valid until it returns.

        Raises:
            NotSent: the worker is gone, and has not seen the call.
            WorkerLost: it went in the call.
            WorkerTimeout: it had to be killed.
            EdgeMLError: what the worker raised.
        """
        if os.getpid() != self._owner:
            raise ModelError(
                f"worker {self.name}: a forked process cannot use its parent's; load the model "
                "there, or start processes with the method 'spawn'"
            )
        try:
            with self._lane() as lane:
                answer, values = lane.exchange(message, inputs, time.monotonic() + deadline)
                if (told := answer.get("error")) is not None:
                    raise _error(*told)
                return use(values)
        except _Late:
            self.kill(f"no answer within {deadline:g} s")
            raise WorkerTimeout(self._lost(), cause=self.cause) from None
        except NotSent:
            self._find_out()
            raise
        except _Unanswered:
            self._find_out()
            raise WorkerLost(self._lost(), cause=self.cause) from None
        except OSError as error:
            if isinstance(error, EdgeMLError):
                raise
            raise ModelError(f"worker {self.name}: no memory to share: {error}") from error

    def kill(self, cause: str) -> None:
        """End the process at once, as it is of no use; callers that wait for it are told."""
        if os.getpid() != self._owner:
            return
        with self._changed:
            self.cause = self.cause or cause
            lanes = tuple(self._lanes)
            self._changed.notify_all()
        self._popen.kill()
        for lane in lanes:  # a process that hangs in the kernel holds its end open
            lane.shut()

    def _find_out(self) -> None:
        """Wait for the thread that sees why the process went; the socket tells sooner."""
        if self.cause is None:  # else it was killed, or is freeing its models
            self.ended.wait(_END_TIME)
            self.kill("it closed its socket")

    def close(self) -> None:
        """Let the worker free its models and end; kill it when that takes too long."""
        if os.getpid() != self._owner:
            return
        with self._changed:
            self.cause = self.cause or "it was closed"
        self._control.close()
        if not self.ended.wait(_END_TIME):
            self.kill("it did not end")
            self.ended.wait(_END_TIME)

    @contextlib.contextmanager
    def _lane(self) -> Iterator[_Lane]:
        """Lend a lane; callers beyond the most that there may be wait for one."""
        with self._changed:
            while self.cause is None and not self._idle and len(self._lanes) >= self._most:
                self._changed.wait()
            if self.cause is not None:
                raise NotSent
            if self._idle:
                lane = self._idle.pop()
            else:
                self._lanes.add(lane := _Lane(self._control))
        try:
            yield lane
        finally:
            with self._changed:
                if lane.clean and self.cause is None:
                    self._idle.append(lane)
                else:  # its answer may still come, and is not the next call's
                    self._lanes.discard(lane)
                    lane.close()
                self._changed.notify()

    def _watch(self, gone: Callable[[Process], None]) -> None:
        """Keep the last of what the worker writes, and wait for its end."""
        assert self._popen.stdout is not None
        said = b""
        with self._popen.stdout as output:
            while part := output.read(_TAIL):
                said = (said + part)[-16 * _TAIL :]
        code = self._popen.wait()
        fatal = said.rfind(b"Fatal Python error")  # what it died of is before a long traceback
        last = said[fatal : fatal + _TAIL] if fatal >= 0 else said[-_TAIL:]
        words = " ".join(last.decode(errors="replace").split())
        self.kill(_ended(code) + (f"; its last words: {words}" if words else ""))
        with self._changed:
            idle, self._idle = self._idle, []
        for lane in idle:
            lane.close()
        self._control.close()
        os.close(self._lifeline)
        self.ended.set()
        gone(self)

    def _lost(self) -> str:
        return f"worker {self.name}: {self.cause}"


class _Unanswered(Exception):
    """The worker went after it got the call."""


class _Late(Exception):
    """The worker did not answer in time."""


class _Lane:
    """One call at a time: a socket, and memory for what goes in and comes out."""

    def __init__(self, control: socket.socket) -> None:
        self.clean = True
        self._memory: dict[str, Shared] = {}
        self._sent, self._received = Sent(), Received()
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                send(control, pack({}), [theirs.fileno()])
            except OSError as error:
                self._sock.close()
                raise NotSent from error

    def exchange(
        self, message: Message, inputs: Mapping[str, Value], until: float
    ) -> tuple[Message, dict[str, Any]]:
        """Send a message and return the answer and its values."""
        self.clean = False
        if (packet := self._sent.again(message, inputs)) is not None:
            self._send(packet, (), NotSent)
        else:
            placed, size = lay_out(inputs)
            with self._room("in", size) as memory:
                packet = self._sent.write(message, inputs, placed, self._memory["in"], [*memory])
                self._send(packet, memory.values(), NotSent)
        answer, values = self._receive(until)
        if "needs" in answer:
            with self._room("out", answer["needs"]) as memory:
                self._send(pack({"memory": [*memory]}), memory.values(), _Unanswered)
            answer, values = self._receive(until)
        self.clean = True
        return answer, values

    @contextlib.contextmanager
    def _room(self, name: str, size: int) -> Iterator[dict[str, int]]:
        """Make memory where there is too little; yields its descriptor by name."""
        if (held := self._memory.get(name)) is not None and held.size >= size:
            yield {}
            return
        self._memory[name], fd = Shared.make(size)
        try:
            yield {name: fd}
        finally:
            os.close(fd)

    def _send(self, packet: bytes, fds: Iterable[int], lost: type[Exception]) -> None:
        try:
            send(self._sock, packet, [*fds])
        except OSError:
            raise lost from None

    def _receive(self, until: float) -> tuple[Message, dict[str, Any]]:
        self._sock.settimeout(max(until - time.monotonic(), 1e-3))
        try:
            packet = self._sock.recv(PACKET)
        except TimeoutError:
            raise _Late from None
        except OSError:
            packet = b""
        if not packet:
            raise _Unanswered
        return self._received.read(packet, self._memory.get("out"))

    def shut(self) -> None:
        """Wake the thread that waits for an answer."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give back the socket and the memory."""
        self._sock.close()
        self._memory.clear()
        self._sent, self._received = Sent(), Received()  # which look into it


def _import_path() -> list[str]:
    return [os.path.abspath(path) for path in sys.path]


def _ended(code: int) -> str:
    if code >= 0:
        return f"it ended with status {code}"
    return f"it was ended by {signal.Signals(-code).name}"


def _error(kind: str, text: str, context: dict[str, Any]) -> EdgeMLError:
    found = getattr(errors, kind, ModelError)
    made: EdgeMLError = found(text, **context)
    return made
