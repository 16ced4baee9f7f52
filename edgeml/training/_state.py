"""What training changes: flat vectors of parameters and optimizer state, each held twice."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class State:
    """All trainable parameters in one vector, the optimizer's vectors, and running statistics.

    Everything is held twice: a step reads one set and writes the other, and only a step that
    went well makes the new set the current one. So a step that fails, or gives NaN, loses nothing.

    Args:
        trainable: Start values of what gradients change, by key.
        slots: Names of the optimizer's vectors; they start at zero.
        others: Start values of what steps update otherwise, by key.
    """

    def __init__(
        self, trainable: Mapping[Hashable, Array], slots: Sequence[str],
        others: Mapping[Hashable, Array],
    ) -> None:  # fmt: skip
        self.keys = list(trainable)
        self.shapes = [tuple(trainable[key].shape) for key in self.keys]
        self.sizes = [int(np.prod(shape, dtype=np.int64)) for shape in self.shapes]
        ends = np.cumsum([0, *self.sizes]).tolist()
        self._places = dict(zip(self.keys, zip(ends[:-1], ends[1:], self.shapes, strict=True),
                                strict=True))  # fmt: skip
        flat = np.zeros(ends[-1], np.float32)
        for key, (start, end, _) in self._places.items():
            flat[start:end] = trainable[key].ravel()
        self.size = flat.size
        self.vectors = {name: (np.zeros_like(flat), np.zeros_like(flat)) for name in slots}
        self.vectors["parameters"] = (flat, flat.copy())
        self.others = {key: (value.copy(), value.copy()) for key, value in others.items()}
        self.current = 0
        self.version = 0

    def flip(self) -> None:
        """Make what the last step wrote the current state."""
        self.current = 1 - self.current
        self.version += 1

    def vector(self, name: str) -> Array:
        """Return a current vector: ``"parameters"`` or one of the optimizer's."""
        return self.vectors[name][self.current]

    def view(self, key: Hashable, vector: str = "parameters") -> Array:
        """Return the current value of one parameter, in its shape, without a copy."""
        if key in self.others:
            return self.others[key][self.current]
        return self._cut(key, self.vector(vector))

    def parameters(self, side: int) -> list[Array]:
        """Return all parameters of one side, in the order of the keys, without a copy."""
        return [self._cut(key, self.vectors["parameters"][side]) for key in self.keys]

    def _cut(self, key: Hashable, vector: Array) -> Array:
        start, end, shape = self._places[key]
        return vector[start:end].reshape(shape)

    def set(self, key: Hashable, value: Array) -> None:
        """Give one parameter another value."""
        self.view(key)[...] = value
        self.version += 1

    def arrays(self) -> dict[str, Array]:
        """Return all current arrays, as they go into a checkpoint."""
        found = {f"vector/{name}": self.vector(name) for name in self.vectors}
        pairs = enumerate(self.others.values())
        return found | {f"other/{i}": pair[self.current] for i, pair in pairs}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Take over the arrays of a checkpoint."""
        for name, into in self.arrays().items():
            into[...] = arrays[name]
        self.version += 1
