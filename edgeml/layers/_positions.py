"""Where steps stand, as vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Tensor, as_tensor, emit
from edgeml.layers._embedding import ReversibleEmbedding
from edgeml.layers._layer import Layer
from edgeml.layers._parameter import Array


class PositionEmbedding(Layer):
    """A learned vector for each place; KerasHub's.

    Args:
        sequence_length: Largest number of steps.
        initializer: Initializer of the vectors.

    Input shape: (..., steps, features). Output shape: the same; add it to the input. Weights:
    embeddings (sequence_length, features).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import PositionEmbedding
        >>> PositionEmbedding(10)(np.ones((2, 8, 4))).shape
        (2, 8, 4)
    """

    sequence_length: int
    initializer: Any = "glorot_uniform"

    def build(self, input_shape: Any) -> None:
        """Make the vectors."""
        shape = input_shape[0] if isinstance(input_shape, list) else input_shape
        steps, features = shape[-2:]
        if features is None or steps is None or steps > self.sequence_length:
            raise ShapeError(
                f"PositionEmbedding: at most {self.sequence_length} steps, received {shape}",
                expected=self.sequence_length, received=shape,
            )  # fmt: skip
        size = (self.sequence_length, features)
        self.position_embeddings = self.add_weight("embeddings", size, self.initializer)

    def call(self, inputs: Tensor, start_index: int = 0, positions: Any = None) -> Tensor:
        """Return the vectors of the places.

        Args:
            inputs: (..., steps, features); only its shape counts.
            start_index: Place of the first step.
            positions: Places of the steps, integers (steps,) or (batch, steps).
        """
        table = as_tensor(self.position_embeddings)
        if positions is not None:
            found = ops.take(table, ops.cast(as_tensor(positions), np.int64))
        else:
            steps = int(inputs.known_shape[-2])
            if start_index + steps > self.sequence_length:
                raise ShapeError(
                    f"{steps} steps from {start_index} are more than {self.sequence_length}"
                )
            found = ops.slice_(table, [start_index], [start_index + steps], [0])
        return _spread(found, inputs)


class SinePositionEncoding(Layer):
    """Sines and cosines of places (Vaswani et al., 2017); KerasHub's.

    Args:
        max_wavelength: The longest wave.

    Input shape: (batch, steps, features). Output shape: the same; add it to the input.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import SinePositionEncoding
        >>> SinePositionEncoding()(np.ones((1, 2, 2)))[0, 0].tolist()
        [0.0, 1.0]
    """

    max_wavelength: float = 10000

    def call(self, inputs: Tensor, start_index: int = 0, positions: Any = None) -> Tensor:
        """Return the waves at the places; see `PositionEmbedding`."""
        features = int(inputs.known_shape[-1])
        slowness = 2 * (np.arange(features) // 2) / features
        places = _places(inputs, -2, start_index, positions)
        angles = places * np.float32((1.0 / self.max_wavelength) ** slowness)
        even = np.arange(features) % 2 == 0
        return _spread(ops.where(even, ops.sin(angles), ops.cos(angles)), inputs)


class RotaryEmbedding(Layer):
    """Turns pairs of features by an angle that grows with the place (Su et al., 2021); KerasHub's.

    Args:
        max_wavelength: The longest wave.
        scaling_factor: How many times longer sequences may be than those of training.
        rope_type: How they are reached: "linear", "dynamic", or "yarn" (Peng et al., 2023).
        beta_fast: For "yarn": features that turn more often than this are not scaled.
        beta_slow: For "yarn": features that turn less often than this are scaled in full.
        original_max_position_embeddings: For "yarn": the steps of training.
        truncate: For "yarn": whether the two bounds are rounded.
        sequence_axis: The axis of the steps.
        feature_axis: The axis of the features; of even size.
        denominator_dim: Divides the places of features; None: their number.

    Input and output shape: any, such as (batch, steps, heads, features).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RotaryEmbedding
        >>> RotaryEmbedding()(np.ones((1, 1, 2))).tolist()
        [[[1.0, 1.0]]]
    """

    max_wavelength: float = 10000
    scaling_factor: float = 1.0
    rope_type: str = "linear"
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    original_max_position_embeddings: int = 4096
    truncate: bool = True
    sequence_axis: int = 1
    feature_axis: int = -1
    denominator_dim: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rope_type not in ("linear", "dynamic", "yarn"):
            raise ConfigError(
                "RotaryEmbedding: rope_type: expected linear, dynamic or yarn, received "
                f"{self.rope_type!r}"
            )

    def call(self, inputs: Tensor, start_index: int = 0, positions: Any = None) -> Tensor:
        """Return the input, turned; see `PositionEmbedding` for the arguments."""
        rank = inputs.ndim
        at = self.sequence_axis % rank, self.feature_axis % rank
        features = int(inputs.known_shape[at[1]])
        if features % 2 or at[0] == at[1]:
            raise ShapeError(
                f"RotaryEmbedding: expected an even number of features beside the steps, received "
                f"{inputs.known_shape}",
                received=inputs.known_shape,
            )
        order = [i for i in range(rank) if i not in at]
        order = [order[0], at[0], *order[1:], at[1]]
        x = ops.transpose(inputs, order)
        angles = _places(x, 1, start_index, positions) * np.float32(self._speeds(features))
        angles = ops.expand_dims(ops.concatenate([angles, angles], -1), list(range(2, rank - 1)))
        first, second = ops.split(x, 2, -1)
        y = x * ops.cos(angles) + ops.concatenate([-second, first], -1) * ops.sin(angles)
        if self.rope_type == "yarn":
            y = y * (0.1 * math.log(self.scaling_factor) + 1.0)
        return ops.transpose(y, [order.index(i) for i in range(rank)])

    def _speeds(self, features: int) -> Array:
        """Return the angle of each pair from one step to the next."""
        index: Array = np.arange(0, features, 2, dtype=np.float64)
        speeds: Array = self.max_wavelength ** -(index / (self.denominator_dim or features))
        if self.rope_type == "linear":
            return speeds / self.scaling_factor
        if self.rope_type == "dynamic":
            power: float = features / max(1, features - 2)
            return speeds / float(self.scaling_factor**power)
        speeds = self.max_wavelength ** -(index / features)
        low, high = (
            features * math.log(self.original_max_position_embeddings / (turns * 2 * math.pi))
            / (2 * math.log(self.max_wavelength)) for turns in (self.beta_fast, self.beta_slow)
        )  # fmt: skip
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, features - 1)
        scaled = np.clip((np.arange(features // 2) - low) / max(high - low, 1e-3), 0.0, 1.0)
        mixed: Array = speeds / self.scaling_factor * scaled + speeds * (1.0 - scaled)
        return mixed


class TokenAndPositionEmbedding(Layer):
    """A learned vector for each token plus one for its place; KerasHub's.

    Args:
        vocabulary_size: Number of different tokens, from 0.
        sequence_length: Largest number of steps.
        embedding_dim: Size of a vector.
        tie_weights: Whether `token_embedding`, called with ``reverse=True``, uses the same table.
        embeddings_initializer: Initializer of both tables.
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
    tie_weights: bool = True
    embeddings_initializer: Any = "uniform"
    mask_zero: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        start = self.embeddings_initializer
        self.token_embedding = ReversibleEmbedding(
            self.vocabulary_size, self.embedding_dim, self.tie_weights, start,
            mask_zero=self.mask_zero, name="token_embedding",
        )  # fmt: skip
        self.position_embedding = PositionEmbedding(
            self.sequence_length, start, name="position_embedding"
        )

    def call(self, inputs: Tensor, start_index: int = 0, positions: Any = None) -> Tensor:
        """Return the sum of both vectors; see `PositionEmbedding` for the arguments."""
        tokens = self.token_embedding(inputs)
        places = self.position_embedding(tokens, start_index=start_index, positions=positions)
        return tokens + places  # type: ignore[no-any-return]

    def compute_mask(self, x: Any, mask: Tensor | None) -> Tensor | None:
        """Return where the token is not 0, when asked to."""
        return self.token_embedding.compute_mask(x, mask)


def _places(x: Tensor, axis: int, start: int, given: Any) -> Tensor:
    """Return the places of the steps, float32 (1 or batch, steps, 1)."""
    if given is None:
        steps = x.known_shape[axis]
        if isinstance(steps, str):
            raise ShapeError("the number of steps must be known, or their positions be given")
        given = np.arange(start, start + int(steps))
    places = ops.cast(as_tensor(given), np.float32)
    return ops.expand_dims(places, [0, 2] if places.ndim == 1 else [2])


def _spread(x: Tensor, like: Tensor) -> Tensor:
    """Return `x` in the shape of another tensor."""
    shape = like.known_shape
    if any(isinstance(n, str) for n in shape):
        return emit("Expand", x, ops.shape(like), types=[(x.dtype, shape)])
    return ops.broadcast_to(x, like.static_shape)
