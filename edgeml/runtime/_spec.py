"""Descriptions of a model's inputs and outputs, and the check of what is passed in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
        shape: A number for a fixed dimension, a name or None for a free one; () for a single
            number, and where the file says nothing of the shape.
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
    inputs: Mapping[str, Any] | Any,
    specs: Sequence[TensorSpec],
    any_shape: Collection[str] = (),
) -> dict[str, np.ndarray[Any, Any]]:
    """Return the inputs as arrays by name, in the dtypes that the model takes.

    float64 becomes float32, as NumPy makes float64 of nearly everything; no other dtype of
    an array is changed. Python's numbers and lists become what the model takes, where no
    value changes by that.

    Args:
        inputs: By name, or one array when there is one input.
        specs: What the model takes.
        any_shape: Names of the inputs of which the file says no shape.

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
            expected=tuple(sorted(known)),
            received=tuple(inputs),
        )
    if missing := [spec.name for spec in specs if spec.name not in inputs]:
        raise InputError(
            f"input {missing[0]!r} is missing; expected {_names(specs)}, "
            f"received {', '.join(inputs) or 'nothing'}",
            name=missing[0],
            expected=tuple(sorted(known)),
            received=tuple(inputs),
        )
    return {
        spec.name: check_input(inputs[spec.name], spec, spec.name in any_shape) for spec in specs
    }


def check_input(value: Any, spec: TensorSpec, any_shape: bool = False) -> np.ndarray[Any, Any]:
    """Return one input as an array of the dtype that the model takes; see `check_inputs`."""
    array = _as_array(value, spec)
    if array.dtype == np.float64 and spec.dtype == np.float32:
        array = array.astype(np.float32)
    if spec.dtype == object and array.dtype.kind in "UT":
        array = array.astype(object)  # strings
    if array.dtype != spec.dtype:
        raise InputError(
            f"input {spec.name!r}: expected dtype {spec.dtype}, received {array.dtype}; convert "
            f"it with .astype({str(spec.dtype)!r}) if that is what you mean",
            name=spec.name,
            expected=spec.dtype,
            received=array.dtype,
        )
    if not (any_shape or _fits(array.shape, spec.shape)):
        raise InputError(
            f"input {spec.name!r}: expected shape {_shape(spec.shape)}, received "
            f"{_shape(array.shape)}",
            name=spec.name,
            expected=spec.shape,
            received=array.shape,
        )
    return array


def check_out(
    out: Mapping[str, np.ndarray[Any, Any]], specs: Sequence[TensorSpec]
) -> Mapping[str, np.ndarray[Any, Any]]:
    """Return the arrays to write into.

    Raises:
        InputError: there is no such output, or an array cannot take it.
    """
    by_name = {spec.name: spec for spec in specs}
    for name, array in out.items():
        if (spec := by_name.get(name)) is None:
            raise InputError(
                f"out: the model has no output {name!r}; expected {_names(specs)}", name=name
            )
        if spec.dtype == object:
            raise InputError(f"out: {name!r} is not a tensor of numbers; leave it out", name=name)
        if not isinstance(array, np.ndarray):
            raise InputError(
                f"out[{name!r}]: expected a NumPy array of {spec.dtype} to write into, received "
                f"{type(array).__name__}",
                name=name,
                expected=spec.dtype,
                received=type(array),
            )
        usable = array.flags.c_contiguous and array.flags.writeable
        if array.dtype != spec.dtype or not usable:
            raise InputError(
                f"out[{name!r}]: expected a writable C-contiguous array of {spec.dtype}, received "
                f"{'one' if usable else 'a read-only or strided one'} of {array.dtype}",
                name=name,
                expected=spec.dtype,
                received=array.dtype,
            )
    return out


def check_out_shapes(
    out: Mapping[str, np.ndarray[Any, Any]], outputs: Mapping[str, np.ndarray[Any, Any]]
) -> None:
    """Compare the arrays to write into with what the model returned.

    Raises:
        InputError: an array has another shape.
    """
    for name, array in out.items():
        if array.shape != outputs[name].shape:
            raise InputError(
                f"out[{name!r}]: expected shape {_shape(outputs[name].shape)}, received "
                f"{_shape(array.shape)}",
                name=name,
                expected=outputs[name].shape,
                received=array.shape,
            )


def copy_out(
    out: Mapping[str, np.ndarray[Any, Any]], outputs: dict[str, np.ndarray[Any, Any]]
) -> dict[str, np.ndarray[Any, Any]]:
    """Copy outputs into the arrays given for them, for a runtime that cannot write there.

    Raises:
        InputError: an array has another shape; then none is written.
    """
    check_out_shapes(out, outputs)
    for name, array in out.items():
        np.copyto(array, outputs[name])
    return outputs | dict(out)


def _fits(shape: Sequence[int], wanted: Sequence[Dim]) -> bool:
    return len(shape) == len(wanted) and all(
        not isinstance(want, int) or want == have for want, have in zip(wanted, shape, strict=True)
    )


def _as_array(value: Any, spec: TensorSpec) -> np.ndarray[Any, Any]:
    if isinstance(value, np.ndarray):
        return value
    try:
        if hasattr(value, "__dlpack__") and not isinstance(value, np.generic):
            return np.asarray(np.from_dlpack(value))
        array = np.asarray(value)
        if isinstance(value, np.generic) or array.dtype == spec.dtype:
            return array
        if array.dtype == object:
            raise TypeError("it is not made of numbers")
        # Lists and numbers have no dtype of their own; but 1.5 is no integer.
        changed = array.astype(spec.dtype)
        if array.dtype.kind in "biuf" and (spec.dtype.kind == "f" or np.all(changed == array)):
            return changed
    except (TypeError, ValueError, OverflowError, BufferError, RuntimeError) as error:
        raise InputError(
            f"input {spec.name!r}: expected an array of {spec.dtype}, received "
            f"{type(value).__name__} ({error})",
            name=spec.name,
        ) from error
    return array


def _names(specs: Sequence[TensorSpec]) -> str:
    return "; ".join(map(str, specs)) or "no inputs"


def _shape(shape: Sequence[Dim]) -> str:
    return "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"
