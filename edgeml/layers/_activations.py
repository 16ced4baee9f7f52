"""Activations by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from edgeml import ops
from edgeml._names import snake
from edgeml.errors import ConfigError
from edgeml.graph import Tensor


def linear(x: Tensor) -> Tensor:
    """Return `x`."""
    return x


_BY_NAME: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": linear, "relu": ops.relu, "relu6": ops.relu6, "leaky_relu": ops.leaky_relu,
    "elu": ops.elu, "selu": ops.selu, "celu": ops.celu, "gelu": lambda x: ops.gelu(x, False),
    "gelu_new": ops.gelu, "sigmoid": ops.sigmoid, "hard_sigmoid": ops.hard_sigmoid,
    "softplus": ops.softplus, "softsign": ops.softsign, "tanh": ops.tanh, "exponential": ops.exp,
    "silu": ops.silu, "swish": ops.silu, "mish": ops.mish, "softmax": ops.softmax,
    "log_softmax": ops.log_softmax,
    "log_sigmoid": lambda x: -ops.softplus(-x), "hard_tanh": lambda x: ops.clip(x, -1.0, 1.0),
    "tanh_shrink": lambda x: x - ops.tanh(x),
    "hard_shrink": lambda x: ops.where(ops.absolute(x) > 0.5, x, 0.0),
    "soft_shrink": lambda x: ops.sign(x) * ops.relu(ops.absolute(x) - 0.5),
    "squareplus": lambda x: (x + ops.sqrt(x * x + 4.0)) * 0.5,
    "sparse_sigmoid": lambda x: ops.clip((x + 1.0) * 0.5, 0.0, 1.0),
    "sparse_plus": lambda x: ops.where(x > 1.0, x, ops.square(ops.relu(x + 1.0)) * 0.25),
    "hard_silu": lambda x: x * ops.hard_sigmoid(x), "hard_swish": lambda x: x * ops.hard_sigmoid(x),
}  # fmt: skip


def get(activation: Any) -> Callable[[Tensor], Tensor]:
    """Return an activation by name (Keras's or TensorFlow.js's spelling), or the function given.

    Raises:
        ConfigError: there is none of that name; the message has the nearest.
    """
    if activation is None:
        return linear
    if callable(activation):
        found: Callable[[Tensor], Tensor] = activation
        return found
    name = snake(str(activation)).replace("re_lu", "relu")
    if name not in _BY_NAME:
        near = difflib.get_close_matches(name, _BY_NAME, 3) or sorted(_BY_NAME)
        raise ConfigError(f"there is no activation {activation!r}; did you mean {', '.join(near)}?")
    return _BY_NAME[name]


def is_elementwise(fn: Callable[[Tensor], Tensor]) -> bool:
    """Return whether it is one of ours that sees each value by itself."""
    if fn in (ops.softmax, ops.log_softmax):
        return False
    return fn is linear or fn in _BY_NAME.values()
