"""Parts of a dataset for training, validation and test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeml.data._origin import Origin, column, to_ns
from edgeml.data._rows import PickedRows
from edgeml.data._tables import Index
from edgeml.errors import DataError


def split(
    rows: PickedRows, fractions: float | Sequence[float], by: Any, seed: int
) -> list[PickedRows]:
    """Cut at random, by class, or by group."""
    shares = check_fractions(fractions)
    random = np.random.default_rng(seed)
    if by is None:
        return _parts(rows, _cut_random(np.arange(len(rows)), shares, random, "the data"))
    if isinstance(by, str) and by == "label":
        return _parts(rows, _cut_classes(_labels(rows), shares, random))
    groups = _groups(rows, by)
    grouped = PickedRows(rows.table, rows.index, rows.origin.with_groups(groups))
    return _parts(grouped, _cut_groups(groups, shares, random))


def split_by_time(
    rows: PickedRows, fractions: float | Sequence[float], times: ArrayLike | None, gap: float
) -> list[PickedRows]:
    """Cut in the order of time; later parts lose the rows within `gap` of an earlier part."""
    shares = check_fractions(fractions)
    if not gap >= 0:
        raise ValueError(f"gap must be a number of seconds >= 0; received {gap}")
    if (given := to_ns(times, len(rows), "times")) is not None:
        starts, spans = given, np.zeros(len(rows), np.int64)
        origin = Origin(rows.origin.sources, starts, spans, rows.origin.groups)
        rows = PickedRows(rows.table, rows.index, origin)
    elif rows.origin.times is None:
        raise DataError("split_by_time: this dataset knows no times; give times=, in seconds")
    assert rows.origin.times is not None
    starts, spans = rows.origin.times, rows.origin.spans()
    order = np.argsort(starts, kind="stable")
    cuts = np.cumsum(_counts(len(rows), shares, "the data"))[:-1]
    # Rows of one moment stay together.
    cuts = np.searchsorted(starts[order], starts[order][cuts - 1], side="right")
    parts: list[Index] = []
    end: int | None = None
    for part in np.split(order, cuts):
        if end is not None:
            part = part[starts[part] >= end + round(gap * 1e9)]
        if not len(part):
            raise DataError(
                f"split_by_time: part {len(parts)} has no row left, with gap={gap} s and "
                f"{len(rows)} rows over {(starts.max() - starts.min()) / 1e9:.3g} s"
            )
        last = int((starts[part] + spans[part]).max())
        end = last if end is None else max(end, last)
        parts.append(np.sort(part))
    return _parts(rows, parts)


def check_fractions(fractions: float | Sequence[float]) -> NDArray[np.float64]:
    """Return the parts' shares; one number is that of the first of two.

    Raises:
        ValueError: they are not positive, or their sum is not 1.
    """
    values = [fractions, 1 - fractions] if isinstance(fractions, int | float) else list(fractions)
    shares = np.asarray(values, np.float64)
    if len(shares) < 2 or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-6:
        raise ValueError(
            f"fractions must be at least two positive numbers with the sum 1, or one between 0 "
            f"and 1; received {fractions!r}"
        )
    return shares


def _counts(n: int, shares: NDArray[np.float64], what: str) -> NDArray[np.int64]:
    """Divide `n` rows; each part has at least one."""
    if n < len(shares):
        raise DataError(f"split: {what} has {n} rows, too few for {len(shares)} parts")
    exact = shares * n
    counts = np.floor(exact + 1e-9).astype(np.int64)
    for part in np.argsort(counts - exact, kind="stable")[: n - counts.sum()]:
        counts[part] += 1
    for part in np.flatnonzero(counts == 0):
        counts[np.argmax(counts)] -= 1
        counts[part] = 1
    return counts


def _cut_random(
    rows: Index, shares: NDArray[np.float64], random: np.random.Generator, what: str
) -> list[Index]:
    cuts = np.cumsum(_counts(len(rows), shares, what))[:-1]
    return list(np.split(random.permutation(rows), cuts))


def _cut_classes(
    labels: NDArray[Any], shares: NDArray[np.float64], random: np.random.Generator
) -> list[Index]:
    cuts = [
        _cut_random(np.flatnonzero(labels == value), shares, random, f"class {value}")
        for value in np.unique(labels)
    ]
    return [np.concatenate([cut[part] for cut in cuts]) for part in range(len(shares))]


def _cut_groups(
    groups: NDArray[Any], shares: NDArray[np.float64], random: np.random.Generator
) -> list[Index]:
    """Give whole groups, in random order, each to the part that lacks the most rows."""
    names, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < len(shares):
        listed = ", ".join(map(str, names[:10]))
        raise DataError(
            f"split: there are {len(names)} groups ({listed}), and a group cannot be in two of "
            f"{len(shares)} parts; split_by_time() cuts one recording"
        )
    lacking = shares * len(groups)
    part_of = np.empty(len(names), np.int64)
    empty = set(range(len(shares)))
    for i, group in enumerate(random.permutation(len(names))):
        # The last groups go to the parts that have none yet.
        choice = sorted(empty) if len(names) - i <= len(empty) else list(range(len(shares)))
        part = max(choice, key=lambda k: lacking[k])
        part_of[group] = part
        lacking[part] -= sizes[group]
        empty.discard(part)
    return [np.flatnonzero(part_of[member] == part) for part in range(len(shares))]


def _labels(rows: PickedRows) -> NDArray[Any]:
    labels = rows.labels()
    if labels is None:
        raise DataError('split: by="label" needs elements (x, y); these have no label')
    if labels.ndim > 2:
        raise DataError(f'split: by="label" needs a class a row; labels have shape {labels.shape}')
    if labels.ndim == 2 and labels.shape[1] > 1:  # one-hot
        classes: NDArray[Any] = np.argmax(labels, axis=1)
        return classes
    return labels.reshape(len(labels))


def _groups(rows: PickedRows, by: Any) -> NDArray[Any]:
    if isinstance(by, str):
        if by != "source":
            raise ValueError(
                f'by must be None, "label", "source" or one group a row; received {by!r} (by time: '
                f"split_by_time)"
            )
        if rows.origin.sources is None:
            raise DataError('split: by="source", but this dataset knows no sources; give by=groups')
        return rows.origin.sources
    groups = column(by, len(rows), "by")
    assert groups is not None
    return groups


def _parts(rows: PickedRows, positions: Sequence[Index]) -> list[PickedRows]:
    return [rows.at(np.sort(part)) for part in positions]
