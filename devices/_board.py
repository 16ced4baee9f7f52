"""Which board this is, what it can calculate on, and how it is doing."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeml.devices._board_files import text
from edgeml.devices._board_parts import Accelerator, accelerators
from edgeml.devices._board_state import (
    Clock,
    clocks,
    power_mode,
    temperatures,
    throttled,
    throttles_at,
)
from edgeml.platform import machine

# Compatible string of the device tree: what configuration files call the board.
_BOARDS = {
    "raspberrypi,5-model-b": "raspberry-pi-5",
    "raspberrypi,500": "raspberry-pi-5",
    "raspberrypi,5-compute-module": "raspberry-pi-5",
    "raspberrypi,4-model-b": "raspberry-pi-4",
    "raspberrypi,400": "raspberry-pi-4",
    "raspberrypi,4-compute-module": "raspberry-pi-4",
    "raspberrypi,model-zero-2-w": "raspberry-pi-zero-2",
    "raspberrypi,3-model-b": "raspberry-pi-3",
    "raspberrypi,3-model-b-plus": "raspberry-pi-3",
    "raspberrypi,3-model-a-plus": "raspberry-pi-3",
    "nvidia,tegra234": "jetson-orin",
    "nvidia,tegra194": "jetson-xavier",
    "nvidia,tegra186": "jetson-tx2",
    "nvidia,tegra210": "jetson-nano",
    "rockchip,rk3588": "rk3588",
    "rockchip,rk3588s": "rk3588",
    "fsl,imx8mp": "imx8m-plus",
    "fsl,imx8mq": "imx8m",
    "fsl,imx8mm": "imx8m",
    "fsl,imx8mn": "imx8m",
}

_FIELD = re.compile(r"(\w+):\s*(\d+) kB")


@dataclass(frozen=True, slots=True)
class Board:
    """A board, and how it was doing when it was looked at.

    Attributes:
        name: What it calls itself; empty when it does not say.
        kind: A known kind, such as ``"raspberry-pi-5"``; else the instruction set.
        soc: Its system on a chip, such as ``"bcm2712"``; empty on a PC.
        memory: Bytes in all.
        memory_available: Bytes that programs can still get.
        accelerators: What it can calculate on beside the CPU.
        clocks: Of the groups of cores.
        temperatures: °C by the name of the sensor.
        throttles_at: °C at which the heat begins to slow it down, by the name of the sensor;
            without those of which the board does not say it.
        throttled: Why it is slower now than it could be, in words; empty when it is not.
        power_mode: Name of the mode that limits its power; None when there is none.
    """

    name: str
    kind: str
    soc: str
    memory: int
    memory_available: int
    accelerators: tuple[Accelerator, ...]
    clocks: tuple[Clock, ...]
    temperatures: dict[str, float]
    throttles_at: dict[str, float]
    throttled: tuple[str, ...]
    power_mode: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return a plain dict, for JSON."""
        return asdict(self)


def board(root: str | os.PathLike[str] = "/") -> Board:
    """Look at this machine. What it does not tell is empty; nothing raises.

    Args:
        root: Where ``sys``, ``proc`` and ``dev`` are; another folder for tests.

    Example:
        >>> from edgeml.devices import board
        >>> board().memory > 0
        True
    """
    place = Path(root)
    compatible = [c for c in text(place / "proc/device-tree/compatible").split("\0") if c]
    name = text(place / "proc/device-tree/model") or _of_firmware(place)
    total, available = _memory(place)
    return Board(
        name=name,
        kind=next((_BOARDS[c] for c in compatible if c in _BOARDS), machine()),
        soc=compatible[-1].rpartition(",")[2] if compatible else "",
        memory=total,
        memory_available=available,
        accelerators=tuple(accelerators(place)),
        clocks=tuple(clocks(place)),
        temperatures=temperatures(place),
        throttles_at=throttles_at(place),
        throttled=tuple(throttled(place)),
        power_mode=power_mode(place),
    )


def _of_firmware(root: Path) -> str:
    """Return what a PC's firmware calls it."""
    folder = root / "sys/class/dmi/id"
    return " ".join(filter(None, (text(folder / f) for f in ("sys_vendor", "product_name"))))


def _memory(root: Path) -> tuple[int, int]:
    fields = dict.fromkeys(("MemTotal", "MemAvailable"), 0)
    for line in text(root / "proc/meminfo").splitlines():
        if (match := _FIELD.fullmatch(line)) and match[1] in fields:
            fields[match[1]] = int(match[2]) * 1024
    return fields["MemTotal"], fields["MemAvailable"]
