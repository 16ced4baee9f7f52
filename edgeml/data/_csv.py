"""CSV files, a row at a time."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any

from edgeml.data._columns import Converter, Layout
from edgeml.data._dataset import Dataset
from edgeml.data._open import is_remote, opened, shown
from edgeml.errors import DataError


class CSV(Dataset):
    """The rows of a CSV file or address, read again at each pass."""

    def __init__(
        self,
        where: str | os.PathLike[str],
        layout: Layout,
        *,
        header: bool,
        names: Sequence[str] | None,
        delimiter: str | None,
        encoding: str,
        source: dict[str, Any],
    ) -> None:
        super().__init__()
        if delimiter is not None and len(delimiter) != 1:
            raise ValueError(
                f"delimiter must be one character, or None for blanks; received {delimiter!r}"
            )
        self._where = where
        self._shown = shown(where)
        self._layout = layout
        self._header = header
        self._names = names
        self._delimiter = delimiter
        self._encoding = encoding
        self._source = source
        if not is_remote(where):  # a wrong column is known now, not when the training starts
            with closing(self._rows()) as rows:
                self._converter(rows)

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        line = 0

        def where() -> str:
            return f"{self._shown}, line {line}"

        with closing(self._rows()) as rows:
            convert, first = self._converter(rows)
            empty = True
            for line, row in rows if first is None else _after(first, rows):
                if len(row) != convert.width:
                    raise DataError(
                        f"{where()}: {len(row)} cells, expected {convert.width} columns",
                        path=self._shown,
                        line=line,
                    )
                yield convert(row, where)
                empty = False
        if empty:
            raise DataError(f"{self._shown}: there is no row of data in it", path=self._shown)

    def _converter(self, rows: Iterator[tuple[int, list[str]]]) -> tuple[Converter, Any]:
        """Return the converter, and the first row if it is data."""
        first = next(rows, None)
        if first is None:
            raise DataError(f"{self._shown}: it is empty", path=self._shown)
        found = [name.strip() for name in first[1]] if self._header else None
        names = list(self._names or found or map(str, range(len(first[1]))))
        if len(names) != len(first[1]):
            raise DataError(
                f"{self._shown}: names= has {len(names)} names, and there are {len(first[1])} "
                f"columns",
                path=self._shown,
            )
        return self._layout.converter(names, self._shown), None if self._header else first

    def _rows(self) -> Generator[tuple[int, list[str]], None, None]:
        """Yield line number and cells of each row that is not blank."""
        with opened(self._where, **self._source) as file:
            text = io.TextIOWrapper(file, self._encoding, newline="")
            line = 0
            try:
                if self._delimiter is None:
                    for line, content in enumerate(text, 1):
                        if cells := content.split():
                            yield line, cells
                    return
                reader = csv.reader(text, delimiter=self._delimiter, strict=True)
                for cells in reader:
                    line = reader.line_num
                    if cells:
                        yield line, cells
            except (csv.Error, UnicodeDecodeError) as error:
                raise DataError(
                    f"{self._shown}, after line {line}: not CSV in {self._encoding} ({error})",
                    path=self._shown,
                    line=line,
                ) from error
            finally:
                text.detach()  # `opened` closes what is below


def _after(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest
