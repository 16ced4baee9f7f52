"""Attention with several heads."""

from __future__ import annotations

import math
from typing import Any

from edgeml import ops
from edgeml.errors import ConfigError
from edgeml.graph import Tensor
from edgeml.layers._heads import BaseHeads


class MultiHeadAttention(BaseHeads):
    """Attention with several heads (Vaswani et al., 2017).

    Args:
        num_heads: Number of heads.
        key_dim: Size of a head's query and key.
        value_dim: Size of a head's value; None: `key_dim`.
        dropout: Fraction of the attention dropped in training.
        use_bias: Whether the projections add a bias.
        output_shape: Shape of the output's last axis or axes; None: the query's.
        attention_axes: Axes that are attended over; None: all between the batch and the last.
        sliding_window: How far a step sees: only those less than this away; None: all.
        flash_attention: As in Keras, and without effect.
        kernel_initializer: Initializer of the projections' kernels.
        bias_initializer: Initializer of their biases.
        kernel_regularizer: Penalty on the kernels, added to the loss.
        bias_regularizer: Penalty on the biases.
        activity_regularizer: Penalty on what each projection returns.
        kernel_constraint: What the kernels are kept to after each update, from
            `edgeml.constraints`.
        bias_constraint: What the biases are kept to.
        use_gate: Whether a sigmoid of a projection of the query multiplies what heads return.
        seed: As in Keras, and without effect: all random numbers follow from `fit`'s seed.

    Input shape: query (batch, steps, features), value and key (batch, other steps, features); with
    more axes between, all are attended over, or `attention_axes`. Output shape: the query's, its
    last axis of `output_shape`. Weights as Keras has them: query, key, value kernels (features,
    heads, size) and biases (heads, size); output kernel (heads, size, features) and bias
    (features,).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import MultiHeadAttention
        >>> x = np.ones((1, 5, 8))
        >>> MultiHeadAttention(2, 4)(x, x).shape
        (1, 5, 8)
    """

    num_heads: int
    key_dim: int
    value_dim: int | None = None
    dropout: float = 0.0
    use_bias: bool = True
    output_shape: Any = None
    attention_axes: Any = None
    sliding_window: int | None = None
    flash_attention: bool | None = None
    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"
    kernel_regularizer: Any = None
    bias_regularizer: Any = None
    activity_regularizer: Any = None
    kernel_constraint: Any = None
    bias_constraint: Any = None
    use_gate: bool = False
    seed: int | None = None

    def build(self, input_shape: Any) -> None:
        """Make the projections."""
        query = input_shape[0] if isinstance(input_shape, list) else input_shape
        heads, size = self.num_heads, self.value_dim or self.key_dim
        given = self.output_shape
        self._last = (
            (query[-1],) if not given else (given,) if isinstance(given, int) else tuple(given)
        )
        self.query = self.projection("query", heads, self.key_dim)
        self.key = self.projection("key", heads, self.key_dim)
        if self.use_gate:
            self.gate = self.projection("gate", heads, size, activation="sigmoid")
        self.value = self.projection("value", heads, size)
        self.output = self.projection("attention_output", *self._last)

    def call(  # type: ignore[override]
        self, query: Tensor, value: Tensor, key: Tensor | None = None, query_mask: Any = None,
        value_mask: Any = None, key_mask: Any = None, attention_mask: Any = None,
        return_attention_scores: bool = False, training: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:  # fmt: skip
        """Return what each step of `query` takes from `value`.

        Args:
            query: (batch, steps, features).
            value: (batch, other steps, features).
            key: As `value`; None: `value`.
            query_mask: Which steps of `query` count, bool (batch, steps); None: as its own mask
                says.
            value_mask: Which of the other steps count.
            key_mask: Which of the other steps count.
            attention_mask: Which of the other steps each step may see, bool
                (batch, steps, other steps), or without the batch.
            return_attention_scores: Whether to return (batch, heads, steps, other steps), too.
            training: Whether dropout drops.
            use_causal_mask: Whether steps see only those before them.
        """
        key = value if key is None else key
        masks = query_mask, value_mask, key_mask
        if query.ndim > 3:
            return self._over_axes(query, value, key, attention_mask, return_attention_scores)
        allowed = self.allowed(query, value, key, masks, attention_mask, use_causal_mask)
        y, weights = self._attended(query, value, key, allowed)
        return (y, weights) if return_attention_scores else y

    def _attended(self, query: Tensor, value: Tensor, key: Tensor, allowed: Any) -> Any:
        y, weights = self.attend(self.query(query), self.key(key), self.value(value), allowed)
        return self.output(y * self.gate(query) if self.use_gate else y), weights

    def _over_axes(
        self, query: Tensor, value: Tensor, key: Tensor, mask: Any, with_scores: bool
    ) -> Any:
        """Make one axis of those that are attended over, and one of the rest."""
        rank = query.ndim
        given = self.attention_axes
        if given is None:
            given = range(1, rank - 1)
        over = [a % rank for a in ([given] if isinstance(given, int) else given)]
        rest = [i for i in range(1, rank - 1) if i not in over]
        order = [0, *rest, *over, rank - 1]
        sizes = [int(query.known_shape[i]) for i in order[1:-1]]
        others = [int(value.known_shape[i]) for i in over]
        aside, steps = sizes[: len(rest)], sizes[len(rest) :]
        q, v, k = (
            ops.reshape(ops.transpose(x, order), [-1, math.prod(n), int(x.known_shape[-1])])
            for x, n in ((query, steps), (value, others), (key, others))
        )
        if mask is not None:
            raise ConfigError("MultiHeadAttention: attention_mask is for inputs of three axes")
        y, weights = self._attended(q, v, k, None)
        y = ops.reshape(y, [-1, *aside, *steps, *self._last])
        last = range(rank - 1, rank - 1 + len(self._last))
        y = ops.transpose(y, [*(order.index(i) for i in range(rank - 1)), *last])
        if not with_scores:
            return y
        return y, ops.reshape(weights, [-1, *aside, self.num_heads, *steps, *others])


class GroupQueryAttention(BaseHeads):
    """Attention whose heads share keys and values in groups (Ainslie et al., 2023).

    Args:
        head_dim: Size of a head.
        num_query_heads: Number of heads; a multiple of `num_key_value_heads`.
        num_key_value_heads: Number of different keys and values.
        dropout: Fraction of the attention dropped in training.
        use_bias: Whether the projections add a bias.
        sliding_window: How far a step sees: only those less than this away; None: all.
        flash_attention: As in Keras, and without effect.
        kernel_initializer: Initializer of the projections' kernels.
        bias_initializer: Initializer of their biases.
        kernel_regularizer: Penalty on the kernels, added to the loss.
        bias_regularizer: Penalty on the biases.
        activity_regularizer: Penalty on what each projection returns.
        kernel_constraint: What the kernels are kept to after each update, from
            `edgeml.constraints`.
        bias_constraint: What the biases are kept to.
        use_gate: Whether a sigmoid of a projection of the query multiplies what heads return.
        seed: As in Keras, and without effect: all random numbers follow from `fit`'s seed.

    Input shape: query (batch, steps, features), value and key (batch, other steps, features).
    Output shape: the query's. Weights: as of `MultiHeadAttention`, keys and values with fewer
    heads.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import GroupQueryAttention
        >>> x = np.ones((1, 5, 8))
        >>> GroupQueryAttention(4, num_query_heads=4, num_key_value_heads=2)(x, x).shape
        (1, 5, 8)
    """

    head_dim: int
    num_query_heads: int
    num_key_value_heads: int
    dropout: float = 0.0
    use_bias: bool = True
    sliding_window: int | None = None
    flash_attention: bool | None = None
    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"
    kernel_regularizer: Any = None
    bias_regularizer: Any = None
    activity_regularizer: Any = None
    kernel_constraint: Any = None
    bias_constraint: Any = None
    use_gate: bool = False
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_query_heads % self.num_key_value_heads:
            raise ConfigError(
                "GroupQueryAttention: num_query_heads: expected a multiple of "
                f"{self.num_key_value_heads}, received {self.num_query_heads}"
            )

    def build(self, input_shape: Any) -> None:
        """Make the projections."""
        query = input_shape[0] if isinstance(input_shape, list) else input_shape
        heads, groups, size = self.num_query_heads, self.num_key_value_heads, self.head_dim
        self.query = self.projection("query", heads, size)
        self.key = self.projection("key", groups, size)
        if self.use_gate:
            self.gate = self.projection("gate", heads, size, activation="sigmoid")
        self.value = self.projection("value", groups, size)
        self.output = self.projection("attention_output", query[-1])

    def call(  # type: ignore[override]
        self, query: Tensor, value: Tensor, key: Tensor | None = None, query_mask: Any = None,
        value_mask: Any = None, key_mask: Any = None, attention_mask: Any = None,
        return_attention_scores: bool = False, training: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:  # fmt: skip
        """Return what each step of `query` takes from `value`; see `MultiHeadAttention`."""
        key = value if key is None else key
        masks = query_mask, value_mask, key_mask
        allowed = self.allowed(query, value, key, masks, attention_mask, use_causal_mask)
        times = self.num_query_heads // self.num_key_value_heads
        k, v = (ops.repeat(x, times, 2) for x in (self.key(key), self.value(value)))
        y, weights = self.attend(self.query(query), k, v, allowed)
        y = self.output(y * self.gate(query) if self.use_gate else y)
        return (y, weights) if return_attention_scores else y
