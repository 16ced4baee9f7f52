"""The cross-entropies as metrics, by Keras's numerics."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from edgeml.metrics._arrays import EPSILON, Array, check_labels, floats, labels, pair
from edgeml.metrics._base import OfExamples, metric


@metric("bce")
class BinaryCrossentropy(OfExamples):
    """Cross-entropy of yes-or-no targets.

    Args:
        from_logits: Whether outputs are before the sigmoid.
        label_smoothing: Between 0 and 1: how far targets are moved towards 0.5.

    Example:
        >>> import numpy as np
        >>> from edgeml.metrics import BinaryCrossentropy
        >>> y, p = np.array([[1.0], [0.0]]), np.array([[0.9], [0.2]])
        >>> round(BinaryCrossentropy()(y, p), 3)
        0.164
    """

    name: str = "binary_crossentropy"
    from_logits: bool = False
    label_smoothing: float = 0.0
    direction: ClassVar[str] = "down"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return the cross-entropy of each value."""
        y, p = pair(self.name, y_true, y_pred)
        if self.label_smoothing:
            y = y * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        if self.from_logits:
            return np.asarray(np.logaddexp(0.0, p) - p * y)
        p = np.clip(p, EPSILON, 1.0 - EPSILON)
        return np.asarray(-(y * np.log(p) + (1.0 - y) * np.log(1.0 - p)))


@metric("cce")
class CategoricalCrossentropy(OfExamples):
    """Cross-entropy of one-hot targets.

    Args:
        from_logits: Whether outputs are before the softmax.
        label_smoothing: Between 0 and 1: how far targets are moved towards equal shares.
        axis: Axis of the classes.

    Example:
        >>> import numpy as np
        >>> from edgeml.metrics import CategoricalCrossentropy
        >>> y, p = np.array([[0.0, 1.0]]), np.array([[0.2, 0.8]])
        >>> round(CategoricalCrossentropy()(y, p), 3)
        0.223
    """

    name: str = "categorical_crossentropy"
    from_logits: bool = False
    label_smoothing: float = 0.0
    axis: int = -1
    direction: ClassVar[str] = "down"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return the cross-entropy of each example."""
        y, p = (np.moveaxis(a, self.axis, -1) for a in pair(self.name, y_true, y_pred))
        if self.label_smoothing:
            y = y * (1.0 - self.label_smoothing) + self.label_smoothing / y.shape[-1]
        return np.asarray(-(y * _log_p(p, self.from_logits)).sum(-1))


@metric("scce")
class SparseCategoricalCrossentropy(OfExamples):
    """Cross-entropy of class numbers.

    Args:
        from_logits: Whether outputs are before the softmax.
        axis: Axis of the classes.

    Example:
        >>> import numpy as np
        >>> from edgeml.metrics import SparseCategoricalCrossentropy
        >>> y, p = np.array([1]), np.array([[0.2, 0.8]])
        >>> round(SparseCategoricalCrossentropy()(y, p), 3)
        0.223
    """

    name: str = "sparse_categorical_crossentropy"
    from_logits: bool = False
    axis: int = -1
    direction: ClassVar[str] = "down"

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """Return the cross-entropy of each example."""
        p, y = np.moveaxis(floats(y_pred), self.axis, -1), np.asarray(y_true)
        if self.axis != -1 and y.ndim == p.ndim:
            y = np.moveaxis(y, self.axis, -1)
        y = labels(self.name, y, p)
        check_labels(self.name, y, p.shape[-1])
        log_p = _log_p(p, self.from_logits)
        return np.asarray(-np.take_along_axis(log_p, y[..., None], -1)[..., 0])


def _log_p(p: Array, from_logits: bool) -> Array:
    if from_logits:
        shifted = p - p.max(-1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))
    p = p / p.sum(-1, keepdims=True)
    return np.asarray(np.log(np.clip(p, EPSILON, 1.0 - EPSILON)))
