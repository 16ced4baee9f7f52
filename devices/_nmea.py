"""NMEA 0183 sentences into fixes."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

from edgeml._require import require
from edgeml.devices._drops import Drops
from edgeml.devices._fix import Fix, Mode

_KNOT = 1852 / 3600  # m/s


class NmeaParser:
    """Joins the sentences of one moment (RMC, GGA, GSA) into one `Fix`.

    A fix is given out when both RMC and GGA of its time have come, or, with a receiver that
    sends only one of them, when the next moment begins.
    """

    def __init__(self, drops: Drops) -> None:
        self._pynmea2 = require("pynmea2", extra="sensors", purpose="edgeml.devices.GPS")
        self._drops = drops
        self._fix = Fix()
        self._now: datetime.time | None = None
        self._given: datetime.time | None = None
        self._kinds: set[str] = set()
        self._date: datetime.date | None = None
        self._dimensions: Mode = "3d"  # until GSA says otherwise

    def feed(self, line: bytes) -> Fix | None:
        """Take one line; return a fix when it completes one."""
        text = line.decode("ascii", errors="replace").strip()
        if not text:
            return None
        try:
            # A sentence without a checksum may be cut: it cannot be told from a whole one.
            message = self._pynmea2.parse(text, check=True)
            kind = getattr(message, "sentence_type", "")
            if kind == "GSA":
                self._dimensions = "2d" if message.mode_fix_type == "2" else "3d"
            if kind not in ("RMC", "GGA"):
                return None
            fields = _rmc(message) if kind == "RMC" else _gga(message)
            now = _time_of(message)
        except self._pynmea2.SentenceTypeError:  # a maker's own: fine, but not for us
            return None
        except (self._pynmea2.ParseError, ValueError, TypeError, AttributeError) as error:
            self._drops.add("bad-sentence", detail=f"{text[:80]!r}: {error}")
            return None
        return self._join(kind, now, fields)

    def _join(self, kind: str, now: datetime.time | None, fields: dict[str, Any]) -> Fix | None:
        if now is not None and now == self._given:  # a second talker repeats it
            return None
        finished = None
        if now != self._now or kind in self._kinds:
            finished = self._finish()
            self._fix, self._now = Fix(), now
        self._kinds.add(kind)
        self._date = fields.pop("date", None) or self._date
        self._fix = replace(self._fix, **{k: v for k, v in fields.items() if v is not None})
        return finished or (self._finish() if len(self._kinds) == 2 else None)

    def _finish(self) -> Fix | None:
        """Return the fix being joined, if it has anything, and mark it as given out."""
        kinds, self._kinds = self._kinds, set()
        if not kinds:
            return None
        fix, self._given = self._fix, self._now
        if fix.lat is None or fix.lon is None:
            return Fix(time=self._time(), satellites=fix.satellites)
        has_height = fix.alt is not None and self._dimensions != "2d"
        mode: Mode = "3d" if has_height else "2d"
        return replace(fix, mode=mode, time=self._time())

    def _time(self) -> datetime.datetime | None:
        if self._date is None or self._now is None:
            return None
        return datetime.datetime.combine(self._date, self._now, tzinfo=datetime.UTC)


def _time_of(message: Any) -> datetime.time | None:
    if isinstance(message.timestamp, datetime.time):
        return message.timestamp
    if message.timestamp:
        raise ValueError(f"{message.timestamp!r} is not a time")
    return None


def _rmc(message: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"date": message.datestamp}
    if message.status == "A":
        fields |= {"lat": message.latitude, "lon": message.longitude}
        if message.spd_over_grnd is not None:
            fields["speed"] = float(message.spd_over_grnd) * _KNOT
        if message.true_course is not None:
            fields["course"] = float(message.true_course)
    return fields


def _gga(message: Any) -> dict[str, Any]:
    satellites = int(message.num_sats) if message.num_sats else None
    fields: dict[str, Any] = {"satellites": satellites}
    if int(message.gps_qual or 0) > 0:
        fields |= {"lat": message.latitude, "lon": message.longitude}
        if message.altitude is not None:
            fields["alt"] = float(message.altitude)
    return fields
