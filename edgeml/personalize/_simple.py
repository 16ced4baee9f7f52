"""Heads that are ready with their last example: nothing is trained."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError
from edgeml.personalize._head import Array, Head, Space
from edgeml.training import KNNClassifier

_SCALES = np.float32(2.0) ** np.arange(0, 7, 0.5, dtype=np.float32)


class NearestMean(Head):
    """The class whose mean is nearest, by the angle; good from the first examples on.

    How sure it is follows from examples that were held out. Examples of ``"unknown"`` shape the
    threshold only: what has nothing in common has no mean.

    Example:
        >>> import numpy as np
        >>> from edgeml.personalize import NearestMean
        >>> x = np.random.default_rng(0).normal(size=(10, 8)) + np.eye(8)[[0, 1] * 5] * 9
        >>> NearestMean().fit(x, ["mug", "plate"] * 5).predict(x[:2])
        ['mug', 'plate']
    """

    name = "nearest-mean"
    _scale = np.float32(8)

    def _learn(self, x: Array, y: Array, w: Array, folds: Array) -> tuple[Array, Array]:
        self._scale = np.float32(1)
        cosines, similarity = super()._learn(x, y, w, folds)
        # The cosines of held-out examples come back as logarithms of their softmax.
        logs = np.log(np.maximum(cosines, 1e-30))
        held = (folds >= 0) & (y < len(self.labels))
        if held.any():
            losses = [-np.log(np.maximum(_softmax(s * logs[held]), 1e-30)[
                np.arange(held.sum()), y[held]]).mean() for s in _SCALES]  # fmt: skip
            self._scale = _SCALES[int(np.argmin(losses))]
        return _softmax(self._scale * logs), similarity

    def _columns(self, y: Array) -> int:
        return len(self.labels)

    def _learn_part(self, x: Array, y: Array, w: Array, known: int) -> None:
        self._space = Space.of(x, y, w, known)

    def _scores(self, x: Array) -> Array:
        return _softmax(self._scale * (self._space(x) @ self._space.anchors.T))

    def _trace_scores(self, z: Any) -> Any:
        return ops.softmax(ops.matmul(z, self._scale * np.ascontiguousarray(self._space.anchors.T)))


class KNN(Head):
    """The class of the nearest examples, by the angle: `edgeml.training.KNNClassifier` as a head.

    It follows classes that look several ways, and keeps examples in the model.

    Args:
        k: How many examples decide; of fewer, all.
        most: How many examples the model keeps at most: as many of each class.

    Example:
        >>> import numpy as np
        >>> from edgeml.personalize import KNN
        >>> KNN(k=1).fit(np.eye(3), ["a", "b", "b"]).predict([[0.1, 0.2, 2.0]])
        ['b']
    """

    name = "knn"

    def __init__(self, k: int = 3, most: int = 1000) -> None:
        if k < 1 or most < 2:
            raise ConfigError(
                f"KNN: expected k of at least 1 and most of at least 2; received {k!r}, {most!r}"
            )
        self.k = k
        self.most = most
        self._nearest = KNNClassifier()

    def _learn_part(self, x: Array, y: Array, w: Array, known: int) -> None:
        space = Space.of(x, y, w, known)
        if len(y) > self.most:
            kept = _evenly(y, self.most)
            x, y = x[kept], y[kept]
        z = space(x)
        self._space = Space(space.centre, z[y < known])
        self._nearest = KNNClassifier()
        for number in np.unique(y):
            self._nearest.add_example(z[y == number], int(number))

    def _scores(self, x: Array) -> Array:
        return self._nearest.predict_proba(self._space(x), self.k)

    def _trace_scores(self, z: Any) -> Any:
        return self._nearest.trace(z, self.k)


def _evenly(classes: Array, most: int) -> Array:
    """Return places of at most `most` examples: as many of each class, spread over its own."""
    numbers, counts = np.unique(classes, return_counts=True)
    found, left = [], most
    for place, at in enumerate(np.argsort(counts, kind="stable")):
        own = np.flatnonzero(classes == numbers[at])
        share = min(len(own), max(1, left // (len(counts) - place)))
        found.append(own[np.linspace(0, len(own) - 1, share).round().astype(int)])
        left -= share
    return np.sort(np.concatenate(found))


def _softmax(values: Array) -> Array:
    powers = np.exp(values - values.max(1, keepdims=True))
    found: Array = powers / powers.sum(1, keepdims=True)
    return found.astype(np.float32)
