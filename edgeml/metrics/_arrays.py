"""Targets, outputs and weights brought into shapes that fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml.errors import DataError, NonFinite, ShapeError

Array = np.ndarray[Any, Any]

EPSILON = 1e-7
"""Keras's fuzz factor: what probabilities are kept away from 0 and 1 by."""


def floats(x: Any) -> Array:
    """Return an array of float32 or float64; other types become float64."""
    array = np.asarray(x)
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def pair(name: str, y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    """Return targets and outputs in one shape and float type; a last axis of 1 may be missing.

    Raises:
        ShapeError: the shapes differ in more than that.
    """
    p, y = floats(y_pred), np.asarray(y_true)
    if y.shape != p.shape:
        if y.ndim == p.ndim - 1 and p.shape[-1] == 1:
            y = y[..., None]
        elif y.ndim == p.ndim + 1 and y.shape[-1] == 1:
            y = y[..., 0]
        if y.shape != p.shape:
            raise ShapeError(
                f"{name}: targets and outputs must have the same shape, received targets "
                f"{np.shape(y_true)} and outputs {p.shape}",
                where=name, expected=p.shape, received=np.shape(y_true),
            )  # fmt: skip
    return y.astype(p.dtype, copy=False), p


def labels(name: str, y_true: Any, y_pred: Array) -> Array:
    """Return class numbers (int64) in the outputs' shape without the classes' axis.

    Raises:
        ShapeError: there is not one class number for each output vector.
        DataError: a class number is not below the number of classes.
    """
    y = np.asarray(y_true)
    if y.ndim == y_pred.ndim and y.shape[-1] == 1:
        y = y[..., 0]
    if y.shape != y_pred.shape[:-1]:
        raise ShapeError(
            f"{name}: expected class numbers of shape {y_pred.shape[:-1]} for outputs "
            f"{y_pred.shape}, received {np.shape(y_true)}; one-hot targets have metrics without "
            "'sparse'",
            where=name, expected=y_pred.shape[:-1], received=np.shape(y_true),
        )  # fmt: skip
    return y.astype(np.int64, copy=False)


def check_labels(name: str, y: Array, classes: int) -> None:
    """Raise DataError when a class number is not in [0, classes)."""
    if y.size and not 0 <= (low := y.min()) <= (high := y.max()) < classes:
        wrong = low if low < 0 else high
        raise DataError(f"{name}: there are {classes} classes, 0 to {classes - 1}; found {wrong}")


def check_numbers(name: str, y_pred: Array) -> None:
    """Raise NonFinite when outputs hold NaN, which no comparison would show."""
    if np.isnan(y_pred).any():
        raise NonFinite(f"{name}: the outputs hold NaN")


def weights(name: str, sample_weight: Any, shape: tuple[int, ...]) -> Array:
    """Return a weight (float64) for each value of a shape, from one for each example or value.

    None is 1 for all.

    Raises:
        ShapeError: the weights do not fit.
    """
    weight = np.asarray(1.0 if sample_weight is None else sample_weight, np.float64)
    while weight.ndim > len(shape) and weight.shape[-1] == 1:
        weight = weight[..., 0]
    weight = weight.reshape(weight.shape + (1,) * (len(shape) - weight.ndim))
    try:
        return np.broadcast_to(weight, shape)
    except ValueError:
        raise ShapeError(
            f"{name}: sample weights of shape {np.shape(sample_weight)} do not fit values of "
            f"shape {shape}: expected one for each example, or for each value",
            where=name, expected=shape, received=np.shape(sample_weight),
        ) from None  # fmt: skip


def share(part: Array, whole: Array) -> Array:
    """Return ``part / whole``, and 0 where there is no whole."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=np.asarray(whole) != 0)
