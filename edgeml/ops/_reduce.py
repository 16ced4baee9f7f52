"""Reductions, by NumPy's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeml.errors import InputError
from edgeml.graph import Tensor, as_tensor, emit, emit_many
from edgeml.ops._math import Like, cast, sqrt, square

Axis = int | Sequence[int] | None


def sum(x: Like, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the sum over `axis` (None: over all).

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.sum(x, axis=0))
        >>> run(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [4.0, 6.0]
    """
    return _reduce("ReduceSum", x, axis, keepdims)


def mean(x: Like, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the mean over `axis`; of integers it is an integer, cut off.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.mean(x, axis=1, keepdims=True))
        >>> run(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[1.5], [3.5]]
    """
    return _reduce("ReduceMean", x, axis, keepdims)


def max(x: Like, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the maximum over `axis`.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.max(x))
        >>> run(np.array([1.0, 3.0, 2.0])).tolist()
        3.0
    """
    return _reduce("ReduceMax", x, axis, keepdims)


def min(x: Like, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the minimum over `axis`."""
    return _reduce("ReduceMin", x, axis, keepdims)


def prod(x: Like, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the product over `axis`."""
    return _reduce("ReduceProd", x, axis, keepdims)


def var(x: Like, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the variance over `axis`, divided by the count, as ``numpy.var``.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.var(x))
        >>> run(np.array([1.0, 3.0])).tolist()
        1.0
    """
    value = as_tensor(x)
    return mean(square(value - mean(value, axis, keepdims=True)), axis, keepdims)


def std(x: Like, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the standard deviation over `axis`.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.std(x))
        >>> run(np.array([1.0, 3.0])).tolist()
        1.0
    """
    return sqrt(var(x, axis, keepdims))


def logsumexp(x: Like, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return ``log(sum(exp(x)))`` over `axis`, without overflow.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.logsumexp(x * 0.0))
        >>> run(np.zeros(1)).tolist()
        0.0
    """
    return _reduce("ReduceLogSumExp", x, axis, keepdims)


def all(x: Like, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return whether all hold over `axis`; bool in, bool out."""
    return cast(_reduce("ReduceMin", cast(x, np.int32), axis, keepdims), np.bool_)


def any(x: Like, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return whether any holds over `axis`; bool in, bool out."""
    return cast(_reduce("ReduceMax", cast(x, np.int32), axis, keepdims), np.bool_)


def argmax(x: Like, axis: int = -1, keepdims: bool = False) -> Tensor:
    """Return the index of the maximum along `axis`, int64; the first of equals.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.argmax(x))
        >>> run(np.array([1.0, 3.0, 2.0])).tolist()
        1
    """
    return emit("ArgMax", x, axis=axis, keepdims=int(keepdims))


def argmin(x: Like, axis: int = -1, keepdims: bool = False) -> Tensor:
    """Return the index of the minimum along `axis`, int64; the first of equals."""
    return emit("ArgMin", x, axis=axis, keepdims=int(keepdims))


def cumsum(x: Like, axis: int = -1, *, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """Return the running sum along `axis`.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.cumsum(x))
        >>> run(np.array([1.0, 3.0, 2.0])).tolist()
        [1.0, 4.0, 6.0]
    """
    value = as_tensor(x)
    at = np.array(axis % value.ndim, np.int64)
    return emit("CumSum", value, at, exclusive=int(exclusive), reverse=int(reverse))


def top_k(x: Like, k: int, axis: int = -1) -> tuple[Tensor, Tensor]:
    """Return the `k` largest values along `axis`, in falling order, and their indices (int64).

    Example:
        >>> import numpy as np, edgeml
        >>> best = edgeml.function(lambda x: edgeml.ops.top_k(x, 2))
        >>> values, places = best(np.array([1.0, 3.0, 2.0]))
        >>> values.tolist(), places.tolist()
        ([3.0, 2.0], [1, 2])
    """
    values, indices = emit_many(2, "TopK", x, np.array([k], np.int64), axis=axis)
    return values, indices


def cumprod(x: Like, axis: int = -1) -> Tensor:
    """Return the running product along `axis`; its gradient is exact at zeros, too.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.cumprod(x))
        >>> run(np.array([1.0, 3.0, 2.0])).tolist()
        [1.0, 3.0, 6.0]
    """
    found = as_tensor(x)
    at, step = axis % found.ndim, 1
    size = int(found.known_shape[at])
    while step < size:  # each time, products of twice as many (Hillis and Steele, 1986)
        ints = [np.array([n], np.int64) for n in (0, size - step, at)]
        pads = np.zeros(2 * found.ndim, np.int64)
        pads[at] = step
        earlier = emit("Pad", emit("Slice", found, *ints), pads, np.ones((), found.dtype))
        found, step = found * earlier, 2 * step
    return found


def count_nonzero(x: Like, axis: Axis = None) -> Tensor:
    """Return how many over `axis` are not zero, int64."""
    value = as_tensor(x)
    held = value if value.dtype == np.bool_ else emit("Not", emit("Equal", value, 0))
    return _reduce("ReduceSum", cast(held, np.int64), axis, False)


def moments(x: Like, axes: Axis, keepdims: bool = False) -> tuple[Tensor, Tensor]:
    """Return mean and variance over `axes`.

    Example:
        >>> import numpy as np, edgeml
        >>> mean, variance = edgeml.function(lambda x: edgeml.ops.moments(x, 0))(
        ...     np.array([1.0, 3.0]))
        >>> float(mean), float(variance)
        (2.0, 1.0)
    """
    value = as_tensor(x)
    middle = mean(value, axes, keepdims=True)
    spread = mean(square(value - middle), axes, keepdims)
    return (middle if keepdims else mean(value, axes)), spread


def moving_average(average: Like, x: Like, momentum: float = 0.9) -> Tensor:
    """Return ``average * momentum + x * (1 - momentum)``: what an average becomes with `x`.

    Example:
        >>> import edgeml
        >>> float(edgeml.function(lambda a, x: edgeml.ops.moving_average(a, x, 0.75))(4.0, 8.0))
        5.0
    """
    before = as_tensor(average)
    return before * momentum + as_tensor(x, before) * (1.0 - momentum)


_NORMS: dict[float | str | None, str] = {
    1: "ReduceL1",
    2: "ReduceL2",
    None: "ReduceL2",
    "fro": "ReduceL2",
    "euclidean": "ReduceL2",
}


def norm(
    x: Like, ord: float | str | None = None, axis: Axis = None, keepdims: bool = False
) -> Tensor:
    """Return the norm of the vectors along `axis`.

    Args:
        x: Tensor of floats.
        ord: 1 for the sum of absolute values, 2 (also None, "euclidean" and "fro") for the root
            of the sum of squares, infinity for the largest absolute value, minus infinity for the
            smallest.
        axis: One or several; None is all.
        keepdims: Whether the axes stay, with size 1.

    Raises:
        InputError: there is no such norm.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.norm(x))
        >>> run(np.array([3.0, 4.0])).tolist()
        5.0
    """
    if ord in _NORMS:
        return _reduce(_NORMS[ord], x, axis, keepdims)
    if ord in (np.inf, -np.inf):
        return _reduce(
            "ReduceMax" if ord == np.inf else "ReduceMin", emit("Abs", x), axis, keepdims
        )
    raise InputError(
        f"norm: there is no norm {ord!r}; there are 1, 2, infinity, minus infinity and 'fro'",
        name="ord", received=ord,
    )  # fmt: skip


def _reduce(op: str, x: Like, axis: Axis, keepdims: bool) -> Tensor:
    axes: Any = None
    if axis is not None:
        axes = np.array([axis] if isinstance(axis, int) else list(axis), np.int64)
        if axes.size == 0:
            return as_tensor(x)
    return emit(op, x, axes, keepdims=int(keepdims))
