"""Embedding and masking."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError
from edgeml.graph import Tensor
from edgeml.layers._layer import Layer


class Embedding(Layer):
    """A learned vector for each of `input_dim` integers.

    Args:
        input_dim: Number of different integers, from 0.
        output_dim: Size of a vector.
        embeddings_initializer: Initializer of the table, (input_dim, output_dim).
        embeddings_regularizer: Penalty on the table, added to the loss.
        embeddings_constraint: What the table is kept to after each update, from
            `edgeml.constraints`.
        mask_zero: Whether 0 stands for a step that does not count.

    Input shape: (batch, ...), integers. Output shape: (batch, ..., output_dim). Weights:
    embeddings (input_dim, output_dim).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Embedding
        >>> Embedding(10, 4)(np.array([[1, 2, 3]])).shape
        (1, 3, 4)
    """

    input_dim: int
    output_dim: int
    embeddings_initializer: Any = "uniform"
    embeddings_regularizer: Any = None
    embeddings_constraint: Any = None
    mask_zero: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input_dim < 1 or self.output_dim < 1:
            raise ConfigError(
                "Embedding: input_dim and output_dim: expected positive numbers, received "
                f"{self.input_dim} and {self.output_dim}"
            )

    def build(self, input_shape: Any) -> None:
        """Make the table."""
        self.embeddings = self.add_own_weight("embeddings", (self.input_dim, self.output_dim))

    def call(self, x: Tensor) -> Tensor:
        """Return the vectors."""
        return ops.take(self.embeddings, ops.cast(x, np.int64))

    def compute_mask(self, x: Any, mask: Tensor | None) -> Tensor | None:
        """Return where the integer is not 0, when asked to."""
        return ops.not_equal(ops.cast(x, np.int64), np.int64(0)) if self.mask_zero else None


class Masking(Layer):
    """Steps whose values all equal `mask_value` do not count in the layers after this one.

    Args:
        mask_value: The value.

    Input and output shape: (batch, steps, features).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Masking
        >>> Masking(-1.0)(np.array([[[-1.0], [2.0]]])).tolist()
        [[[0.0], [2.0]]]
    """

    mask_value: float = 0.0

    def call(self, x: Tensor) -> Tensor:
        """Return the input, with steps that do not count set to zero."""
        kept = ops.any(ops.not_equal(x, self.mask_value), axis=-1, keepdims=True)
        return ops.where(kept, x, 0.0)

    def compute_mask(self, x: Any, mask: Tensor | None) -> Tensor:
        """Return which steps count."""
        return ops.any(ops.not_equal(x, self.mask_value), axis=-1)
