"""Metrics as functions of targets and outputs, by Keras's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeml.metrics import _accuracy, _correlation
from edgeml.metrics._base import OfExamples

_EXAMPLE = "np.eye(3)[[0, 1]], np.full((2, 3), 1 / 3)"
_NUMBERS = "np.array([0, 1]), np.full((2, 3), 1 / 3)"


def _of(
    name: str, kind: type[OfExamples], argument: str, example: str = _EXAMPLE, shape: str = "(2,)"
) -> Callable[..., Any]:
    """Return the function of a metric.

    Args:
        name: Its name.
        kind: The metric.
        argument: Name of the argument after targets and outputs; "" for none.
        example: Targets and outputs, for its documentation.
        shape: Shape of its values for them.
    """

    def call(y_true: Any, y_pred: Any, *args: Any, **options: Any) -> Any:
        options |= dict(zip((argument,), args, strict=False)) if argument else {}
        return kind(**options).values(y_true, y_pred)

    call.__name__ = call.__qualname__ = name
    more = (
        f"\n        *args: ``{argument}``.\n        **options: The same by name."
        if argument
        else ""
    )
    call.__doc__ = f"""Return the metric of each example; see `{kind.__name__}`.

    Args:
        y_true: Targets, an array.
        y_pred: Outputs, an array.{more}

    Example:
        >>> import numpy as np
        >>> from edgeml import metrics
        >>> metrics.{name}({example}).shape
        {shape}
    """
    return call


binary_accuracy = _of("binary_accuracy", _accuracy.BinaryAccuracy, "threshold", shape="(2, 3)")
categorical_accuracy = _of("categorical_accuracy", _accuracy.CategoricalAccuracy, "")
concordance_correlation = _of(
    "concordance_correlation", _correlation.ConcordanceCorrelation, "axis",
    "[[0.0, 1.0], [1.0, 0.0]], [[0.1, 0.9], [0.8, 0.3]]",
)  # fmt: skip
pearson_correlation = _of(
    "pearson_correlation", _correlation.PearsonCorrelation, "axis",
    "[[0.0, 1.0], [1.0, 0.0]], [[0.1, 0.9], [0.8, 0.3]]",
)  # fmt: skip
sparse_categorical_accuracy = _of(
    "sparse_categorical_accuracy", _accuracy.SparseCategoricalAccuracy, "", _NUMBERS
)
sparse_top_k_categorical_accuracy = _of(
    "sparse_top_k_categorical_accuracy", _accuracy.SparseTopKCategoricalAccuracy, "k", _NUMBERS
)
top_k_categorical_accuracy = _of(
    "top_k_categorical_accuracy", _accuracy.TopKCategoricalAccuracy, "k"
)
