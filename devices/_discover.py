"""What is connected to this machine, and what is missing to use it."""

from __future__ import annotations

import importlib.util
import os
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgeml.devices._gps import GPSD_PORT
from edgeml.devices._iio import device_name, iio_channels, iio_folders
from edgeml.devices._thermal import hwmon_channels, thermal_channels
from edgeml.errors import EdgeMLError

Kind = Literal[
    "camera", "microphone", "speaker", "iio", "thermal", "hwmon", "serial", "gpsd", "gpio"
]

_PIP = 'pip install "edgeml-runtime[{}]"'
_UBLOX = 0x1546


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """Something found, or something missing.

    Attributes:
        kind: What it is.
        name: For people.
        device: What to pass as the device to its class; None when it is missing.
        details: Whatever else is known: rates, channels, units.
        problem: Why it cannot be used; None when it can.
        install: Command that mends the problem, if there is one.
    """

    kind: Kind
    name: str
    device: str | int | None = None
    details: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    install: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a plain dict, for JSON."""
        return asdict(self)


def discover(root: str | os.PathLike[str] = "/") -> list[DeviceInfo]:
    """List cameras, microphones, speakers, sensors and outputs, and what is missing.

    It never raises because one subsystem is broken: that is a record with a `problem`. It
    blocks, up to some seconds, so an async program runs it in a thread.

    Args:
        root: Where ``sys`` and ``dev`` are; another folder for tests.

    Example:
        >>> from edgeml.devices import discover
        >>> kinds = {info.kind for info in discover()}
    """
    base = Path(root)
    probes: dict[Kind, Callable[[], Iterator[DeviceInfo]]] = {
        "camera": lambda: _cameras(base),
        "microphone": lambda: _audio("microphone"),
        "speaker": lambda: _audio("speaker"),
        "iio": lambda: _iio(base / "sys/bus/iio/devices"),
        "thermal": lambda: _thermal(base / "sys/class/thermal"),
        "hwmon": lambda: _hwmon(base / "sys/class/hwmon"),
        "serial": _serial,
        "gpsd": _gpsd,
        "gpio": lambda: _gpio(base / "dev"),
    }
    found: list[DeviceInfo] = []
    for kind, probe in probes.items():
        try:
            found.extend(probe())
        except Exception as error:  # whatever a driver throws: the others are still listed
            problem = f"{type(error).__name__}: {error}"
            found.append(DeviceInfo(kind, f"{kind}: cannot be listed", problem=problem))
    return found


def _missing(kind: Kind, module: str, extra: str) -> Iterator[DeviceInfo]:
    """Yield a record if a library is not installed."""
    if importlib.util.find_spec(module) is None:
        problem = f"the Python library {module} is not installed"
        yield DeviceInfo(kind, module, problem=problem, install=_PIP.format(extra))


def _cameras(root: Path) -> Iterator[DeviceInfo]:
    from edgeml.devices._camera import list_cameras

    for module in ("cv2", "av"):
        yield from _missing("camera", module, "camera")
    for camera in list_cameras(root):
        details = {"note": camera.note} if camera.usable and camera.note else {}
        problem = None if camera.usable else camera.note
        yield DeviceInfo("camera", camera.name, camera.device, details, problem)


def _audio(kind: Literal["microphone", "speaker"]) -> Iterator[DeviceInfo]:
    from edgeml.devices import _portaudio

    if problems := [*_missing(kind, "sounddevice", "audio")]:
        yield from problems
        return
    for module in ("soundfile", "soxr") if kind == "microphone" else ("soxr",):
        yield from _missing(kind, module, "audio")
    try:
        sounddevice = _portaudio.load("edgeml devices")
    except EdgeMLError as error:
        install = _portaudio.APT_PORTAUDIO
        yield DeviceInfo(kind, "PortAudio", problem=str(error), install=install)
        return
    direction = "input" if kind == "microphone" else "output"
    defaults = {api[f"default_{direction}_device"] for api in sounddevice.query_hostapis()}
    for index, info in enumerate(sounddevice.query_devices()):
        if info[f"max_{direction}_channels"]:
            details = {
                "index": index,
                "channels": info[f"max_{direction}_channels"],
                "rate": info["default_samplerate"],
                "default": index in defaults,
            }
            yield DeviceInfo(kind, info["name"], info["name"], details)


def _iio(root: Path) -> Iterator[DeviceInfo]:
    for folder in iio_folders(root):
        name = device_name(folder)
        try:
            channels = {c.name: c.unit for c in iio_channels(folder)}
        except EdgeMLError as error:
            yield DeviceInfo("iio", name, folder.name, problem=str(error))
        else:
            yield DeviceInfo("iio", name, folder.name, {"channels": channels})


def _thermal(root: Path) -> Iterator[DeviceInfo]:
    for channel in thermal_channels(root):
        zone = channel.path.parent.name
        yield DeviceInfo("thermal", channel.name, zone, {"unit": channel.unit})


def _hwmon(root: Path) -> Iterator[DeviceInfo]:
    for channel in hwmon_channels(root):
        yield DeviceInfo("hwmon", channel.name, channel.name, {"unit": channel.unit})


def _serial() -> Iterator[DeviceInfo]:
    if problems := [*_missing("serial", "serial", "sensors")]:
        yield from problems
        return
    yield from _missing("serial", "pynmea2", "sensors")
    from serial.tools import list_ports

    for port in list_ports.comports():
        name = port.device if port.description in (None, "", "n/a") else port.description
        details = {"gps": port.vid == _UBLOX or "gps" in (port.description or "").lower()}
        yield DeviceInfo("serial", name, port.device, details, _no_access(port.device))


def _gpsd() -> Iterator[DeviceInfo]:
    address = ("127.0.0.1", GPSD_PORT)
    try:
        socket.create_connection(address, timeout=0.3).close()
    except OSError:
        problem = f"no gpsd answers at {address[0]}:{address[1]}"
        install = "sudo apt install gpsd"
        yield DeviceInfo("gpsd", "gpsd", problem=problem, install=install)
    else:
        yield DeviceInfo("gpsd", "gpsd", f"gpsd://{address[0]}:{address[1]}")


def _gpio(dev: Path) -> Iterator[DeviceInfo]:
    yield from _missing("gpio", "gpiod", "sensors")
    for path in sorted(dev.glob("gpiochip*")):
        if stat.S_ISCHR(path.stat().st_mode):
            yield DeviceInfo("gpio", path.name, str(path), problem=_no_access(str(path)))


def _no_access(path: str) -> str | None:
    if os.access(path, os.R_OK | os.W_OK):
        return None
    return f"this user may not read and write {path}; add it to the group that owns the file"
