"""What models need of data, losses and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeml import metrics as metrics_module
from edgeml.errors import DataError
from edgeml.graph._tree import map_leaves
from edgeml.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)

Array = np.ndarray[Any, Any]


def metric(item: Any, loss: str, y: Array | None, shape: Sequence[int]) -> metrics_module.Metric:
    """Return a metric by name; "accuracy" is chosen by loss and shapes."""
    if isinstance(item, str) and item.lower() in ("accuracy", "acc", "crossentropy", "ce"):
        assert y is not None
        return metrics_module.resolve_accuracy(loss, y.shape, tuple(shape), name=item)
    found: metrics_module.Metric = metrics_module.get(item)
    if isinstance(item, metrics_module.Metric):
        found = type(item).from_config(item.get_config())  # training and validation count apart
    return found


def check_classes(loss: Any, y: Array) -> None:
    """One class only teaches a classifier nothing but to say so always.

    Raises:
        DataError: all examples have the same class.
    """
    kinds = (BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy)
    if not isinstance(loss, kinds) or len(y) < 2:
        return
    labels = y.argmax(loss.axis) if isinstance(loss, CategoricalCrossentropy) else y
    if isinstance(loss, SparseCategoricalCrossentropy):
        labels = labels[labels != loss.ignore_class]
    if labels.size and np.all(labels == labels.flat[0]):
        raise DataError(
            f"all {len(y)} examples have the class {labels.flat[0]}: a classifier needs "
            "examples of at least two classes"
        )


def names_of(x: Any) -> list[str]:
    """Return names for the inputs of a model without placeholders."""
    if isinstance(x, Mapping):
        return [str(key) for key in x]
    if isinstance(x, tuple) and x and all(np.ndim(item) > 0 for item in x):
        return [f"x_{i}" for i in range(len(x))]
    return ["x"]


def numbered(x: Mapping[str, Any]) -> bool:
    """Return whether the inputs have no names of their own."""
    return all(name == f"x_{i}" for i, name in enumerate(x))


def without_targets(x: Any) -> Any:
    """Return the inputs of data that may yield targets, too."""
    if isinstance(x, (np.ndarray, Mapping, list, tuple)) or hasattr(x, "__array__"):
        return x
    return (element[:1] if isinstance(element, tuple) else element for element in x)


def restore(tree: Any, values: Sequence[Array]) -> Any:
    """Return values in the structure of a tree."""
    iterator = iter(values)
    return map_leaves(lambda _: next(iterator), tree)


def returned(results: dict[str, Any], as_dict: bool) -> Any:
    """Return results by name, or their values in order."""
    return results if as_dict else list(results.values())
