"""Reductions, by NumPy's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

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


def norm(x: Like, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the Euclidean norm over `axis`.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.norm(x))
        >>> run(np.array([3.0, 4.0])).tolist()
        5.0
    """
    return _reduce("ReduceL2", x, axis, keepdims)


def _reduce(op: str, x: Like, axis: Axis, keepdims: bool) -> Tensor:
    axes: Any = None
    if axis is not None:
        axes = np.array([axis] if isinstance(axis, int) else list(axis), np.int64)
        if axes.size == 0:
            return as_tensor(x)
    return emit(op, x, axes, keepdims=int(keepdims))
