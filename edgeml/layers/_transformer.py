"""The two halves of a Transformer."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Tensor, as_tensor
from edgeml.layers._attention import MultiHeadAttention
from edgeml.layers._dense import Dense
from edgeml.layers._layer import Layer, mask_of
from edgeml.layers._norm import LayerNormalization
from edgeml.layers._regularize import Dropout, check_rate


class BaseTransformer(Layer):
    """What encoder and decoder share; see `TransformerEncoder`."""

    intermediate_dim: int
    num_heads: int
    dropout: float = 0.0
    activation: Any = "relu"
    layer_norm_epsilon: float = 1e-5
    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"
    normalize_first: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate(self, "dropout")
        self.drop = Dropout(self.dropout, name="dropout")

    def attention(self, size: Any, name: str) -> MultiHeadAttention:
        """Return an attention for features of this size."""
        if size is None or size % self.num_heads:
            raise ShapeError(
                f"{type(self).__name__}: {size} features are no multiple of {self.num_heads} heads",
                expected=f"a multiple of {self.num_heads}", received=size,
            )  # fmt: skip
        return MultiHeadAttention(
            self.num_heads, size // self.num_heads, dropout=self.dropout,
            kernel_initializer=self.kernel_initializer, bias_initializer=self.bias_initializer,
            name=name,
        )  # fmt: skip

    def norm(self, name: str) -> LayerNormalization:
        """Return a normalization."""
        return LayerNormalization(epsilon=self.layer_norm_epsilon, name=name)

    def dense(self, units: int, activation: Any, name: str) -> Dense:
        """Return a dense layer."""
        start = self.kernel_initializer, self.bias_initializer
        return Dense(units, activation, True, *start, name=name)

    def around(self, x: Tensor, norm: Layer, inside: Any) -> Tensor:
        """Return `x` plus what ``inside`` makes of it, normalized before or after."""
        y = x + self.drop(inside(norm(x) if self.normalize_first else x))
        return y if self.normalize_first else norm(y)  # type: ignore[no-any-return]


class TransformerEncoder(BaseTransformer):
    """Self-attention and two dense layers, each with a way around (Vaswani et al., 2017).

    KerasHub's.

    Args:
        intermediate_dim: Size of the first dense layer.
        num_heads: Number of heads; each has the size of the input divided by it.
        dropout: Fraction dropped in training.
        activation: Of the first dense layer.
        layer_norm_epsilon: Added to the variance.
        kernel_initializer: Initializer of the kernels.
        bias_initializer: Initializer of the biases.
        normalize_first: Whether to normalize before, not after.

    Input and output shape: (batch, steps, features).

    Raises:
        ShapeError: the features are no multiple of the heads.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import TransformerEncoder
        >>> TransformerEncoder(16, 2)(np.ones((1, 5, 8))).shape
        (1, 5, 8)
    """

    def build(self, input_shape: Any) -> None:
        """Make the layers."""
        shape = input_shape[0] if isinstance(input_shape, list) else input_shape
        self.self_attention = self.attention(shape[-1], "self_attention_layer")
        self.self_attention_norm = self.norm("self_attention_layer_norm")
        self.feedforward_norm = self.norm("feedforward_layer_norm")
        self.inner = self.dense(
            self.intermediate_dim, self.activation, "feedforward_intermediate_dense"
        )
        self.outer = self.dense(shape[-1], None, "feedforward_output_dense")

    def call(
        self, inputs: Tensor, padding_mask: Any = None, attention_mask: Any = None,
        training: bool = False, return_attention_scores: bool = False,
    ) -> Any:  # fmt: skip
        """Return the encoded steps.

        Args:
            inputs: (batch, steps, features).
            padding_mask: Which steps count, bool (batch, steps); None: as the input's mask says.
            attention_mask: Which steps each step may see, bool (batch, steps, steps).
            training: Whether dropout drops.
            return_attention_scores: Whether to return (batch, heads, steps, steps), too.
        """
        allowed = merged_masks(inputs, padding_mask, attention_mask)
        scores: list[Tensor] = []

        def attend(x: Tensor) -> Tensor:
            y, found = self.self_attention(
                x, x, attention_mask=allowed, return_attention_scores=True
            )
            scores.append(found)
            return y  # type: ignore[no-any-return]

        y = self.around(inputs, self.self_attention_norm, attend)
        y = self.around(y, self.feedforward_norm, lambda v: self.outer(self.inner(v)))
        return (y, scores[0]) if return_attention_scores else y


class TransformerDecoder(BaseTransformer):
    """Causal self-attention, attention to an encoder, two dense layers (Vaswani et al., 2017).

    KerasHub's. Called with one sequence there is no attention to an encoder, as in GPT.

    Args:
        intermediate_dim: Size of the first dense layer.
        num_heads: Number of heads; each has the size of the input divided by it.
        dropout: Fraction dropped in training.
        activation: Of the first dense layer.
        layer_norm_epsilon: Added to the variance.
        kernel_initializer: Initializer of the kernels.
        bias_initializer: Initializer of the biases.
        normalize_first: Whether to normalize before, not after.

    Input shape: (batch, steps, features), and of the encoder (batch, other steps, features).
    Output shape: (batch, steps, features).

    Raises:
        ShapeError: the features are no multiple of the heads.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import TransformerDecoder
        >>> TransformerDecoder(16, 2)(np.ones((1, 5, 8)), np.ones((1, 7, 8))).shape
        (1, 5, 8)
    """

    def build(self, input_shape: Any) -> None:
        """Make the layers; those of the attention to an encoder are built when there is one."""
        shape = input_shape[0] if isinstance(input_shape, list) else input_shape
        self.self_attention = self.attention(shape[-1], "self_attention")
        self.self_attention_norm = self.norm("self_attention_layer_norm")
        self.cross_attention = self.attention(shape[-1], "cross_attention")
        self.cross_attention_norm = self.norm("cross_attention_layer_norm")
        self.inner = self.dense(
            self.intermediate_dim, self.activation, "feedforward_intermediate_dense"
        )
        self.outer = self.dense(shape[-1], None, "feedforward_output_dense")
        self.feedforward_norm = self.norm("feedforward_layer_norm")

    def call(
        self, decoder_sequence: Tensor, encoder_sequence: Tensor | None = None,
        decoder_padding_mask: Any = None, decoder_attention_mask: Any = None,
        encoder_padding_mask: Any = None, encoder_attention_mask: Any = None, *,
        use_causal_mask: bool = True,
    ) -> Tensor:  # fmt: skip
        """Return the decoded steps.

        Args:
            decoder_sequence: (batch, steps, features).
            encoder_sequence: (batch, other steps, features): what an encoder made.
            decoder_padding_mask: Which steps count, bool (batch, steps); None: as the sequence's
                mask says.
            decoder_attention_mask: Which steps each step may see, bool (batch, steps, steps).
            encoder_padding_mask: Which of the other steps count, bool (batch, other steps).
            encoder_attention_mask: Which of them each step may see, (batch, steps, other steps).
            use_causal_mask: Whether steps see only those before them.
        """
        if self.self_attention.built and self.cross_attention.built == (encoder_sequence is None):
            raise ConfigError(
                f"{self.name}: a decoder is called with an encoder's sequence always or never; its "
                f"first call was with{'' if self.cross_attention.built else 'out'} one"
            )
        own = merged_masks(decoder_sequence, decoder_padding_mask, decoder_attention_mask)
        y = self.around(
            decoder_sequence, self.self_attention_norm,
            lambda v: self.self_attention(
                v, v, attention_mask=own, use_causal_mask=use_causal_mask
            ),
        )  # fmt: skip
        if encoder_sequence is not None:
            other = merged_masks(encoder_sequence, encoder_padding_mask, encoder_attention_mask)
            y = self.around(
                y, self.cross_attention_norm,
                lambda v: self.cross_attention(v, encoder_sequence, attention_mask=other),
            )  # fmt: skip
        return self.around(y, self.feedforward_norm, lambda v: self.outer(self.inner(v)))


def merged_masks(x: Tensor, padding: Any, attention: Any) -> Tensor | None:
    """Return what of `x` may be seen, bool (batch, 1 or steps, steps), or None for all."""
    found = mask_of(x) if padding is None else ops.cast(as_tensor(padding), np.bool_)
    if found is not None:
        found = ops.expand_dims(found, 1)
    if attention is None:
        return found
    given = ops.cast(as_tensor(attention), np.bool_)
    return given if found is None else ops.logical_and(found, given)
