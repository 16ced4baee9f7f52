"""Counters of energy: what the processor counts itself, and power over time."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from edgeml.devices._sysfs import read_number
from edgeml.errors import DeviceError

# What goes into the whole module; else the rails are added up.
# Source: NVIDIA, Jetson Linux Developer Guide, "Platform Power and Performance".
_INPUTS = ("VDD_IN", "POM_5V_IN", "5V_IN")
_COUNTED_ELSEWHERE = ("VDDQ_VDD2_1V8AO", "NC")  # fed by VIN_SYS_5V0; not connected

Rail = tuple[str, Sequence[tuple[Path, float]]]  # name; files and factors whose product is W


class Counter(Protocol):
    """Something that counts energy."""

    source: str

    def take(self, now: float) -> float:
        """Return the joules since the last call; 0 the first time.

        Raises:
            DeviceError: it cannot be read.
        """


class Rapl:
    """The energy counters of processors, which begin anew at a maximum.

    Source: Linux kernel, Documentation/power/powercap/powercap.rst.
    """

    def __init__(self, zones: Sequence[tuple[str, Path]]) -> None:
        self.source = f"RAPL {', '.join(name for name, _ in zones)}"
        self._zones = [zone for _, zone in zones]
        self._last: list[float] = []
        for zone in self._zones:
            _check_permission(zone / "energy_uj")
        self._ranges = [read_number(zone / "max_energy_range_uj") for zone in self._zones]

    def take(self, now: float) -> float:
        """Return the joules since the last call; see `Counter`."""
        last, self._last = self._last, [read_number(zone / "energy_uj") for zone in self._zones]
        used = 0.0
        for before, after, most in zip(last or self._last, self._last, self._ranges, strict=True):
            used += after - before if after >= before else after - before + most
        return used / 1e6


class Power:
    """Power of rails, integrated over time."""

    def __init__(self, rails: Sequence[Rail]) -> None:
        whole = [rail for rail in rails if rail[0] in _INPUTS]
        used = whole[:1] or [rail for rail in rails if rail[0] not in _COUNTED_ELSEWHERE]
        self.source = f"INA3221 {', '.join(name for name, _ in used)}"
        self._rails = used
        self._last: tuple[float, float] | None = None
        for _, factors in used:
            for path, _ in factors:
                _check_permission(path)

    def take(self, now: float) -> float:
        """Return the joules since the last call; see `Counter`."""
        watts = sum(
            math.prod(read_number(path) * factor for path, factor in factors)
            for _, factors in self._rails
        )
        last, self._last = self._last or (now, watts), (now, watts)
        return (now - last[0]) * (last[1] + watts) / 2


def _check_permission(path: Path) -> None:
    if os.path.exists(path) and not os.access(path, os.R_OK):
        raise DeviceError(
            f"no permission to read {path}, which only root may by default; sudo chmod a+r {path} "
            f"allows it until the next start",
            device=str(path),
        )
