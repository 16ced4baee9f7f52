"""Matrices: products, diagonals, bands."""

from __future__ import annotations

import numpy as np

from edgeml.errors import ShapeError
from edgeml.graph import Tensor, as_tensor, emit
from edgeml.ops._math import Like, matmul, multiply, where
from edgeml.ops._reduce import sum
from edgeml.ops._shape import expand_dims, moveaxis, reshape, take


def dot(x: Like, y: Like) -> Tensor:
    """Return the sum of products over the last axis of `x` and the last but one of `y`.

    As ``numpy.dot``: of two vectors their scalar product, of matrices the matrix product, and a
    scalar multiplies.

    Example:
        >>> import numpy as np, edgeml
        >>> float(edgeml.function(edgeml.ops.dot)(np.array([1.0, 2.0]), np.array([3.0, 4.0])))
        11.0
    """
    left, right = as_tensor(x), as_tensor(y)
    if not left.ndim or not right.ndim:
        return multiply(left, right)
    if left.ndim <= 2 or right.ndim <= 2:
        if right.ndim <= 2:
            return matmul(left, right)
        turned = moveaxis(right, -2, 0)
        shape = [int(n) for n in turned.known_shape]
        flat = matmul(left, reshape(turned, [shape[0], -1]))
        return reshape(flat, [*left.static_shape[:-1], *shape[1:]])
    raise ShapeError(
        f"dot: {left!r} and {right!r} both have more than two axes; use ops.einsum",
        expected="at most two axes of one", received=(left.ndim, right.ndim),
    )  # fmt: skip


def outer(x: Like, y: Like) -> Tensor:
    """Return the product of each element of `x` with each of `y`, a matrix.

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(edgeml.ops.outer)(np.array([1.0, 2.0]), np.array([3.0, 4.0])).tolist()
        [[3.0, 4.0], [6.0, 8.0]]
    """
    return multiply(reshape(x, [-1, 1]), reshape(y, [1, -1]))


def det(x: Like) -> Tensor:
    """Return the determinant of each matrix of the last two axes.

    Example:
        >>> import numpy as np, edgeml
        >>> float(edgeml.function(edgeml.ops.det)(np.array([[2.0, 1.0], [1.0, 2.0]])))
        3.0
    """
    return emit("Det", x)


def diag(x: Like) -> Tensor:
    """Return the matrix with the vector `x` on its diagonal, or the diagonal of a matrix.

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(edgeml.ops.diag)(np.array([1.0, 2.0])).tolist()
        [[1.0, 0.0], [0.0, 2.0]]
    """
    value = as_tensor(x)
    if value.ndim == 2:
        return diagonal(value)
    if value.ndim != 1:
        raise ShapeError(
            f"diag: {value!r} is neither a vector nor a matrix; use ops.diagonal",
            expected="one or two axes", received=value.ndim,
        )  # fmt: skip
    chosen = np.eye(value.static_shape[0], dtype=bool)
    return where(chosen, expand_dims(value, 0), np.zeros((), value.dtype))


def diagonal(x: Like) -> Tensor:
    """Return the diagonal of each matrix of the last two axes.

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(edgeml.ops.diagonal)(np.arange(6.0).reshape(2, 3)).tolist()
        [0.0, 4.0]
    """
    value = as_tensor(x)
    *lead, rows, columns = value.known_shape
    at = np.arange(min(int(rows), int(columns))) * (int(columns) + 1)
    kept = [n if isinstance(n, int) else -1 for n in lead]
    flat = reshape(value, [*kept, int(rows) * int(columns)])
    return take(flat, at, axis=-1)


def trace(x: Like) -> Tensor:
    """Return the sum of the diagonal of each matrix of the last two axes."""
    return sum(diagonal(x), axis=-1)


def band_part(x: Like, num_lower: int, num_upper: int) -> Tensor:
    """Return each matrix of the last two axes with only the band around its diagonal kept.

    Args:
        x: Tensor (..., rows, columns).
        num_lower: How many diagonals below the main one are kept; negative keeps all.
        num_upper: How many above are kept; negative keeps all.

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(lambda x: edgeml.ops.band_part(x, 0, 1))(np.ones((3, 3))).tolist()
        [[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]]
    """
    found = as_tensor(x)
    if num_lower >= 0:
        found = emit("Trilu", found, np.array(-num_lower, np.int64), upper=1)
    if num_upper >= 0:
        found = emit("Trilu", found, np.array(num_upper, np.int64), upper=0)
    return found
