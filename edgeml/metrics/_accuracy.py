"""Accuracies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeml.metrics._base import Array, Mean, named


def labels_of(y_true: Array, y_pred: Array) -> Array:
    """Return class numbers in the shape of the outputs without the classes' axis."""
    if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
        return y_true[..., 0]
    return y_true


def alike(y_true: Array, y_pred: Array) -> Array:
    """Return the targets in the shape of the outputs, when only a last axis of 1 is between."""
    if y_true.ndim == y_pred.ndim - 1 and y_pred.shape[-1] == 1:
        return y_true[..., None]
    if y_true.ndim == y_pred.ndim + 1 and y_true.shape[-1] == 1:
        return y_true[..., 0]
    return y_true


@named()
@dataclass
class Accuracy(Mean):
    """How often outputs equal targets."""

    def values(self, y_true: Array, y_pred: Array) -> Array:
        """Return 1 where they are equal."""
        return np.equal(alike(y_true, y_pred), y_pred).astype(np.float32)


@named()
@dataclass
class BinaryAccuracy(Mean):
    """How often outputs above `threshold` are the targets 1."""

    threshold: float = 0.5

    def values(self, y_true: Array, y_pred: Array) -> Array:
        """Return the share of right values of each example."""
        right = np.equal(alike(y_true, y_pred), y_pred > self.threshold).astype(np.float32)
        return right.mean(axis=-1) if right.ndim > 1 else right


@named()
@dataclass
class CategoricalAccuracy(Mean):
    """How often the largest output is at the place of the one-hot target."""

    def values(self, y_true: Array, y_pred: Array) -> Array:
        """Return 1 where it is."""
        return np.asarray(y_true.argmax(-1) == y_pred.argmax(-1), np.float32)


@named()
@dataclass
class SparseCategoricalAccuracy(Mean):
    """How often the largest output is that of the target's class number."""

    def values(self, y_true: Array, y_pred: Array) -> Array:
        """Return 1 where it is."""
        return np.asarray(labels_of(y_true, y_pred) == y_pred.argmax(-1), np.float32)


def _among(labels: Array, y_pred: Array, k: int) -> Array:
    chosen = np.take_along_axis(y_pred, labels.astype(np.int64)[..., None], -1)
    return np.asarray((y_pred > chosen).sum(-1) < k, np.float32)


@named("top_k_categorical_accuracy")
@dataclass
class TopKCategoricalAccuracy(Mean):
    """How often the one-hot target is among the `k` largest outputs."""

    k: int = 5

    def values(self, y_true: Array, y_pred: Array) -> Array:
        """Return 1 where it is."""
        return _among(y_true.argmax(-1), y_pred, self.k)


@named("sparse_top_k_categorical_accuracy")
@dataclass
class SparseTopKCategoricalAccuracy(Mean):
    """How often the target's class is among the `k` largest outputs."""

    k: int = 5

    def values(self, y_true: Array, y_pred: Array) -> Array:
        """Return 1 where it is."""
        return _among(labels_of(y_true, y_pred), y_pred, self.k)
