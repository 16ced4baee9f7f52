"""Losses as functions of targets and outputs, by Keras's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeml.graph import Tensor, function
from edgeml.graph._tree import leaves
from edgeml.losses import _classification, _focal, _overlap, _regression
from edgeml.losses._base import Loss
from edgeml.losses._ctc import CTC

LossFunction = Callable[..., Any]
_EXAMPLE = "np.eye(3)[[0, 1]], np.full((2, 3), 1 / 3)"


def _of(name: str, kind: type[Loss], example: str = _EXAMPLE, shape: str = "(2,)") -> LossFunction:
    """Return the function of a loss.

    Args:
        name: Its name.
        kind: The loss.
        example: Targets and outputs, for its documentation.
        shape: Shape of its values for them.
    """

    def call(y_true: Any, y_pred: Any, *args: Any, **options: Any) -> Any:
        loss = kind(*args, **options).call
        traced = any(isinstance(x, Tensor) for x in leaves([y_true, y_pred]))
        return loss(y_true, y_pred) if traced else function(loss)(y_true, y_pred)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"""Return the loss of each example, of arrays or while a graph is traced.

    Args:
        y_true: Targets.
        y_pred: Outputs.
        *args: The arguments of `{kind.__name__}`, in its order.
        **options: The same by name.

    Example:
        >>> import numpy as np
        >>> from edgeml import losses
        >>> losses.{name}({example}).shape
        {shape}
    """
    return call


_NUMBERS = "np.array([0, 1]), np.full((2, 3), 1 / 3)"
binary_crossentropy = _of("binary_crossentropy", _classification.BinaryCrossentropy)
binary_focal_crossentropy = _of("binary_focal_crossentropy", _focal.BinaryFocalCrossentropy)
categorical_crossentropy = _of("categorical_crossentropy", _classification.CategoricalCrossentropy)
categorical_focal_crossentropy = _of(
    "categorical_focal_crossentropy", _focal.CategoricalFocalCrossentropy
)
categorical_generalized_cross_entropy = _of(
    "categorical_generalized_cross_entropy", _focal.CategoricalGeneralizedCrossEntropy, _NUMBERS
)
categorical_hinge = _of("categorical_hinge", _regression.CategoricalHinge)
circle = _of("circle", _overlap.Circle, "np.array([0, 0]), np.array([[1.0, 0.0], [0.6, 0.8]])")
cosine_similarity = _of("cosine_similarity", _regression.CosineSimilarity)
ctc = _of("ctc", CTC, "np.array([[1, 2], [2, 0]]), np.zeros((2, 5, 3))")
dice = _of("dice", _overlap.Dice, shape="()")
hinge = _of("hinge", _regression.Hinge)
huber = _of("huber", _regression.Huber)
kl_divergence = _of("kl_divergence", _regression.KLDivergence)
log_cosh = _of("log_cosh", _regression.LogCosh)
mean_absolute_error = _of("mean_absolute_error", _regression.MeanAbsoluteError)
mean_absolute_percentage_error = _of(
    "mean_absolute_percentage_error", _regression.MeanAbsolutePercentageError
)
mean_squared_error = _of("mean_squared_error", _regression.MeanSquaredError)
mean_squared_logarithmic_error = _of(
    "mean_squared_logarithmic_error", _regression.MeanSquaredLogarithmicError
)
poisson = _of("poisson", _regression.Poisson)
sparse_categorical_crossentropy = _of(
    "sparse_categorical_crossentropy", _classification.SparseCategoricalCrossentropy, _NUMBERS
)
squared_hinge = _of("squared_hinge", _regression.SquaredHinge)
tversky = _of("tversky", _overlap.Tversky, shape="()")
