"""Position: gpsd, or a receiver on a serial line."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
import threading
from typing import Any, Protocol
from urllib.parse import urlsplit

from edgeml._require import require
from edgeml.devices._drops import Drops
from edgeml.devices._fix import Fix, Mode
from edgeml.devices._nmea import NmeaParser
from edgeml.errors import DeviceLost, DeviceNotFound
from edgeml.streams import Backoff, BlockingSource, Sample

GPSD_PORT = 2947
_LONGEST_LINE = 1 << 16
_MODES: dict[int, Mode] = {2: "2d", 3: "3d"}


class GPS(BlockingSource[Sample[Fix]]):
    """Position as `Fix`es, from gpsd or from a receiver's NMEA sentences.

    A receiver without a position gives fixes of mode ``"none"``, so that a stream that
    flows and a stream that knows where it is can be told apart. The sample's `t` is the
    arrival; the receiver's own time is `Fix.time`.

    Args:
        device: ``"gpsd://host:port"``, ``"gpsd"`` (this machine), or a serial line such as
            ``"/dev/ttyACM0"``.
        baud: Speed of the serial line, bits a second.
        **options: As for `Source`. By default it reconnects, and a fix may take 10 s.

    Attributes:
        dropped: ``"bad-sentence"``: lines that were garbled or had a wrong checksum.

    Raises:
        MissingExtra: pyserial or pynmea2 is not installed (serial lines only).
        DeviceNotFound: there is no such serial line.

    Example:
        Where am I::

            async for sample in GPS("gpsd"):
                print(sample.data.lat, sample.data.lon, sample.data.mode)
    """

    live = True

    def __init__(
        self, device: str | os.PathLike[str] = "gpsd", *, baud: int = 9600, **options: Any
    ) -> None:
        defaults: dict[str, Any] = {"reconnect": Backoff(), "read_timeout": 10.0}
        super().__init__(**(defaults | options))
        self.device = os.fspath(device)
        self.baud = baud
        self._drops = Drops(self.name)
        self._stop = threading.Event()

    @property
    def dropped(self) -> dict[str, int]:
        """Lost sentences by cause."""
        return self._drops.counts

    async def _open(self) -> None:
        self._stop = threading.Event()
        await super()._open()

    def _open_blocking(self) -> _Receiver:
        if self.device == "gpsd" or self.device.startswith("gpsd:"):
            return _Receiver(_open_gpsd(self.device), GpsdParser(self._drops), self._drops)
        parser = NmeaParser(self._drops)
        return _Receiver(_open_serial(self.device, self.baud), parser, self._drops)

    def _read_blocking(self, handle: _Receiver) -> Sample[Fix]:
        return self._sample(handle.read(self._stop))  # type: ignore[no-any-return]

    async def _close(self) -> None:
        self._stop.set()
        await super()._close()

    def _close_blocking(self, handle: _Receiver) -> None:
        handle.port.close()


class _Port(Protocol):
    """Bytes from somewhere; `read` returns b"" when none came within 0.2 s."""

    def read(self) -> bytes: ...
    def close(self) -> None: ...


class _Parser(Protocol):
    def feed(self, line: bytes) -> Fix | None: ...


class _Receiver:
    """Lines from a port through a parser."""

    def __init__(self, port: _Port, parser: _Parser, drops: Drops) -> None:
        self.port = port
        self._parser = parser
        self._drops = drops
        self._buffer = b""
        self._synchronized = isinstance(parser, GpsdParser)

    def read(self, stop: threading.Event) -> Fix:
        """Return the next fix; EOFError when `stop` is set."""
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                if not self._synchronized:  # we joined in the middle of a sentence
                    self._synchronized = True
                    if not line.startswith(b"$"):
                        continue
                if (fix := self._parser.feed(line)) is not None:
                    return fix
                continue
            if len(self._buffer) > _LONGEST_LINE:
                self._drops.add("bad-sentence", detail="64 KiB without an end of line")
                self._buffer = b""
            while not (data := self.port.read()):
                if stop.is_set():
                    raise EOFError
            self._buffer += data


class GpsdParser:
    """gpsd's JSON reports into fixes: TPV has the position, SKY the satellites before it."""

    def __init__(self, drops: Drops) -> None:
        self._drops = drops
        self._satellites: int | None = None

    def feed(self, line: bytes) -> Fix | None:
        """Take one line; return a fix when it is one."""
        try:
            report = json.loads(line)
            kind = report["class"]
            if kind == "SKY":
                self._satellites = _used(report)
            return self._fix(report) if kind == "TPV" else None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._drops.add("bad-sentence", detail=f"{line[:80]!r}: {error}")
            return None

    def _fix(self, report: dict[str, Any]) -> Fix:
        mode = _MODES.get(report.get("mode", 0), "none")
        when = report.get("time")
        # gpsd before 3.20 has only `alt`, which is above mean sea level too.
        alt = report.get("altMSL", report.get("alt")) if mode == "3d" else None
        # In the middle of a receiver's first sentences gpsd tells a mode before the position.
        known = mode != "none" and "lat" in report and "lon" in report
        mode = "none" if not known else "2d" if alt is None else "3d"
        return Fix(
            mode=mode,
            lat=float(report["lat"]) if known else None,
            lon=float(report["lon"]) if known else None,
            alt=alt if known else None,
            speed=report.get("speed") if known else None,
            course=report.get("track") if known else None,
            time=None if when is None else datetime.datetime.fromisoformat(when),
            satellites=self._satellites,
        )


def _used(report: dict[str, Any]) -> int | None:
    if "uSat" in report:
        return int(report["uSat"])
    if "satellites" in report:
        return sum(bool(satellite.get("used")) for satellite in report["satellites"])
    return None


class _Socket:
    def __init__(self, connection: socket.socket, where: str) -> None:
        self._connection = connection
        self._where = where

    def read(self) -> bytes:
        try:
            data = self._connection.recv(4096)
        except TimeoutError:
            return b""
        except OSError as error:
            raise DeviceLost(f"gpsd at {self._where}: {error}", device=self._where) from error
        if not data:
            raise DeviceLost(f"gpsd at {self._where} closed the connection", device=self._where)
        return data

    def close(self) -> None:
        self._connection.close()


def _open_gpsd(device: str) -> _Socket:
    url = urlsplit(device if "//" in device else "gpsd://127.0.0.1")
    host, port = url.hostname or "127.0.0.1", url.port or GPSD_PORT
    where = f"{host}:{port}"
    try:
        connection = socket.create_connection((host, port), timeout=5.0)
        connection.sendall(b'?WATCH={"enable":true,"json":true};\n')
    except OSError as error:
        raise DeviceLost(
            f"no gpsd answers at {where} ({error}); is it running? `sudo apt install gpsd`, or "
            f"name the receiver's serial line: GPS('/dev/ttyACM0')",
            device=device,
        ) from error
    connection.settimeout(0.2)
    return _Socket(connection, where)


class _Serial:
    def __init__(self, line: Any, errors: tuple[type[Exception], ...], where: str) -> None:
        self._line = line
        self._errors = errors
        self._where = where

    def read(self) -> bytes:
        try:
            data: bytes = self._line.read(self._line.in_waiting or 1)
        except self._errors as error:
            raise DeviceLost(f"serial line {self._where}: {error}", device=self._where) from error
        return data

    def close(self) -> None:
        with contextlib.suppress(*self._errors):
            self._line.close()


def _open_serial(device: str, baud: int) -> _Serial:
    serial = require("serial", extra="sensors", purpose="edgeml.devices.GPS")
    try:
        line = serial.Serial(device, baud, timeout=0.2)
    except (serial.SerialException, OSError, ValueError) as error:
        if os.path.exists(device):
            raise DeviceLost(
                f"serial line {device} cannot be opened ({error}); is the user in the group "
                f"dialout, and does no other program (gpsd?) hold it?",
                device=device,
            ) from error
        raise DeviceNotFound(
            f"there is no serial line {device}; `edgeml devices` lists those there are",
            device=device,
        ) from error
    return _Serial(line, (serial.SerialException, OSError, TypeError), device)
