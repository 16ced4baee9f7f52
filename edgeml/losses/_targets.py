"""Targets checked before training starts, and outputs' kinds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeml.errors import DataError
from edgeml.losses._classification import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)  # fmt: skip
from edgeml.losses._ctc import CTC
from edgeml.losses._focal import (
    BinaryFocalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
)  # fmt: skip

Array = np.ndarray[Any, Any]


def check_targets(loss: Any, y: Array, output_shape: Sequence[int]) -> None:
    """Check that targets fit a loss and an output.

    Args:
        loss: What `get` returned.
        y: Targets of all examples.
        output_shape: Shape of the outputs for all of them.

    Raises:
        DataError: a label is out of range; the message has its place and value.

    Example:
        >>> import numpy as np
        >>> from edgeml import losses
        >>> losses.check_targets(losses.get("mse"), np.zeros(4), (4, 1))
    """
    if not y.size:
        return
    if isinstance(loss, (SparseCategoricalCrossentropy, CategoricalGeneralizedCrossEntropy, CTC)):
        classes = int(output_shape[getattr(loss, "axis", -1)])
        bad = (y < 0) | (y >= classes)
        ignored = getattr(loss, "ignore_class", None)
        if ignored is not None:
            bad &= y != ignored
        if y.dtype.kind == "f":
            bad |= y != np.floor(y)
        _refuse(bad, y, f"class numbers 0 to {classes - 1} (the model has {classes} outputs)")
        if isinstance(loss, CTC) and y.ndim == 2:
            late = (y[:, 1:] != 0) & (y[:, :-1] == 0)
            _refuse(np.pad(late, ((0, 0), (1, 0))), y, "only 0 after the first 0")
    elif isinstance(loss, (BinaryCrossentropy, BinaryFocalCrossentropy)):
        _refuse((y < 0) | (y > 1), y, "0 or 1 (probabilities in between)")
    elif isinstance(loss, (CategoricalCrossentropy, CategoricalFocalCrossentropy)):
        if y.ndim != len(output_shape) or y.shape[-1] != output_shape[-1]:
            raise DataError(
                f"labels have the shape {y.shape[1:]}, and the output {tuple(output_shape[1:])}: "
                "expected one-hot rows; for class numbers use sparse_categorical_crossentropy",
                expected=tuple(output_shape[1:]), received=y.shape[1:],
            )  # fmt: skip
        _refuse(y < 0, y, "probabilities of at least 0")


def _refuse(bad: Any, y: Array, expected: str) -> None:
    if bad.any():
        places = np.argwhere(bad)
        place = tuple(int(i) for i in places[0])
        raise DataError(
            f"label {y[place]} of example {place[0]} is out of range: expected {expected}; "
            f"{len(places)} of {y.size} labels are wrong",
            expected=expected, received=y[place].item(), index=place[0],
        )  # fmt: skip


def with_logits(loss: Any, from_logits: bool) -> Any:
    """Return the loss for outputs before (True) or after (False) the softmax or sigmoid.

    Example:
        >>> from edgeml import losses
        >>> losses.with_logits(losses.get("binary_crossentropy"), True).from_logits
        True
    """
    if not hasattr(loss, "from_logits") or loss.from_logits == from_logits:
        return loss
    return dataclasses.replace(loss, from_logits=from_logits)
