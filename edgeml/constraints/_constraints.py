"""What weights are kept to after each update, with Keras 3's names, defaults and formulas."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgeml import ops
from edgeml._names import snake
from edgeml.errors import ConfigError
from edgeml.graph import Tensor

Axes = int | Sequence[int]
_EPSILON = 1e-7


class Constraint:
    """Brings a weight to where it may be: ``constraint(weight) -> weight``.

    It is part of the training step, after the optimizer's update. A subclass is a dataclass of its
    arguments. A plain function does as well.

    Example:
        >>> from edgeml import ops
        >>> from edgeml.constraints import Constraint
        >>> from edgeml.layers import Dense
        >>> class Within(Constraint):
        ...     def __call__(self, w):
        ...         return ops.clip(w, -1.0, 1.0)
        >>> layer = Dense(4, kernel_constraint=Within())
    """

    def __call__(self, w: Tensor) -> Tensor:
        """Return the weight, of the same shape."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal constraint."""
        return asdict(self) if hasattr(self, "__dataclass_fields__") else {}  # type: ignore[call-overload]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Constraint:
        """Return the constraint that `get_config` described."""
        return cls(**config)


@dataclass(frozen=True)
class MaxNorm(Constraint):
    """Norms along an axis of at most `max_value`.

    Args:
        max_value: The largest norm.
        axis: Axis or axes along which a norm is taken: 0 for the kernel of a Dense layer, (0, 1, 2)
            for that of a Conv2D.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.constraints import MaxNorm
        >>> edgeml.function(MaxNorm(1.0))(np.array([[3.0, 0.3], [4.0, 0.4]])).round(3)
        array([[0.6, 0.3],
               [0.8, 0.4]], dtype=float32)
    """

    max_value: float = 2
    axis: Axes = 0

    def __call__(self, w: Tensor) -> Tensor:
        """Return the weight within its limits."""
        norm = _norm(w, self.axis)
        return w * (ops.minimum(norm, float(self.max_value)) / (norm + _EPSILON))


@dataclass(frozen=True)
class NonNeg(Constraint):
    """No value below 0.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.constraints import NonNeg
        >>> edgeml.function(NonNeg())(np.array([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """

    def __call__(self, w: Tensor) -> Tensor:
        """Return the weight within its limits."""
        return ops.maximum(w, 0.0)


@dataclass(frozen=True)
class UnitNorm(Constraint):
    """Norms of 1 along an axis.

    Args:
        axis: Axis or axes along which a norm is taken; see `MaxNorm`.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.constraints import UnitNorm
        >>> edgeml.function(UnitNorm())(np.array([[3.0], [4.0]])).round(3)
        array([[0.6],
               [0.8]], dtype=float32)
    """

    axis: Axes = 0

    def __call__(self, w: Tensor) -> Tensor:
        """Return the weight within its limits."""
        return w / (_norm(w, self.axis) + _EPSILON)


@dataclass(frozen=True)
class MinMaxNorm(Constraint):
    """Norms along an axis of at least `min_value` and at most `max_value`.

    Args:
        min_value: The smallest norm.
        max_value: The largest norm.
        rate: How far a norm that is outside goes towards the limit at each step, 0 to 1.
        axis: Axis or axes along which a norm is taken; see `MaxNorm`.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.constraints import MinMaxNorm
        >>> edgeml.function(MinMaxNorm(1.0, 2.0))(np.array([[0.3], [0.4]])).round(3)
        array([[0.6],
               [0.8]], dtype=float32)
    """

    min_value: float = 0.0
    max_value: float = 1.0
    rate: float = 1.0
    axis: Axes = 0

    def __call__(self, w: Tensor) -> Tensor:
        """Return the weight within its limits."""
        norm = _norm(w, self.axis)
        within = ops.clip(norm, float(self.min_value), float(self.max_value))
        desired = within * self.rate + norm * (1.0 - self.rate)
        return w * (desired / (norm + _EPSILON))


def _norm(w: Tensor, axis: Axes) -> Tensor:
    axes = axis if isinstance(axis, int) else list(axis)
    return ops.sqrt(ops.sum(ops.square(w), axis=axes, keepdims=True))


# Keras's other names of the classes.
max_norm, min_max_norm, non_neg, unit_norm = MaxNorm, MinMaxNorm, NonNeg, UnitNorm
_BY_NAME: dict[str, type[Constraint]] = {
    "max_norm": MaxNorm, "min_max_norm": MinMaxNorm, "non_neg": NonNeg, "unit_norm": UnitNorm,
}  # fmt: skip


def get(constraint: Any) -> Any:
    """Return a constraint by name (Keras's or TensorFlow.js's spelling), or the one given.

    Args:
        constraint: A name; a class; a function ``fn(weight) -> weight``; None; or a dict
            ``{"class_name": …, "config": {…}}`` as Keras writes it.

    Raises:
        ConfigError: there is none of that name; the message has the nearest.

    Example:
        >>> from edgeml import constraints
        >>> constraints.get("minMaxNorm")
        MinMaxNorm(min_value=0.0, max_value=1.0, rate=1.0, axis=0)
    """
    if inspect.isclass(constraint) and issubclass(constraint, Constraint):
        return constraint()
    if constraint is None or callable(constraint):
        return constraint
    options: dict[str, Any] = {}
    name = constraint
    if isinstance(constraint, Mapping):
        name, options = constraint.get("class_name", ""), dict(constraint.get("config") or {})
    known = snake(str(name))
    if known not in _BY_NAME:
        near = difflib.get_close_matches(known, _BY_NAME, 3) or sorted(_BY_NAME)
        raise ConfigError(f"there is no constraint {name!r}; did you mean {', '.join(near)}?")
    return _BY_NAME[known](**{snake(key): value for key, value in options.items()})
