"""A test set that can be looked at once."""

from __future__ import annotations

from edgeml.data import Dataset
from edgeml.errors import DataError


class Sealed:
    """A dataset that is given out once.

    Whoever looks at a test set twice starts to choose by it, and its figure becomes too good.

    Args:
        data: The test set.

    Example:
        >>> from edgeml.data import Dataset
        >>> from edgeml.tuning import Sealed
        >>> test = Sealed(Dataset.from_arrays([1.0, 2.0]))
        >>> len(test), test.opened
        (2, False)
        >>> len(test.open()), test.opened
        (2, True)
    """

    def __init__(self, data: Dataset) -> None:
        self.__data: Dataset | None = data
        self._length = data.cardinality()

    def __len__(self) -> int:
        return max(self._length, 0)

    def __repr__(self) -> str:
        return f"<Sealed test set of {self._length}, {'opened' if self.opened else 'closed'}>"

    @property
    def opened(self) -> bool:
        """Whether it was given out."""
        return self.__data is None

    def open(self) -> Dataset:
        """Return the dataset, the first time.

        Raises:
            DataError: it was opened before.
        """
        data, self.__data = self.__data, None
        if data is None:
            raise DataError(
                "the test set was opened before: a second figure on it would be one that was "
                "chosen by it. Compare models on validation data, or collect a new test set"
            )
        return data
