"""Activations by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from edgeml import ops
from edgeml._names import snake
from edgeml.activations import _functions as functions
from edgeml.errors import ConfigError
from edgeml.graph import Tensor

Activation = Callable[[Tensor], Tensor]


def _gelu_new(x: Tensor) -> Tensor:
    return ops.gelu(x, True)


_BY_NAME: dict[str, Activation] = {
    name: getattr(functions, name) for name in functions.__all__ if name != "threshold"
} | {
    "swish": functions.silu, "hard_swish": functions.hard_silu, "gelu_new": _gelu_new,
}  # fmt: skip
_ALONG_AN_AXIS = (functions.softmax, functions.log_softmax, functions.glu, functions.sparsemax)


def get(activation: Any) -> Activation:
    """Return an activation by name (Keras's or TensorFlow.js's spelling), or the function given.

    Args:
        activation: A name; ``fn(tensor) -> tensor``; None for `linear`.

    Raises:
        ConfigError: there is none of that name; the message has the nearest.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(edgeml.activations.get("hardSigmoid"))
        >>> run(np.array([0.0, 6.0])).tolist()
        [0.5, 1.0]
    """
    if activation is None:
        return functions.linear
    if callable(activation):
        found: Activation = activation
        return found
    name = snake(str(activation)).replace("re_lu", "relu")
    if name not in _BY_NAME:
        near = difflib.get_close_matches(name, _BY_NAME, 3) or sorted(_BY_NAME)
        raise ConfigError(f"there is no activation {activation!r}; did you mean {', '.join(near)}?")
    return _BY_NAME[name]


def name_of(activation: Any) -> str | None:
    """Return the name of an activation that has one: of several the first, None of other functions.

    Example:
        >>> import edgeml
        >>> edgeml.activations.name_of("swish")
        'silu'
    """
    fn = get(activation)
    return next((name for name, known in _BY_NAME.items() if known is fn), None)


def is_elementwise(activation: Any) -> bool:
    """Return whether it is one of these and sees each value by itself.

    Example:
        >>> import edgeml
        >>> edgeml.activations.is_elementwise("relu"), edgeml.activations.is_elementwise("softmax")
        (True, False)
    """
    fn = get(activation)
    return fn not in _ALONG_AN_AXIS and fn in _BY_NAME.values()
