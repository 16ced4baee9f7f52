"""Datasets made of other datasets, element by element."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import ExitStack, closing
from typing import Any

import numpy as np

from edgeml.data._core import INFINITE, UNKNOWN
from edgeml.data._dataset import Dataset
from edgeml.data._map import call
from edgeml.data._origin import Origin
from edgeml.data._rows import check_seed
from edgeml.data._structure import as_element
from edgeml.errors import DataError


class Generated(Dataset):
    """What a function's iterators yield; it is called at each pass."""

    def __init__(self, fn: Callable[[], Iterable[Any]], length: int | None = None) -> None:
        super().__init__()
        self._fn = fn
        self._length = length

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        items = iter(self._fn())
        try:
            for item in items:
                yield as_element(item)
        finally:
            if isinstance(items, Generator):
                items.close()

    def cardinality(self) -> int:
        """Return the length that was given."""
        return UNKNOWN if self._length is None else self._length


class Filter(Dataset):
    """The elements that a predicate holds for."""

    def __init__(self, parent: Dataset, predicate: Callable[..., Any]) -> None:
        super().__init__(parent)
        self._predicate = predicate

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        with closing(self._parents[0]._iterate(epoch)) as items:
            for i, item in builtins.enumerate(items):
                if call(self._predicate, i, item, "filter"):
                    yield item


class Take(Dataset):
    """The first elements."""

    def __init__(self, parent: Dataset, n: int) -> None:
        super().__init__(parent)
        self._n = check_count(n, "take")

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        if not self._n:
            return
        with closing(self._parents[0]._iterate(epoch)) as items:
            # One more is not asked for: of a live or slow parent it would be waited for.
            for i, item in builtins.enumerate(items, 1):
                yield item
                if i == self._n:
                    return

    def cardinality(self) -> int:
        """Return the number of elements."""
        number = self._parents[0].cardinality()
        return self._n if number == INFINITE else number if number < 0 else min(number, self._n)


class Skip(Dataset):
    """The elements after the first ones."""

    def __init__(self, parent: Dataset, n: int) -> None:
        super().__init__(parent)
        self._n = check_count(n, "skip")

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        with closing(self._parents[0]._iterate(epoch)) as items:
            for i, item in builtins.enumerate(items):
                if i >= self._n:
                    yield item

    def cardinality(self) -> int:
        """Return the number of elements."""
        number = self._parents[0].cardinality()
        return number if number < 0 else max(0, number - self._n)


class Enumerate(Dataset):
    """Each element with its number."""

    def __init__(self, parent: Dataset, start: int) -> None:
        super().__init__(parent)
        self._start = start

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        with closing(self._parents[0]._iterate(epoch)) as items:
            for i, item in builtins.enumerate(items, self._start):
                yield np.int64(i), item

    def cardinality(self) -> int:
        """Return the number of elements."""
        return self._parents[0].cardinality()


class Repeat(Dataset):
    """Several passes as one; each is an epoch of its own."""

    def __init__(self, parent: Dataset, n: int | None) -> None:
        super().__init__(parent)
        self._n = None if n is None else check_count(n, "repeat")

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        parent_epoch = epoch * (self._n or 1)
        done = 0
        while self._n is None or done < self._n:
            empty = True
            with closing(self._parents[0]._iterate(parent_epoch + done)) as items:
                for item in items:
                    empty = False
                    yield item
            if empty:  # forever nothing would be a program that hangs
                return
            done += 1

    def cardinality(self) -> int:
        """Return the number of elements."""
        number = self._parents[0].cardinality()
        if number == 0 or self._n == 0:
            return 0
        if self._n is None:
            return INFINITE
        return number if number < 0 else number * self._n


class Zip(Dataset):
    """Tuples of one element of each; ends with the shortest."""

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        with ExitStack() as stack:
            passes: list[Iterator[Any]] = [
                stack.enter_context(closing(parent._iterate(epoch))) for parent in self._parents
            ]
            yield from builtins.zip(*passes, strict=False)

    def cardinality(self) -> int:
        """Return that of the shortest."""
        numbers = [parent.cardinality() for parent in self._parents]
        if 0 in numbers:
            return 0
        if UNKNOWN in numbers:
            return UNKNOWN
        return min((n for n in numbers if n != INFINITE), default=INFINITE)


class Concatenated(Dataset):
    """One dataset after another."""

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        for parent in self._parents:
            with closing(parent._iterate(epoch)) as items:
                yield from items

    def cardinality(self) -> int:
        """Return the sum."""
        numbers = [parent.cardinality() for parent in self._parents]
        if INFINITE in numbers:
            return INFINITE
        return UNKNOWN if UNKNOWN in numbers else sum(numbers)

    def _origin(self) -> Origin | None:
        origins = [parent._origin() for parent in self._parents]
        known = [origin for origin in origins if origin is not None]
        return Origin.concatenate(known) if len(known) == len(origins) else None


class Shuffle(Dataset):
    """Elements drawn at random from a buffer that is kept full."""

    def __init__(self, parent: Dataset, buffer: int, seed: int | None) -> None:
        super().__init__(parent)
        if buffer < 1:
            raise ValueError(f"shuffle: buffer must be at least 1 element; received {buffer}")
        self._buffer = buffer
        self._seed = check_seed(seed)

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        random = np.random.default_rng([self._seed, epoch])
        waiting: list[Any] = []
        with closing(self._parents[0]._iterate(epoch)) as items:
            for item in items:
                if len(waiting) < self._buffer:
                    waiting.append(item)
                    continue
                i = int(random.integers(self._buffer))
                chosen, waiting[i] = waiting[i], item
                yield chosen
        for i in random.permutation(len(waiting)).tolist():
            chosen, waiting[i] = waiting[i], None  # the caller may be the last to hold it
            yield chosen

    def _is_ordered(self) -> bool:
        return False

    def cardinality(self) -> int:
        """Return the number of elements."""
        return self._parents[0].cardinality()

    def _origin(self) -> Origin | None:
        return self._parents[0]._origin()


def check_count(n: int, what: str) -> int:
    """Return a number of elements.

    Raises:
        ValueError: it is negative.
    """
    if n < 0:
        raise ValueError(f"{what}: expected a number >= 0; received {n}")
    return n


def generated(items: Any, length: int | None) -> Generated:
    """Make a dataset of a function that returns an iterator, or of an iterable.

    Raises:
        DataError: it is an iterator, which could be read only once.
    """
    if callable(items):
        return Generated(items, length)
    if isinstance(items, Iterator):
        raise DataError(
            "from_generator: an iterator can be read only once, and each epoch is a pass of its "
            "own; give the function that makes it: from_generator(fn), not from_generator(fn())"
        )
    if not isinstance(items, Iterable):
        raise DataError(
            f"from_generator: expected a function that returns an iterator, or an iterable; "
            f"received {type(items).__name__}"
        )
    if length is None and isinstance(items, Sized):
        length = len(items)
    return Generated(lambda: items, length)
