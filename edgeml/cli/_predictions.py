"""Tables of predictions: CSV files with a header."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeml.errors import DataError

_TRUE = ("true", "y_true", "label", "target", "actual")
_PREDICTED = ("predicted", "y_pred", "prediction", "pred")


def read_classes(
    path: str, true: str | None, predicted: str | None
) -> tuple[list[Any], list[Any], list[str] | None]:
    """Return true and predicted classes, and the classes' names where columns have them.

    Raises:
        DataError: the file cannot be read, or a column is missing.
    """
    table = _read(path)
    truth = _classes(_column(path, table, true, _TRUE))
    if predicted is not None or any(name in table for name in _PREDICTED):
        return truth, _classes(_column(path, table, predicted, _PREDICTED)), None
    names, scores = _numbers(path, table, true)
    best = [max(range(len(names)), key=row.__getitem__) for row in scores]
    return _as_numbers(path, truth, names), best, names


def read_scores(path: str, true: str | None, score: str | None) -> tuple[list[int], Any, list[str]]:
    """Return true classes by number, scores (examples,) or (examples, classes), and names.

    Raises:
        DataError: the file cannot be read, or a column is missing.
    """
    table = _read(path)
    truth = _classes(_column(path, table, true, _TRUE))
    if score is not None:
        own = true or next(n for n in _TRUE if n in table)
        table = {own: table[own], score: _column(path, table, score, ())}
    names, scores = _numbers(path, table, true)
    if len(names) > 1:
        return _as_numbers(path, truth, names), scores, names
    found = sorted(set(truth), key=str)
    if len(found) != 2:
        raise DataError(
            f"{path}: one column of scores is for two classes, and there are {len(found)}: "
            f"{', '.join(map(str, found[:5]))}",
            path=path,
        )
    return (
        [found.index(value) for value in truth],
        [row[0] for row in scores],
        list(map(str, found)),
    )


def _read(path: str) -> dict[str, list[str]]:
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            file.seek(0)
            separator = max(",;\t", key=head.count)
            rows = [row for row in csv.reader(file, delimiter=separator) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read as a table: {reason}", path=path) from error
    if len(rows) < 2 or any(len(row) != len(rows[0]) for row in rows):
        raise DataError(
            f"{path} is no table: expected a header and at least one row, all as long", path=path
        )
    columns = zip(*rows[1:], strict=True)
    return {name.strip(): list(cells) for name, cells in zip(rows[0], columns, strict=True)}


def _column(
    path: str, table: dict[str, list[str]], name: str | None, usual: Sequence[str]
) -> list[str]:
    found = [name] if name is not None else [n for n in usual if n in table]
    if found and found[0] in table:
        return table[found[0]]
    wanted = f"no column {name!r}" if name is not None else f"none of {', '.join(usual)}"
    near = difflib.get_close_matches(name or "", table, 1)
    hint = f". Did you mean {near[0]!r}?" if near else "."
    raise DataError(
        f"{path} has {wanted}{hint} It has {', '.join(map(repr, table))}"
        + ("" if name is not None else f": say which with --{usual[0]}"),
        path=path,
    )


def _classes(cells: Sequence[str]) -> list[Any]:
    """Return classes as numbers when all are."""
    whole = all(cell.strip().isdecimal() for cell in cells)
    return [int(cell) if whole else cell.strip() for cell in cells]


def _numbers(
    path: str, table: dict[str, list[str]], true: str | None
) -> tuple[list[str], list[list[float]]]:
    """Return the other columns of numbers: their names, and the rows."""
    taken = true or next(n for n in _TRUE if n in table)
    found: dict[str, list[float]] = {}
    for name, cells in table.items():
        if name != taken and name not in _PREDICTED:
            try:
                found[name] = [float(cell) for cell in cells]
            except ValueError:
                continue
    if not found:
        raise DataError(
            f"{path} has no column of numbers besides {taken!r}; it has "
            f"{', '.join(map(repr, table))}",
            path=path,
        )
    return list(found), [list(row) for row in zip(*found.values(), strict=True)]


def _as_numbers(path: str, truth: Sequence[Any], names: Sequence[str]) -> list[int]:
    """Return true classes as places among the columns of scores."""
    known = {name: i for i, name in enumerate(names)}
    found = []
    for value in truth:
        at = known.get(str(value), value if isinstance(value, int) else -1)
        if not 0 <= at < len(names):
            raise DataError(
                f"{path}: there is no column with the scores of class {value!r}; there are "
                f"{', '.join(names[:10])}",
                path=path,
            )
        found.append(at)
    return found
