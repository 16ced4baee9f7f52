"""Penalties on weights, by Keras's names."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgeml import ops
from edgeml._names import snake
from edgeml.errors import ConfigError
from edgeml.graph import Tensor


@dataclass(frozen=True)
class L1L2:
    """``l1 * sum(|w|) + l2 * sum(w ** 2)``, added to the loss.

    Example:
        >>> from edgeml.layers import Dense, L1L2
        >>> Dense(4, kernel_regularizer=L1L2(l2=0.01)).kernel_regularizer.l2
        0.01
    """

    l1: float = 0.0
    l2: float = 0.0

    def __call__(self, weights: Tensor) -> Tensor:
        """Return the penalty."""
        total: Any = None
        if self.l1:
            total = ops.sum(ops.absolute(weights)) * self.l1
        if self.l2 or total is None:
            square = ops.sum(weights * weights) * self.l2
            total = square if total is None else total + square
        return total  # type: ignore[no-any-return]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return asdict(self)


def get(regularizer: Any) -> Any:
    """Return a regularizer by name: "l1", "l2" or "l1_l2" (0.01 each), or the one given."""
    if regularizer is None or callable(regularizer):
        return regularizer
    name = snake(str(regularizer)).replace("_", "")
    known = {"l1": L1L2(l1=0.01), "l2": L1L2(l2=0.01), "l1l2": L1L2(0.01, 0.01)}
    if name not in known:
        raise ConfigError(f"there is no regularizer {regularizer!r}; there are l1, l2, l1_l2")
    return known[name]
