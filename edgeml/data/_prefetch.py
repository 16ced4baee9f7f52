"""Elements made ahead of time, in a thread."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

from edgeml.data._dataset import Dataset
from edgeml.data._origin import Origin

log = logging.getLogger("edgeml.data")

_CLOSE_TIME = 5.0  # seconds for the element that is being made when a pass is abandoned


class Prefetch(Dataset):
    """The same elements; up to `n` are made before they are asked for."""

    def __init__(self, parent: Dataset, n: int) -> None:
        super().__init__(parent)
        if n < 1:
            raise ValueError(f"prefetch: expected at least 1 element; received {n}")
        self._n = n

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        producer = _Producer(self._parents[0]._iterate(epoch), self._n)
        producer.start()
        try:
            yield from producer.items()
        finally:
            producer.stop()

    def cardinality(self) -> int:
        """Return the number of elements."""
        return self._parents[0].cardinality()

    def _origin(self) -> Origin | None:
        return self._parents[0]._origin()


class _Producer(threading.Thread):
    """Iterates in its own thread, which also closes the pass: a cursor may be bound to it."""

    def __init__(self, items: Generator[Any, None, None], n: int) -> None:
        super().__init__(name="edgeml-prefetch", daemon=True)
        self._items = items
        self._n = n
        self._ready: deque[Any] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._ended = False
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            with closing(self._items) as items:
                for item in items:
                    if not self._put(item):
                        break
                    del item
        except BaseException as error:  # it is the consumer's to handle, whatever it is
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, item: Any) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._ready) < self._n)
            self._ready.append(item)
            self._changed.notify_all()
            return not self._stopped

    def items(self) -> Iterator[Any]:
        """Yield what is ready; raise what the thread raised."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ready or self._ended)
                if not self._ready:
                    break
                item = self._ready.popleft()
                self._changed.notify_all()
            yield item
            del item
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End the thread; one that is stuck in its element is left to end by itself."""
        with self._changed:
            self._stopped = True
            self._ready.clear()
            self._changed.notify_all()
        self.join(_CLOSE_TIME)
        if self.is_alive():
            log.warning(
                "prefetch was abandoned while an element takes more than %s s; its thread ends "
                "with it", _CLOSE_TIME,
            )  # fmt: skip
