"""What attention with heads is made of: projections, masks, scores."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from edgeml import activations, ops
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Graph, Tensor, as_tensor
from edgeml.layers._einsum import start_of
from edgeml.layers._layer import Layer, mask_of
from edgeml.layers._layout import reshape_rest
from edgeml.layers._regularize import check_rate

FAR = -1e9
"""Added to scores that must not count, as Keras does in float32."""


def with_last(x: Tensor, *sizes: int) -> Tensor:
    """Return (batch, steps, and axes of these sizes)."""
    steps = x.known_shape[1]
    return reshape_rest(x, [0, 0 if isinstance(steps, str) else int(steps), *sizes])


class Projection(Layer):
    """A product over all axes but batch and steps."""

    outputs: tuple[int, ...]
    activation: Any = None
    use_bias: bool = True
    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"
    kernel_regularizer: Any = None
    bias_regularizer: Any = None
    activity_regularizer: Any = None
    kernel_constraint: Any = None
    bias_constraint: Any = None

    def build(self, input_shape: Any) -> None:
        """Make kernel, of shape inputs + outputs, and bias."""
        inputs = input_shape[2:]
        if not inputs or None in inputs:
            raise ShapeError(f"attention needs to know the features of its inputs: {input_shape}")
        shape, count = (*inputs, *self.outputs), len(inputs)
        self.kernel = self.add_weight(
            "kernel", shape,
            start_of(self.kernel_initializer, range(count), range(count, len(shape))),
            regularizer=self.kernel_regularizer, constraint=self.kernel_constraint,
        )  # fmt: skip
        self.bias = self.add_own_weight("bias", self.outputs) if self.use_bias else None

    def call(self, x: Tensor) -> Tensor:
        """Return (batch, steps, outputs)."""
        wide = math.prod(self.outputs)
        features = math.prod(self.kernel.shape) // wide
        flat = x if x.ndim == 3 else with_last(x, features)
        y = ops.matmul(flat, ops.reshape(self.kernel, [features, wide]))
        if self.bias is not None:
            y = y + ops.reshape(self.bias, [wide])
        y = activations.get(self.activation)(y)
        return y if len(self.outputs) == 1 else with_last(y, *self.outputs)


class BaseHeads(Layer):
    """What MultiHeadAttention and GroupQueryAttention share."""

    def __post_init__(self) -> None:
        super().__post_init__()
        own: Any = self  # the fields stand in the subclasses, in the order of Keras's arguments
        check_rate(self, "dropout")
        if own.sliding_window is not None and own.sliding_window < 1:
            raise ConfigError(
                f"{type(self).__name__}: sliding_window: expected None or a positive number, "
                f"received {own.sliding_window}"
            )

    def projection(self, name: str, *outputs: int, activation: Any = None) -> Projection:
        """Return a projection with this layer's arguments."""
        own: Any = self
        return Projection(
            outputs, activation, own.use_bias, own.kernel_initializer, own.bias_initializer,
            own.kernel_regularizer, own.bias_regularizer, own.activity_regularizer,
            own.kernel_constraint, own.bias_constraint, name=name,
        )  # fmt: skip

    def _add_penalties(self, graph: Graph, result: Any) -> None:
        """The projections add the penalties, as in Keras."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, allowed: Any) -> Any:
        """Return what each step takes, and with which weights.

        Args:
            q: (batch, steps, heads, size).
            k: (batch, other steps, heads, size).
            v: (batch, other steps, heads, value size).
            allowed: Which of the other steps each may see, or None for all.
        """
        own: Any = self
        q = ops.transpose(q, [0, 2, 1, 3]) * (1.0 / math.sqrt(int(q.known_shape[-1])))
        scores = ops.matmul(q, ops.transpose(k, [0, 2, 3, 1]))
        if allowed is not None:
            scores = scores + (1.0 - ops.cast(allowed, np.float32)) * FAR
        weights = ops.softmax(scores)
        training = q.graph.root().training
        dropped = ops.dropout(weights, own.dropout) if training and own.dropout else weights
        y = ops.matmul(dropped, ops.transpose(v, [0, 2, 1, 3]))
        return ops.transpose(y, [0, 2, 1, 3]), weights

    def allowed(
        self, query: Tensor, value: Tensor, key: Tensor, masks: Any, given: Any, causal: bool
    ) -> Tensor | None:
        """Return the mask that broadcasts to (batch, heads, steps, other steps)."""
        own: Any = self
        parts: list[Any] = []
        tensors = (query, value, key)
        for i, (x, mask) in enumerate(zip(tensors, masks, strict=True)):
            found = mask_of(x) if mask is None else as_tensor(mask)
            if found is not None and not (i == 2 and key is value):
                parts.append(ops.expand_dims(ops.cast(found, np.bool_), [1, 2] if i else [1, 3]))
        if given is not None:
            given = ops.cast(as_tensor(given), np.bool_)
            missing = 4 - given.ndim
            parts.append(ops.expand_dims(given, [1] if missing == 1 else list(range(missing))))
        if causal or own.sliding_window is not None:
            parts.append(near(query, value, causal, own.sliding_window))
        return functools.reduce(ops.logical_and, parts) if parts else None


def near(query: Tensor, value: Tensor, causal: bool, window: int | None) -> Tensor:
    """Return which of the others a step may see by their places."""
    steps, others = query.known_shape[1], value.known_shape[1]
    if isinstance(steps, str) or isinstance(others, str):
        raise ShapeError(
            "the number of steps must be known for attention that is causal or within a window, "
            f"received {query.known_shape} and {value.known_shape}"
        )
    back = np.arange(steps)[:, None] - np.arange(others)[None, :]
    near = np.ones(back.shape, bool) if window is None else np.abs(back) < window
    return as_tensor(near & (back >= 0) if causal else near)
