"""Cross-entropies for classes that are rare, or labelled wrongly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError
from edgeml.graph import Tensor
from edgeml.losses._base import Loss, named
from edgeml.losses._classification import check_labels, check_smoothing
from edgeml.losses._regression import matched

_EPSILON = 1e-7
_TINY = 1e-37


@named("sigmoid_focal_crossentropy")
@dataclass
class BinaryFocalCrossentropy(Loss):
    """Binary cross-entropy that cares less about what is easy (Lin et al., 2017).

    Args:
        apply_class_balancing: Whether ones weigh `alpha`, and zeros ``1 - alpha``.
        alpha: Weight of the ones.
        gamma: How much less easy examples weigh: ``(1 - probability of the truth) ** gamma``.
        from_logits: Whether the output is before the sigmoid.
        label_smoothing: How far targets are moved towards one half, 0 to 1.
        axis: The axis of the mean.

    Targets: 0 or 1, of the output's shape.

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.BinaryFocalCrossentropy(gamma=2.0))
        >>> round(float(loss(np.array([[1.0], [0.0]]), np.array([[0.9], [0.2]]))), 4)
        0.005
    """

    apply_class_balancing: bool = False
    alpha: float = 0.25
    gamma: float = 2.0
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
        p = ops.sigmoid(y_pred) if self.from_logits else y_pred
        within = ops.clip(p, _EPSILON, 1.0 - _EPSILON)
        values = -(y * ops.log(within) + (1.0 - y) * ops.log(1.0 - within))
        missed = y * (1.0 - p) + (1.0 - y) * p
        values = ops.power(missed, self.gamma) * values
        if self.apply_class_balancing:
            values = values * (y * self.alpha + (1.0 - y) * (1.0 - self.alpha))
        return ops.mean(values, axis=self.axis) if values.ndim > 1 else values


@named()
@dataclass
class CategoricalFocalCrossentropy(Loss):
    """Cross-entropy of one-hot targets that cares less about what is easy (Lin et al., 2017).

    Args:
        alpha: Weight of all examples, or a list with that of each class.
        gamma: How much less easy examples weigh: ``(1 - probability of the truth) ** gamma``.
        from_logits: Whether the output is before the softmax.
        label_smoothing: How far targets are moved towards equal probabilities, 0 to 1.
        axis: The axis of the classes.

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.CategoricalFocalCrossentropy())
        >>> round(float(loss(np.array([[0.0, 1.0]]), np.array([[0.2, 0.8]]))), 4)
        0.0022
    """

    alpha: float = 0.25
    gamma: float = 2.0
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
        check_labels(y, shape, shape, "one-hot rows")
        if self.label_smoothing:
            y = y * (1.0 - self.label_smoothing) + self.label_smoothing / float(shape[self.axis])
        p = ops.softmax(y_pred, self.axis) if self.from_logits else y_pred
        p = ops.clip(p / ops.sum(p, axis=self.axis, keepdims=True), _EPSILON, 1.0 - _EPSILON)
        weight = ops.power(1.0 - p, self.gamma) * np.asarray(self.alpha, p.dtype)
        return ops.sum(weight * -(y * ops.log(p)), axis=self.axis)


@named()
@dataclass
class CategoricalGeneralizedCrossEntropy(Loss):
    """``(1 - p ** q) / q`` of the truth's probability p, for noisy labels (Zhang and Sabuncu).

    Args:
        q: Between 0 (the cross-entropy) and 1 (the mean absolute error), both left out.

    Targets: class numbers (batch, ...). Output: probabilities (batch, ..., classes).

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.CategoricalGeneralizedCrossEntropy())
        >>> round(float(loss(np.array([1]), np.array([[0.2, 0.8]]))), 3)
        0.211
    """

    q: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.q < 1.0:
            raise ConfigError(f"q: expected between 0 and 1, received {self.q!r}")

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        labels = ops.cast(y_true, np.int64)
        if labels.ndim == y_pred.ndim and labels.known_shape[-1] == 1:
            labels = ops.squeeze(labels, -1)
        shape = list(y_pred.known_shape)
        check_labels(labels, shape[:-1], shape, "class numbers")
        p = ops.squeeze(ops.take_along_axis(y_pred, ops.expand_dims(labels, -1)), -1)
        # Where p is 0 the slope of its power is infinite: it counts as flat there.
        return (1.0 - ops.power(ops.maximum(p, _TINY), self.q)) * (1.0 / self.q)
