"""The rows of a query, through Python's database API."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from edgeml.data._columns import Layout
from edgeml.data._dataset import Dataset
from edgeml.errors import DataError

_FETCH = 1024  # rows a fetchmany()


class SQL(Dataset):
    """The rows of a query, which runs again at each pass."""

    def __init__(
        self, connection: Any, query: str, parameters: Sequence[Any] | Mapping[str, Any],
        layout: Layout,
    ) -> None:  # fmt: skip
        super().__init__()
        self._connect, self._own = _connector(connection)
        self._query = query
        self._parameters = parameters
        self._layout = layout

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        connection = self._guard(self._connect)
        try:
            with closing(self._guard(connection.cursor)) as cursor:
                yield from self._elements(cursor)
        finally:
            if self._own:
                connection.close()

    def _elements(self, cursor: Any) -> Generator[Any, None, None]:
        self._guard(cursor.execute, self._query, self._parameters)
        if cursor.description is None:
            raise DataError(f"the query returns no rows: {self._short()}; expected a SELECT")
        convert = self._layout.converter([entry[0] for entry in cursor.description], "the query")
        number = 0

        def where() -> str:
            return f"row {number} of the query"

        while rows := self._guard(cursor.fetchmany, _FETCH):
            for row in rows:
                number += 1
                yield convert(row, where)
        if not number:
            raise DataError(f"the query found no row: {self._short()}")

    def _guard(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Call the driver; its errors have no common class but Exception."""
        try:
            return fn(*args)
        except Exception as error:
            hint = ""
            if isinstance(error, sqlite3.ProgrammingError) and "thread" in str(error):
                hint = "; give the path, or a function that connects, and each pass has its own"
            raise DataError(f"the query failed ({error}){hint}: {self._short()}") from error

    def _short(self) -> str:
        text = " ".join(self._query.split())
        return text if len(text) <= 100 else f"{text[:99]}…"


def _connector(connection: Any) -> tuple[Callable[[], Any], bool]:
    """Return what connects, and whether the connection is ours to close."""
    if isinstance(connection, str | os.PathLike):
        path = Path(connection)
        if not path.is_file():
            raise DataError(f"{path}: there is no such database file", path=str(path))
        # Read-only: a query for training has nothing to write.
        address = f"{path.absolute().as_uri()}?mode=ro"
        return (lambda: sqlite3.connect(address, uri=True)), True
    if hasattr(connection, "cursor"):
        return (lambda: connection), False
    if callable(connection):
        return connection, True
    raise DataError(
        f"from_sql: expected the path of an SQLite file, a connection or a function that connects; "
        f"received {type(connection).__name__}"
    )
