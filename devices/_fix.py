"""A position."""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass
from typing import Any, Literal

Mode = Literal["none", "2d", "3d"]


@dataclass(frozen=True, slots=True)
class Fix:
    """What a satellite receiver knows at one moment; None is what it does not know.

    Attributes:
        mode: ``"none"`` (no position), ``"2d"`` (no altitude) or ``"3d"``.
        lat: Latitude, degrees, north positive (WGS 84).
        lon: Longitude, degrees, east positive.
        alt: Altitude above mean sea level, m.
        speed: Speed over ground, m/s.
        course: Course over ground, degrees from true north, 0 to 360.
        time: The receiver's UTC time of the fix.
        satellites: Satellites used.
    """

    mode: Mode = "none"
    lat: float | None = None
    lon: float | None = None
    alt: float | None = None
    speed: float | None = None
    course: float | None = None
    time: datetime.datetime | None = None
    satellites: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a plain dict for JSON; the time as RFC 3339."""
        plain = asdict(self)
        plain["time"] = None if self.time is None else self.time.isoformat()
        return plain
