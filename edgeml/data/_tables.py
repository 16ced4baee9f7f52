"""Tables: rows that can be picked by number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeml.data._structure import length_of, map_leaves, narrow, stack

Index = NDArray[np.int64]


class Table(Protocol):
    """Rows that can be picked in any order."""

    def __len__(self) -> int: ...

    def row(self, i: int) -> Any:
        """Return one row as an element."""

    def pick(self, index: Index) -> Any:
        """Return some rows as a batch."""

    def labels(self, index: Index) -> NDArray[Any] | None:
        """Return the labels of some rows; None when elements have none."""


class ArrayTable:
    """Arrays, or tuples and dicts of arrays; each row is one entry of their first axes.

    They may be memory maps: only what is picked is read, and only that becomes float32.
    """

    def __init__(self, columns: Any) -> None:
        self._columns = columns
        self._rows = length_of(columns)

    def __len__(self) -> int:
        return self._rows

    def row(self, i: int) -> Any:
        """Return one row."""
        return map_leaves(lambda array: narrow(array[i]), self._columns)

    def pick(self, index: Index) -> Any:
        """Return some rows as a batch, copied."""
        return map_leaves(lambda array: narrow(np.asarray(array[index])), self._columns)

    def labels(self, index: Index) -> NDArray[Any] | None:
        """Return the labels of some rows."""
        if not isinstance(self._columns, tuple) or len(self._columns) < 2:
            return None
        return None if isinstance(self._columns[1], dict | tuple) else self._columns[1][index]


class ListTable:
    """Elements in a list, or in anything else with a length and numbers."""

    def __init__(self, elements: Sequence[Any]) -> None:
        self._elements = elements

    def __len__(self) -> int:
        return len(self._elements)

    def row(self, i: int) -> Any:
        """Return one row."""
        return self._elements[i]

    def pick(self, index: Index) -> Any:
        """Return some rows stacked."""
        return stack([self._elements[i] for i in index.tolist()])

    def labels(self, index: Index) -> NDArray[Any] | None:
        """Return the labels of some rows; reads them."""
        return labels_of(self, index)


class JoinedTable:
    """Tables one after another."""

    def __init__(self, tables: Sequence[tuple[Table, Index]]) -> None:
        self._tables = tables
        self._ends = np.cumsum([len(index) for _, index in tables])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def row(self, i: int) -> Any:
        """Return one row."""
        part = int(np.searchsorted(self._ends, i, side="right"))
        table, index = self._tables[part]
        return table.row(int(index[i - self._ends[part]]))

    def pick(self, index: Index) -> Any:
        """Return some rows stacked."""
        parts = np.searchsorted(self._ends, index, side="right")
        if len(parts) and (parts == parts[0]).all():
            table, own = self._tables[int(parts[0])]
            return table.pick(own[index - self._ends[parts[0]]])
        return stack([self.row(i) for i in index.tolist()])

    def labels(self, index: Index) -> NDArray[Any] | None:
        """Return the labels of some rows; reads them."""
        return labels_of(self, index)


def labels_of(table: Table, index: Index) -> NDArray[Any] | None:
    """Return the second part of each row's tuple."""
    found = []
    for i in index.tolist():
        row = table.row(i)
        if not isinstance(row, tuple) or len(row) < 2 or isinstance(row[1], dict | tuple):
            return None
        found.append(row[1])
    return np.asarray(found)
