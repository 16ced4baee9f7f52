"""Which example a new one is most like."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml.personalize._head import unit
from edgeml.personalize._store import Store

Array = np.ndarray[Any, Any]
_BYTES = 64 << 20


class Seen:
    """The directions of the newest examples: as many as 64 MiB hold.

    Finding the nearest takes one product of a matrix with a vector; the oldest give their places
    to new ones, so that neither time nor memory grows for ever.

    Args:
        store: Where the examples are that are there already.
        size: Features of an example.
    """

    def __init__(self, store: Store, size: int) -> None:
        self.most = max(1, _BYTES // (4 * size))
        self._ids, found = store.newest(self.most)
        self._rows = unit(found) if len(found) else np.empty((0, size), np.float32)
        self._next = len(self._ids)  # where the next one goes

    def add(self, example: int, features: Array) -> None:
        """Remember one more."""
        if self._next == self.most:
            self._next = 0
        if self._next == len(self._rows):  # room for twice as many, so that few copies are made
            more = min(max(256, 2 * self._next), self.most) - self._next
            room = np.empty((more, self._rows.shape[1]), np.float32)
            self._rows = np.concatenate([self._rows, room])
        self._rows[self._next] = unit(features[None])[0]
        self._ids[self._next : self._next + 1] = [example]
        self._next += 1

    def nearest(self, features: Array) -> tuple[int, float]:
        """Return the most similar example's number, and the cosine; (0, -1) without any."""
        if not self._ids:
            return 0, -1.0
        near = self._rows[: len(self._ids)] @ unit(features[None])[0]
        best = int(near.argmax())
        return self._ids[best], float(near[best])
