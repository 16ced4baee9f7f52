"""What a program and its worker say: small messages on a socket, tensors in shared memory.

A message is one JSON object, at most one packet long. Tensors lie in anonymous memory, which the
program makes and hands over with the message (SCM_RIGHTS): it has no name that could be left
behind, and is sealed, so that neither side can shrink it under the other's feet.

Calls repeat: tensors of the same names, dtypes and shapes lie where the last ones did, and the
packet that tells of them is the last one again. Each side keeps that one, made and understood.
"""

from __future__ import annotations

import base64
import json
import mmap
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeml.errors import ModelError

Array = np.ndarray[Any, Any]
Message = dict[str, Any]
Entry = list[Any]  # name, dtype, shape, offset; of JSON: name, "json" or "objects", length, offset

PACKET = 1 << 16  # bytes of the longest message: some 1000 tensors
_ALIGN = 64  # bytes: what vector instructions like best
_LEAST = 1 << 16  # bytes of the smallest memory
_FDS = 2


@dataclass(frozen=True)
class Json:
    """A value that is no tensor: plain JSON, or what `objects` made of strings, maps, lists."""

    content: bytes
    kind: str

    @classmethod
    def of(cls, value: Any, kind: str = "json") -> Json:
        """Encode a value.

        Raises:
            TypeError: it holds something that is none of JSON's.
        """
        return cls(json.dumps(value).encode(), kind)


class Shared:
    """Memory that both sides map."""

    def __init__(self, fd: int) -> None:
        self.size = os.fstat(fd).st_size
        self.buffer = mmap.mmap(fd, self.size)

    @classmethod
    def make(cls, size: int) -> tuple[Shared, int]:
        """Return new memory and its descriptor, which is the caller's to close."""
        import fcntl  # not on every system that can import edgeml

        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fd = os.memfd_create("edgeml", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, max(_LEAST, 1 << (size - 1).bit_length() if size else 0))
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
            return cls(fd), fd
        except BaseException:
            os.close(fd)
            raise

    def view(self, dtype: str, shape: Sequence[int], offset: int) -> Array:
        """Return a tensor in it.

        Raises:
            ValueError: it does not lie in it.
        """
        kind = np.dtype(dtype)
        if kind.hasobject:
            raise ValueError(f"{dtype} holds pointers")
        return np.ndarray(tuple(shape), kind, buffer=self.buffer, offset=offset)


Value = Array | Json
Placed = list[tuple[Entry, Array | bytes]]


def lay_out(values: Mapping[str, Value]) -> tuple[Placed, int]:
    """Return where each value goes, with the bytes or the array to put there; and the size."""
    placed: Placed = []
    size = 0
    for name, value in values.items():
        if isinstance(value, Json):
            content: Array | bytes = value.content
            length = len(value.content)
            entry: Entry = [name, value.kind, length, size]
        else:
            content, length = value, value.nbytes
            entry = [name, value.dtype.str, value.shape, size]
        placed.append((entry, content))
        size += -(-length // _ALIGN) * _ALIGN
    return placed, size


class Sent:
    """The last message with values that was sent on a lane."""

    def __init__(self) -> None:
        self._last: tuple[Any, list[Array], bytes] | None = None  # key, where, packet

    def again(self, message: Message, values: Mapping[str, Value]) -> bytes | None:
        """Write values where the last ones lie; return the packet, or None when it is another."""
        if self._last is None or _key(message, values) != self._last[0]:
            return None
        _, views, packet = self._last
        for view, value in zip(views, values.values(), strict=True):
            view[...] = value
        return packet

    def write(
        self,
        message: Message,
        values: Mapping[str, Value],
        placed: Placed,
        memory: Shared | None,
        handed: Sequence[str] = (),
    ) -> bytes:
        """Write values where `lay_out` put them; return the packet that tells of them.

        Args:
            message: What goes with them.
            values: They.
            placed: Where they go.
            memory: In what; None when there are none.
            handed: Names of the memories that are handed over with the packet.

        Raises:
            ModelError: it tells of too many tensors.
        """
        self._last = None  # whatever happens now, its memory may be another's
        views = []
        for (_, dtype, shape, offset), content in placed:
            assert memory is not None
            if isinstance(content, bytes):
                memory.buffer[offset : offset + len(content)] = content
            else:
                views.append(memory.view(dtype, shape, offset))
                np.copyto(views[-1], content)
        packet = pack({**message, "values": [entry for entry, _ in placed], "memory": [*handed]})
        if not handed and (key := _key(message, values)) is not None:
            self._last = key, views, packet
        return packet


def _key(message: Message, values: Mapping[str, Value]) -> Any:
    """Return what is the same of messages whose packets are; None when others are never."""
    tensors = []
    for name, value in values.items():
        if isinstance(value, Json):
            return None
        tensors.append((name, value.dtype, value.shape))
    return message, tensors


class Received:
    """The last message with values that was received on a lane."""

    def __init__(self) -> None:
        self._last: tuple[bytes, Message, dict[str, Any]] | None = None

    def read(self, packet: bytes, memory: Shared | None) -> tuple[Message, dict[str, Any]]:
        """Return a message and its values: tensors are views, valid until the next message."""
        if self._last is not None and packet == self._last[0]:
            return self._last[1:]
        self._last = None
        message = json.loads(packet)
        values, plain = {}, True
        for name, dtype, shape, offset in message.get("values", ()):
            assert memory is not None
            if dtype in ("json", "objects"):
                plain = False  # what it says is in the memory, not in the packet
                value = json.loads(memory.buffer[offset : offset + shape])
                values[name] = value if dtype == "json" else _object(value)
            else:
                values[name] = memory.view(dtype, shape, offset)
        if plain:
            self._last = packet, message, values
        return message, values


def _plain(value: Any) -> Any:
    """Return strings, maps and sequences as JSON takes them."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        return {"strings": [value.shape, [_plain(item) for item in value.reshape(-1)]]}
    if isinstance(value, np.ndarray):
        return {"array": [value.dtype.str, value.shape, value.reshape(-1).tolist()]}
    if isinstance(value, Mapping):
        return {"map": [[_plain(key), _plain(item)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    return value.item() if isinstance(value, np.generic) else value


def _object(value: Any) -> Any:
    """Return what `_plain` was given; other JSON values as they are."""
    if isinstance(value, list):
        return [_object(item) for item in value]
    if not isinstance(value, dict) or len(value) != 1:
        return value
    ((kind, content),) = value.items()
    if kind == "strings":
        array = np.empty(len(content[1]), object)
        array[:] = [_object(item) for item in content[1]]
        return array.reshape(content[0])
    if kind == "array":
        return np.array(content[2], np.dtype(content[0])).reshape(content[1])
    if kind == "map":
        return {_object(key): _object(item) for key, item in content}
    return base64.b64decode(content) if kind == "bytes" else value


def objects(value: Any) -> Value:
    """Return an input or output as what can be sent: a tensor of numbers as it is.

    Raises:
        TypeError: it holds something that is no number, string, map or sequence.
    """
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value
    return Json.of(_plain(value), "objects")


def pack(message: Message) -> bytes:
    """Return a message as a packet.

    Raises:
        ModelError: it tells of too many tensors.
    """
    packet = json.dumps(message, separators=(",", ":")).encode()
    if len(packet) > PACKET:
        raise ModelError(
            "a model with so many inputs or outputs cannot be isolated: their names and shapes "
            f"take {len(packet)} bytes, and {PACKET} is the most"
        )
    return packet


def send(sock: socket.socket, packet: bytes, fds: Sequence[int] = ()) -> None:
    """Send a packet with descriptors."""
    if fds:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, np.array(fds, np.intc).tobytes())
        sock.sendmsg([packet], [rights], socket.MSG_NOSIGNAL)
    else:
        sock.send(packet, socket.MSG_NOSIGNAL)


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Return a packet and its descriptors, which are the caller's; empty when there is no peer."""
    packet, fds, _, _ = socket.recv_fds(sock, PACKET, _FDS, socket.MSG_CMSG_CLOEXEC)
    return packet, fds
