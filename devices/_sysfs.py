"""Reading numbers from sysfs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgeml.devices._drops import Drops
from edgeml.devices._reading import Reading
from edgeml.errors import DeviceError, DeviceLost


@dataclass(frozen=True, slots=True)
class Channel:
    """A quantity in a file: ``(raw + offset) * scale``, in `unit`."""

    name: str
    path: Path
    unit: str
    scale: float = 1.0
    offset: float = 0.0


def read_text(path: Path) -> str:
    """Return a file's text without the newline.

    Raises:
        DeviceLost: it is gone or cannot be read now.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise DeviceLost(
            f"{path} cannot be read ({error.strerror or error}); is the sensor still there?",
            device=str(path),
        ) from error


def read_number(path: Path) -> float:
    """Return the number in a file.

    Raises:
        DeviceLost: the file is gone, cannot be read, or holds something else.
    """
    text = read_text(path)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DeviceLost(
            f"{path} holds {text[:40]!r}; expected a number", device=str(path), garbage=True
        )
    return value


def measure(channels: Iterable[Channel], drops: Drops) -> Reading:
    """Read all channels; a bad one fails the whole reading and is counted."""
    values, units = {}, {}
    for channel in channels:
        try:
            raw = read_number(channel.path)
        except DeviceError as error:
            drops.add("garbage" if hasattr(error, "garbage") else "unreadable", detail=str(error))
            raise
        values[channel.name] = (raw + channel.offset) * channel.scale
        units[channel.name] = channel.unit
    return Reading(values, units)
