"""Embedding and masking."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError
from edgeml.graph import Tensor
from edgeml.layers._layer import Layer


class BaseEmbedding(Layer):
    """What the embeddings share; see `Embedding`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        own: Any = self  # the fields stand in the subclasses, in the order of Keras's arguments
        if own.input_dim < 1 or own.output_dim < 1:
            raise ConfigError(
                f"{type(self).__name__}: input_dim and output_dim: expected positive numbers, "
                f"received {own.input_dim} and {own.output_dim}"
            )

    def build(self, input_shape: Any) -> None:
        """Make the table."""
        own: Any = self
        self.embeddings = self.add_own_weight("embeddings", (own.input_dim, own.output_dim))

    def call(self, x: Tensor) -> Tensor:
        """Return the vectors."""
        return ops.take(self.embeddings, ops.cast(x, np.int64))

    def compute_mask(self, x: Any, mask: Tensor | None) -> Tensor | None:
        """Return where the integer is not 0, when asked to."""
        own: Any = self
        return ops.not_equal(ops.cast(x, np.int64), np.int64(0)) if own.mask_zero else None


class Embedding(BaseEmbedding):
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


class ReversibleEmbedding(BaseEmbedding):
    """An embedding that also goes the other way: from vectors to a score for each integer.

    Args:
        input_dim: Number of different integers, from 0.
        output_dim: Size of a vector.
        tie_weights: Whether the other way uses the same table; else one of its own.
        embeddings_initializer: Initializer of the tables.
        embeddings_regularizer: Penalty on the table, added to the loss.
        embeddings_constraint: What the table is kept to after each update, from
            `edgeml.constraints`.
        mask_zero: Whether 0 stands for a step that does not count.
        logit_soft_cap: The scores are kept within it, by a hyperbolic tangent; None: they are not.

    Input shape: (batch, ...), integers; with ``reverse=True`` (batch, ..., output_dim). Output
    shape: (batch, ..., output_dim), or (batch, ..., input_dim). Weights: embeddings (input_dim,
    output_dim), and reverse_embeddings (output_dim, input_dim) unless tied.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import ReversibleEmbedding
        >>> layer = ReversibleEmbedding(10, 4)
        >>> layer(layer(np.array([[1, 2, 3]])), reverse=True).shape
        (1, 3, 10)
    """

    input_dim: int
    output_dim: int
    tie_weights: bool = True
    embeddings_initializer: Any = "uniform"
    embeddings_regularizer: Any = None
    embeddings_constraint: Any = None
    mask_zero: bool = False
    logit_soft_cap: float | None = dataclasses.field(default=None, kw_only=True)

    def build(self, input_shape: Any) -> None:
        """Make the tables."""
        super().build(input_shape)
        if not self.tie_weights:
            self.reverse_embeddings = self.add_weight(
                "reverse_embeddings", (self.output_dim, self.input_dim), self.embeddings_initializer
            )

    def call(self, inputs: Tensor, reverse: bool = False) -> Tensor:
        """Return the vectors; with `reverse`, the scores of vectors."""
        if not reverse:
            return super().call(inputs)
        back = ops.transpose(self.embeddings) if self.tie_weights else self.reverse_embeddings
        logits = ops.matmul(inputs, back)
        cap = self.logit_soft_cap
        return logits if cap is None else ops.tanh(logits * (1.0 / cap)) * cap

    def compute_mask(self, x: Any, mask: Tensor | None) -> Tensor | None:
        """Return where the integer is not 0, when asked to; of vectors, the mask they came with."""
        return mask if x.dtype.kind == "f" else super().compute_mask(x, mask)


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
