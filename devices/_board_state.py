"""How a board is doing: clocks, temperatures, what slows it down, its power mode."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeml.devices._board_files import number, paths, text
from edgeml.devices._sysfs import read_number
from edgeml.devices._thermal import thermal_channels
from edgeml.errors import DeviceError

# Bits of the Raspberry Pi firmware's get_throttled; 16 higher: has happened since the start.
# Source: Raspberry Pi documentation, vcgencmd get_throttled.
_THROTTLED = {
    0: "under-voltage: the power supply or its cable is too weak",
    1: "the clock of the cores is capped",
    2: "throttled: too hot, or too little voltage",
    3: "the soft temperature limit is reached",
}

# °C. Source: Raspberry Pi documentation, "Thermal control" and temp_soft_limit of config.txt.
_PI_LIMIT, _PI_3_PLUS_LIMIT = 80.0, 60.0


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock of cores that share one.

    Attributes:
        cores: Such as ``"0-3"``.
        hz: Now.
        max_hz: The most that the hardware can.
        limit_hz: The most that is allowed now: by a person, a power mode or the heat.
        governor: What sets it, such as ``"ondemand"``.
    """

    cores: str
    hz: int
    max_hz: int
    limit_hz: int
    governor: str


def clocks(root: Path) -> Iterator[Clock]:
    """Yield the clocks, in the order of the cores."""
    policies = paths(root / "sys/devices/system/cpu/cpufreq", "policy*")
    for policy in sorted(policies, key=lambda p: len(p.name)):  # policy10 after policy4
        now, top = number(policy / "scaling_cur_freq"), number(policy / "cpuinfo_max_freq")
        if now is None or top is None:
            continue
        limit = number(policy / "scaling_max_freq")
        cores = text(policy / "related_cpus").split()
        yield Clock(
            cores=f"{cores[0]}-{cores[-1]}" if len(cores) > 1 else "".join(cores),
            hz=now * 1000,
            max_hz=top * 1000,
            limit_hz=(top if limit is None else limit) * 1000,
            governor=text(policy / "scaling_governor"),
        )


def temperatures(root: Path) -> dict[str, float]:
    """Return °C by the type of the thermal zone; one that cannot be read is left out."""
    found = {}
    for channel in thermal_channels(root / "sys/class/thermal"):
        try:
            found[channel.name] = read_number(channel.path) * channel.scale
        except DeviceError:  # the zone of a part that is off
            continue
    return found


def throttles_at(root: Path) -> dict[str, float]:
    """Return the °C at which the heat begins to slow the board down, by the thermal zone.

    It is the zone's lowest passive trip point; a Raspberry Pi's firmware has limits of its own.
    """
    firmware = _firmware_limit(root)
    found = {}
    for channel in thermal_channels(root / "sys/class/thermal"):
        folder = channel.path.parent
        trips = [
            degrees / 1000
            for kind in paths(folder, "trip_point_*_type")
            if text(kind) == "passive"
            and (degrees := number(kind.with_name(kind.name.replace("_type", "_temp"))))
            and degrees > 0  # a trip point that is off
        ]
        trips += [firmware] if firmware is not None else []
        if trips:
            found[channel.name] = min(trips)
    return found


def _firmware_limit(root: Path) -> float | None:
    compatible = text(root / "proc/device-tree/compatible").split("\0")
    if any(c.startswith("raspberrypi,3-model-") and c.endswith("-plus") for c in compatible):
        return _PI_3_PLUS_LIMIT
    return _PI_LIMIT if any(c.startswith("raspberrypi,") for c in compatible) else None


def throttled(root: Path) -> Iterator[str]:
    """Yield why the board is slower now than it could be."""
    for path in paths(root / "sys/devices/platform", "soc*/soc*firmware/get_throttled"):
        bits = number(path, 16) or 0
        yield from (words for bit, words in _THROTTLED.items() if bits >> bit & 1)
    for folder in paths(root, "sys/class/thermal/cooling_device*"):
        kind = text(folder / "type")
        # Fans are cooling devices, too, and slow nothing down.
        if "freq" in kind.lower() and (state := number(folder / "cur_state")):
            yield f"the heat lowers {kind} by {state} of {text(folder / 'max_state')} steps"


def power_mode(root: Path) -> str | None:
    """Return the name of the mode that limits the board's power; None when there is none."""
    if mode := re.search(r"pmode:0*(\d+)", text(root / "var/lib/nvpmodel/status")):
        wanted = rf"<\s*POWER_MODEL\s+ID={mode[1]}\s+NAME=(\S+)\s*>"
        named = re.search(wanted, text(root / "etc/nvpmodel.conf"))
        return named[1] if named else mode[1]
    return text(root / "sys/firmware/acpi/platform_profile") or None
