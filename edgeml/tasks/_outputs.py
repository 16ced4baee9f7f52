"""Reading a model's outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml.errors import ModelError, OutputError

Arrays = Mapping[str, NDArray[Any]]


def check_finite(outputs: Arrays, path: str) -> None:
    """Check all outputs of a model.

    Raises:
        OutputError: one holds NaN or infinity.
    """
    for name, values in outputs.items():
        if values.dtype.kind != "f" or not values.size:
            continue
        finite = np.isfinite(values)
        if finite.all():
            continue
        bad = values.size - int(finite.sum())
        raise OutputError(
            f"{path} returned NaN or infinity in {bad} of {values.size} values of output "
            f"{name!r}; check its input and how it was quantized",
            path=path,
            output=name,
        )


def pick_output(outputs: Arrays, spec: Mapping[str, Any], path: str) -> NDArray[Any]:
    """Return the output that the metadata's ``postprocess.output`` names, or the only one.

    Raises:
        ModelError: there is none of that name, or several and no name.
    """
    name = spec.get("output")
    if name is None and len(outputs) == 1:
        return next(iter(outputs.values()))
    if not isinstance(name, str) or name not in outputs:
        raise ModelError(
            f"{path}: which output has the result? expected postprocess output to be one of "
            f"{', '.join(outputs)}; received {name!r}. Pass "
            f'postprocess={{"output": NAME, "activation": "softmax" or "none"}}',
            path=path,
        )
    return outputs[name]


def probabilities(values: NDArray[Any], activation: str, path: str) -> NDArray[np.float32]:
    """Return probabilities float32 [classes] of one output [1, classes].

    Raises:
        ModelError: the activation is unknown, or the output has another shape.
    """
    if not values.ndim or values.size != values.shape[-1]:
        raise ModelError(
            f"{path}: expected an output of shape [1, classes], received {list(values.shape)}; "
            f"name the right one in postprocess",
            path=path,
        )
    try:
        apply = ACTIVATIONS[activation]
    except KeyError:
        raise ModelError(
            f"{path}: postprocess activation must be one of {', '.join(ACTIVATIONS)}; "
            f"received {activation!r}",
            path=path,
        ) from None
    return apply(values.reshape(-1).astype(np.float32, copy=False))


def softmax(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the softmax over the last axis."""
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    shares: NDArray[np.float32] = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logistic function, without overflow."""
    result: NDArray[np.float32] = 0.5 * (1 + np.tanh(0.5 * values))
    return result


ACTIVATIONS: Mapping[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "softmax": softmax,
    "sigmoid": sigmoid,
    "none": lambda values: values,
}
