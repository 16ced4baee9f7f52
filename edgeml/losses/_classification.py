"""The cross-entropies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.graph import Tensor, emit
from edgeml.losses._base import Loss, named
from edgeml.losses._regression import matched

_EPSILON = 1e-7


@named("bce", "log_loss", "sigmoid_cross_entropy")
@dataclass
class BinaryCrossentropy(Loss):
    """Cross-entropy of yes-or-no targets, mean over the last axis.

    Args:
        from_logits: Whether the output is before the sigmoid.
        label_smoothing: How far targets are moved towards one half, 0 to 1.

    Targets: 0 or 1 (or in between), of the output's shape.

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.BinaryCrossentropy())
        >>> round(float(loss(np.array([[1.0], [0.0]]), np.array([[0.9], [0.2]]))), 3)
        0.164
    """

    from_logits: bool = False
    label_smoothing: float = 0.0

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        y = matched(y_true, y_pred)
        if self.label_smoothing:
            y = y * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        if self.from_logits:
            values = _sigmoid_crossentropy(y_pred, y)
        else:
            p = ops.clip(y_pred, _EPSILON, 1.0 - _EPSILON)
            values = -(y * ops.log(p) + (1.0 - y) * ops.log(1.0 - p))
        return ops.mean(values, axis=-1) if values.ndim > 1 else values


@named("cce", "softmax_cross_entropy")
@dataclass
class CategoricalCrossentropy(Loss):
    """Cross-entropy of one-hot targets (or probabilities).

    Args:
        from_logits: Whether the output is before the softmax.
        label_smoothing: How far targets are moved towards equal probabilities, 0 to 1.
        axis: The axis of the classes.

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.CategoricalCrossentropy())
        >>> round(float(loss(np.array([[0.0, 1.0]]), np.array([[0.2, 0.8]]))), 3)
        0.223
    """

    from_logits: bool = False
    label_smoothing: float = 0.0
    axis: int = -1

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        y = ops.cast(y_true, y_pred.dtype)
        if self.label_smoothing:
            classes = float(y_pred.known_shape[self.axis])
            y = y * (1.0 - self.label_smoothing) + self.label_smoothing / classes
        if self.from_logits:
            return _softmax_crossentropy(y_pred, y, self.axis)
        p = y_pred / ops.sum(y_pred, axis=self.axis, keepdims=True)
        return -ops.sum(y * ops.log(ops.clip(p, _EPSILON, 1.0 - _EPSILON)), axis=self.axis)


@named("scce")
@dataclass
class SparseCategoricalCrossentropy(Loss):
    """Cross-entropy of class numbers.

    Args:
        from_logits: Whether the output is before the softmax.
        ignore_class: A class number whose examples do not count.

    Targets: integers (batch, ...) without the classes' axis, or with a last axis of 1.
    Output: (batch, ..., classes).

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> round(float(loss(np.array([1]), np.array([[0.0, 2.0]]))), 3)
        0.127
    """

    from_logits: bool = False
    ignore_class: int | None = None

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        labels = ops.cast(y_true, np.int64)
        if labels.ndim == y_pred.ndim and labels.known_shape[-1] == 1:
            labels = ops.squeeze(labels, -1)
        kept = None
        if self.ignore_class is not None:
            kept = ops.not_equal(labels, np.int64(self.ignore_class))
            labels = ops.where(kept, labels, np.int64(0))
        if self.from_logits:
            values = _sparse_crossentropy(y_pred, labels)
        else:
            p = y_pred / ops.sum(y_pred, axis=-1, keepdims=True)
            p = ops.clip(p, _EPSILON, 1.0 - _EPSILON)
            values = -_chosen(ops.log(p), labels)
        return values if kept is None else ops.where(kept, values, 0.0)


def _softmax_crossentropy(logits: Tensor, y: Tensor, axis: int) -> Tensor:
    """From logits, with the short gradient ``softmax - y`` (scaled when y does not add up to 1)."""

    @ops.custom_gradient
    def crossentropy(x: Tensor, target: Tensor) -> Any:
        log_p = ops.log_softmax(x, axis)
        values = -ops.sum(target * log_p, axis=axis)

        def vjp(g: Tensor) -> Any:
            spread = ops.expand_dims(g, axis)
            total = ops.sum(target, axis=axis, keepdims=True)
            return spread * (ops.exp(log_p) * total - target), None

        return values, vjp

    found: Tensor = crossentropy(logits, ops.stop_gradient(y))
    return found


def _sparse_crossentropy(logits: Tensor, labels: Tensor) -> Tensor:
    """From logits and class numbers, with the gradient ``softmax - one_hot``."""

    @ops.custom_gradient
    def crossentropy(x: Tensor) -> Any:
        log_p = ops.log_softmax(x)

        def vjp(g: Tensor) -> Tensor:
            hot = ops.one_hot(labels, int(x.known_shape[-1]), x.dtype)
            return (ops.exp(log_p) - hot) * ops.expand_dims(g, -1)

        return -_chosen(log_p, labels), vjp

    found: Tensor = crossentropy(logits)
    return found


def _chosen(values: Tensor, labels: Tensor) -> Tensor:
    """Return the value of each example's class."""
    return ops.squeeze(ops.take_along_axis(values, ops.expand_dims(labels, -1)), -1)


def _sigmoid_crossentropy(logits: Tensor, y: Tensor) -> Tensor:
    """``max(x, 0) - x * y + log(1 + exp(-|x|))``, with the gradient ``sigmoid(x) - y``."""

    @ops.custom_gradient
    def crossentropy(x: Tensor, target: Tensor) -> Any:
        values = ops.relu(x) - x * target + ops.log1p(ops.exp(-ops.absolute(x)))
        return values, lambda g: (g * (emit("Sigmoid", x) - target), None)

    found: Tensor = crossentropy(logits, ops.stop_gradient(y))
    return found
