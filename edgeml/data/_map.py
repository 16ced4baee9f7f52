"""A function of each element, in this thread or in several."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeml.data._dataset import Dataset
from edgeml.data._origin import Origin
from edgeml.data._structure import as_element, leaves
from edgeml.errors import NonFinite

if TYPE_CHECKING:
    from edgeml.data._rows import PickedRows


class Map(Dataset):
    """`fn` of each element; the order is kept, however many workers there are."""

    what = "map"

    def __init__(self, parent: Dataset, fn: Callable[..., Any], workers: int = 0) -> None:
        super().__init__(parent)
        if workers < 0:
            raise ValueError(f"map: workers must not be negative; received {workers}")
        self._fn = fn
        self._workers = workers

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        with closing(self._parents[0]._iterate(epoch)) as items:
            if self._workers:
                yield from in_order(self._apply, items, self._workers)
            else:
                for i, item in enumerate(items):
                    yield self._apply(i, item)

    def _apply(self, i: int, item: Any) -> Any:
        return as_element(call(self._fn, i, item, self.what))

    def cardinality(self) -> int:
        """Return the number of elements."""
        return self._parents[0].cardinality()

    def _origin(self) -> Origin | None:
        return self._parents[0]._origin()

    def _cut(self, cut: Callable[[PickedRows], Sequence[PickedRows]]) -> list[Dataset]:
        parts = []
        for part in self._parents[0]._cut(cut):
            mapped = copy.copy(self)
            mapped._parents, mapped._epoch = (part,), 0
            parts.append(mapped)
        return list(parts)


class CheckFinite(Map):
    """The elements, unless one has NaN or infinity in it."""

    what = "check_finite"

    def __init__(self, parent: Dataset) -> None:
        super().__init__(parent, lambda: None)

    def _apply(self, i: int, item: Any) -> Any:
        for path, leaf in leaves(item):
            if getattr(leaf, "dtype", np.dtype(object)).kind not in "fc":
                continue
            bad = ~np.isfinite(leaf)
            if bad.any():
                first = tuple(int(n) for n in np.argwhere(np.atleast_1d(bad))[0])
                raise NonFinite(
                    f"element {i}{path} has {int(bad.sum())} values that are NaN or infinity, the "
                    f"first at {first if np.ndim(leaf) else 'the scalar itself'}; filter() such "
                    f"elements out, or map() the values to others",
                    element=i,
                )
        return item


def call(fn: Callable[..., Any], i: int, item: Any, what: str) -> Any:
    """Call a function of an element; a tuple is given as several arguments."""
    try:
        return fn(*item) if isinstance(item, tuple) else fn(item)
    except Exception as error:
        error.add_note(f"in {what}() of element {i}")
        raise


def in_order(
    fn: Callable[[int, Any], Any], items: Iterable[Any], workers: int
) -> Generator[Any, None, None]:
    """Keep twice as many calls under way as there are threads; yield in the items' order."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="edgeml-map")
    waiting: deque[Future[Any]] = deque()
    try:
        for i, item in enumerate(items):
            waiting.append(pool.submit(fn, i, item))
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
