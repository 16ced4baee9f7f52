"""Where the rows of a dataset come from: source, time, group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeml.errors import DataError


@dataclass(frozen=True, slots=True)
class Origin:
    """One entry a row; None where it is not known.

    Attributes:
        sources: Name of the source.
        times: Start, int64 ns.
        durations: Time that the row spans, int64 ns.
        groups: What must not be torn apart, such as the subject.
    """

    sources: NDArray[Any] | None = None
    times: NDArray[np.int64] | None = None
    durations: NDArray[np.int64] | None = None
    groups: NDArray[Any] | None = None

    @property
    def rows(self) -> int | None:
        """Number of rows; None when nothing is known of them."""
        known = [getattr(self, field.name) for field in fields(self)]
        return next((len(values) for values in known if values is not None), None)

    def spans(self) -> NDArray[np.int64]:
        """Return the time that each row takes, ns: at least 1, so that an instant counts.

        Only where times are known.
        """
        assert self.times is not None
        durations = np.zeros_like(self.times) if self.durations is None else self.durations
        return np.maximum(durations, 1)

    def pick(self, index: NDArray[np.int64]) -> Origin:
        """Return that of some rows."""
        return self._each(lambda name: _pick(getattr(self, name), index))

    def with_groups(self, groups: NDArray[Any]) -> Origin:
        """Return a copy with other groups."""
        return replace(self, groups=groups)

    def _each(self, fn: Any) -> Origin:
        return Origin(**{field.name: fn(field.name) for field in fields(self)})

    @staticmethod
    def concatenate(origins: Sequence[Origin]) -> Origin:
        """Return that of the rows one after another; unknown where one does not know."""

        def joined(name: str) -> NDArray[Any] | None:
            parts = [getattr(origin, name) for origin in origins]
            return None if any(part is None for part in parts) else np.concatenate(parts)

        return Origin()._each(joined)


def _pick(values: NDArray[Any] | None, index: NDArray[np.int64]) -> NDArray[Any] | None:
    return None if values is None else values[index]


def column(values: ArrayLike | None, rows: int, what: str) -> NDArray[Any] | None:
    """Return one value a row as an array.

    Raises:
        DataError: it has another length.
    """
    if values is None:
        return None
    array = np.asarray(values)
    if array.shape != (rows,):
        raise DataError(
            f"{what} must have one value for each of the {rows} rows; received shape {array.shape}"
        )
    return array


def to_ns(values: ArrayLike | None, rows: int, what: str) -> NDArray[np.int64] | None:
    """Return times as int64 ns; numbers are seconds, datetimes are what they are.

    Raises:
        DataError: they have another length, or are no times.
    """
    array = column(values, rows, what)
    if array is None:
        return None
    ns: NDArray[np.int64]
    if array.dtype.kind in "mM":
        unit = "datetime64[ns]" if array.dtype.kind == "M" else "timedelta64[ns]"
        ns = array.astype(unit).astype(np.int64)
        return ns
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise DataError(
            f"{what} must be finite numbers, in seconds, or datetime64; received {array.dtype}"
            + (" with NaN or infinity" if array.dtype.kind == "f" else "")
        )
    if array.dtype.kind == "f":
        # Whole seconds and the rest apart: an epoch's seconds leave float64 no digits for ns.
        whole = np.floor(array)
        ns = whole.astype(np.int64) * 10**9 + np.rint((array - whole) * 1e9).astype(np.int64)
        return ns
    ns = array.astype(np.int64) * 10**9
    return ns
