"""Which example a new one is most like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeml.personalize._head import unit
from edgeml.personalize._store import Example, matrix

Array = np.ndarray[Any, Any]
_BLOCK = 256  # rows that are gathered before they are put together


class Seen:
    """The directions of all examples; a new one costs no copy of them.

    Args:
        examples: Those that are there already.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        self._ids = [e.id for e in examples]
        self._blocks = [unit(matrix(examples))] if examples else []
        self._recent: list[Array] = []

    def add(self, example: int, features: Array) -> None:
        """Remember one more."""
        self._ids.append(example)
        self._recent.append(unit(features[None])[0])
        if len(self._recent) == _BLOCK:
            self._blocks.append(np.stack(self._recent))
            self._recent = []

    def nearest(self, features: Array) -> tuple[int, float]:
        """Return the most similar example's number, and the cosine; (0, -1) without any."""
        if not self._ids:
            return 0, -1.0
        one = unit(features[None])[0]
        recent = [np.stack(self._recent)] if self._recent else []
        near = np.concatenate([block @ one for block in (*self._blocks, *recent)])
        best = int(near.argmax())
        return self._ids[best], float(near[best])
