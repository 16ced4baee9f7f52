"""A simulated GPIO chip."""

from __future__ import annotations

from edgeml.errors import DeviceError


class FakeGPIO:
    """Lines that remember what they were set to: pass it as ``request=`` to `edgeml.GPIO`.

    Example:
        >>> board = FakeGPIO()
        >>> line = board("/dev/gpiochip0", 17, False)
        >>> line.set(True); line.release()
        >>> board.history(17), board.level(17)
        ([True], 1)
    """

    def __init__(self) -> None:
        self._lines: dict[tuple[str, int | str], _FakeLine] = {}

    def __call__(self, chip: str, line: int | str, active_low: bool) -> _FakeLine:
        """Request a line.

        Raises:
            DeviceError: it is in use.
        """
        taken = self._lines.get((chip, line))
        if taken is not None and not taken.released:
            raise DeviceError(f"line {line} of {chip} is in use", device=chip)
        history = taken.history if taken is not None else []
        self._lines[chip, line] = _FakeLine(active_low, history)
        return self._lines[chip, line]

    def history(self, line: int | str, chip: str = "/dev/gpiochip0") -> list[bool]:
        """Return what the line was set to, oldest first."""
        return list(self._lines[chip, line].history)

    def level(self, line: int | str, chip: str = "/dev/gpiochip0") -> int:
        """Return the electrical level, 0 or 1."""
        fake = self._lines[chip, line]
        return int((fake.history[-1] if fake.history else False) != fake.active_low)

    def is_released(self, line: int | str, chip: str = "/dev/gpiochip0") -> bool:
        """Tell whether the line was given back."""
        return self._lines[chip, line].released

    def unplug(self, line: int | str, chip: str = "/dev/gpiochip0") -> None:
        """Make the next `set` of the line fail."""
        self._lines[chip, line].lost = True


class _FakeLine:
    def __init__(self, active_low: bool, history: list[bool]) -> None:
        self.active_low = active_low
        self.history = history
        self.released = False
        self.lost = False

    def set(self, on: bool) -> None:
        if self.lost:
            raise OSError("no such device")
        self.history.append(on)

    def release(self) -> None:
        self.released = True
