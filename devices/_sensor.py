"""Sensors that are asked: a blocking call on a steady time grid."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

from edgeml.devices._drops import Drops
from edgeml.errors import DeviceLost, DeviceNotFound, EdgeMLError
from edgeml.streams import Backoff, BlockingSource, Sample

T = TypeVar("T")


class Sensor(BlockingSource[Sample[Any]]):
    """A sensor read `hz` times a second, in a thread of its own.

    The n-th reading is due at ``start + n / hz``: a slow reading does not shift those after
    it. Readings that could not be taken in time are left out and counted in `dropped`, never
    taken in a burst. The sample's `t` is the middle of the blocking call.

    A subclass overrides `_setup`, `_measure` and, where there is something to release,
    `_teardown`. Whatever they raise counts as the device being lost, and it is set up again
    after a delay; before the first reading it is `DeviceNotFound`, and final. Only EOFError
    ends the stream.

    Args:
        hz: Readings a second.
        **options: As for `Source`. By default it reconnects, and a reading may take 5 s or
            three periods, whichever is longer.

    Attributes:
        dropped: Readings lost inside the driver by cause: ``"late"``, and what the driver
            adds to it, such as ``"garbage"``.

    Example:
        >>> import asyncio
        >>> from edgeml import Sensor
        >>> async def main():
        ...     async with Sensor.poll(lambda: 21.5, hz=100, name="room", unit="°C") as room:
        ...         async for sample in room:
        ...             return sample.data, sample.meta["unit"]
        >>> asyncio.run(main())
        (21.5, '°C')
    """

    live = True

    def __init__(self, *, hz: float, **options: Any) -> None:
        if not (isinstance(hz, int | float) and hz > 0 and math.isfinite(hz)):
            raise ValueError(f"{type(self).__name__}: hz must be a positive number; got {hz!r}")
        defaults: dict[str, Any] = {"reconnect": Backoff(), "read_timeout": max(5.0, 3.0 / hz)}
        super().__init__(**(defaults | options))
        self.hz = hz
        self._drops = Drops(self.name)
        self._start = 0
        self._n = 0

    @staticmethod
    def poll(fn: Callable[[], Any], hz: float, *, unit: str = "", **options: Any) -> Sensor:
        """Make a sensor of any blocking call, such as one of Adafruit's or gpiozero's.

        Args:
            fn: Called in the sensor's own thread; its result is the sample's data.
            hz: Readings a second.
            unit: Unit of the result; ``meta["unit"]`` of each sample.
            **options: As for `Sensor`.
        """
        return _Polled(fn, hz, unit, **options)

    @property
    def dropped(self) -> dict[str, int]:
        """Readings lost inside the driver by cause."""
        return self._drops.counts

    def _setup(self) -> Any:
        """Find the device; return what `_measure` needs. Blocking."""

    def _measure(self, handle: Any) -> Any:
        """Return one reading. Blocking."""
        raise NotImplementedError

    def _teardown(self, handle: Any) -> None:
        """Release what `_setup` made. Blocking."""

    def _meta(self) -> dict[str, Any]:
        """Return what goes into each sample's `meta`."""
        return {}

    def _open_blocking(self) -> Any:
        handle = self._guard(self._setup)
        self._start, self._n = time.monotonic_ns(), 0
        return handle

    def _read_blocking(self, handle: Any) -> Sample[Any]:
        before = time.monotonic_ns()
        data = self._guard(self._measure, handle)
        t = (before + time.monotonic_ns()) // 2
        return self._sample(data, t=t, **self._meta())  # type: ignore[no-any-return]

    def _close_blocking(self, handle: Any) -> None:
        self._teardown(handle)

    async def _read(self) -> Sample[Any]:
        due = self._start + round(self._n * 1e9 / self.hz)
        await asyncio.sleep((due - time.monotonic_ns()) / 1e9)
        sample = await super()._read()
        late = (time.monotonic_ns() - due) * self.hz / 1e9
        steps = max(1, math.ceil(late - 0.5))  # up to half a period late is still in time
        if steps > 1:
            self._drops.add("late", steps - 1)
        self._n += steps
        return sample

    def _guard(self, fn: Callable[..., T], *args: Any) -> T:
        """Call the driver; translate whatever it raises."""
        try:
            return fn(*args)
        except (EdgeMLError, EOFError):
            raise
        except Exception as error:
            what = f"{self.name}: the driver raised {type(error).__name__}: {error}"
            if not self._has_flowed:  # a typing mistake or no such chip: no use to try again
                raise DeviceNotFound(f"{what}; is it connected?", device=self.name) from error
            raise DeviceLost(what, device=self.name) from error


class _Polled(Sensor):
    def __init__(self, fn: Callable[[], Any], hz: float, unit: str, **options: Any) -> None:
        if not callable(fn):
            raise TypeError(f"Sensor.poll takes a callable; received {type(fn).__name__}")
        if not options.get("name"):
            options["name"] = getattr(fn, "__name__", "sensor").replace("<lambda>", "sensor")
        super().__init__(hz=hz, **options)
        self._fn = fn
        self._unit = unit

    def _setup(self) -> bool:
        return True

    def _measure(self, handle: Any) -> Any:
        return self._fn()

    def _meta(self) -> dict[str, Any]:
        return {"unit": self._unit} if self._unit else {}
