"""Normalization that is learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeml import initializers, ops
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Tensor, emit, emit_many
from edgeml.layers._layer import Layer
from edgeml.layers._layout import channels_first, channels_last, sizes_of
from edgeml.layers._parameter import Parameter


class BaseNormalization(Layer):
    """What the normalizations share: scale and shift."""

    def _add_scale_and_shift(self, shape: Sequence[int]) -> None:
        own: Any = self  # the fields stand in the subclasses, in the order of Keras's arguments
        self.gamma = self.add_own_weight("gamma", shape) if own.scale else None
        self.beta = self.add_own_weight("beta", shape) if own.center else None

    def _channels(self, input_shape: Any, axis: Any) -> int:
        size = input_shape[axis]
        if size is None or axis % len(input_shape) == 0:
            raise ShapeError(
                f"{type(self).__name__}: axis {axis} of {input_shape} must be known, and not the "
                "batch",
                received=input_shape,
            )
        return int(size)


def _second(x: Tensor, axis: int) -> Tensor:
    """Return `x` with `axis` moved behind the batch."""
    at = axis % x.ndim
    if at == x.ndim - 1:
        return channels_first(x) if x.ndim > 2 else x
    return ops.moveaxis(x, at, 1) if at != 1 else x


def _back(y: Tensor, axis: int) -> Tensor:
    at = axis % y.ndim
    if at == y.ndim - 1:
        return channels_last(y) if y.ndim > 2 else y
    return ops.moveaxis(y, 1, at) if at != 1 else y


class BatchNormalization(BaseNormalization):
    """Each channel with the mean 0 and the variance 1 (Ioffe and Szegedy, 2015).

    In training by the batch's statistics, whose running means are kept for inference. A frozen
    layer (``trainable=False``) uses the running ones in training, too.

    Args:
        axis: The axis of the channels; the last.
        momentum: How slowly the running statistics follow.
        epsilon: Added to the variance.
        center: Whether to add a learned `beta`.
        scale: Whether to multiply by a learned `gamma`.
        beta_initializer: Initializer of `beta`.
        gamma_initializer: Initializer of `gamma`.
        moving_mean_initializer: Initializer of the running mean.
        moving_variance_initializer: Initializer of the running variance.
        beta_regularizer: Penalty on `beta`, added to the loss.
        gamma_regularizer: Penalty on `gamma`.
        beta_constraint: What `beta` is kept to after each update, from `edgeml.constraints`.
        gamma_constraint: What `gamma` is kept to.
        renorm: Whether batches are corrected by running statistics in training, too (Ioffe, 2017).
        renorm_clipping: Limits of the corrections: a dict of "rmax", "rmin" and "dmax".
        renorm_momentum: How slowly the statistics of the corrections follow.

    Input and output shape: any. Weights: gamma, beta, moving_mean, moving_variance, with `renorm`
    moving_stddev, renorm_mean, renorm_stddev; all (channels,).

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
    moving_mean_initializer: Any = "zeros"
    moving_variance_initializer: Any = "ones"
    beta_regularizer: Any = None
    gamma_regularizer: Any = None
    beta_constraint: Any = None
    gamma_constraint: Any = None
    renorm: bool = False
    renorm_clipping: Mapping[str, float] | None = None
    renorm_momentum: float = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = set(self.renorm_clipping or ()) - {"rmax", "rmin", "dmax"}
        if unknown:
            raise ConfigError(
                "BatchNormalization: renorm_clipping: expected rmax, rmin and dmax, received "
                f"{', '.join(sorted(unknown))}"
            )

    def build(self, input_shape: Any) -> None:
        """Make scale, shift and the running statistics."""
        shape = (self._channels(input_shape, self.axis),)
        self._add_scale_and_shift(shape)
        self.moving_mean = self.add_weight(
            "moving_mean", shape, self.moving_mean_initializer, trainable=False
        )
        self.moving_variance = self.add_weight(
            "moving_variance", shape, self.moving_variance_initializer, trainable=False
        )
        if self.renorm:
            self._build_renorm(shape)

    def _build_renorm(self, shape: tuple[int, ...]) -> None:
        mean, variance = self.moving_mean_initializer, self.moving_variance_initializer

        def stddev(size: tuple[int, ...], rng: Any) -> Any:
            return np.sqrt(initializers.get(variance)(size, rng))

        self.moving_stddev = self.add_weight("moving_stddev", shape, stddev, trainable=False)
        self.renorm_mean = self.add_weight("renorm_mean", shape, mean, trainable=False)
        self.renorm_stddev = self.add_weight("renorm_stddev", shape, stddev, trainable=False)

    def call(self, x: Tensor, training: bool = False, mask: Tensor | None = None) -> Tensor:
        """Return the normalized input; in training, steps that do not count have no say in it."""
        x = ops.cast(x, np.float32)
        size = self.moving_mean.shape[0]
        gamma = np.ones(size, np.float32) if self.gamma is None else self.gamma
        beta = np.zeros(size, np.float32) if self.beta is None else self.beta
        mean, variance = self.latest(self.moving_mean), self.latest(self.moving_variance)
        first = _second(x, self.axis)
        if not (training and self.trainable):
            y = emit("BatchNormalization", first, gamma, beta, mean, variance,
                     epsilon=self.epsilon, momentum=self.momentum)  # fmt: skip
        elif mask is not None or self.renorm:
            return self._by_hand(x, mask, gamma, beta)
        else:
            y, mean, variance = emit_many(
                3, "BatchNormalization", first, gamma, beta, mean, variance, epsilon=self.epsilon,
                momentum=self.momentum, training_mode=1,
            )  # fmt: skip
            self.update(self.moving_mean, mean)
            self.update(self.moving_variance, variance)
        return _back(y, self.axis)

    def _by_hand(self, x: Tensor, mask: Tensor | None, gamma: Any, beta: Any) -> Tensor:
        """Normalize by the statistics of the steps that count, perhaps corrected."""
        at = self.axis % x.ndim
        axes = [i for i in range(x.ndim) if i != at]
        if mask is None:
            mean = ops.mean(x, axes, True)
            centred = x - mean
            variance = ops.mean(centred * centred, axes, True)
        else:
            share = ops.expand_dims(ops.cast(mask, x.dtype), list(range(mask.ndim, x.ndim)))
            whole = [1 if i == at or i >= mask.ndim else n for i, n in enumerate(x.static_shape)]
            others = float(np.prod([x.static_shape[i] for i in axes])) / float(np.prod(whole))
            count = ops.sum(share) * others
            mean = ops.sum(x * share, axes, True) / count
            centred = x - mean
            variance = ops.sum(centred * centred * share, axes, True) / count
        if self.renorm:
            gamma, beta = self._corrected(mean, variance, gamma, beta)
        else:
            self._follow(self.moving_mean, mean, self.momentum)
            self._follow(self.moving_variance, variance, self.momentum)
        shape = [n if i == at else 1 for i, n in enumerate(x.static_shape)]
        y = centred * ops.rsqrt(variance + self.epsilon) * ops.reshape(gamma, shape)
        return y + ops.reshape(beta, shape)

    def _follow(self, parameter: Parameter, new: Tensor, momentum: float) -> Tensor:
        """Move a running statistic, and return what it becomes."""
        old = self.latest(parameter) * momentum
        value = old + ops.reshape(new, parameter.shape) * (1.0 - momentum)
        self.update(parameter, value)
        return value

    def _corrected(self, mean: Tensor, variance: Tensor, gamma: Any, beta: Any) -> Any:
        """Return scale and shift with the corrections of batch renormalization."""
        limits = self.renorm_clipping or {}
        shape = self.moving_mean.shape
        stddev = ops.reshape(ops.sqrt(variance + self.epsilon), shape)
        running = ops.maximum(self.latest(self.renorm_stddev), float(np.sqrt(self.epsilon)))
        r = stddev / running
        d = (ops.reshape(mean, shape) - self.latest(self.renorm_mean)) / running
        r = ops.clip(r, limits.get("rmin"), limits.get("rmax"))
        if "dmax" in limits:
            d = ops.clip(d, -limits["dmax"], limits["dmax"])
        r, d = ops.stop_gradient(r), ops.stop_gradient(d)
        self._follow(self.renorm_mean, mean, self.renorm_momentum)
        self._follow(self.renorm_stddev, stddev, self.renorm_momentum)
        self._follow(self.moving_mean, mean, self.momentum)
        wide = self._follow(self.moving_stddev, stddev, self.momentum)
        self.update(self.moving_variance, ops.relu(wide * wide - self.epsilon))
        return r * gamma, d * gamma + beta


class LayerNormalization(BaseNormalization):
    """Each example with the mean 0 and the variance 1 (Ba et al., 2016).

    Args:
        axis: The axis, or the axes, to normalize over; the last.
        epsilon: Added to the variance.
        center: Whether to add a learned `beta`.
        scale: Whether to multiply by a learned `gamma`.
        beta_initializer: Initializer of `beta`.
        gamma_initializer: Initializer of `gamma`.
        beta_regularizer: Penalty on `beta`, added to the loss.
        gamma_regularizer: Penalty on `gamma`.
        beta_constraint: What `beta` is kept to after each update, from `edgeml.constraints`.
        gamma_constraint: What `gamma` is kept to.

    Input and output shape: any. Weights: gamma, beta; both of the size of the axes.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import LayerNormalization
        >>> LayerNormalization()(np.ones((2, 3))).tolist()
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """

    axis: Any = -1
    epsilon: float = 1e-3
    center: bool = True
    scale: bool = True
    beta_initializer: Any = "zeros"
    gamma_initializer: Any = "ones"
    beta_regularizer: Any = None
    gamma_regularizer: Any = None
    beta_constraint: Any = None
    gamma_constraint: Any = None

    def build(self, input_shape: Any) -> None:
        """Make scale and shift."""
        rank = len(input_shape)
        axes = [self.axis] if isinstance(self.axis, int) else list(self.axis)
        self._over = sorted(a % rank for a in axes)
        if 0 in self._over:
            raise ConfigError(f"LayerNormalization: axis {self.axis} is the batch")
        self._sizes = tuple(input_shape[a] for a in self._over)
        if None in self._sizes:
            raise ShapeError(f"LayerNormalization needs to know axis {self.axis} of {input_shape}")
        self._add_scale_and_shift(self._sizes)

    def call(self, x: Tensor) -> Tensor:
        """Return the normalized input."""
        gamma = np.ones(self._sizes, np.float32) if self.gamma is None else self.gamma
        count = len(self._over)
        order = [i for i in range(x.ndim) if i not in self._over] + self._over
        moved = order != list(range(x.ndim))
        y = emit(
            "LayerNormalization", ops.transpose(x, order) if moved else x, gamma, self.beta,
            axis=-count, epsilon=self.epsilon,
        )  # fmt: skip
        return ops.transpose(y, [order.index(i) for i in range(x.ndim)]) if moved else y


class GroupNormalization(BaseNormalization):
    """Groups of channels with the mean 0 and the variance 1 (Wu and He, 2018).

    Args:
        groups: Number of groups; -1: each channel by itself.
        axis: The axis of the channels; the last.
        epsilon: Added to the variance.
        center: Whether to add a learned `beta`.
        scale: Whether to multiply by a learned `gamma`.
        beta_initializer: Initializer of `beta`.
        gamma_initializer: Initializer of `gamma`.
        beta_regularizer: Penalty on `beta`, added to the loss.
        gamma_regularizer: Penalty on `gamma`.
        beta_constraint: What `beta` is kept to after each update, from `edgeml.constraints`.
        gamma_constraint: What `gamma` is kept to.

    Input and output shape: any. Weights: gamma, beta; both (channels,).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import GroupNormalization
        >>> GroupNormalization(2)(np.ones((1, 4, 4, 6))).shape
        (1, 4, 4, 6)
    """

    groups: int = 32
    axis: int = -1
    epsilon: float = 1e-3
    center: bool = True
    scale: bool = True
    beta_initializer: Any = "zeros"
    gamma_initializer: Any = "ones"
    beta_regularizer: Any = None
    gamma_regularizer: Any = None
    beta_constraint: Any = None
    gamma_constraint: Any = None

    def build(self, input_shape: Any) -> None:
        """Make scale and shift."""
        size = self._channels(input_shape, self.axis)
        self._parts = size if self.groups == -1 else self.groups
        if self._parts < 1 or size % self._parts:
            raise ShapeError(f"{size} channels cannot be split into {self.groups} groups")
        self._add_scale_and_shift((size,))

    def call(self, x: Tensor) -> Tensor:
        """Return the normalized input."""
        first = _second(x, self.axis)
        flat = emit("Reshape", first, np.array([0, self._parts, -1], np.int64))
        ones, zeros = np.ones(self._parts, np.float32), np.zeros(self._parts, np.float32)
        y = emit("InstanceNormalization", flat, ones, zeros, epsilon=self.epsilon)
        y = emit("Reshape", y, sizes_of(first))
        column = [-1, *[1] * (x.ndim - 2)]
        if self.gamma is not None:
            y = y * ops.reshape(self.gamma, column)
        if self.beta is not None:
            y = y + ops.reshape(self.beta, column)
        return _back(y, self.axis)
