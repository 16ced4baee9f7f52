"""The data of a search: to train on, to choose by, and to test on once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgeml.data import Dataset, check_leak
from edgeml.errors import DataError
from edgeml.tuning._seal import Sealed


@dataclass(frozen=True)
class Split:
    """Parts that share nothing.

    Attributes:
        train: To train on.
        validation: To choose by.
        test: To test on, sealed.
        sizes: Elements of each.
    """

    train: Dataset
    validation: Dataset
    test: Sealed
    sizes: dict[str, int]


def split(
    data: Any, validation: Any, test: Any, fractions: Sequence[float], by: Any, gap: float,
    seed: int, on_leak: Any,
) -> Split:  # fmt: skip
    """Cut data that were not cut yet, and check that parts share neither inputs nor groups.

    Raises:
        DataError: there is a leak, or data cannot be cut.
    """
    whole = _dataset(data, "data")
    if len(fractions) != 3:
        raise DataError(
            f"split: expected the shares of train, validation and test, received {fractions!r}"
        )
    given = [None if part is None else _dataset(part, name)
             for part, name in ((validation, "validation"), (test, "test"))]  # fmt: skip
    shares = [fractions[0], *(f for f, p in zip(fractions[1:], given, strict=True) if p is None)]
    cut = [whole] if len(shares) == 1 else _cut(whole, shares, by, gap, seed)
    made = iter(cut[1:])
    parts = [cut[0], *(next(made) if part is None else part for part in given)]
    names = ("train", "validation", "test")
    for i, j in ((0, 1), (0, 2), (1, 2)):
        try:
            check_leak(parts[i], parts[j], on_leak=on_leak)
        except DataError as error:
            error.add_note(f"between {names[i]} and {names[j]} data")
            raise
    sizes = {name: part.cardinality() for name, part in zip(names, parts, strict=True)}
    return Split(parts[0], parts[1], Sealed(parts[2]), sizes)


def _cut(
    data: Dataset, shares: Sequence[float], by: Any, gap: float, seed: int
) -> Sequence[Dataset]:
    fractions = [share / sum(shares) for share in shares]
    if isinstance(by, str) and by == "time":
        return data.split_by_time(fractions, gap=gap)
    return data.split(fractions, by=by, seed=seed)


def _dataset(data: Any, what: str) -> Dataset:
    if isinstance(data, Dataset):
        return data.unbatch() if data._is_batched() else data
    if isinstance(data, tuple) and len(data) in (2, 3):
        return Dataset.from_arrays(*data)
    raise DataError(f"{what}: expected a dataset or (x, y), received {type(data).__name__}")
