"""A digital output: a lamp, a relay, a buzzer."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from edgeml._require import require
from edgeml.errors import DeviceError, DeviceLost, DeviceNotFound, SinkClosed
from edgeml.streams import Sample, Sink


class OutputLine(Protocol):
    """A requested line: what `GPIO` drives and `edgeml.testing.FakeGPIO` stands in for."""

    def set(self, on: bool) -> None:
        """Drive the line; `on` is logical, so active low is taken care of."""

    def release(self) -> None:
        """Give the line back."""


Request = Callable[[str, int | str, bool], OutputLine]


class GPIO(Sink):
    """Drives a line of a GPIO chip from the truth of each item.

    A sample counts by its data: an empty list of detections is off. Closing switches the
    line off and gives it back.

    Args:
        line: Number of the line on its chip, or its name (``"GPIO17"``).
        chip: The chip's device file.
        active_low: On is the low level.
        min_hold: Seconds that the line stays on at least; an off that comes earlier is done
            then, unless an on comes first.
        when: Decides whether an item's data means on.
        request: What requests a line: ``request(chip, line, active_low)``; by default the
            kernel through gpiod. A test passes `edgeml.testing.FakeGPIO`.
        name: As for `Sink`.
        on_error: As for `Sink`.

    Attributes:
        is_on: What the line was last set to.

    Raises:
        MissingExtra: gpiod is not installed.
        DeviceNotFound: there is no such chip or line.
        DeviceError: the line is in use, or may not be used by this user.

    Example:
        >>> import asyncio
        >>> from edgeml import GPIO
        >>> from edgeml.streams import Source
        >>> from edgeml.testing import FakeGPIO
        >>> board = FakeGPIO()
        >>> asyncio.run((Source.of([1, 0, ["person"]]) | GPIO(17, request=board)).run())
        >>> board.history(17)
        [False, True, False, True, False]
    """

    def __init__(
        self,
        line: int | str,
        *,
        chip: str = "/dev/gpiochip0",
        active_low: bool = False,
        min_hold: float = 0.0,
        when: Callable[[Any], Any] = bool,
        request: Request | None = None,
        name: str | None = None,
        on_error: Any = "fail",
    ) -> None:
        super().__init__(name=name, on_error=on_error)
        if not min_hold >= 0:
            raise ValueError(f"GPIO: min_hold must be seconds, 0 or more; received {min_hold!r}")
        self.line = line
        self.chip = chip
        self.active_low = active_low
        self.min_hold = min_hold
        self.is_on = False
        self._when = when
        self._request = request or _request_from_kernel
        self._requested: OutputLine | None = None
        self._closed = False
        self._on_since = 0.0
        self._off_later: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Request the line, and switch it off."""
        if self._closed:
            raise SinkClosed(f"{self.name} is closed; make a new one")
        if self._requested is None:
            self._requested = self._request(self.chip, self.line, self.active_low)
            self._set(False)

    async def send(self, item: Any) -> None:
        """Set the line from the truth of the item's data."""
        await self.open()
        on = bool(self._when(item.data if isinstance(item, Sample) else item))
        loop = asyncio.get_running_loop()
        if on:
            self._cancel_off()
            self._on_since = loop.time()
            if not self.is_on:
                self._set(True)
        elif self.is_on and self._off_later is None:
            rest = self._on_since + self.min_hold - loop.time()
            if rest > 0:
                self._off_later = loop.call_later(rest, self._switch_off)
            else:
                self._set(False)

    def _switch_off(self) -> None:
        self._off_later = None
        if self._requested is not None:
            self._set(False)

    def _cancel_off(self) -> None:
        if self._off_later is not None:
            self._off_later.cancel()
            self._off_later = None

    def _set(self, on: bool) -> None:
        assert self._requested is not None
        try:
            self._requested.set(on)
        except OSError as error:
            lost, self._requested = self._requested, None
            with contextlib.suppress(OSError):
                lost.release()  # else it stays taken, and the next request is refused
            raise DeviceLost(
                f"GPIO line {self.line} of {self.chip} cannot be set: {error}", device=self.chip
            ) from error
        self.is_on = on

    async def aclose(self) -> None:
        """Switch the line off and give it back; idempotent."""
        self._closed = True
        self._cancel_off()
        if self._requested is not None:
            try:
                self._set(False)
            finally:
                requested, self._requested = self._requested, None
                if requested is not None:
                    requested.release()


class _KernelLine:
    def __init__(self, gpiod: Any, request: Any, line: int | str) -> None:
        self._values = (gpiod.line.Value.INACTIVE, gpiod.line.Value.ACTIVE)
        self._request = request
        self._line = line

    def set(self, on: bool) -> None:
        self._request.set_value(self._line, self._values[on])

    def release(self) -> None:
        self._request.release()


def _request_from_kernel(chip: str, line: int | str, active_low: bool) -> OutputLine:
    gpiod = require("gpiod", extra="sensors", purpose="edgeml.GPIO")
    settings = gpiod.LineSettings(
        direction=gpiod.line.Direction.OUTPUT,
        active_low=active_low,
        output_value=gpiod.line.Value.INACTIVE,
    )
    try:
        request = gpiod.request_lines(chip, consumer="edgeml", config={line: settings})
    except (OSError, ValueError, TypeError) as error:
        raise _translate(error, chip, line) from error
    return _KernelLine(gpiod, request, line)


def _translate(error: Exception, chip: str, line: int | str) -> DeviceError:
    code = getattr(error, "errno", None)
    if code in (errno.ENOENT, errno.ENODEV, errno.ENOTTY):
        there = ", ".join(map(str, sorted(Path("/dev").glob("gpiochip*"))))
        return DeviceNotFound(
            f"there is no GPIO chip {chip} ({error}); there is: {there or 'none on this machine'}",
            device=chip,
        )
    if code in (errno.EACCES, errno.EPERM):
        return DeviceError(
            f"{chip} may not be used by this user; add it to the group that owns the file: "
            f"sudo usermod -aG gpio $USER, then log in again",
            device=chip,
        )
    if code == errno.EBUSY:
        return DeviceError(
            f"line {line} of {chip} is in use; `gpioinfo` (apt install gpiod) tells by whom",
            device=chip,
        )
    return DeviceNotFound(
        f"{chip} has no line {line!r} that can be an output ({error}); `gpioinfo` lists its lines",
        device=chip,
    )
