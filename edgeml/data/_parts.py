"""Splitting, and what is known of the rows for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeml.data._core import Core
from edgeml.errors import DataError

if TYPE_CHECKING:
    from edgeml.data._dataset import Dataset
    from edgeml.data._rows import PickedRows


class Parts(Core):
    """What is done with data whose rows can be picked: arrays, folders, collected streams."""

    def split(
        self, fractions: float | Sequence[float], by: Any = None, seed: int = 0
    ) -> list[Dataset]:
        """Split into parts at random; a part keeps the rows in their order.

        Args:
            fractions: Share of each part, with the sum 1; one number is the first of two.
            by: ``"label"`` gives each part its share of each class. ``"source"``, or an array
                with one group a row, keeps groups whole, such as all rows of one person; the
                shares are then as near as the groups' sizes let them be.
            seed: Another seed is another split.

        Raises:
            DataError: there are too few rows or groups, or the rows cannot be picked.

        Example:
            >>> import numpy as np
            >>> from edgeml.data import Dataset
            >>> data = Dataset.from_arrays(np.arange(6.0), sources=["a", "a", "b", "b", "c", "c"])
            >>> [len(part) for part in data.split((2 / 3, 1 / 3), by="source")]
            [4, 2]
        """
        from edgeml.data._split import split

        return self._cut(lambda rows: split(rows, fractions, by, seed))

    def split_by_time(
        self, fractions: float | Sequence[float], times: ArrayLike | None = None, gap: float = 0.0
    ) -> list[Dataset]:
        """Split in the order of time: the first part is the earliest.

        Args:
            fractions: As for `split`.
            times: Start of each row, seconds or datetime64; None takes the dataset's own.
            gap: Seconds between the end of a part's last row and the first row of the next;
                the rows within it are left out.

        Raises:
            DataError: no times are known, or nothing is left of a part.
        """
        from edgeml.data._split import split_by_time

        return self._cut(lambda rows: split_by_time(rows, fractions, times, gap))

    def _cut(self, cut: Callable[[PickedRows], Sequence[PickedRows]]) -> list[Dataset]:
        raise DataError(
            f"{self!r} cannot be split: its rows cannot be picked by number. Split before "
            f"shuffle(), batch() and filter(); a stream of rows that fits into memory is made "
            f"arrays by Dataset.from_arrays(*dataset.to_arrays())"
        )

    @property
    def sources(self) -> NDArray[Any] | None:
        """Source of each row, in the order before any shuffle; None when not known."""
        origin = self._origin()
        return None if origin is None else origin.sources

    @property
    def times(self) -> NDArray[np.int64] | None:
        """Start of each row, int64 ns, in the order before any shuffle; None when not known."""
        origin = self._origin()
        return None if origin is None else origin.times

    @property
    def durations(self) -> NDArray[np.int64] | None:
        """Time that each row spans, int64 ns; None when not known."""
        origin = self._origin()
        return None if origin is None else origin.durations
