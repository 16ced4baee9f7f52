"""Sensors of Linux's industrial I/O subsystem: motion, light, pressure, voltage, and more."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edgeml.devices._reading import Reading
from edgeml.devices._sensor import Sensor
from edgeml.devices._sysfs import Channel, measure, read_number, read_text
from edgeml.errors import ConfigError, DeviceLost, DeviceNotFound

IIO_ROOT = Path("/sys/bus/iio/devices")

# Channel type: SI unit, and the factor from the ABI's unit to it.
# Source: Linux kernel, Documentation/ABI/testing/sysfs-bus-iio.
UNITS: dict[str, tuple[str, float]] = {
    "accel": ("m/s²", 1.0),
    "altvoltage": ("V", 1e-3),  # mV
    "angl": ("rad", 1.0),
    "anglvel": ("rad/s", 1.0),
    "capacitance": ("F", 1e-9),  # nF
    "concentration": ("%", 1.0),
    "current": ("A", 1e-3),  # mA
    "distance": ("m", 1.0),
    "electricalconductivity": ("S/m", 1.0),
    "energy": ("J", 1.0),
    "gravity": ("m/s²", 1.0),
    "humidityrelative": ("%", 1e-3),  # thousandths of a per cent
    "illuminance": ("lux", 1.0),
    "incli": ("°", 1.0),
    "magn": ("T", 1e-4),  # gauss
    "massconcentration": ("µg/m³", 1.0),
    "phase": ("rad", 1.0),
    "power": ("W", 1e-3),  # mW
    "pressure": ("Pa", 1e3),  # kPa
    "resistance": ("Ω", 1.0),
    "temp": ("°C", 1e-3),  # m°C
    "velocity": ("m/s", 1.0),
    "voltage": ("V", 1e-3),  # mV
}

_FILE = re.compile(
    r"in_(?P<type>[a-z]+)(?P<index>\d*)(?P<minus>-[a-z]+\d*)?(?P<modifier>_[^/]+?)?_(raw|input)"
)


class IIO(Sensor):
    """A sensor of the industrial I/O subsystem, through sysfs, as `Reading`s in SI units.

    Raw channels become ``(raw + offset) * scale``; processed ones (``_input``) are taken as
    they are. Channel names are the kernel's without ``in_`` and ``_raw``.

    | channels | unit |
    |---|---|
    | ``accel_x`` (acceleration), ``gravity_x`` | m/s² |
    | ``anglvel_x`` (rotation rate) | rad/s |
    | ``illuminance`` (ambient light) | lux |
    | ``magn_x`` | T |
    | ``temp`` | °C |
    | ``pressure`` | Pa |
    | ``humidityrelative`` | % |
    | ``voltage0``, ``current0``, ``power0`` | V, A, W |
    | ``distance`` | m |
    | ``proximity``, ``intensity_ir``, ``steps`` and the like | none |

    Args:
        device: Its name as in sysfs, such as ``"bmi160"``; its number or folder name
            (``"iio:device0"``); None for the first one that has the channels.
        channels: Names, or types for all of a type: ``["accel", "anglvel_z"]``; None is all.
        hz: Readings a second.
        sampling_frequency: Rate to set the chip to, Hz; None leaves it as it is.
        root: Where the devices are; another folder for tests.
        **options: As for `Sensor`.

    Attributes:
        sampling_frequency: The chip's own rate once open, Hz; None when it has none.
        dropped: Lost readings by cause: ``"late"``, ``"garbage"``, ``"unreadable"``.

    Raises:
        DeviceNotFound: no such device or channel; lists those there are.
        ConfigError: the sampling frequency cannot be set.

    Example:
        >>> import asyncio, tempfile
        >>> from edgeml.devices import IIO
        >>> from edgeml.testing import FakeIIO
        >>> chip = FakeIIO(tempfile.mkdtemp(), "bmi160")
        >>> chip.set("in_accel_z_raw", 16384); chip.set("in_accel_scale", 0.000598)
        >>> async def main():
        ...     async with IIO("bmi160", hz=100, root=chip.root) as sensor:
        ...         async for sample in sensor:
        ...             return sample.data
        >>> asyncio.run(main())
        Reading(accel_z=9.79763 m/s²)
    """

    def __init__(
        self,
        device: str | int | None = None,
        *,
        channels: Sequence[str] | None = None,
        hz: float = 10.0,
        sampling_frequency: float | None = None,
        root: str | os.PathLike[str] = IIO_ROOT,
        **options: Any,
    ) -> None:
        super().__init__(hz=hz, **options)
        self.device = device
        self.channels = list(channels) if channels is not None else None
        self.sampling_frequency = sampling_frequency
        self._wanted_frequency = sampling_frequency
        self._root = Path(root)

    def _setup(self) -> list[Channel]:
        folder = self._find()
        found = [c for c in iio_channels(folder) if self._wants(c.name)]
        if self._wanted_frequency is not None:
            _set_frequency(folder, self._wanted_frequency)
        files = _frequency_files(folder)
        self.sampling_frequency = read_number(files[0]) if files else None
        return found

    def _measure(self, handle: list[Channel]) -> Reading:
        return measure(handle, self._drops)

    def _wants(self, name: str) -> bool:
        return self.channels is None or any(
            name == wanted or _type(name) == wanted for wanted in self.channels
        )

    def _find(self) -> Path:
        """Return the first folder that fits the wanted device and has all wanted channels."""
        seen = []
        for folder in iio_folders(self._root):
            name = device_name(folder)
            names = [channel_name(path) for path in _channel_files(folder)]
            seen.append(f"{name} ({folder.name}: {', '.join(names) or 'no channels'})")
            if self.device not in (None, name, folder.name, _number(folder)):
                continue
            wanted = self.channels or names[:1]
            if names and all(any(w in (n, _type(n)) for n in names) for w in wanted):
                return folder
        with_channels = f" with channels {', '.join(self.channels)}" if self.channels else ""
        raise DeviceNotFound(
            f"no IIO device {self.device or ''}{with_channels} in {self._root}; there is: "
            f"{'; '.join(seen) or 'nothing'}. Is the sensor's overlay or driver loaded?",
            device=self.device,
        )


def iio_folders(root: Path) -> Iterator[Path]:
    """Yield the folders of the devices, in the order of their numbers."""
    yield from sorted(root.glob("iio:device*"), key=_number)


def device_name(folder: Path) -> str:
    """Return the name that the driver gave the device, else the folder's."""
    try:
        return read_text(folder / "name") or folder.name
    except DeviceLost:
        return folder.name


def iio_channels(folder: Path) -> list[Channel]:
    """Return the channels of a device, with scale and offset read.

    Raises:
        DeviceLost: a scale or offset cannot be read.
    """
    channels = []
    for path in _channel_files(folder):
        name = channel_name(path)
        unit, factor = UNITS.get(_type(name), ("", 1.0))
        if path.name.endswith("_input"):
            channels.append(Channel(name, path, unit, factor))
            continue
        scale = _shared(folder, path, "scale")
        offset = _shared(folder, path, "offset")
        channels.append(
            Channel(
                name,
                path,
                unit,
                factor * (1.0 if scale is None else scale),
                0.0 if offset is None else offset,
            )
        )
    return channels


def channel_name(path: Path) -> str:
    """Return ``accel_x`` of ``in_accel_x_raw``."""
    return path.name.removeprefix("in_").rpartition("_")[0]


def _channel_files(folder: Path) -> list[Path]:
    """Return one file a channel: the processed one where there are two."""
    files: dict[str, Path] = {}
    for path in sorted(folder.glob("in_*"), reverse=True):  # _raw before _input
        if _FILE.fullmatch(path.name):
            files[channel_name(path)] = path
    return [files[name] for name in sorted(files, key=_natural)]


def _shared(folder: Path, channel: Path, what: str) -> float | None:
    """Return a channel's own scale or offset, else the one it shares; the nearest wins."""
    match = _FILE.fullmatch(channel.name)
    assert match is not None
    kind, index, minus, modifier = (
        match[group] or "" for group in ("type", "index", "minus", "modifier")
    )
    plain_minus = re.sub(r"\d+$", "", minus)
    stems: Iterable[str] = dict.fromkeys(
        (
            f"{kind}{index}{minus}{modifier}_",
            f"{kind}{index}{minus}_",
            f"{kind}{plain_minus}{modifier}_",
            f"{kind}{plain_minus}_",
            f"{kind}{index}_",
            f"{kind}_",
            "",
        )
    )
    for stem in stems:
        path = folder / f"in_{stem}{what}"
        if path.exists():
            return read_number(path)
    return None


def _frequency_files(folder: Path) -> list[Path]:
    own = folder / "sampling_frequency"
    return [own] if own.exists() else sorted(folder.glob("in_*_sampling_frequency"))


def _set_frequency(folder: Path, hz: float) -> None:
    files = _frequency_files(folder)
    if not files:
        raise ConfigError(
            f"{folder} has no sampling_frequency to set to {hz:g} Hz; leave it out",
            key="sampling_frequency",
        )
    for path in files:
        try:
            path.write_text(f"{hz:g}")
        except OSError as error:
            available = path.with_name(path.name + "_available")
            rates = f" Available: {read_text(available)}." if available.exists() else ""
            raise ConfigError(
                f"{path} cannot be set to {hz:g} Hz ({error.strerror}).{rates} Writing needs "
                f"root or a udev rule that makes the file writable",
                key="sampling_frequency",
            ) from error


def _type(name: str) -> str:
    match = re.match(r"[a-z]+", name)
    return match[0] if match else name


def _number(folder: Path) -> int:
    match = re.search(r"\d+$", folder.name)
    return int(match[0]) if match else -1


def _natural(name: str) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
