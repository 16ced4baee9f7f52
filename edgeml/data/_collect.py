"""Datasets of live streams."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, cast

import numpy as np

from edgeml.data._origin import Origin
from edgeml.data._records import RecordFile, RecordWriter
from edgeml.data._rows import PickedRows
from edgeml.data._structure import as_element, describe, leaves, size_of, stack
from edgeml.data._tables import ListTable
from edgeml.errors import DataError
from edgeml.streams import SKIP, Sample

log = logging.getLogger("edgeml.data")

_FIRST_ITEM = 30.0  # seconds that a live stream may take to start


class Collector:
    """Takes items, and keeps them in memory or in a file."""

    def __init__(
        self,
        label: Any,
        count: int | None,
        seconds: float | None,
        path: str | os.PathLike[str] | None,
        max_bytes: int,
    ) -> None:
        self._label = label
        self._count = count
        self._ns = None if seconds is None else round(seconds * 1e9)
        self._max_bytes = max_bytes
        self._writer = None if path is None else RecordWriter(path)
        self._elements: list[Any] = []
        self._size = 0
        self._sources: list[str] = []
        self._times: list[int] = []
        self._durations: list[int] = []
        self._first: int | None = None
        self._timed = True

    def add(self, item: Any) -> bool:
        """Take an item; return whether more are wanted."""
        if isinstance(item, Sample):
            self._first = item.t if self._first is None else self._first
            if self._ns is not None and item.t - self._first >= self._ns:
                return False
        element = self._labelled(item)
        if element is SKIP:
            return True
        size = size_of(element)
        if self._size + size > self._max_bytes:
            raise DataError(
                f"collected {len(self):,} elements, and the next would be more than "
                f"max_bytes={self._max_bytes:,}; collect less, make elements smaller with a "
                f"stage, or raise it{'' if self._writer else ' (path= keeps them in a file)'}"
            )
        self._size += size
        if self._writer is not None:
            self._writer.write(element)
        else:
            self._elements.append(element)
        self._note(item)
        return self._count is None or len(self) < self._count

    def __len__(self) -> int:
        return len(self._sources)

    def _labelled(self, item: Any) -> Any:
        data = item.data if isinstance(item, Sample) else item
        if isinstance(data, list) and data and all(isinstance(part, Sample) for part in data):
            data = stack([as_element(part.data) for part in data])  # what window() emits
        data = as_element(data)
        for path, leaf in leaves(data):
            if not isinstance(leaf, np.ndarray | np.generic | str | bytes):
                raise DataError(
                    f"item {len(self)}{path} is {describe(leaf)}, not an array; add a stage that "
                    f"makes one of it, such as pipeline.map(np.asarray)"
                )
        if self._label is None:
            return data
        label = self._label(item) if callable(self._label) else self._label
        return SKIP if label is SKIP else (data, as_element(label))

    def _note(self, item: Any) -> None:
        sample = isinstance(item, Sample)
        self._timed = self._timed and sample
        self._sources.append(item.source if sample else "")
        self._times.append(item.t if sample else 0)
        self._durations.append(item.duration if sample else 0)

    def finish(self) -> PickedRows:
        """Return what was collected.

        Raises:
            DataError: that is nothing.
        """
        if not len(self):
            raise DataError("the stream ended, or the time was over, before an item came")
        origin = Origin()
        if self._timed:
            origin = Origin(
                np.array(self._sources),
                np.array(self._times, np.int64),
                np.array(self._durations, np.int64),
            )
        if self._writer is None:
            return PickedRows(ListTable(self._elements), None, origin)
        self._writer.finish(origin)
        return load(self._writer.path)

    def keep(self) -> None:
        """After a failure: what is in the file already is worth more than nothing."""
        if self._writer is not None and len(self):
            self.finish()
            log.warning("%s: kept the %d elements until then", self._writer.path, len(self))

    def discard(self) -> None:
        """Remove the unfinished file, if there is one."""
        if self._writer is not None:
            self._writer.discard()


async def collect(
    stream: AsyncIterable[Any],
    label: Any | Callable[[Any], Any],
    count: int | None,
    seconds: float | None,
    path: str | os.PathLike[str] | None,
    max_bytes: int,
) -> PickedRows:
    """Take items of a stream until there are enough."""
    for what, value in (("count", count), ("seconds", seconds)):
        if value is not None and not value > 0:
            raise ValueError(f"{what} must be positive; received {value}")
    live = _is_live(stream)
    if live and count is None and seconds is None:
        raise ValueError("a live stream does not end by itself: give count= or seconds=")
    collector = Collector(label, count, seconds, path, max_bytes)
    limit = seconds if live else None
    try:
        await _take(stream, collector, limit)
    except BaseException:
        collector.keep()
        raise
    else:
        return collector.finish()
    finally:
        collector.discard()


async def _take(stream: AsyncIterable[Any], collector: Collector, limit: float | None) -> None:
    wait = None if limit is None else limit + _FIRST_ITEM
    async with aclosing(cast("Any", aiter(stream))) as items:
        try:
            async with asyncio.timeout(wait) as deadline:
                await _take_all(items, collector, limit, deadline)
        except TimeoutError:
            # The time is over and the stream was silent; any other time-out is its error.
            if not deadline.expired():
                raise


async def _take_all(
    items: AsyncIterator[Any], collector: Collector, limit: float | None, deadline: asyncio.Timeout
) -> None:
    started = False
    async for item in items:
        if not started and limit is not None:
            # From the first item on: a camera takes its time to open.
            deadline.reschedule(asyncio.get_running_loop().time() + limit)
        started = True
        if not collector.add(item):
            return


def _is_live(stream: Any) -> bool:
    """Whether a source, or one of a pipeline's, runs in real time."""
    steps = [chain.steps()[0] for chain in getattr(stream, "chains", ())] or [stream]
    return any(getattr(step, "live", False) for step in steps)


def load(path: str | os.PathLike[str]) -> PickedRows:
    """Return the dataset in a file."""
    file = RecordFile(path)
    return PickedRows(ListTable(file), None, file.origin)
