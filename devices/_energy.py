"""The energy that a board uses, by counters of its own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from edgeml.devices._board_files import paths, text
from edgeml.devices._energy_counters import Counter, Power, Rapl
from edgeml.errors import DeviceError


class EnergyMeter:
    """Joules that the board has used since the meter was opened, where it has a counter.

    On a PC it is the processor's counter (RAPL: package and memory), on a Jetson the power
    monitor (INA3221: the module's input, else its rails), whose power is integrated over time.
    Both count all that runs, and the idle power. Where there is none, `joules` is None and
    `problem` says why.

    Args:
        interval: Seconds between two looks at a power monitor.
        root: Where ``sys`` is; another folder for tests.
        clock: What tells seconds; another one for tests.

    Attributes:
        source: What is counted, such as ``"RAPL package-0, dram"``; "" when nothing is.
        problem: Why nothing is counted, in words; None when it is.

    Example:
        >>> from edgeml.devices import EnergyMeter
        >>> with EnergyMeter() as meter:
        ...     total = sum(range(10**5))
        ...     joules = meter.joules
        >>> meter.problem is None or joules is None
        True
    """

    def __init__(
        self,
        *,
        interval: float = 0.05,
        root: str | os.PathLike[str] = "/",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not interval > 0:
            raise ValueError(f"EnergyMeter: interval must be positive seconds; received {interval}")
        self.source = ""
        self.problem: str | None = "the meter is not open; use it in a with block"
        self._interval = interval
        self._root = Path(root)
        self._clock = clock
        self._counter: Counter | None = None
        self._joules = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def joules(self) -> float | None:
        """Energy since the meter was opened; None when it is not measured."""
        with self._lock:
            self._look()
            return None if self.problem is not None else self._joules

    def open(self) -> None:
        """Find the counter and begin to count; never raises, see `problem`. Idempotent."""
        with self._lock:
            if self._thread is not None:
                return
            self.problem, self._joules = None, 0.0
            try:
                self._counter = _find(self._root)
                self.source = self._counter.source
                self._counter.take(self._clock())
            except DeviceError as error:
                self._fail(error)
                return
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="edgeml energy", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop counting; `joules` stays what it is. Idempotent."""
        with self._lock:
            self._look()
            self._counter = None
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            with self._lock:
                self._look()

    def _look(self) -> None:
        if self._counter is None:
            return
        try:
            self._joules += self._counter.take(self._clock())
        except DeviceError as error:
            self._fail(error)

    def _fail(self, error: DeviceError) -> None:
        self._counter, self.source, self.problem = None, "", str(error)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _find(root: Path) -> Counter:
    """Return the board's counter.

    Raises:
        DeviceError: there is none, or it cannot be read; the message says why.
    """
    zones = list(_rapl_zones(root / "sys/class/powercap"))
    if zones:
        return Rapl(zones)
    rails = [*_hwmon_rails(root / "sys/class/hwmon"), *_iio_rails(root / "sys/bus/iio/devices")]
    if rails:
        return Power(rails)
    raise DeviceError(
        "this machine has no energy counter that is known: neither RAPL (/sys/class/powercap) nor "
        "an INA3221 (/sys/class/hwmon)"
    )


def _rapl_zones(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield packages with their memory; psys counts them again, cores are in them already."""
    for zone in paths(folder, "intel-rapl:*"):
        depth, name = zone.name.count(":"), text(zone / "name")
        if (depth == 1 and name.startswith("package")) or (depth == 2 and name == "dram"):
            yield name, zone


def _hwmon_rails(folder: Path) -> Iterator[tuple[str, list[tuple[Path, float]]]]:
    for chip in paths(folder, "hwmon*"):
        if text(chip / "name") != "ina3221":
            continue
        for label in paths(chip, "in[1-3]_label"):
            volts = label.with_name(label.name.replace("label", "input"))
            amperes = chip / f"curr{label.name[2]}_input"
            if os.path.exists(volts) and os.path.exists(amperes):  # mV and mA
                yield text(label), [(volts, 1e-3), (amperes, 1e-3)]


def _iio_rails(folder: Path) -> Iterator[tuple[str, list[tuple[Path, float]]]]:
    """Yield the rails as JetPack 4 shows them."""
    for chip in paths(folder, "iio:device*"):
        for name in paths(chip, "rail_name_[0-2]"):
            power = chip / f"in_power{name.name[-1]}_input"
            if os.path.exists(power):  # mW
                yield text(name), [(power, 1e-3)]
