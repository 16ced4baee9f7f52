"""Columns of a table of text or of a query, and the elements made of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeml.errors import DataError

Name = str | int
Columns = Sequence[str] | Mapping[str, "Column"]


@dataclass(frozen=True, slots=True)
class Column:
    """How one column of a CSV file or a query is read.

    Args:
        dtype: A NumPy dtype of numbers or bool; ``"str"`` for text, ``"bytes"`` for a BLOB.
            None is the dataset's `dtype`.
        default: Value of an empty cell.
        required: An empty cell is an error. Otherwise, without a `default`, it is NaN; a
            column of whole numbers cannot hold NaN, so there it is an error, too.
        categories: The texts that the column may have; the value is the number of the text
            in this list, int64.

    Example:
        >>> Column(categories=["setosa", "versicolor"]).categories
        ('setosa', 'versicolor')
    """

    dtype: Any = None
    default: Any = None
    required: bool = False
    categories: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.categories is not None:
            object.__setattr__(self, "categories", tuple(map(str, self.categories)))


@dataclass(frozen=True, slots=True)
class Layout:
    """What a reader was told of the columns, by `from_csv` or `from_sql`."""

    label: Name | Sequence[Name] | None = None
    columns: Columns | None = None
    configured_only: bool = False
    dtype: Any = "float32"
    label_dtype: Any = None
    as_dict: bool = False

    def converter(self, names: Sequence[str], where: str) -> Converter:
        """Return what makes an element of a row with these columns.

        Raises:
            DataError: a column that is named is not there; the message has near matches.
        """
        if twice := sorted({name for name in names if list(names).count(name) > 1}):
            raise DataError(f"{where}: column {twice[0]!r} is there twice; names must differ")
        labels, many = self._labels(names, where)
        if self.columns is None:
            configured: dict[str, Column] = {}
            chosen = list(names)
        elif isinstance(self.columns, Mapping):
            configured = dict(self.columns)
            chosen = list(configured) if self.configured_only else list(names)
        else:
            configured = {}
            chosen = list(self.columns)
        for name in (*configured, *chosen):
            _position(name, names, where, "columns=")
        features = [name for name in chosen if name not in labels]
        if not features:
            raise DataError(f"{where}: no column is left for the input beside the label")
        label_dtype = self.dtype if self.label_dtype is None else self.label_dtype

        def cells(chosen: Iterable[str], dtype: Any) -> list[Cell]:
            return [
                Cell(name, names.index(name), configured.get(name, Column()), dtype)
                for name in chosen
            ]

        inputs = cells(features, self.dtype)
        if not self.as_dict and (odd := [c.name for c in inputs if c.kind in "US"]):
            raise DataError(
                f"{where}: column {odd[0]!r} is text, and x is one vector of numbers; "
                f"give Column(categories=[…]), leave it out with columns=, or use as_dict=True"
            )
        outputs = cells(labels, label_dtype)
        return Converter(len(names), inputs, outputs, many, self.as_dict, self.dtype)

    def _labels(self, names: Sequence[str], where: str) -> tuple[list[str], bool]:
        if self.label is None:
            return [], False
        many = not isinstance(self.label, str | int)
        wanted = self.label if not isinstance(self.label, str | int) else [self.label]
        return [names[_position(name, names, where, "label=")] for name in wanted], many


def _position(name: Name, names: Sequence[str], where: str, option: str) -> int:
    if isinstance(name, int) and -len(names) <= name < len(names):
        return range(len(names))[name]
    if isinstance(name, str) and name in names:
        return names.index(name)
    near = difflib.get_close_matches(str(name), names, 3, 0.5)
    there = f"near: {', '.join(near)}" if near else f"there are: {', '.join(names[:20])}"
    raise DataError(f"{where}: {option} there is no column {name!r}; {there}", column=name)


@dataclass(slots=True)
class Cell:
    """Reads one column of a row."""

    name: str
    position: int
    column: Column
    default_dtype: Any
    dtype: np.dtype[Any] = field(init=False)
    kind: str = field(init=False)
    limits: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        wanted = self.column.dtype
        if self.column.categories is not None:
            wanted = np.int64
        elif wanted is None:
            wanted = self.default_dtype
        self.dtype = np.dtype(wanted)
        self.kind = self.dtype.kind
        if self.kind not in "biufUS":
            raise DataError(f"column {self.name!r}: dtype {wanted!r} is not one of numbers or text")
        if self.kind in "iu":
            self.limits = np.iinfo(self.dtype)

    def read(self, value: Any, where: Callable[[], str]) -> Any:
        """Return the cell's value as Python's.

        Raises:
            DataError: it is not what the column has.
        """
        if value is None or (isinstance(value, str) and not value.strip()):
            if self.column.default is not None:
                value = self.column.default
            elif self.kind == "U" and not self.column.required:
                return ""
            elif self.kind == "f" and not self.column.required:
                return float("nan")
            else:
                raise self._wrong(where, "the cell is empty, and the column has no default")
        if self.column.categories is not None:
            return self._category(str(value), where)
        if self.kind == "U":
            return str(value)
        if self.kind == "S":
            if isinstance(value, bytes):
                return value
            raise self._wrong(where, f"expected bytes, received {type(value).__name__}")
        return self._number(value, where)

    def _category(self, text: str, where: Callable[[], str]) -> int:
        assert self.column.categories is not None
        try:
            return self.column.categories.index(text)
        except ValueError:
            near = difflib.get_close_matches(text, self.column.categories, 3)
            known = ", ".join(near or self.column.categories[:10])
            raise self._wrong(
                where, f"{text!r} is none of the categories ({'near' if near else 'they are'}: "
                f"{known})",
            ) from None  # fmt: skip

    def _number(self, value: Any, where: Callable[[], str]) -> Any:
        text = value.strip() if isinstance(value, str) else value
        if self.kind == "b":
            known = {"true": True, "false": False, "1": True, "0": False}
            if (found := known.get(str(text).lower())) is not None:
                return found
            raise self._wrong(where, f"expected true or false, received {value!r}")
        try:
            if isinstance(text, str) and "_" in text:  # Python's spelling, nobody else's
                raise ValueError
            number = int(text) if self.kind != "f" and _is_whole(text) else float(text)
        except (TypeError, ValueError):
            raise self._wrong(where, f"expected a number, received {value!r}") from None
        if self.kind == "f":
            return number
        if number != number or number in (float("inf"), -float("inf")) or int(number) != number:
            raise self._wrong(where, f"expected a whole number ({self.dtype}), received {value!r}")
        if not self.limits.min <= number <= self.limits.max:
            raise self._wrong(where, f"{value!r} does not fit into {self.dtype}")
        return int(number)

    def _wrong(self, where: Callable[[], str], what: str) -> DataError:
        return DataError(f"{where()}, column {self.name!r}: {what}", column=self.name)


def _is_whole(text: Any) -> bool:
    return isinstance(text, int) or (isinstance(text, str) and text.lstrip("+-").isdigit())


class Converter:
    """Makes elements of rows of `width` cells."""

    def __init__(
        self,
        width: int,
        inputs: list[Cell],
        labels: list[Cell],
        many: bool,
        as_dict: bool,
        dtype: Any,
    ) -> None:
        self.width = width
        self._inputs = inputs
        self._labels = labels
        self._many = many
        self._as_dict = as_dict
        self._dtype = np.dtype(dtype)
        self._positions = [cell.position for cell in inputs]
        self._plain = self._dtype.kind == "f" and all(
            cell.kind == "f" and cell.column == Column() for cell in inputs
        )

    def __call__(self, row: Sequence[Any], where: Callable[[], str]) -> Any:
        """Return the element of a row.

        Args:
            row: The cells.
            where: Says which row it is, for an error.

        Raises:
            DataError: a cell is not what its column has.
        """
        x = self._x(row, where)
        if not self._labels:
            return x
        y = [_scalar(cell, row, where) for cell in self._labels]
        if not self._many:
            return x, y[0]
        if self._as_dict:
            return x, {cell.name: value for cell, value in zip(self._labels, y, strict=True)}
        return x, np.stack(y)

    def _x(self, row: Sequence[Any], where: Callable[[], str]) -> Any:
        if self._as_dict:
            return {cell.name: _scalar(cell, row, where) for cell in self._inputs}
        if self._plain:
            try:
                values = [float(row[i]) for i in self._positions]
                if not any(isinstance(row[i], str) and "_" in row[i] for i in self._positions):
                    return np.array(values, self._dtype)
            except (TypeError, ValueError):
                pass  # cell by cell, to fill in what is empty or to say which one it is
        return np.array([cell.read(row[cell.position], where) for cell in self._inputs],
                        self._dtype)  # fmt: skip


def _scalar(cell: Cell, row: Sequence[Any], where: Callable[[], str]) -> Any:
    value = cell.read(row[cell.position], where)
    return value if cell.kind in "US" else cell.dtype.type(value)
