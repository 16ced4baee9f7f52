"""Datasets whose rows can be picked: shuffled whole, batched in one step, split."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml.data._dataset import Dataset
from edgeml.data._origin import Origin
from edgeml.data._tables import ArrayTable, Index, JoinedTable, Table
from edgeml.errors import DataError


class Rows(Dataset):
    """Some rows of a table, in a fixed order."""

    def __init__(
        self, table: Table, index: Index | None = None, origin: Origin | None = None
    ) -> None:
        super().__init__()
        self.table = table
        self.index = np.arange(len(table)) if index is None else index
        self.origin = origin or Origin()

    def order(self, epoch: int) -> Index:
        """Return the numbers of the rows, in the order of a pass."""
        return self.index

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        for i in self.order(epoch).tolist():
            yield self.table.row(i)

    def cardinality(self) -> int:
        """Return the number of rows."""
        return len(self.index)

    def _origin(self) -> Origin | None:
        return self.origin

    def to_arrays(self) -> Any:
        """Return all rows as arrays."""
        if not len(self.index):
            raise DataError(f"{self!r} is empty")
        return self.table.pick(self.order(0))


class PickedRows(Rows):
    """Rows in their own order, which can be cut into parts."""

    def at(self, positions: Index) -> PickedRows:
        """Return the dataset of some rows, by their position in this one."""
        return PickedRows(self.table, self.index[positions], self.origin.pick(positions))

    def labels(self) -> NDArray[Any] | None:
        """Return the label of each row; None when there are none."""
        return self.table.labels(self.index)

    def shuffle(self, buffer: int = 1024, seed: int | None = None) -> Dataset:
        """Return the rows in a new order in each epoch; always of all rows."""
        return ShuffledRows(self, seed)

    def take(self, n: int) -> Dataset:
        """Return the first `n` rows."""
        return self.at(np.arange(min(_count(n, "take"), len(self.index))))

    def skip(self, n: int) -> Dataset:
        """Return the rows after the first `n`."""
        return self.at(np.arange(min(_count(n, "skip"), len(self.index)), len(self.index)))

    def _cut(self, cut: Callable[[PickedRows], Sequence[PickedRows]]) -> list[Dataset]:
        return list(cut(self))


class ShuffledRows(Rows):
    """All rows, in a new order in each epoch."""

    def __init__(self, rows: PickedRows, seed: int | None) -> None:
        super().__init__(rows.table, rows.index, rows.origin)
        self.seed = check_seed(seed)

    def order(self, epoch: int) -> Index:
        """Return the rows' numbers in the order of an epoch."""
        return np.random.default_rng([self.seed, epoch]).permutation(self.index)

    def _is_ordered(self) -> bool:
        return False


def concatenate(parts: Sequence[Dataset]) -> PickedRows | None:
    """Return the rows one after another; None where the rows of one cannot be picked."""
    rows = [part for part in parts if isinstance(part, PickedRows)]
    if len(rows) < len(parts):
        return None
    table = JoinedTable([(part.table, part.index) for part in rows])
    return PickedRows(table, None, Origin.concatenate([part.origin for part in rows]))


def check_seed(seed: int | None) -> int:
    """Return the seed; a random one, fixed for this dataset, for None.

    Raises:
        ValueError: it is negative.
    """
    if seed is None:
        return secrets.randbits(63)
    if seed < 0:
        raise ValueError(f"seed must not be negative; received {seed}")
    return int(seed)


def _count(n: int, what: str) -> int:
    if n < 0:
        raise ValueError(f"{what}: expected a number >= 0; received {n}")
    return n


def of_columns(columns: Any, origin: Callable[[int], Origin]) -> PickedRows:
    """Make a dataset of arrays.

    Raises:
        DataError: there are no rows, or not equally many in each.
    """
    table = ArrayTable(columns)
    if not len(table):
        raise DataError("the arrays have no rows: a dataset needs at least one")
    return PickedRows(table, None, origin(len(table)))
