"""Losses of sets and of places in space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeml import ops
from edgeml.graph import Tensor
from edgeml.losses._base import Loss, named
from edgeml.losses._regression import matched

Axes = int | Sequence[int] | None
_EPSILON = 1e-7
_NEVER = -1e9


@named("dice_loss")
@dataclass
class Dice(Loss):
    """One minus twice the overlap, by the size of both (Milletari et al., 2016); for segmentation.

    Args:
        axis: The axes that make one region; None: all, with one value for the whole batch.

    Targets: 0 or 1, of the output's shape. Output: probabilities.

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.Dice(axis=(1, 2)))
        >>> y, p = np.ones((1, 2, 2)), np.full((1, 2, 2), 0.5)
        >>> round(float(loss(y, p)), 3)
        0.333
    """

    axis: Axes = field(default=None, kw_only=True)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each region."""
        y, axes = matched(y_true, y_pred), _listed(self.axis)
        both = ops.sum(y, axis=axes) + ops.sum(y_pred, axis=axes) + _EPSILON
        return 1.0 - ops.sum(y * y_pred, axis=axes) * 2.0 / both


@named("tversky_loss")
@dataclass
class Tversky(Loss):
    """`Dice` with a weight for what is missed and one for what is too much (Salehi et al., 2017).

    Args:
        alpha: Weight of targets that are missed.
        beta: Weight of output where there is no target.
        axis: The axes that make one region; None: all, with one value for the whole batch.

    Targets: 0 or 1, of the output's shape. Output: probabilities.

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.Tversky(alpha=0.9, beta=0.1))
        >>> y, p = np.ones((1, 2, 2)), np.full((1, 2, 2), 0.5)
        >>> round(float(loss(y, p)), 3)
        0.474
    """

    alpha: float = 0.5
    beta: float = 0.5
    axis: Axes = field(default=None, kw_only=True)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each region."""
        y, axes = matched(y_true, y_pred), _listed(self.axis)
        found = ops.sum(y * y_pred, axis=axes)
        missed = ops.sum((1.0 - y_pred) * y, axis=axes)
        more = ops.sum(y_pred * (1.0 - y), axis=axes)
        return 1.0 - found / (found + missed * self.alpha + more * self.beta + _EPSILON)


def _listed(axis: Axes) -> int | list[int] | None:
    return axis if axis is None or isinstance(axis, int) else list(axis)


@named("circle_loss")
@dataclass
class Circle(Loss):
    """Brings embeddings of a class together, and moves others apart (Sun et al., 2020).

    Args:
        gamma: Scale of the similarities.
        margin: How far apart is far enough.
        remove_diagonal: Whether an example is not compared with itself.

    Targets: class numbers (batch,). Output: embeddings of length 1 (batch, features). Examples
    without a partner do not count.

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.Circle())
        >>> y, p = np.array([0, 0, 1]), np.array([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])
        >>> round(float(loss(y, p)), 1)
        49.7
    """

    gamma: float = 80.0
    margin: float = 0.4
    remove_diagonal: bool = True

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        labels = ops.reshape(ops.cast(y_true, np.int64), [-1])
        equal = ops.equal(ops.expand_dims(labels, 1), ops.expand_dims(labels, 0))
        same = equal
        if self.remove_diagonal:
            same = ops.logical_and(equal, ~np.eye(int(labels.known_shape[0]), dtype=bool))
        apart = ops.relu(1.0 - ops.matmul(y_pred, ops.transpose(y_pred)))
        near = ops.relu(apart + self.margin) * (apart - self.margin) * self.gamma
        far = ops.relu(1.0 + self.margin - apart) * (1.0 - self.margin - apart) * self.gamma
        pull = ops.logsumexp(ops.where(same, near, _NEVER), axis=1)
        push = ops.logsumexp(ops.where(equal, _NEVER, far), axis=1)
        values = ops.softplus(pull + push)
        values.graph.root().masks[values] = ops.greater(values, 0.0)
        return values
