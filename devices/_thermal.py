"""Temperatures, fans, voltages and power of the board itself."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any

from edgeml.devices._board_files import paths
from edgeml.devices._reading import Reading
from edgeml.devices._sensor import Sensor
from edgeml.devices._sysfs import Channel, measure, read_number, read_text
from edgeml.errors import DeviceLost, DeviceNotFound

log = logging.getLogger("edgeml.devices")

THERMAL_ROOT = Path("/sys/class/thermal")
HWMON_ROOT = Path("/sys/class/hwmon")

# File prefix: unit, and the factor from the ABI's unit to it.
# Source: Linux kernel, Documentation/hwmon/sysfs-interface.rst.
_HWMON: dict[str, tuple[str, float]] = {
    "curr": ("A", 1e-3),  # mA
    "energy": ("J", 1e-6),  # µJ
    "fan": ("rpm", 1.0),
    "humidity": ("%", 1e-3),  # thousandths of a per cent
    "in": ("V", 1e-3),  # mV
    "power": ("W", 1e-6),  # µW
    "temp": ("°C", 1e-3),  # m°C
}
_HWMON_FILE = re.compile(r"(curr|energy|fan|humidity|in|power|temp)(\d+)_(input|average)")


class _Sysfs(Sensor):
    """What thermal zones and hwmon chips have in common."""

    _what = ""

    def __init__(
        self,
        device: str | None,
        *,
        hz: float,
        root: str | os.PathLike[str],
        **options: Any,
    ) -> None:
        super().__init__(hz=hz, **options)
        self.device = device
        self._root = Path(root)

    def _list(self) -> list[Channel]:
        raise NotImplementedError

    def _fits(self, channel: Channel) -> bool:
        raise NotImplementedError

    def _setup(self) -> list[Channel]:
        there = self._list()
        wanted = [c for c in there if self.device is None or self._fits(c)]
        channels = [c for c in wanted if self._can_be_read(c)]
        if channels:
            return channels
        if wanted and self._has_flowed:
            raise DeviceLost(f"{self._what} {self.device or ''} cannot be read", device=self.device)
        raise DeviceNotFound(
            f"no {self._what} {self.device or ''} that can be read in {self._root}; there is: "
            f"{', '.join(c.name for c in there) or 'nothing'}",
            device=self.device,
        )

    def _can_be_read(self, channel: Channel) -> bool:
        """Tell, and say so in the log if not: sensors of parts that are off refuse."""
        try:
            read_number(channel.path)
        except DeviceLost as error:
            log.info("%s: left out %s: %s", self.name, channel.name, error)
            return False
        return True

    def _measure(self, handle: list[Channel]) -> Reading:
        return measure(handle, self._drops)


class Thermal(_Sysfs):
    """The kernel's thermal zones as `Reading`s in °C, by the zone's type.

    A zone that cannot be read when the sensor opens is left out and logged.

    Args:
        zone: Type of a zone (``"cpu-thermal"``), or its folder (``"thermal_zone0"``); None
            is all of them.
        hz: Readings a second.
        root: Where the zones are; another folder for tests.
        **options: As for `Sensor`.

    Raises:
        DeviceNotFound: there is no such zone.

    Example:
        The processor's temperature, once a second::

            async for sample in Thermal("cpu-thermal"):
                print(sample.data["cpu-thermal"], "°C")
    """

    _what = "thermal zone"

    def __init__(
        self,
        zone: str | None = None,
        *,
        hz: float = 1.0,
        root: str | os.PathLike[str] = THERMAL_ROOT,
        **options: Any,
    ) -> None:
        super().__init__(zone, hz=hz, root=root, **options)

    def _list(self) -> list[Channel]:
        return thermal_channels(self._root)

    def _fits(self, channel: Channel) -> bool:
        return self.device in (channel.name, channel.path.parent.name)


class Hwmon(_Sysfs):
    """The hardware monitoring chips: temperature, fans, power, voltage, current.

    Channels are named ``chip.label``, such as ``"rpi_volt.in0"`` or ``"coretemp.Core 0"``.
    Units are °C, rpm, W, V, A, J and %.

    Args:
        chip: Name of a chip, its folder (``"hwmon2"``) or one channel; None is all of them.
        hz: Readings a second.
        root: Where the chips are; another folder for tests.
        **options: As for `Sensor`.

    Raises:
        DeviceNotFound: there is no such chip.

    Example:
        A Jetson's power, ten times a second::

            async for sample in Hwmon("ina3221", hz=10):
                print(sample.data)
    """

    _what = "hwmon chip"

    def __init__(
        self,
        chip: str | None = None,
        *,
        hz: float = 1.0,
        root: str | os.PathLike[str] = HWMON_ROOT,
        **options: Any,
    ) -> None:
        super().__init__(chip, hz=hz, root=root, **options)

    def _list(self) -> list[Channel]:
        return hwmon_channels(self._root)

    def _fits(self, channel: Channel) -> bool:
        chip = channel.name.partition(".")[0]
        return self.device in (channel.name, chip, channel.path.parent.name)


def thermal_channels(root: Path) -> list[Channel]:
    """Return one channel a thermal zone, named by its type."""
    channels = []
    for folder in sorted(paths(root, "thermal_zone*"), key=_by_number):
        name = _text_or(folder / "type", folder.name)
        channels.append(Channel(name, folder / "temp", "°C", 1e-3))
    return _unique(channels)


def hwmon_channels(root: Path) -> list[Channel]:
    """Return the channels of all hwmon chips, named ``chip.label``."""
    channels = []
    for folder in sorted(root.glob("hwmon*"), key=_by_number):
        chip = _text_or(folder / "name", folder.name)
        for path in sorted(folder.glob("*_*"), key=_by_number):
            if match := _HWMON_FILE.fullmatch(path.name):
                stem = match[1] + match[2]
                if match[3] == "average" and (folder / f"{stem}_input").exists():
                    continue
                label = _text_or(folder / f"{stem}_label", stem)
                unit, factor = _HWMON[match[1]]
                channels.append(Channel(f"{chip}.{label}", path, unit, factor))
    return _unique(channels)


def _unique(channels: list[Channel]) -> list[Channel]:
    """Tell channels of the same name apart: the second becomes ``name#2``."""
    seen: dict[str, int] = {}
    unique = []
    for channel in channels:
        n = seen[channel.name] = seen.get(channel.name, 0) + 1
        name = channel.name if n == 1 else f"{channel.name}#{n}"
        unique.append(Channel(name, channel.path, channel.unit, channel.scale))
    return unique


def _text_or(path: Path, default: str) -> str:
    try:
        return read_text(path) or default
    except DeviceLost:
        return default


def _by_number(path: Path) -> tuple[str, int]:
    match = re.search(r"\d+", path.name)
    return (re.sub(r"\d+", "", path.name), int(match[0]) if match else -1)
