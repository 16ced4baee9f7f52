"""Recorded sensor data, replayed."""

from __future__ import annotations

import asyncio
import csv
import datetime
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, Literal

from edgeml.devices._drops import Drops
from edgeml.devices._files import media_path
from edgeml.devices._reading import Reading
from edgeml.errors import MediaError
from edgeml.streams import BlockingSource, Sample

log = logging.getLogger("edgeml.devices")

_LONGEST = 1e10  # seconds between the first row and any other
_ROWS_A_CALL = 128
_Row = tuple[float, dict[str, float]]


class CSVReplay(BlockingSource[Sample[Any]]):
    r"""A CSV file with a header, one `Reading` a row.

    `t` is the pipeline's start plus the row's time since the first row. A row with a missing
    value, text, NaN, or a time before the row before it is left out and counted.

    Args:
        path: The file; ``"edgeml:NAME"`` is a recording that ships with edgeml.
        columns: Columns to read, in the order of the reading; None is all that hold numbers,
            but the time.
        time: Column of times: seconds, or ISO 8601. None needs `rate`.
        rate: Rows a second, for a file without times.
        pace: ``"realtime"`` replays as it was recorded, None as fast as it is taken.
        loop: Start again at the end, one mean period after the last row.
        units: Unit by column, for `Reading.units`.
        **options: As for `Source`.

    Attributes:
        dropped: Rows left out by cause: ``"garbage"``, ``"time-backwards"``.

    Raises:
        DeviceNotFound: there is no such file.
        MediaError: it has no header, not these columns, or no row that can be read.

    Example:
        >>> import asyncio, pathlib, tempfile
        >>> from edgeml.devices import CSVReplay
        >>> path = pathlib.Path(tempfile.mkdtemp(), "walk.csv")
        >>> _ = path.write_text("t,x,y\n0.00,1,2\n0.02,3,oops\n0.04,5,6\n")
        >>> async def main():
        ...     async with CSVReplay(path) as walk:
        ...         return [sample.data.to_dict() async for sample in walk], walk.dropped
        >>> asyncio.run(main())
        ([{'x': 1.0, 'y': 2.0}, {'x': 5.0, 'y': 6.0}], {'garbage': 1})
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        columns: Sequence[str] | None = None,
        time: str | None = "t",
        rate: float | None = None,
        pace: Literal["realtime"] | None = None,
        loop: bool = False,
        units: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        if rate is not None and not rate > 0:
            raise ValueError(f"CSVReplay: rate must be positive rows a second; received {rate!r}")
        if time is None and rate is None:
            raise ValueError("CSVReplay: without a time column (time=None) it needs rate=")
        if pace not in ("realtime", None):
            raise ValueError(f'CSVReplay: pace must be "realtime" or None; received {pace!r}')
        super().__init__(**options)
        self.path = path
        self.columns = list(columns) if columns is not None else None
        self._time = None if rate is not None else time
        self._rate = rate
        self._pace = pace
        self._loop = loop
        self._units = dict(units or {})
        self._drops = Drops(self.name)
        self._ready: list[_Row] = []

    @property
    def dropped(self) -> dict[str, int]:
        """Rows left out by cause."""
        return self._drops.counts

    def _open_blocking(self) -> _Rows:
        return _Rows(self)

    def _read_blocking(self, handle: Any) -> Any:
        """Return a list of rows: a hop between threads for each would cost more than it."""
        return handle.take(_ROWS_A_CALL)

    async def _read(self) -> Sample[Any]:
        if not self._ready:
            rows: Any = await super()._read()
            self._ready = rows[::-1]
        seconds, values = self._ready.pop()
        t = self.clock.start + round(seconds * 1e9)
        if self._pace == "realtime":
            await asyncio.sleep(max(0, t - self.clock.now()) / 1e9)
        return self._sample(Reading(values, self._units), t=t)  # type: ignore[no-any-return]

    def _close_blocking(self, handle: _Rows) -> None:
        handle.close()


class _Rows:
    """The rows of an open file that can be read, with seconds from the first one."""

    def __init__(self, replay: CSVReplay) -> None:
        self._path = media_path(replay.path)
        self._drops = replay._drops
        self._time = replay._time
        self._rate = replay._rate
        self._loop = replay._loop
        # utf-8-sig: spreadsheets put a byte order mark before the first column's name.
        self._file: IO[str] = self._path.open(encoding="utf-8-sig", errors="replace", newline="")
        try:
            self._columns = self._check_header(replay.columns)
        except MediaError:
            self._file.close()
            raise
        self._rows = self._all_rows()

    def _check_header(self, columns: list[str] | None) -> list[str]:
        self._reader = csv.DictReader(self._file, skipinitialspace=True)
        header = list(self._reader.fieldnames or ())
        wanted = columns if columns is not None else self._number_columns(header)
        missing = [c for c in [*wanted, self._time] if c is not None and c not in header]
        if header and not missing and not wanted:
            raise MediaError(
                f"{self._path} has no column of numbers; its header is {', '.join(header)}",
                device=str(self._path),
            )
        if missing or not wanted:
            raise MediaError(
                f"{self._path} has no column {', '.join(map(repr, missing))}; its header is "
                f"{', '.join(header) or 'empty'}. Name the columns with columns= and time=, or "
                f"give rate= where there are no times",
                device=str(self._path),
            )
        return wanted

    def _number_columns(self, header: list[str]) -> list[str]:
        """Return the columns that hold no text in the first row, without the time."""
        first = next(self._reader, {})
        self._rewind()
        text = [c for c in header if c != self._time and not _may_be_number(first.get(c))]
        if text:
            log.info("%s: left out the text in %s", self._path, ", ".join(text))
        return [c for c in header if c != self._time and c not in text]

    def _rewind(self) -> None:
        self._file.seek(0)
        self._reader = csv.DictReader(self._file, skipinitialspace=True)

    def take(self, n: int) -> list[_Row]:
        """Return up to `n` rows; EOFError at the end."""
        rows = [row for _, row in zip(range(n), self._rows, strict=False)]
        if not rows:
            raise EOFError
        return rows

    def _all_rows(self) -> Iterator[_Row]:
        offset = 0.0
        while True:
            n, last = 0, 0.0
            for seconds, values in self._one_pass():
                n, last = n + 1, seconds
                yield offset + seconds, values
            if not n:
                raise MediaError(
                    f"{self._path} has no row that can be read", device=str(self._path)
                )
            if not self._loop:
                return
            offset += last + (1 / self._rate if self._rate else last / max(1, n - 1) or 0.01)
            self._rewind()

    def _one_pass(self) -> Iterator[_Row]:
        first = last = None
        try:
            for number, row in enumerate(self._reader):
                try:
                    values = {c: _finite(row[c]) for c in self._columns}
                    seconds = number / self._rate if self._rate else _seconds(row[self._time])
                except (ValueError, TypeError) as error:
                    detail = f"line {self._reader.line_num}: {error}"
                    self._drops.add("garbage", detail=detail)
                    continue
                if last is not None and seconds < last:
                    self._drops.add("time-backwards", detail=f"line {self._reader.line_num}")
                    continue
                first = seconds if first is None else first
                if seconds - first > _LONGEST:
                    detail = f"line {self._reader.line_num}: {seconds:g} s is centuries later"
                    self._drops.add("garbage", detail=detail)
                    continue
                last = seconds
                yield seconds - first, values
        except csv.Error as error:
            raise MediaError(
                f"{self._path}, line {self._reader.line_num}, is not CSV: {error}",
                device=str(self._path),
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _may_be_number(text: Any) -> bool:
    try:
        float(text or "nan")
    except (TypeError, ValueError):
        return False
    return True


def _finite(text: Any) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite number")
    return value


def _seconds(text: Any) -> float:
    try:
        return _finite(text)
    except ValueError:
        when = datetime.datetime.fromisoformat(text)
        # A time without a zone is taken as UTC: only differences count.
        return when.replace(tzinfo=when.tzinfo or datetime.UTC).timestamp()
