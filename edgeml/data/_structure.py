"""Elements: arrays, or tuples and dicts of them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml.errors import DataError

Array = NDArray[Any]


def as_element(value: Any) -> Any:
    """Return a value as an element: numbers and lists become arrays, float64 becomes float32.

    Text, bytes and foreign objects stay as they are; they cannot be batched, but mapped.
    """
    if isinstance(value, tuple):
        return tuple(as_element(part) for part in value)
    if isinstance(value, str | bytes):
        return value
    if isinstance(value, Mapping) and not hasattr(value, "__array__"):
        return {str(key): as_element(part) for key, part in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return narrow(value)
    try:
        array = np.asarray(value)
    except ValueError:  # a ragged list
        return value
    return value if array.dtype == object else narrow(array)[()]


def narrow(array: Any) -> Any:
    """Return float64 as float32, and any other array as it is."""
    return array.astype(np.float32) if array.dtype == np.float64 else array


def map_leaves(fn: Callable[[Any], Any], value: Any) -> Any:
    """Return the same structure with `fn` of each leaf."""
    if isinstance(value, tuple):
        return tuple(map_leaves(fn, part) for part in value)
    if isinstance(value, dict):
        return {key: map_leaves(fn, part) for key, part in value.items()}
    return fn(value)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each leaf with its path, such as ``[0]['audio']``."""
    if isinstance(value, tuple):
        for i, part in enumerate(value):
            yield from leaves(part, f"{path}[{i}]")
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, f"{path}[{key!r}]")
    else:
        yield path, value


def size_of(value: Any) -> int:
    """Return the bytes that an element's data takes."""
    return sum(getattr(leaf, "nbytes", None) or len(leaf) for _, leaf in leaves(value))


def stack(elements: Sequence[Any], first: int = 0, path: str = "") -> Any:
    """Stack elements leaf by leaf along a new first axis.

    Args:
        elements: At least one.
        first: Number of the first one, for the error.
        path: Where in the element this is, for the error.

    Raises:
        DataError: they differ in structure or shape, or are no arrays.
    """
    head = elements[0]
    if isinstance(head, tuple | dict):
        keys = range(len(head)) if isinstance(head, tuple) else list(head)
        for i, element in enumerate(elements):
            if type(element) is not type(head) or _keys(element) != _keys(head):
                raise DataError(
                    f"element {first + i}{path} is {describe(element)}, but element {first}{path} "
                    f"is {describe(head)}; all elements must have one structure",
                    element=first + i,
                )
        parts = [stack([e[key] for e in elements], first, f"{path}[{key!r}]") for key in keys]
        return tuple(parts) if isinstance(head, tuple) else dict(zip(keys, parts, strict=True))
    return _stack_leaf(elements, first, path)


def _stack_leaf(elements: Sequence[Any], first: int, path: str) -> Array:
    shape = np.shape(elements[0]) if _is_array(elements[0]) else None
    for i, element in enumerate(elements):
        if not _is_array(element) and not isinstance(element, str | bytes):
            raise DataError(
                f"element {first + i}{path} is {describe(element)}; expected an array or a "
                f"number: map() it to one before batch()",
                element=first + i,
            )
        if _is_array(element) != (shape is not None) or (shape and element.shape != shape):
            raise DataError(
                f"element {first + i}{path} is {describe(element)}, but element {first}{path} is "
                f"{describe(elements[0])}; elements of one batch must have one shape: pad or crop "
                f"them with map(), or use batch(1)",
                element=first + i,
            )
        if shape == () and np.shape(element) != ():
            raise DataError(
                f"element {first + i}{path} is {describe(element)}, but element {first}{path} is "
                f"a scalar; elements of one batch must have one shape",
                element=first + i,
            )
    if shape is None or shape == ():
        return np.asarray(list(elements))
    return np.stack(list(elements))


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic) and not isinstance(value, str | bytes)


def _keys(value: Any) -> Any:
    return len(value) if isinstance(value, tuple) else set(value)


def describe(value: Any) -> str:
    """Say in a few words what an element is."""
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    if isinstance(value, dict):
        return f"a dict of {', '.join(map(str, value)) or 'nothing'}"
    if _is_array(value):
        return f"an array of shape {value.shape} and {value.dtype}"
    return type(value).__name__


def unstack(batch: Any) -> Iterator[Any]:
    """Yield the rows of a batch.

    Raises:
        DataError: its arrays have no first axis, or of different lengths.
    """
    rows = length_of(batch)
    for i in range(rows):
        yield map_leaves(operator.itemgetter(i), batch)


def length_of(columns: Any) -> int:
    """Return the common length of the first axis.

    Raises:
        DataError: there is none.
    """
    lengths = {}
    for path, leaf in leaves(columns):
        if np.ndim(leaf) == 0:
            raise DataError(f"{path or 'the data'} is {describe(leaf)}: it has no rows")
        lengths[path] = len(leaf)
    if len(set(lengths.values())) != 1:
        listed = ", ".join(f"{path or 'x'}: {n}" for path, n in lengths.items()) or "no array"
        raise DataError(f"all arrays must have the same number of rows; received {listed}")
    return next(iter(lengths.values()))


def columns_of(x: Any, y: Any, sample_weight: Any) -> Any:
    """Return ``x``, ``(x, y)`` or ``(x, y, sample_weight)`` with arrays at the leaves.

    Raises:
        DataError: something is ragged or no array, or there are weights without labels.
    """
    if y is None and sample_weight is not None:
        raise DataError("sample_weight= needs y=: a weight is that of a label's loss")
    if y is None:
        return map_leaves(_column, x)
    parts = (x, y) if sample_weight is None else (x, y, sample_weight)
    return tuple(map_leaves(_column, part) for part in parts)


def _column(values: Any) -> Array:
    try:
        array: Array = np.asanyarray(values)  # a memory map stays one
    except ValueError as error:
        raise DataError(f"rows must have one shape; {describe(values)} is ragged") from error
    if array.dtype == object:
        raise DataError(f"expected an array of numbers or text; received {describe(values)}")
    return array
