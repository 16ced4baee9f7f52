"""Counting, sorting, and sums over what belongs together."""

from __future__ import annotations

import numpy as np

from edgeml.graph import Tensor, as_tensor, emit, emit_many
from edgeml.ops._math import Like, cast, less, less_equal, logical_and
from edgeml.ops._reduce import sum
from edgeml.ops._shape import expand_dims, one_hot, reshape, squeeze, take_along_axis


def segment_sum(data: Like, segment_ids: Like, num_segments: int) -> Tensor:
    """Return the sum of the rows of `data` that have the same number; zeros for no row.

    Args:
        data: Tensor (rows, ...).
        segment_ids: Integers (rows,), from 0 to `num_segments` - 1, in any order.
        num_segments: How many segments there are.

    Returns:
        A tensor (num_segments, ...).

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x, i: edgeml.ops.segment_sum(x, i, 3))
        >>> run(np.array([1.0, 2.0, 4.0]), np.array([2, 0, 2])).tolist()
        [2.0, 0.0, 5.0]
    """
    return _by_segment(data, segment_ids, num_segments, "add", 0)


def segment_max(data: Like, segment_ids: Like, num_segments: int) -> Tensor:
    """Return the maximum of the rows that have the same number; the dtype's lowest for no row.

    The arguments are those of `segment_sum`.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x, i: edgeml.ops.segment_max(x, i, 2))
        >>> run(np.array([1.0, 2.0, 4.0]), np.array([1, 0, 1])).tolist()
        [2.0, 4.0]
    """
    value = as_tensor(data)
    low = -np.inf if value.dtype.kind == "f" else np.iinfo(value.dtype).min
    return _by_segment(value, segment_ids, num_segments, "max", low)


def _by_segment(data: Like, ids: Like, count: int, how: str, start: float) -> Tensor:
    value = as_tensor(data)
    rest = [int(n) for n in value.known_shape[1:]]
    empty = np.full((count, *rest), start, value.dtype)
    at = expand_dims(cast(as_tensor(ids, value), np.int64), -1)
    return emit("ScatterND", empty, at, value, reduction=how)


def bincount(x: Like, minlength: int, weights: Like = None) -> Tensor:
    """Return how often each integer from 0 to `minlength` - 1 occurs; others do not count.

    Args:
        x: Integers (n,).
        minlength: How many integers to count. It fixes the length of the result, which
            in ``numpy.bincount`` depends on `x`.
        weights: What each of `x` counts for, (n,); None is 1.

    Returns:
        int64 (minlength,), or of the dtype of `weights`.

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(lambda x: edgeml.ops.bincount(x, 4))(np.array([1, 3, 1])).tolist()
        [0, 2, 0, 1]
    """
    value = as_tensor(x)
    if weights is None:
        return sum(_hot(value, minlength, np.dtype(np.int64)), axis=0)
    share = as_tensor(weights, value)
    return sum(_hot(value, minlength, share.dtype) * expand_dims(share, -1), axis=0)


def _hot(x: Tensor, depth: int, dtype: np.dtype[np.generic]) -> Tensor:
    """Return one_hot, in which negative numbers do not count from the end."""
    wide = cast(x, np.int64)
    return one_hot(emit("Where", wide < 0, depth, wide, like=wide), depth, dtype)


def searchsorted(sorted_sequence: Like, values: Like, side: str = "left") -> Tensor:
    """Return where each of `values` would be put in so that the sequence stays sorted.

    Args:
        sorted_sequence: Tensor (n,), rising.
        values: Tensor of the same dtype.
        side: "left" for the first such place, "right" for the last.

    Returns:
        int64, of the shape of `values`.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.searchsorted(np.float32([1, 2, 3]), x))
        >>> run(np.array([0.0, 2.0, 9.0])).tolist()
        [0, 1, 3]
    """
    value = as_tensor(values)
    before = (less if side == "left" else less_equal)(sorted_sequence, expand_dims(value, -1))
    return sum(cast(before, np.int64), axis=-1)


def sort(x: Like, axis: int = -1) -> Tensor:
    """Return `x` in rising order along `axis`.

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(edgeml.ops.sort)(np.array([3.0, 1.0, 2.0])).tolist()
        [1.0, 2.0, 3.0]
    """
    return _sorted(x, axis)[0]


def argsort(x: Like, axis: int = -1) -> Tensor:
    """Return the indices that put `x` into rising order along `axis`, int64; equals keep theirs.

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(edgeml.ops.argsort)(np.array([3.0, 1.0, 2.0])).tolist()
        [1, 2, 0]
    """
    return _sorted(x, axis)[1]


def _sorted(x: Like, axis: int) -> tuple[Tensor, Tensor]:
    value = as_tensor(x)
    size = np.array([int(value.known_shape[axis])], np.int64)
    values, indices = emit_many(2, "TopK", value, size, axis=axis, largest=0)
    return values, indices


def in_top_k(targets: Like, predictions: Like, k: int) -> Tensor:
    """Return whether the prediction of each target is among the `k` largest, as bool.

    Args:
        targets: Integers (batch,).
        predictions: Tensor (batch, classes); a target whose prediction is not finite is not in.
        k: How many of the largest count; of equal ones all do.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda t, p: edgeml.ops.in_top_k(t, p, 2))
        >>> run(np.array([0, 1]), np.array([[0.1, 0.6, 0.3], [0.1, 0.6, 0.3]])).tolist()
        [False, True]
    """
    scores = as_tensor(predictions)
    at = reshape(cast(as_tensor(targets, scores), np.int64), [-1, 1])
    own = take_along_axis(scores, at, axis=1)
    ahead = sum(cast(scores > own, np.int64), axis=1)
    finite = squeeze(emit("Not", emit("IsInf", own)), 1)
    return logical_and(logical_and(ahead < k, finite), squeeze(emit("Equal", own, own), 1))
