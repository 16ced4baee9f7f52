"""The worker: a process of its own that opens models and runs them for another one.

It is started as a new program (see `edgeml.runtime._worker_process`), with one socket as its
standard input. Each message there brings another socket, a lane, which a thread of its own
serves: one call at a time. When the program that started it is gone, so is the worker.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import logging
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeml.errors import EdgeMLError, ModelError
from edgeml.runtime._backend import Delegate
from edgeml.runtime._load import open_file
from edgeml.runtime._session import ModelStream, Session
from edgeml.runtime._spec import TensorSpec
from edgeml.runtime._worker_protocol import (
    Json,
    Message,
    Received,
    Sent,
    Shared,
    Value,
    lay_out,
    objects,
    pack,
    receive,
    send,
)

_LONGEST = 4000  # characters of an error's message
_MOST = 2000  # of its attributes


def main() -> None:
    """Serve until the program that started this one closes its socket, or ends."""
    control = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    packet, fds = receive(control)
    if not packet:
        return
    parent = json.loads(packet)["parent"]
    lifeline = fds[0]
    _die_with(lifeline)
    models = Models()
    poll = select.poll()
    poll.register(control, select.POLLIN)
    with contextlib.suppress(OSError):  # before Linux 5.3
        # A child that the program forked may hold our socket open; the program's end is told here.
        poll.register(os.pidfd_open(parent), select.POLLIN)
    while True:
        ready = [fd for fd, _ in poll.poll()]
        packet, fds = receive(control) if ready == [control.fileno()] else (b"", [])
        if not packet:
            break
        lane = Lane(socket.socket(fileno=fds[0]), models)
        threading.Thread(target=lane.serve, name="edgeml-lane", daemon=True).start()
    models.close()
    os._exit(0)  # without waiting for a lane that hangs


def _die_with(lifeline: int) -> None:
    """Have the kernel kill this process when the other end of a pipe is closed.

    Reading a socket's end needs the interpreter, which a driver that hangs may hold.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, getattr(fcntl, "F_SETSIG", 10), signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, 0)
    if poll.poll(0):  # it was closed before
        os._exit(0)


class Models:
    """The models and streams that are open, by the numbers that the program calls them."""

    def __init__(self) -> None:
        self._sessions: dict[int, Session] = {}
        self._streams: dict[tuple[int, int], ModelStream] = {}
        self._numbers = itertools.count()

    def load(self, message: Message, _: dict[str, Any]) -> dict[str, Value]:
        """Open a model."""
        with _logged(message["level"]) as lines:
            session = open_file(
                Path(message["file"]), message["name"], [Delegate(**message["delegate"])],
                message["threads"],
            )  # fmt: skip
        number = next(self._numbers)
        self._sessions[number] = session
        return {
            "model": Json.of(
                {
                    "number": number,
                    "delegate": session.delegate,
                    "inputs": [_described(spec) for spec in session.inputs],
                    "outputs": [_described(spec) for spec in session.outputs],
                    "any_shape": sorted(getattr(session, "_any_shape", ())),
                    "props": dict(session.metadata.props),
                    "kind": type(session).__name__,
                    "has_state": getattr(session, "has_state", False),
                    "log": lines,
                }
            )
        }

    def run(self, message: Message, inputs: dict[str, Any]) -> dict[str, Value]:
        """Run a model once."""
        outputs = self._sessions[message["model"]].run(inputs)
        return {name: objects(value) for name, value in outputs.items()}

    def step(self, message: Message, inputs: dict[str, Any]) -> dict[str, Value]:
        """Run one step of a stream, which begins with it if it is not there."""
        key = (message["model"], message["stream"])
        if (stream := self._streams.get(key)) is None:
            if message["begun"]:
                raise ModelError("the stream's state was in another process", stream_lost=True)
            stream = self._streams[key] = self._sessions[message["model"]].stream()
        return {name: objects(value) for name, value in stream.run(inputs).items()}

    def forget(self, message: Message, _: dict[str, Any]) -> dict[str, Value]:
        """End a stream."""
        if (stream := self._streams.pop((message["model"], message["stream"]), None)) is not None:
            stream.close()
        return {}

    def placement(self, message: Message, inputs: dict[str, Any]) -> dict[str, Value]:
        """Tell where the nodes of a model run."""
        session = self._sessions[message["model"]]
        return {"placement": Json.of(asdict(session.placement(message["profile"], inputs or None)))}

    def unload(self, message: Message, _: dict[str, Any]) -> dict[str, Value]:
        """Free a model and its streams."""
        number = message["model"]
        for key in [key for key in self._streams if key[0] == number]:
            self._streams.pop(key).close()
        self._sessions.pop(number).close()
        return {}

    def close(self) -> None:
        """Free all, as far as no call is in the way."""
        for session in self._sessions.values():
            with contextlib.suppress(Exception):
                session.close()


class Lane:
    """Serves the calls of one socket, one after the other."""

    def __init__(self, sock: socket.socket, models: Models) -> None:
        self._sock = sock
        self._models = models
        self._memory: dict[str, Shared] = {}
        self._sent, self._received = Sent(), Received()

    def serve(self) -> None:
        """Serve until the other side closes its end."""
        with self._sock, contextlib.suppress(ConnectionError):
            while packet := self._receive():
                send(self._sock, self._answer(packet))

    def _receive(self) -> bytes:
        packet, fds = receive(self._sock)
        if fds:
            for name, fd in zip(json.loads(packet)["memory"], fds, strict=True):
                self._memory[name] = Shared(fd)
                os.close(fd)
        return packet

    def _answer(self, packet: bytes) -> bytes:
        try:
            message, inputs = self._received.read(packet, self._memory.get("in"))
            handler: Callable[..., dict[str, Value]] = getattr(self._models, message["op"])
            outputs = handler(message, inputs)
            if (answer := self._sent.again({}, outputs)) is not None:
                return answer
            placed, size = lay_out(outputs)
            if "out" not in self._memory or self._memory["out"].size < size:
                send(self._sock, pack({"needs": size}))
                if not self._receive():
                    raise ConnectionResetError
            return self._sent.write({}, outputs, placed, self._memory["out"])
        except ConnectionError:
            raise
        except Exception as error:
            return pack({"error": _told(error)})


def _told(error: Exception) -> list[Any]:
    """Return an error's class, message and what of its attributes is plain."""
    known = isinstance(error, EdgeMLError)
    context = {}
    for key, value in vars(error).items() if known else ():
        with contextlib.suppress(TypeError, ValueError):
            json.dumps({key: value})
            context[key] = value
    kind = type(error) if known else ModelError
    text = str(error) if known else f"{type(error).__name__}: {error}"
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
    return [kind.__name__, text, context if len(str(context)) < _MOST else {}]


def _described(spec: TensorSpec) -> dict[str, Any]:
    return {**vars(spec), "dtype": spec.dtype.str}


@contextlib.contextmanager
def _logged(level: int) -> Iterator[list[tuple[str, int, str]]]:
    """Collect what this thread logs, for the program to log."""
    lines: list[tuple[str, int, str]] = []
    here = threading.get_ident()

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == here:
                lines.append((record.name, record.levelno, record.getMessage()))

    handler = Collect(level)
    root = logging.getLogger("edgeml")
    root.setLevel(level)
    root.addHandler(handler)
    try:
        yield lines
    finally:
        root.removeHandler(handler)


if __name__ == "__main__":
    sys.exit("edgeml starts its workers itself: edgeml.load(…, isolated=True)")
