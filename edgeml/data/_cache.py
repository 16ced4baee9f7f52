"""The elements of one whole pass, kept."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

from edgeml.data._core import UNKNOWN
from edgeml.data._dataset import Dataset
from edgeml.data._origin import Origin
from edgeml.data._records import RecordFile, RecordWriter

log = logging.getLogger("edgeml.data")


class MemoryCache(Dataset):
    """Kept in memory once a pass has gone through."""

    def __init__(self, parent: Dataset) -> None:
        super().__init__(parent)
        self._elements: list[Any] | None = None

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        if self._elements is not None:
            yield from self._elements
            return
        elements = []
        with closing(self._parents[0]._iterate(epoch)) as items:
            for item in items:
                elements.append(item)
                yield item
        self._elements = elements

    def cardinality(self) -> int:
        """Return the number of elements."""
        number = self._parents[0].cardinality()
        return number if number != UNKNOWN or self._elements is None else len(self._elements)

    def _origin(self) -> Origin | None:
        return self._parents[0]._origin()


class FileCache(Dataset):
    """Kept in a file once a pass has gone through; the file is then read instead."""

    def __init__(self, parent: Dataset, path: str | os.PathLike[str]) -> None:
        super().__init__(parent)
        self._path = Path(path)
        self._file: RecordFile | None = None

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        if self._file is None and self._path.exists():
            self._file = RecordFile(self._path)
            log.debug("%s: %d elements from the cache", self._path, len(self._file))
        if self._file is not None:
            for i in range(len(self._file)):
                yield self._file[i]
            return
        with RecordWriter(self._path) as writer:
            with closing(self._parents[0]._iterate(epoch)) as items:
                for item in items:
                    writer.write(item)
                    yield item
            writer.finish(_origin_of(self, len(writer)))

    def cardinality(self) -> int:
        """Return the number of elements."""
        number = self._parents[0].cardinality()
        return number if number != UNKNOWN or self._file is None else len(self._file)

    def _origin(self) -> Origin | None:
        return self._parents[0]._origin()


def save(dataset: Dataset, path: str | os.PathLike[str]) -> None:
    """Write one pass into a file."""
    with RecordWriter(path) as writer:
        for item in dataset:
            writer.write(item)
        writer.finish(_origin_of(dataset, len(writer)))


def _origin_of(dataset: Dataset, rows: int) -> Origin | None:
    """Return the origin if it tells of the elements as they came."""
    origin = dataset._origin()
    if origin is None or not dataset._is_ordered() or dataset._is_batched():
        return None
    return origin if origin.rows == rows else None
