"""Descriptions of a model's inputs and outputs, and the check of what is passed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeml.errors import InputError

Dim = int | str | None


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and dtype of an input or output.

    Attributes:
        name: As in the file.
        shape: A number for a fixed dimension, a name or None for a free one.
        dtype: NumPy's; `object` for strings, maps and sequences.
        scale: Of a quantized tensor: ``real = (quantized - zero_point) * scale``; else None.
        zero_point: See `scale`.
    """

    name: str
    shape: tuple[Dim, ...]
    dtype: np.dtype[Any]
    scale: float | None = None
    zero_point: int | None = None

    def __str__(self) -> str:
        dims = ", ".join("?" if d is None else str(d) for d in self.shape)
        return f"{self.name}: {self.dtype} [{dims}]"


def check_inputs(
    inputs: Mapping[str, Any] | Any, specs: Sequence[TensorSpec]
) -> dict[str, np.ndarray[Any, Any]]:
    """Return the inputs as arrays by name, in the dtypes that the model takes.

    float64 becomes float32, as NumPy makes float64 of nearly everything; no other dtype is
    changed.

    Raises:
        InputError: a name, shape or dtype is not what the model takes.
    """
    if not isinstance(inputs, Mapping):
        if len(specs) != 1:
            raise InputError(
                f"the model has {len(specs)} inputs ({_names(specs)}), so give a dict by name; "
                f"received {type(inputs).__name__}"
            )
        inputs = {specs[0].name: inputs}
    known = {spec.name for spec in specs}
    if unknown := [name for name in inputs if name not in known]:
        raise InputError(
            f"the model has no input {unknown[0]!r}; expected {_names(specs)}",
            name=unknown[0],
        )
    if missing := [spec.name for spec in specs if spec.name not in inputs]:
        raise InputError(
            f"input {missing[0]!r} is missing; expected {_names(specs)}, "
            f"received {', '.join(inputs) or 'nothing'}",
            name=missing[0],
        )
    return {spec.name: check_input(inputs[spec.name], spec) for spec in specs}


def check_input(value: Any, spec: TensorSpec) -> np.ndarray[Any, Any]:
    """Return one input as an array of the dtype that the model takes; see `check_inputs`."""
    array = _as_array(value, spec)
    if array.dtype == np.float64 and spec.dtype == np.float32:
        array = array.astype(np.float32)
    if array.dtype != spec.dtype and not (spec.dtype == object and array.dtype.kind in "UO"):
        raise InputError(
            f"input {spec.name!r}: expected dtype {spec.dtype}, received {array.dtype}; convert "
            f"it with .astype({str(spec.dtype)!r}) if that is what you mean",
            name=spec.name,
            expected=spec.dtype,
            received=array.dtype,
        )
    fits = len(array.shape) == len(spec.shape) and all(
        not isinstance(want, int) or want == have
        for want, have in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise InputError(
            f"input {spec.name!r}: expected shape {_shape(spec.shape)}, received "
            f"{_shape(array.shape)}",
            name=spec.name,
            expected=spec.shape,
            received=array.shape,
        )
    return array


def _as_array(value: Any, spec: TensorSpec) -> np.ndarray[Any, Any]:
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "__dlpack__"):
        return np.asarray(np.from_dlpack(value))
    if isinstance(value, np.generic):
        return np.asarray(value)
    try:
        return np.asarray(value, dtype=spec.dtype)  # lists and numbers have no dtype of their own
    except (TypeError, ValueError) as error:
        raise InputError(
            f"input {spec.name!r}: expected an array of {spec.dtype}, received "
            f"{type(value).__name__} ({error})",
            name=spec.name,
        ) from error


def _names(specs: Sequence[TensorSpec]) -> str:
    return "; ".join(map(str, specs)) or "no inputs"


def _shape(shape: Sequence[Dim]) -> str:
    return "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"
