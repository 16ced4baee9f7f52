"""Penalties that are added to the loss, with Keras 3's names, defaults and formulas."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgeml import ops
from edgeml._names import snake
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Tensor

_EPSILON = 1e-7


class Regularizer:
    """A penalty on a weight or an output: ``regularizer(tensor) -> scalar``.

    A subclass is a dataclass of its arguments. A plain function does as well.

    Example:
        >>> from edgeml import ops
        >>> from edgeml.layers import Dense
        >>> from edgeml.regularizers import Regularizer
        >>> class Largest(Regularizer):
        ...     def __call__(self, x):
        ...         return ops.max(ops.absolute(x)) * 0.1
        >>> layer = Dense(4, kernel_regularizer=Largest())
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Return the penalty, a scalar."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal regularizer."""
        return asdict(self) if hasattr(self, "__dataclass_fields__") else {}  # type: ignore[call-overload]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Regularizer:
        """Return the regularizer that `get_config` described."""
        return cls(**config)


@dataclass(frozen=True)
class L1(Regularizer):
    """``l1 * sum(|x|)``: makes weights exactly zero that are of little use.

    Example:
        >>> from edgeml.layers import Dense
        >>> from edgeml.regularizers import L1
        >>> Dense(4, kernel_regularizer=L1(1e-4)).kernel_regularizer.l1
        0.0001
    """

    l1: float = 0.01

    def __post_init__(self) -> None:
        _check("l1", self.l1)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the penalty."""
        return ops.sum(ops.absolute(x)) * self.l1


@dataclass(frozen=True)
class L2(Regularizer):
    """``l2 * sum(x ** 2)``: keeps weights small.

    Example:
        >>> from edgeml.layers import Dense
        >>> from edgeml.regularizers import L2
        >>> Dense(4, kernel_regularizer=L2(1e-4)).kernel_regularizer.l2
        0.0001
    """

    l2: float = 0.01

    def __post_init__(self) -> None:
        _check("l2", self.l2)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the penalty."""
        return ops.sum(ops.square(x)) * self.l2


@dataclass(frozen=True)
class L1L2(Regularizer):
    """``l1 * sum(|x|) + l2 * sum(x ** 2)``; by the name "l1_l2" both factors are 0.01.

    Example:
        >>> from edgeml.layers import Dense
        >>> from edgeml.regularizers import L1L2
        >>> Dense(4, kernel_regularizer=L1L2(l2=0.01)).kernel_regularizer.l2
        0.01
    """

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        _check("l1", self.l1)
        _check("l2", self.l2)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the penalty."""
        if not self.l1:
            return L2(self.l2)(x)
        first = L1(self.l1)(x)
        return first + L2(self.l2)(x) if self.l2 else first


@dataclass(frozen=True)
class OrthogonalRegularizer(Regularizer):
    """Penalty on rows (or columns) of a matrix that point the same way.

    The mean absolute cosine between all pairs of different rows, times `factor`.

    Args:
        factor: At least 0.
        mode: "rows" or "columns".

    Raises:
        ConfigError: an argument is none of these.
        ShapeError: when used: the weight is not a matrix.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.regularizers import OrthogonalRegularizer
        >>> float(edgeml.function(OrthogonalRegularizer(1.0))(np.eye(3)))
        0.0
    """

    factor: float = 0.01
    mode: str = "rows"

    def __post_init__(self) -> None:
        _check("factor", self.factor)
        if self.mode not in ("rows", "columns"):
            raise ConfigError(f"mode: expected 'rows' or 'columns', received {self.mode!r}")

    def __call__(self, x: Tensor) -> Tensor:
        """Return the penalty."""
        if x.ndim != 2:
            raise ShapeError(
                f"OrthogonalRegularizer takes a matrix, received the shape {x.shape}",
                received=x.shape,
            )
        rows = x if self.mode == "rows" else ops.transpose(x)
        square = ops.sum(ops.square(rows), axis=1, keepdims=True)
        rows = rows * ops.rsqrt(ops.maximum(square, _EPSILON**2))
        size = int(rows.known_shape[0])
        others = (1.0 - np.eye(size)).astype(x.dtype)
        cosines = ops.absolute(ops.matmul(rows, ops.transpose(rows)) * others)
        return ops.sum(cosines) * (self.factor / (size * (size - 1.0)))


def _check(name: str, value: Any) -> None:
    if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise ConfigError(f"{name}: expected a number of at least 0, received {value!r}")


# Keras's other names of the classes.
l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer
_BY_NAME: dict[str, Any] = {
    "l1": L1, "l2": L2, "l1l2": lambda l1=0.01, l2=0.01: L1L2(l1, l2),
    "orthogonalregularizer": OrthogonalRegularizer, "orthogonal": OrthogonalRegularizer,
}  # fmt: skip


def get(regularizer: Any) -> Any:
    """Return a regularizer by name (Keras's or TensorFlow.js's spelling), or the one given.

    Args:
        regularizer: A name; a class; a function ``fn(tensor) -> scalar``; None; or a dict
            ``{"class_name": …, "config": {…}}`` as Keras writes it.

    Raises:
        ConfigError: there is none of that name; the message has the nearest.

    Example:
        >>> from edgeml import regularizers
        >>> regularizers.get("l1l2")
        L1L2(l1=0.01, l2=0.01)
    """
    if inspect.isclass(regularizer) and issubclass(regularizer, Regularizer):
        return regularizer()
    if regularizer is None or callable(regularizer):
        return regularizer
    options: dict[str, Any] = {}
    name = regularizer
    if isinstance(regularizer, Mapping):
        name, options = regularizer.get("class_name", ""), dict(regularizer.get("config") or {})
    known = snake(str(name)).replace("_", "")
    if known not in _BY_NAME:
        near = difflib.get_close_matches(known, _BY_NAME, 3) or sorted(_BY_NAME)
        raise ConfigError(f"there is no regularizer {name!r}; did you mean {', '.join(near)}?")
    return _BY_NAME[known](**options)
