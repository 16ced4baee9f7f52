"""Intersection over union of regions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from edgeml.errors import ConfigError
from edgeml.metrics._arrays import Array, check_labels, check_numbers, pair, share, weights
from edgeml.metrics._base import Configured, metric


@metric()
class IoU(Configured):
    """Mean over classes of what targets and outputs share, by what is in either of them.

    Classes that were in neither do not count.

    Args:
        num_classes: Number of classes.
        target_class_ids: The classes that the mean is over.
        ignore_class: Targets of this number do not count.
        sparse_y_true: Whether targets are class numbers; else they are one-hot.
        sparse_y_pred: Whether outputs are class numbers; else they have a value for each class.
        axis: Axis of the classes, where there is one.
        name: Its name in history and logs.

    Raises:
        ConfigError: a class is not below the number of classes.

    Example:
        >>> from edgeml.metrics import IoU
        >>> round(IoU(2, [0])([0, 0, 1, 1], [0, 1, 0, 1]), 3)
        0.333
    """

    num_classes: int
    target_class_ids: Sequence[int]
    ignore_class: int | None = None
    sparse_y_true: bool = True
    sparse_y_pred: bool = True
    axis: int = -1
    direction: ClassVar[str] = "up"

    def reset_state(self) -> None:
        """Forget all that was counted."""
        if not all(0 <= number < self.num_classes for number in self._chosen()):
            raise ConfigError(
                f"{self.name}: target_class_ids: expected 0 to {self.num_classes - 1}, received "
                f"{list(self._chosen())}"
            )
        self._matrix = np.zeros((self.num_classes, self.num_classes))

    def _chosen(self) -> list[int]:
        return list(self.target_class_ids)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Args:
            y_true: Targets.
            y_pred: Outputs.
            sample_weight: Weight of each example, or of each class number.

        Raises:
            ShapeError: targets, outputs or weights do not fit together.
            DataError: a class number is not below the number of classes.
            NonFinite: there is NaN in the outputs.
        """
        y, p = np.asarray(y_true), np.asarray(y_pred)
        if p.dtype.kind == "f":
            check_numbers(self.name, p)
        y = y if self.sparse_y_true else y.argmax(self.axis)
        p = p if self.sparse_y_pred else p.argmax(self.axis)
        y, p = pair(self.name, y, p)
        self._count(y.astype(np.int64), p.astype(np.int64), sample_weight)

    def _count(self, y: Array, p: Array, sample_weight: Any) -> None:
        w = weights(self.name, sample_weight, p.shape)
        if self.ignore_class is not None:
            kept = y != self.ignore_class
            y, p, w = y[kept], p[kept], w[kept]
        size = self.num_classes
        check_labels(self.name, y, size)
        check_labels(self.name, p, size)
        counts = np.bincount((y * size + p).ravel(), w.ravel(), size * size)
        self._matrix += counts.reshape(size, size)

    def result(self) -> float:
        """Return the mean; 0 when nothing was counted."""
        chosen = self._chosen()
        both = np.diag(self._matrix)[chosen]
        either = (self._matrix.sum(0) + self._matrix.sum(1))[chosen] - both
        return float(share(share(both, either).sum(), np.sum(either > 0)))


@metric()
class BinaryIoU(IoU):
    """`IoU` of outputs that are one probability.

    Args:
        target_class_ids: Classes that the mean is over: 0, 1 or both.
        threshold: From here on an output is the class 1.
        name: Its name in history and logs.

    Example:
        >>> from edgeml.metrics import BinaryIoU
        >>> round(BinaryIoU(threshold=0.3)([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7]), 3)
        0.333
    """

    num_classes: int = dataclasses.field(default=2, init=False)
    target_class_ids: Sequence[int] = (0, 1)
    ignore_class: int | None = dataclasses.field(default=None, init=False)
    sparse_y_true: bool = dataclasses.field(default=True, init=False)
    sparse_y_pred: bool = dataclasses.field(default=True, init=False)
    axis: int = dataclasses.field(default=-1, init=False)
    threshold: float = 0.5

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch; see `IoU`."""
        y, p = pair(self.name, y_true, np.asarray(y_pred, np.float32))
        check_numbers(self.name, p)
        decided = (p >= np.float32(self.threshold)).astype(np.int64)
        self._count(y.astype(np.int64), decided, sample_weight)


@metric()
class MeanIoU(IoU):
    """`IoU` of all classes.

    Example:
        >>> from edgeml.metrics import MeanIoU
        >>> round(MeanIoU(2)([0, 0, 1, 1], [0, 1, 0, 1]), 3)
        0.333
    """

    target_class_ids: Sequence[int] = dataclasses.field(default=(), init=False)

    def _chosen(self) -> list[int]:
        return list(range(self.num_classes))


@metric()
class OneHotIoU(IoU):
    """`IoU` of one-hot targets.

    Example:
        >>> import numpy as np
        >>> from edgeml.metrics import OneHotIoU
        >>> y, p = np.eye(3)[[2, 0, 1, 0]], np.eye(3)[[2, 0, 1, 1]]
        >>> OneHotIoU(3, [0, 2])(y, p)
        0.75
    """

    sparse_y_true: bool = dataclasses.field(default=False, init=False)
    sparse_y_pred: bool = False


@metric()
class OneHotMeanIoU(MeanIoU):
    """`IoU` of one-hot targets and all classes.

    Example:
        >>> import numpy as np
        >>> from edgeml.metrics import OneHotMeanIoU
        >>> y, p = np.eye(3)[[2, 0, 1, 0]], np.eye(3)[[2, 0, 1, 1]]
        >>> round(OneHotMeanIoU(3)(y, p), 3)
        0.667
    """

    sparse_y_true: bool = dataclasses.field(default=False, init=False)
    sparse_y_pred: bool = False
