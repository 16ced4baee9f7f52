"""A simulated sensor."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any

from edgeml.devices._sensor import Sensor
from edgeml.errors import DeviceLost, DeviceNotFound


class FakeSensor(Sensor):
    """Gives the values one after another, on the time grid of a real sensor, then ends.

    Args:
        values: What it measures: numbers, or `edgeml.devices.Reading`s.
        hz: Readings a second.
        unit: ``meta["unit"]`` of each sample.
        **options: As for `edgeml.Sensor`.

    Example:
        >>> import asyncio
        >>> async def main():
        ...     return [sample.data async for sample in FakeSensor([1.5, 2.5], hz=1000)]
        >>> asyncio.run(main())
        [1.5, 2.5]
    """

    def __init__(
        self, values: Iterable[Any], *, hz: float = 100.0, unit: str = "", **options: Any
    ) -> None:
        super().__init__(hz=hz, **options)
        self._values: Iterator[Any] = iter(values)
        self._unit = unit
        self._gone = threading.Event()

    def unplug(self) -> None:
        """Take the device away."""
        self._gone.set()

    def plug_in(self) -> None:
        """Bring it back."""
        self._gone.clear()

    def _setup(self) -> bool:
        if self._gone.is_set():
            raise DeviceNotFound(f"{self.name} is unplugged", device=self.name)
        return True

    def _measure(self, handle: Any) -> Any:
        if self._gone.is_set():
            raise DeviceLost(f"{self.name} was unplugged", device=self.name)
        for value in self._values:
            return value
        raise EOFError

    def _meta(self) -> dict[str, Any]:
        return {"unit": self._unit} if self._unit else {}
