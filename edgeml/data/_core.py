"""What all datasets share: passes, length, epochs."""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator, Generator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from edgeml.data._structure import stack
from edgeml.errors import DataError

if TYPE_CHECKING:
    from edgeml.data._dataset import Dataset
    from edgeml.data._origin import Origin

INFINITE = -1
"""Cardinality of a dataset that does not end."""

UNKNOWN = -2
"""Cardinality of a dataset whose length is known only after a pass."""

_END = object()

_CLOSE_TIME = 5.0  # seconds for the element that is being made when a pass is abandoned


class Core:
    """A dataset as a sequence of passes.

    A node keeps nothing of a pass: the epoch's number is handed down to its parents, so
    several passes may run at once, and a pass can be repeated.
    """

    def __init__(self, *parents: Dataset) -> None:
        self._parents = parents
        self._epoch = 0

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        """Yield the elements of a pass."""
        raise NotImplementedError

    def cardinality(self) -> int:
        """Return the number of elements in a pass, or `INFINITE`, or `UNKNOWN`."""
        return UNKNOWN

    def _origin(self) -> Origin | None:
        """Return where the rows come from, if that is known of all of them."""
        return None

    def _is_ordered(self) -> bool:
        """Whether elements come in the order of their origin."""
        return all(parent._is_ordered() for parent in self._parents)

    def _is_batched(self) -> bool:
        return any(parent._is_batched() for parent in self._parents)

    def __iter__(self) -> Generator[Any, None, None]:
        """Start a pass; each has the next epoch's number, which `shuffle` takes its order from."""
        epoch = self._epoch
        self._epoch += 1
        return self._iterate(epoch)

    def __len__(self) -> int:
        number = self.cardinality()
        if number < 0:
            what = "does not end" if number == INFINITE else "is known only after a pass"
            raise TypeError(f"{self!r} has no len(): its length {what}; see cardinality()")
        return number

    def __bool__(self) -> bool:
        return self.cardinality() != 0

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Run a pass in one worker thread: the loop stays free while an element is made."""
        from edgeml.streams._workers import Workers

        items = iter(self)
        worker = Workers(1, "edgeml-data")
        try:
            while (item := await worker.submit(next, items, _END)) is not _END:
                yield item
        finally:
            # In the same thread, after a call that may still run there.
            closed = worker.submit(items.close)
            closed.add_done_callback(lambda done: done.cancelled() or done.exception())
            await worker.aclose(timeout=_CLOSE_TIME)

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next pass, such as when a training is resumed."""
        self._epoch = operator.index(epoch)

    def peek(self) -> Any:
        """Return the first element, as epoch 0 has it; this is no pass.

        Raises:
            DataError: there is none.
        """
        with closing(self._iterate(0)) as items:
            for item in items:
                return item
        raise DataError(f"{self!r} is empty")

    def to_arrays(self) -> Any:
        """Return all elements of one pass stacked: the structure of an element, in arrays.

        Raises:
            DataError: it is empty, ragged or does not end.
        """
        if self.cardinality() == INFINITE:
            raise DataError(f"{self!r} does not end; take(n) some of it")
        elements = list(self)
        if not elements:
            raise DataError(f"{self!r} is empty")
        return stack(elements)

    def __repr__(self) -> str:
        number = self.cardinality()
        count = {INFINITE: "infinite", UNKNOWN: "of unknown length"}.get(number, f"of {number}")
        return f"<{type(self).__name__.strip('_')} {count}>"
