"""Accuracies."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from edgeml.errors import ConfigError
from edgeml.metrics._arrays import Array, check_labels, floats, labels, pair
from edgeml.metrics._base import OfExamples, metric


@metric("acc")
class Accuracy(OfExamples):
    """How often outputs equal targets.

    By the name "accuracy", training takes the binary, categorical or sparse one that fits.

    Example:
        >>> import numpy as np
        >>> from edgeml.metrics import Accuracy
        >>> y, p = np.array([1, 2, 3]), np.array([1, 2, 0])
        >>> round(Accuracy()(y, p), 3)
        0.667
    """

    name: str = "accuracy"
    direction: ClassVar[str] = "up"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return whether each value is equal."""
        y, p = pair(self.name, y_true, y_pred)
        return np.equal(y, p)


@metric()
class BinaryAccuracy(OfExamples):
    """How often outputs above `threshold` are the targets 1, and others the targets 0.

    Example:
        >>> from edgeml.metrics import BinaryAccuracy
        >>> metric = BinaryAccuracy()
        >>> metric.update_state([1, 0], [0.9, 0.8])
        >>> metric.update_state([1, 1], [0.7, 0.6])
        >>> metric.result()
        0.75
    """

    name: str = "binary_accuracy"
    threshold: float = 0.5
    direction: ClassVar[str] = "up"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return whether each value is right."""
        y, p = pair(self.name, y_true, y_pred)
        return np.equal(y, p > self.threshold)


@metric()
class CategoricalAccuracy(OfExamples):
    """How often the largest output is at the place of the one-hot target.

    Example:
        >>> import numpy as np
        >>> from edgeml.metrics import CategoricalAccuracy
        >>> y, p = np.array([[0, 1], [1, 0]]), np.array([[0.2, 0.8], [0.4, 0.6]])
        >>> round(CategoricalAccuracy()(y, p), 3)
        0.5
    """

    name: str = "categorical_accuracy"
    direction: ClassVar[str] = "up"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return whether each example is right."""
        y, p = pair(self.name, y_true, y_pred)
        return np.asarray(y.argmax(-1) == p.argmax(-1))


@metric()
class SparseCategoricalAccuracy(OfExamples):
    """How often the largest output is that of the target's class number.

    Example:
        >>> import numpy as np
        >>> from edgeml.metrics import SparseCategoricalAccuracy
        >>> y, p = np.array([1, 0]), np.array([[0.2, 0.8], [0.4, 0.6]])
        >>> round(SparseCategoricalAccuracy()(y, p), 3)
        0.5
    """

    name: str = "sparse_categorical_accuracy"
    direction: ClassVar[str] = "up"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return whether each example is right."""
        p = np.asarray(y_pred)
        return np.asarray(labels(self.name, y_true, p) == p.argmax(-1))


def _among(name: str, y: Array, p: Array, k: int) -> Array:
    if k < 1:
        raise ConfigError(f"{name}: k: expected at least 1, received {k}")
    check_labels(name, y, p.shape[-1])
    chosen = np.take_along_axis(p, y[..., None], -1)
    return np.asarray((p > chosen).sum(-1) < k)


@metric()
class TopKCategoricalAccuracy(OfExamples):
    """How often the one-hot target is among the `k` largest outputs; ties count as found.

    Example:
        >>> import numpy as np
        >>> from edgeml.metrics import TopKCategoricalAccuracy
        >>> y, p = np.array([[0, 0, 1]]), np.array([[0.5, 0.1, 0.4]])
        >>> round(TopKCategoricalAccuracy(k=2)(y, p), 3)
        1.0
    """

    k: int = 5
    direction: ClassVar[str] = "up"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return whether each example is found."""
        y, p = pair(self.name, y_true, y_pred)
        return _among(self.name, y.argmax(-1), p, self.k)


@metric()
class SparseTopKCategoricalAccuracy(OfExamples):
    """How often the target's class is among the `k` largest outputs; ties count as found.

    Example:
        >>> import numpy as np
        >>> from edgeml.metrics import SparseTopKCategoricalAccuracy
        >>> y, p = np.array([2]), np.array([[0.5, 0.1, 0.4]])
        >>> round(SparseTopKCategoricalAccuracy(k=2)(y, p), 3)
        1.0
    """

    k: int = 5
    direction: ClassVar[str] = "up"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return whether each example is found."""
        p = floats(y_pred)
        return _among(self.name, labels(self.name, y_true, p), p, self.k)
