"""Normalization."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Tensor, emit, emit_many
from edgeml.layers._layer import Layer
from edgeml.layers._layout import channels_first, channels_last, reshape_rest


class BatchNormalization(Layer):
    """Each channel with the mean 0 and the variance 1 (Ioffe and Szegedy, 2015).

    In training by the batch's statistics, whose running means are kept for inference. A frozen
    layer (``trainable=False``) uses the running ones in training, too.

    Args:
        axis: The axis of the channels; the last.
        momentum: How slowly the running statistics follow.
        epsilon: Added to the variance.
        center: Whether to add a learned `beta`.
        scale: Whether to multiply by a learned `gamma`.

    Weights: gamma, beta, moving_mean, moving_variance; all (channels,).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import BatchNormalization
        >>> BatchNormalization()(np.ones((2, 3))).shape
        (2, 3)
    """

    axis: int = -1
    momentum: float = 0.99
    epsilon: float = 1e-3
    center: bool = True
    scale: bool = True
    beta_initializer: Any = "zeros"
    gamma_initializer: Any = "ones"

    def build(self, input_shape: Any) -> None:
        """Make scale, shift and the running statistics."""
        size = input_shape[self.axis]
        if size is None or self.axis not in (-1, len(input_shape) - 1):
            raise ShapeError(f"BatchNormalization works on the last axis, of {input_shape}")
        if self.scale:
            self.gamma = self.add_weight("gamma", (size,), self.gamma_initializer)
        if self.center:
            self.beta = self.add_weight("beta", (size,), self.beta_initializer)
        self.moving_mean = self.add_weight("moving_mean", (size,), "zeros", trainable=False)
        self.moving_variance = self.add_weight("moving_variance", (size,), "ones", trainable=False)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Return the normalized input."""
        size = self.moving_mean.shape[0]
        gamma = self.gamma if self.scale else np.ones(size, np.float32)
        beta = self.beta if self.center else np.zeros(size, np.float32)
        first = channels_first(x) if x.ndim > 2 else x
        inputs = (first, gamma, beta, self.moving_mean, self.moving_variance)
        if training and self.trainable:
            y, mean, variance = emit_many(
                3, "BatchNormalization", *inputs, epsilon=self.epsilon, momentum=self.momentum,
                training_mode=1,
            )  # fmt: skip
            self.update(self.moving_mean, mean)
            self.update(self.moving_variance, variance)
        else:
            y = emit("BatchNormalization", *inputs, epsilon=self.epsilon, momentum=self.momentum)
        return channels_last(y) if x.ndim > 2 else y


class LayerNormalization(Layer):
    """Each example with the mean 0 and the variance 1 (Ba et al., 2016).

    Args:
        axis: The last axis, or the last axes, to normalize over.
        epsilon: Added to the variance.
        center: Whether to add a learned `beta`.
        scale: Whether to multiply by a learned `gamma`.
    """

    axis: Any = -1
    epsilon: float = 1e-3
    center: bool = True
    scale: bool = True
    beta_initializer: Any = "zeros"
    gamma_initializer: Any = "ones"

    def build(self, input_shape: Any) -> None:
        """Make scale and shift."""
        rank = len(input_shape)
        axes = [self.axis] if isinstance(self.axis, int) else list(self.axis)
        self.first = min(a % rank for a in axes)
        if sorted(a % rank for a in axes) != list(range(self.first, rank)):
            raise ConfigError(f"LayerNormalization works on the last axes, received {self.axis}")
        shape = input_shape[self.first :]
        if None in shape:
            raise ShapeError(f"LayerNormalization needs to know the last axes of {input_shape}")
        self.sizes = tuple(shape)
        if self.scale:
            self.gamma = self.add_weight("gamma", shape, self.gamma_initializer)
        if self.center:
            self.beta = self.add_weight("beta", shape, self.beta_initializer)

    def call(self, x: Tensor) -> Tensor:
        """Return the normalized input."""
        gamma = self.gamma if self.scale else np.ones(self.sizes, np.float32)
        beta = self.beta if self.center else None
        return emit(
            "LayerNormalization", x, gamma, beta, axis=self.first - x.ndim, epsilon=self.epsilon
        )


class GroupNormalization(Layer):
    """Groups of channels with the mean 0 and the variance 1 (Wu and He, 2018).

    Args:
        groups: Number of groups; -1: each channel by itself.
        axis: The axis of the channels; the last.
        epsilon: Added to the variance.
        center: Whether to add a learned `beta`.
        scale: Whether to multiply by a learned `gamma`.
    """

    groups: int = 32
    axis: int = -1
    epsilon: float = 1e-3
    center: bool = True
    scale: bool = True

    def build(self, input_shape: Any) -> None:
        """Make scale and shift."""
        size = input_shape[-1]
        if size is None or self.axis not in (-1, len(input_shape) - 1):
            raise ShapeError(f"GroupNormalization works on the last axis, of {input_shape}")
        self.parts = size if self.groups == -1 else self.groups
        if size % self.parts:
            raise ShapeError(f"{size} channels are no multiple of {self.groups} groups")
        if self.scale:
            self.gamma = self.add_weight("gamma", (size,), "ones")
        if self.center:
            self.beta = self.add_weight("beta", (size,), "zeros")

    def call(self, x: Tensor) -> Tensor:
        """Return the normalized input."""
        first = channels_first(x) if x.ndim > 2 else x
        channels = int(first.known_shape[1])
        rest = [d if isinstance(d, int) else -1 for d in first.known_shape[2:]]
        flat = reshape_rest(first, [0, self.parts, -1])
        ones, zeros = np.ones(self.parts, np.float32), np.zeros(self.parts, np.float32)
        y = emit("InstanceNormalization", flat, ones, zeros, epsilon=self.epsilon)
        y = reshape_rest(y, [0, channels, *rest])
        column = [channels, *[1] * len(rest)]
        if self.scale:
            y = y * ops.reshape(self.gamma, column)
        if self.center:
            y = y + ops.reshape(self.beta, column)
        return channels_last(y) if x.ndim > 2 else y


class Normalization(Layer):
    """Inputs with the mean 0 and the variance 1, by statistics that `adapt` takes of data.

    Args:
        axis: The axes that keep statistics of their own; None: one mean for all.
        mean: The mean, when it is known.
        variance: The variance, when it is known.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Normalization
        >>> layer = Normalization()
        >>> layer.adapt(np.array([[1.0], [3.0]]))
        >>> layer(np.array([[1.0], [3.0]])).tolist()
        [[-1.0], [1.0]]
    """

    axis: Any = -1
    mean: Any = None
    variance: Any = None

    def build(self, input_shape: Any) -> None:
        """Make the statistics."""
        rank = len(input_shape)
        axes = () if self.axis is None else np.atleast_1d(self.axis)
        self.kept = sorted(int(a) % rank for a in axes)
        shape = tuple(input_shape[a] for a in self.kept)
        if None in shape:
            raise ShapeError(f"Normalization needs to know axis {self.axis} of {input_shape}")
        mean = 0.0 if self.mean is None else self.mean
        variance = 1.0 if self.variance is None else self.variance

        def fixed(value: Any) -> Any:
            return lambda s, _rng: np.broadcast_to(np.asarray(value, np.float32), s).copy()

        self.moving_mean = self.add_weight("mean", shape, fixed(mean), trainable=False)
        self.moving_variance = self.add_weight("variance", shape, fixed(variance), trainable=False)

    def adapt(self, data: Any) -> None:
        """Take the statistics of `data`, an array or an iterable of batches, in one pass."""
        batches = [data] if isinstance(data, (np.ndarray, list)) else data
        count, total, square = 0, np.float64(0.0), np.float64(0.0)
        for batch in batches:
            x = np.asarray(batch[0] if isinstance(batch, tuple) else batch, np.float64)
            if not self.built:
                self.build((None, *x.shape[1:]))
                self.built = True
            axes = tuple(a for a in range(x.ndim) if a not in self.kept)
            count += x.size // max(int(np.prod([x.shape[a] for a in self.kept])), 1)
            total, square = total + x.sum(axes), square + (x * x).sum(axes)
        mean = total / count
        self.moving_mean.value = mean
        self.moving_variance.value = np.maximum(square / count - mean * mean, 0.0)

    def call(self, x: Tensor) -> Tensor:
        """Return ``(x - mean) / sqrt(variance)``."""
        shape = [int(x.known_shape[a]) if a in self.kept else 1 for a in range(x.ndim)]
        mean = ops.reshape(self.moving_mean, shape)
        deviation = ops.sqrt(ops.reshape(self.moving_variance, shape))
        return (ops.cast(x, np.float32) - mean) / ops.maximum(deviation, 1e-7)
