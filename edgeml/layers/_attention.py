"""Attention and the Transformer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ShapeError
from edgeml.graph import Tensor
from edgeml.layers._dense import Dense
from edgeml.layers._layer import Layer
from edgeml.layers._layout import reshape_rest
from edgeml.layers._norm import LayerNormalization
from edgeml.layers._regularize import Dropout

_FAR = -1e9  # added to scores that must not count, as Keras does in float32


class MultiHeadAttention(Layer):
    """Attention with several heads (Vaswani et al., 2017).

    Args:
        num_heads: Number of heads.
        key_dim: Size of a head's query and key.
        value_dim: Size of a head's value; None: `key_dim`.
        dropout: Fraction of the attention dropped in training.
        use_bias: Whether the projections add a bias.
        output_shape: Size of the output; None: the query's.

    Weights as Keras has them: query, key, value kernels (features, heads, size) and biases
    (heads, size); output kernel (heads, size, features) and bias (features,).

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
    output_shape: int | None = None
    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"

    def build(self, input_shape: Any) -> None:
        """Make the projections."""
        shapes = input_shape if isinstance(input_shape, list) else [input_shape]
        query, value = shapes[0], shapes[1] if len(shapes) > 1 else shapes[0]
        key = shapes[2] if len(shapes) > 2 and shapes[2] is not None else value
        self.value_size = self.value_dim or self.key_dim
        self.output_size = self.output_shape or query[-1]
        if None in (query[-1], key[-1], value[-1]):
            raise ShapeError("MultiHeadAttention needs to know the last axis of its inputs")
        heads = self.num_heads
        self.query_kernel, self.query_bias = self._projection("query", query[-1], self.key_dim)
        self.key_kernel, self.key_bias = self._projection("key", key[-1], self.key_dim)
        self.value_kernel, self.value_bias = self._projection("value", value[-1], self.value_size)
        self.output_kernel = self.add_weight(
            "attention_output/kernel", (heads, self.value_size, self.output_size),
            self.kernel_initializer,
        )  # fmt: skip
        if self.use_bias:
            self.output_bias = self.add_weight(
                "attention_output/bias", (self.output_size,), self.bias_initializer
            )

    def _projection(self, name: str, features: int, size: int) -> tuple[Any, Any]:
        heads = self.num_heads
        kernel = self.add_weight(f"{name}/kernel", (features, heads, size), self.kernel_initializer)
        if not self.use_bias:
            return kernel, None
        return kernel, self.add_weight(f"{name}/bias", (heads, size), self.bias_initializer)

    def _heads(self, x: Tensor, kernel: Any, bias: Any, perm: list[int]) -> Tensor:
        features, heads, size = kernel.shape
        y = ops.matmul(x, ops.reshape(kernel, [features, heads * size]))
        if bias is not None:
            y = y + ops.reshape(bias, [heads * size])
        steps = x.known_shape[1]
        split_up = reshape_rest(y, [0, 0 if isinstance(steps, str) else steps, heads, size])
        return ops.transpose(split_up, perm)

    def call(  # type: ignore[override]
        self, query: Tensor, value: Tensor, key: Tensor | None = None, *,
        attention_mask: Any = None, use_causal_mask: bool = False,
        return_attention_scores: bool = False, mask: Tensor | None = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Return what each step of `query` takes from `value`.

        Args:
            query: (batch, steps, features).
            value: (batch, other steps, features).
            key: As `value`; None: `value`.
            attention_mask: Which of the other steps each step may see, bool
                (batch, steps, other steps) or without the batch.
            use_causal_mask: Whether steps see only those before them.
            return_attention_scores: Whether to return (batch, heads, steps, other steps), too.
            mask: Which steps of `query` count; those of `value` are known from its own mask.
            training: Whether dropout drops.
        """
        key = value if key is None else key
        q = self._heads(query, self.query_kernel, self.query_bias, [0, 2, 1, 3])
        k = self._heads(key, self.key_kernel, self.key_bias, [0, 2, 3, 1])
        v = self._heads(value, self.value_kernel, self.value_bias, [0, 2, 1, 3])
        scores = ops.matmul(q * (1.0 / math.sqrt(self.key_dim)), k)
        allowed = self._allowed(query, value, attention_mask, use_causal_mask)
        if allowed is not None:
            scores = scores + (1.0 - ops.cast(allowed, np.float32)) * _FAR
        weights = ops.softmax(scores)
        dropped = ops.dropout(weights, self.dropout) if training and self.dropout else weights
        y = ops.transpose(ops.matmul(dropped, v), [0, 2, 1, 3])
        steps = query.known_shape[1]
        wide = self.num_heads * self.value_size
        flat = reshape_rest(y, [0, 0 if isinstance(steps, str) else steps, wide])
        y = ops.matmul(flat, ops.reshape(self.output_kernel, [wide, self.output_size]))
        if self.use_bias:
            y = y + self.output_bias
        return (y, weights) if return_attention_scores else y

    def _allowed(self, query: Tensor, value: Tensor, given: Any, causal: bool) -> Tensor | None:
        """Return the mask that broadcasts to (batch, heads, steps, other steps)."""
        parts: list[Any] = []
        masks = query.graph.root().masks
        if value in masks:
            parts.append(ops.expand_dims(masks[value], [1, 2]))
        if query in masks:
            parts.append(ops.expand_dims(masks[query], [1, 3]))
        if given is not None:
            if not isinstance(given, Tensor):
                given = query.graph.constant(np.asarray(given, bool))
            given = ops.cast(given, np.bool_)
            parts.append(ops.expand_dims(given, 1) if given.ndim == 3 else given)
        if causal:
            size = int(query.known_shape[1]), int(value.known_shape[1])
            parts.append(query.graph.constant(np.tril(np.ones(size, bool))))
        allowed: Any = None
        for part in parts:
            allowed = part if allowed is None else ops.logical_and(allowed, part)
        return allowed  # type: ignore[no-any-return]


class TransformerEncoder(Layer):
    """Self-attention and two dense layers, each with a way around (Vaswani et al., 2017).

    Args:
        intermediate_dim: Size of the first dense layer.
        num_heads: Number of heads; each has the size of the input divided by it.
        dropout: Fraction dropped in training.
        activation: Of the first dense layer.
        layer_norm_epsilon: Added to the variance.
        normalize_first: Whether to normalize before, not after.

    Input and output shape: (batch, steps, features).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import TransformerEncoder
        >>> TransformerEncoder(16, 2)(np.ones((1, 5, 8))).shape
        (1, 5, 8)
    """

    intermediate_dim: int
    num_heads: int
    dropout: float = 0.0
    activation: Any = "relu"
    layer_norm_epsilon: float = 1e-5
    normalize_first: bool = False

    def build(self, input_shape: Any) -> None:
        """Make the layers."""
        size = input_shape[-1]
        if size is None or size % self.num_heads:
            raise ShapeError(f"{size} features are no multiple of {self.num_heads} heads")
        self.attention = MultiHeadAttention(
            self.num_heads, size // self.num_heads, dropout=self.dropout,
            name="self_attention_layer",
        )  # fmt: skip
        epsilon = self.layer_norm_epsilon
        self.attention_norm = LayerNormalization(epsilon=epsilon, name="self_attention_layer_norm")
        self.feedforward_norm = LayerNormalization(epsilon=epsilon, name="feedforward_layer_norm")
        self.inner = Dense(self.intermediate_dim, activation=self.activation,
                           name="feedforward_intermediate_dense")  # fmt: skip
        self.outer = Dense(size, name="feedforward_output_dense")
        self.drop = Dropout(self.dropout, name="dropout")

    def call(
        self, x: Tensor, padding_mask: Any = None, attention_mask: Any = None,
        mask: Tensor | None = None, training: bool = False,
    ) -> Tensor:  # fmt: skip
        """Return the encoded steps."""
        allowed = attention_mask
        if padding_mask is not None:
            allowed = ops.expand_dims(ops.cast(padding_mask, np.bool_), 1)
        around = x
        y = self.attention_norm(x) if self.normalize_first else x
        if mask is not None:
            x.graph.root().masks[y] = mask
        y = around + self.drop(self.attention(y, y, attention_mask=allowed))
        if not self.normalize_first:
            y = self.attention_norm(y)
        inside = self.feedforward_norm(y) if self.normalize_first else y
        y = y + self.drop(self.outer(self.inner(inside)))
        out: Tensor = y if self.normalize_first else self.feedforward_norm(y)
        return out


class TokenAndPositionEmbedding(Layer):
    """A learned vector for each token plus one for its place.

    Args:
        vocabulary_size: Number of different tokens, from 0.
        sequence_length: Largest number of steps.
        embedding_dim: Size of a vector.
        mask_zero: Whether the token 0 does not count.

    Input shape: (batch, steps), integers. Output shape: (batch, steps, embedding_dim).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import TokenAndPositionEmbedding
        >>> TokenAndPositionEmbedding(100, 8, 16)(np.ones((2, 8), np.int64)).shape
        (2, 8, 16)
    """

    vocabulary_size: int
    sequence_length: int
    embedding_dim: int
    embeddings_initializer: Any = "uniform"
    mask_zero: bool = False

    def build(self, input_shape: Any) -> None:
        """Make both tables."""
        if input_shape[1] is None or input_shape[1] > self.sequence_length:
            raise ShapeError(f"at most {self.sequence_length} steps, received {input_shape}")
        size, start = self.embedding_dim, self.embeddings_initializer
        self.tokens = self.add_weight(
            "token_embedding/embeddings", (self.vocabulary_size, size), start
        )
        self.positions = self.add_weight(
            "position_embedding/embeddings", (self.sequence_length, size), start
        )

    def call(self, x: Tensor) -> Tensor:
        """Return the sum of both vectors."""
        steps = int(x.known_shape[1])
        places = ops.slice_(self.positions, [0], [steps], [0])
        return ops.take(self.tokens, ops.cast(x, np.int64)) + places

    def compute_mask(self, x: Any, mask: Tensor | None) -> Tensor | None:
        """Return where the token is not 0, when asked to."""
        return ops.not_equal(ops.cast(x, np.int64), np.int64(0)) if self.mask_zero else mask
