"""What can be done with any dataset."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from edgeml.data._core import Core

if TYPE_CHECKING:
    from edgeml.data._dataset import Dataset


class Operations(Core):
    """Each returns a new dataset; nothing is read before a pass."""

    @property
    def _self(self) -> Dataset:
        return cast("Dataset", self)

    def map(self, fn: Callable[..., Any], workers: int = 0) -> Dataset:
        """Return the dataset of `fn` of each element, in the same order.

        Args:
            fn: Called with the element; a tuple is given as several arguments:
                ``data.map(lambda x, y: (x / 255, y))``. It must not write into its
                arguments. A result's float64 becomes float32.
            workers: Threads that call `fn`, which must then be thread-safe; 0 calls it in
                the thread that iterates. They help where `fn` is native code or waits.
        """
        from edgeml.data._map import Map

        return Map(self._self, fn, workers)

    def filter(self, predicate: Callable[..., Any]) -> Dataset:
        """Return the dataset of the elements for which `predicate` is true."""
        from edgeml.data._nodes import Filter

        return Filter(self._self, predicate)

    def batch(self, n: int, drop_last: bool = False) -> Dataset:
        """Return the dataset of `n` elements at a time, stacked along a new first axis.

        Args:
            n: Elements a batch.
            drop_last: Leave out a last batch that is smaller.

        A pass raises DataError when elements differ in structure or shape; it names the
        element.
        """
        from edgeml.data._batch import Batch

        return Batch(self._self, n, drop_last)

    def unbatch(self) -> Dataset:
        """Return the dataset of the rows of each batch."""
        from edgeml.data._batch import Unbatch

        return Unbatch(self._self)

    def shuffle(self, buffer: int = 1024, seed: int | None = None) -> Dataset:
        """Return the dataset in a random order, a new one in each epoch.

        Args:
            buffer: Elements held; each next one is drawn from them. With fewer than all the
                order is only locally random. Arrays, folders and files of `save` and `collect`
                are shuffled whole, and hold nothing: shuffle them before `map` and `cache`.
            seed: Orders depend on seed and epoch alone; None draws one now.
        """
        from edgeml.data._nodes import Shuffle

        return Shuffle(self._self, buffer, seed)

    def prefetch(self, n: int) -> Dataset:
        """Return the same dataset, up to `n` elements made ahead of time by a thread.

        An error there is raised where the element would have come. Leaving a loop early
        ends the thread.
        """
        from edgeml.data._prefetch import Prefetch

        return Prefetch(self._self, n)

    def cache(self, path: str | os.PathLike[str] | None = None) -> Dataset:
        """Return the same dataset, read again from memory or a file after the first pass.

        A pass that was left early keeps nothing. Cache what is costly, before `shuffle`:
        what is cached comes in the same order in each epoch.

        Args:
            path: A file, written when the first pass ends, and used by later programs as
                long as it is there: remove it when the data change. None keeps the elements
                in memory.
        """
        from edgeml.data._cache import FileCache, MemoryCache

        return MemoryCache(self._self) if path is None else FileCache(self._self, path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one pass into a file, for `load`; a file that is there is replaced at the end.

        Raises:
            DataError: the file cannot be written, or an element is no array or text.
        """
        from edgeml.data._cache import save

        save(self._self, path)

    def repeat(self, n: int | None = None) -> Dataset:
        """Return the dataset of `n` passes as one, each in its own order; None never ends."""
        from edgeml.data._nodes import Repeat

        return Repeat(self._self, n)

    def zip(self, *others: Dataset) -> Dataset:
        """Return the dataset of tuples, one element of each; it ends with the shortest.

        ``Dataset.zip(a, b)`` is ``a.zip(b)``.
        """
        from edgeml.data._nodes import Zip

        return Zip(self._self, *others)

    def concatenate(self, *others: Dataset) -> Dataset:
        """Return this dataset and then the others; ``Dataset.concatenate(a, b)``, too.

        Arrays and collected streams can still be split when they are put together.
        """
        from edgeml.data._nodes import Concatenated
        from edgeml.data._rows import concatenate

        rows = concatenate([self._self, *others])
        return Concatenated(self._self, *others) if rows is None else rows

    def take(self, n: int) -> Dataset:
        """Return the first `n` elements."""
        from edgeml.data._nodes import Take

        return Take(self._self, n)

    def skip(self, n: int) -> Dataset:
        """Return all but the first `n` elements."""
        from edgeml.data._nodes import Skip

        return Skip(self._self, n)

    def enumerate(self, start: int = 0) -> Dataset:
        """Return tuples of a number, from `start`, and the element."""
        from edgeml.data._nodes import Enumerate

        return Enumerate(self._self, start)

    def check_finite(self) -> Dataset:
        """Return the same dataset; a pass raises NonFinite at NaN or infinity.

        The error names the element, the array in it and the place in the array.
        """
        from edgeml.data._map import CheckFinite

        return CheckFinite(self._self)
