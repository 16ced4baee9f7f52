"""The cross-entropies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError, DataError
from edgeml.graph import Tensor, emit
from edgeml.losses._base import Loss, differ, named
from edgeml.losses._regression import matched

_EPSILON = 1e-7


@named("bce", "log_loss", "sigmoid_cross_entropy")
@dataclass
class BinaryCrossentropy(Loss):
    """Cross-entropy of yes-or-no targets, mean over one axis.

    Args:
        from_logits: Whether the output is before the sigmoid.
        label_smoothing: How far targets are moved towards one half, 0 to 1.
        axis: The axis of the mean.

    Targets: 0 or 1 (or in between), of the output's shape.

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.BinaryCrossentropy())
        >>> round(float(loss(np.array([[1.0], [0.0]]), np.array([[0.9], [0.2]]))), 3)
        0.164
    """

    from_logits: bool = False
    label_smoothing: float = 0.0
    axis: int = -1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_smoothing(self.label_smoothing)

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
        return ops.mean(values, axis=self.axis) if values.ndim > 1 else values


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

    def __post_init__(self) -> None:
        super().__post_init__()
        check_smoothing(self.label_smoothing)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        shape = list(y_pred.known_shape)
        y = ops.cast(y_true, y_pred.dtype)
        check_labels(y, shape, shape, "one-hot rows; for class numbers use sparse_"
                     "categorical_crossentropy")  # fmt: skip
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
        ignore_class: A class number whose examples do not count: the mean is over the others.
        axis: The axis of the classes.

    Targets: integers (batch, ...) without the classes' axis, or with 1 there.
    Output: (batch, ..., classes).

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> round(float(loss(np.array([1]), np.array([[0.0, 2.0]]))), 3)
        0.127
    """

    from_logits: bool = False
    ignore_class: int | None = None
    axis: int = field(default=-1, kw_only=True)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        labels = ops.cast(y_true, np.int64)
        if self.axis not in (-1, y_pred.ndim - 1):
            y_pred = ops.moveaxis(y_pred, self.axis, -1)
        if labels.ndim == y_pred.ndim and labels.known_shape[self.axis] == 1:
            labels = ops.squeeze(labels, self.axis)
        shape = list(y_pred.known_shape)
        check_labels(labels, shape[:-1], shape, "class numbers; for one-hot rows use "
                     "categorical_crossentropy")  # fmt: skip
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
        if kept is None:
            return values
        values = ops.where(kept, values, 0.0)
        values.graph.root().masks[values] = kept
        return values


def check_smoothing(amount: float) -> None:
    """Raise ConfigError when the amount is not from 0 to 1."""
    if not 0.0 <= amount <= 1.0:
        raise ConfigError(f"label_smoothing: expected 0 to 1, received {amount!r}")


def check_labels(labels: Tensor, expected: Sequence[Any], output: Sequence[Any], what: str) -> None:
    """Raise DataError when labels do not have the shape that a loss takes."""
    own = list(labels.known_shape)
    if differ(own, expected):
        raise DataError(
            f"labels have the shape {tuple(own[1:])}, and the output {tuple(output[1:])}: "
            f"expected {what}",
            expected=tuple(expected[1:]), received=tuple(own[1:]),
        )  # fmt: skip


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
