"""Batches, and back."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Any

from edgeml.data._core import UNKNOWN
from edgeml.data._dataset import Dataset
from edgeml.data._origin import Origin
from edgeml.data._rows import Rows
from edgeml.data._structure import stack, unstack


class Batch(Dataset):
    """`n` elements stacked to one."""

    def __init__(self, parent: Dataset, n: int, drop_last: bool) -> None:
        super().__init__(parent)
        if n < 1:
            raise ValueError(f"batch: expected at least 1 element a batch; received {n}")
        self._n = n
        self._drop_last = drop_last

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        parent = self._parents[0]
        if isinstance(parent, Rows):  # one indexing instead of n rows put together again
            order = parent.order(epoch)
            for start in range(0, self.cardinality() * self._n, self._n):
                yield parent.table.pick(order[start : start + self._n])
            return
        waiting: list[Any] = []
        first = 0
        with closing(parent._iterate(epoch)) as items:
            for item in items:
                waiting.append(item)
                if len(waiting) == self._n:
                    batch, waiting = stack(waiting, first), []
                    first += self._n
                    yield batch
                    del batch
        if waiting and not self._drop_last:
            yield stack(waiting, first)

    def cardinality(self) -> int:
        """Return the number of batches."""
        number = self._parents[0].cardinality()
        if number < 0:
            return number
        return number // self._n if self._drop_last else -(-number // self._n)

    def _origin(self) -> Origin | None:
        return self._parents[0]._origin()

    def _is_batched(self) -> bool:
        return True


class Unbatch(Dataset):
    """The rows of each batch."""

    def __init__(self, parent: Dataset) -> None:
        super().__init__(parent)

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        with closing(self._parents[0]._iterate(epoch)) as batches:
            for batch in batches:
                yield from unstack(batch)

    def cardinality(self) -> int:
        """Return that it is not known: the last batch may be smaller."""
        number = self._parents[0].cardinality()
        return UNKNOWN if number > 0 else number

    def _origin(self) -> Origin | None:
        return self._parents[0]._origin() if self._parents[0]._is_batched() else None

    def _is_batched(self) -> bool:
        return False
