"""Datasets of streams, and files of what was collected."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, Callable
from typing import TYPE_CHECKING, Any

from edgeml.errors import DataError

if TYPE_CHECKING:
    from edgeml.data._dataset import Dataset


class Live:
    """Constructors from a stream and from a file of a dataset."""

    @staticmethod
    async def collect(
        stream: AsyncIterable[Any],
        *,
        label: Any | Callable[[Any], Any] = None,
        count: int | None = None,
        seconds: float | None = None,
        path: str | os.PathLike[str] | None = None,
        max_bytes: int = 2 << 30,
    ) -> Dataset:
        """Collect items of a source or a pipeline into a dataset.

        Source, time and duration of each sample are kept, for `split` and `check_leak`. The
        stream is closed at the end. ``concatenate`` puts several recordings together.

        Args:
            stream: A source, or a pipeline with one open end; its items' data are arrays,
                numbers, readings, or tuples and dicts of them. The samples that ``window``
                gathers are stacked.
            label: Label of all elements; or a function of an item (a Sample where the stream
                has them) that returns its label, or `SKIP` to leave it out. None makes
                elements without a label.
            count: Number of elements after which to stop.
            seconds: Time after which to stop, on the samples' clock; of a live stream also
                that time after its first item.
            path: A file to keep the elements in instead of memory; see `load`. When the
                stream fails, or the call is cancelled, what came until then stays in it.
            max_bytes: Most bytes of elements.

        Raises:
            DataError: nothing came, too much came, or an item's data are no arrays.
            EdgeMLError: what ended the stream.

        Example:
            >>> import asyncio, edgeml
            >>> from edgeml.data import Dataset
            >>> stream = edgeml.Source.of([1.0, 2.0, 3.0])
            >>> data = asyncio.run(Dataset.collect(stream, label=1, count=2))
            >>> [(float(x), int(y)) for x, y in data]
            [(1.0, 1), (2.0, 1)]
        """
        from edgeml.data._collect import collect

        return await collect(stream, label, count, seconds, path, max_bytes)

    @staticmethod
    def from_stream(
        stream: AsyncIterable[Any],
        *,
        label: Any | Callable[[Any], Any] = None,
        count: int | None = None,
        seconds: float | None = None,
        path: str | os.PathLike[str] | None = None,
        max_bytes: int = 2 << 30,
    ) -> Dataset:
        """Do the same as `collect` in a program without a running loop.

        Raises:
            DataError: a loop is running; and as `collect`.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(
                Live.collect(stream, label=label, count=count, seconds=seconds, path=path,
                             max_bytes=max_bytes)
            )  # fmt: skip
        raise DataError(
            "from_stream() starts a loop of its own, and one is running here; use "
            "await Dataset.collect(…)"
        )

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Dataset:
        """Return the dataset in a file that `save`, `cache` or `collect` wrote.

        Elements are read when they are needed, in any order.

        Raises:
            DataError: there is no such file, or it is damaged.
        """
        from edgeml.data._collect import load

        return load(path)
