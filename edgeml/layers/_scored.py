"""Attention without projections: by dot products, and by sums (Luong, Bahdanau)."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Tensor, as_tensor
from edgeml.layers._heads import FAR, near
from edgeml.layers._layer import Layer, mask_of
from edgeml.layers._regularize import check_rate


class BaseAttention(Layer):
    """What Attention and AdditiveAttention share; see `Attention`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate(self, "dropout")

    def build(self, input_shape: Any) -> None:
        """Check the number of inputs."""
        if not isinstance(input_shape, list) or len(input_shape) not in (2, 3):
            raise ShapeError(
                f"{type(self).__name__} takes a list: [query, value] or [query, value, key], "
                f"received {input_shape}"
            )

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Return (batch, steps, other steps)."""
        raise NotImplementedError

    def call(
        self, inputs: Any, mask: Any = None, training: bool = False,
        return_attention_scores: bool = False, use_causal_mask: bool = False,
    ) -> Any:  # fmt: skip
        """Return what each step of the query takes from the value.

        Args:
            inputs: [query (batch, steps, features), value (batch, other steps, features)] and
                perhaps key, as the value.
            mask: [which steps of the query count, which of the value], bool (batch, steps); None:
                as their own masks say.
            training: Whether dropout drops.
            return_attention_scores: Whether to return (batch, steps, other steps), too.
            use_causal_mask: Whether steps see only those before them.
        """
        own: Any = self
        query, value = inputs[:2]
        of_query, of_value = self._masks(inputs, mask)
        scores = self.scores(query, inputs[-1])
        allowed = None if of_value is None else ops.expand_dims(of_value, 1)
        if use_causal_mask:
            causal = near(query, value, True, None)
            allowed = causal if allowed is None else ops.logical_and(allowed, causal)
        if allowed is not None:
            scores = ops.where(allowed, scores, scores + FAR)
        weights = ops.softmax(scores)
        dropped = ops.dropout(weights, own.dropout) if training and own.dropout else weights
        y = ops.matmul(dropped, value)
        if of_query is not None:
            y = ops.where(ops.expand_dims(of_query, -1), y, 0.0)
        return (y, weights) if return_attention_scores else y

    def _masks(self, inputs: Any, mask: Any) -> list[Tensor | None]:
        given = mask if isinstance(mask, (list, tuple)) else [mask_of(x) for x in inputs]
        return [None if m is None else ops.cast(as_tensor(m), np.bool_) for m in given[:2]]

    def compute_mask(self, x: Any, mask: Any) -> Any:
        """Return the query's mask."""
        return mask[0] if isinstance(mask, (list, tuple)) else mask


class Attention(BaseAttention):
    """Attention by dot products (Luong et al., 2015).

    Args:
        use_scale: Whether to multiply the scores by a learned number.
        score_mode: "dot", or "concat": a learned number times the sum of tanh(query + key).
        dropout: Fraction of the attention dropped in training.
        seed: As in Keras, and without effect: all random numbers follow from `fit`'s seed.

    Input shape: a list: query (batch, steps, features), value (batch, other steps, features), and
    perhaps key, as the value. Output shape: (batch, steps, the value's features). Weights: scale
    and concat_score_weight, when there are such: both ().

    Raises:
        ConfigError: the mode is none of the two.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Attention
        >>> Attention()([np.ones((1, 2, 3)), np.ones((1, 4, 3))]).shape
        (1, 2, 3)
    """

    use_scale: bool = False
    score_mode: str = "dot"
    dropout: float = 0.0
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.score_mode not in ("dot", "concat"):
            raise ConfigError(
                f"Attention: score_mode: expected dot or concat, received {self.score_mode!r}"
            )

    def build(self, input_shape: Any) -> None:
        """Make the numbers."""
        super().build(input_shape)
        self.scale = self.add_weight("scale", (), "ones") if self.use_scale else None
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight("concat_score_weight", (), "ones")

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Return (batch, steps, other steps)."""
        if self.score_mode == "dot":
            scores = ops.matmul(query, ops.swapaxes(key, 1, 2))
            return scores if self.scale is None else scores * self.scale
        sums = _sums(query, key)
        y = ops.sum(ops.tanh(sums if self.scale is None else sums * self.scale), -1)
        return y * self.concat_score_weight


class AdditiveAttention(BaseAttention):
    """Attention by sums (Bahdanau et al., 2015).

    Args:
        use_scale: Whether each feature has a learned weight in the scores.
        dropout: Fraction of the attention dropped in training.

    Input shape: a list: query (batch, steps, features), value (batch, other steps, features), and
    perhaps key, as the value. Output shape: (batch, steps, features). Weights: scale (features,).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import AdditiveAttention
        >>> AdditiveAttention()([np.ones((1, 2, 3)), np.ones((1, 4, 3))]).shape
        (1, 2, 3)
    """

    use_scale: bool = True
    dropout: float = 0.0

    def build(self, input_shape: Any) -> None:
        """Make the weights."""
        super().build(input_shape)
        size = (input_shape[0][-1],)
        self.scale = self.add_weight("scale", size) if self.use_scale else None

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Return (batch, steps, other steps)."""
        y = ops.tanh(_sums(query, key))
        return ops.sum(y if self.scale is None else y * self.scale, -1)


def _sums(query: Tensor, key: Tensor) -> Tensor:
    return ops.expand_dims(query, 2) + ops.expand_dims(key, 1)
