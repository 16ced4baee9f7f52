"""Functions that move values about, by NumPy's names."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeml.errors import ShapeError
from edgeml.graph import Tensor, as_tensor, emit, emit_many
from edgeml.ops._math import Like, cast

_END = np.iinfo(np.int64).max


def reshape(x: Like, shape: Sequence[int]) -> Tensor:
    """Return `x` with another shape; -1 stands for what is left, once.

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(lambda x: edgeml.ops.reshape(x, (2, -1)))(np.arange(6.0)).shape
        (2, 3)
    """
    return emit("Reshape", x, _ints(shape), allowzero=1 if 0 in shape else None)


def transpose(x: Like, axes: Sequence[int] | None = None) -> Tensor:
    """Permute the axes; None reverses them.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.transpose(x))
        >>> run(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[1.0, 3.0], [2.0, 4.0]]
    """
    value = as_tensor(x)
    perm = [a % value.ndim for a in axes] if axes is not None else list(range(value.ndim))[::-1]
    return emit("Transpose", value, perm=perm)


def swapaxes(x: Like, axis1: int, axis2: int) -> Tensor:
    """Exchange two axes."""
    value = as_tensor(x)
    perm = list(range(value.ndim))
    perm[axis1], perm[axis2] = perm[axis2], perm[axis1]
    return transpose(value, perm)


def moveaxis(x: Like, source: int, destination: int) -> Tensor:
    """Move one axis to another place.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.moveaxis(x, 0, 1))
        >>> run(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[1.0, 3.0], [2.0, 4.0]]
    """
    value = as_tensor(x)
    perm = list(range(value.ndim))
    perm.insert(destination % value.ndim, perm.pop(source % value.ndim))
    return transpose(value, perm)


def concatenate(xs: Sequence[Like], axis: int = 0) -> Tensor:
    """Join tensors along an axis that they have.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.concatenate([x, x]))
        >>> run(np.array([1.0, 3.0, 2.0])).tolist()
        [1.0, 3.0, 2.0, 1.0, 3.0, 2.0]
    """
    return emit("Concat", *xs, axis=axis)


def stack(xs: Sequence[Like], axis: int = 0) -> Tensor:
    """Join tensors along a new axis.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.stack([x, x], axis=1))
        >>> run(np.array([1.0, 3.0, 2.0])).tolist()
        [[1.0, 1.0], [3.0, 3.0], [2.0, 2.0]]
    """
    return concatenate([expand_dims(x, axis) for x in xs], axis)


def split(x: Like, sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Split along `axis`: into `sections` equal parts, or at the given indices.

    Raises:
        ShapeError: the axis cannot be split into equal parts.

    Example:
        >>> import numpy as np, edgeml
        >>> halves = edgeml.function(lambda x: edgeml.ops.split(x, 2))(np.arange(4.0))
        >>> [half.tolist() for half in halves]
        [[0.0, 1.0], [2.0, 3.0]]
    """
    value = as_tensor(x)
    size = value.known_shape[axis]
    if isinstance(sections, int):
        if isinstance(size, str) or size % sections:
            raise ShapeError(
                f"split: axis {axis} has size {size}, not a multiple of {sections}",
                expected=f"a multiple of {sections}", received=size,
            )  # fmt: skip
        sizes = [size // sections] * sections
    else:
        sizes = [int(n) for n in np.diff([0, *sections, size])]
    if len(sizes) == 1:
        return [value]
    return list(emit_many(len(sizes), "Split", value, _ints(sizes), axis=axis))


def unstack(x: Like, axis: int = 0) -> list[Tensor]:
    """Return the slices along `axis`, without it."""
    value = as_tensor(x)
    parts = split(value, value.static_shape[axis], axis)
    return [squeeze(part, axis) for part in parts]


def squeeze(x: Like, axis: int | Sequence[int] | None = None) -> Tensor:
    """Remove axes of size 1; None removes all of them.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.squeeze(x))
        >>> run(np.ones((1, 2))).tolist()
        [1.0, 1.0]
    """
    axes = None if axis is None else _ints(axis)
    return emit("Squeeze", x, axes)


def expand_dims(x: Like, axis: int | Sequence[int]) -> Tensor:
    """Insert axes of size 1.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.expand_dims(x, 0))
        >>> run(np.array([1.0, 3.0, 2.0])).tolist()
        [[1.0, 3.0, 2.0]]
    """
    return emit("Unsqueeze", x, _ints(axis))


def broadcast_to(x: Like, shape: Sequence[int]) -> Tensor:
    """Repeat `x` along axes of size 1 up to `shape`.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.broadcast_to(x, (2, 3)))
        >>> run(np.array([1.0, 3.0, 2.0])).tolist()
        [[1.0, 3.0, 2.0], [1.0, 3.0, 2.0]]
    """
    return emit("Expand", x, _ints(shape))


def tile(x: Like, repeats: Sequence[int]) -> Tensor:
    """Repeat the whole of `x` along each axis.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.tile(x, [2]))
        >>> run(np.array([1.0, 3.0, 2.0])).tolist()
        [1.0, 3.0, 2.0, 1.0, 3.0, 2.0]
    """
    return emit("Tile", x, _ints(repeats))


def repeat(x: Like, repeats: int, axis: int) -> Tensor:
    """Repeat each element along `axis`.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.repeat(x, 2, axis=0))
        >>> run(np.array([1.0, 3.0, 2.0])).tolist()
        [1.0, 1.0, 3.0, 3.0, 2.0, 2.0]
    """
    value = as_tensor(x)
    at = axis % value.ndim
    ones = [1] * (value.ndim + 1)
    ones[at + 1] = repeats
    long = tile(expand_dims(value, at + 1), ones)
    shape = list(value.known_shape)
    size = shape[at]
    shape[at] = size * repeats if isinstance(size, int) else -1
    return reshape(long, [d if isinstance(d, int) else -1 for d in shape])


def pad(x: Like, widths: Sequence[Sequence[int]], mode: str = "constant",
        value: float = 0.0) -> Tensor:  # fmt: skip
    """Pad each axis by (before, after); mode "constant", "reflect", "edge" or "wrap".

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.pad(x, [[1, 0]]))
        >>> run(np.array([1.0, 3.0, 2.0])).tolist()
        [0.0, 1.0, 3.0, 2.0]
    """
    pads = [w[0] for w in widths] + [w[1] for w in widths]
    fill = value if mode == "constant" else None
    return emit("Pad", x, _ints(pads), fill, mode=mode)


def flip(x: Like, axis: int | Sequence[int]) -> Tensor:
    """Reverse the order along `axis`.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.flip(x, 0))
        >>> run(np.array([1.0, 3.0, 2.0])).tolist()
        [2.0, 3.0, 1.0]
    """
    axes = [axis] if isinstance(axis, int) else list(axis)
    n = len(axes)
    return emit("Slice", x, _ints([-1] * n), _ints([-_END] * n), _ints(axes), _ints([-1] * n))


def slice_(x: Like, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int],
           steps: Sequence[int] | None = None) -> Tensor:  # fmt: skip
    """Return a range along some axes, as ONNX's Slice."""
    stride = None if steps is None else _ints(steps)
    return emit("Slice", x, _ints(starts), _ints(ends), _ints(axes), stride)


def take(x: Like, indices: Like, axis: int = 0) -> Tensor:
    """Return the slices of `x` at `indices` (integers) along `axis`.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x, y: edgeml.ops.take(x, y))
        >>> run(np.array([1.0, 3.0, 2.0]), np.array([2, 0])).tolist()
        [2.0, 1.0]
    """
    return emit("Gather", x, indices, axis=axis)


def take_along_axis(x: Like, indices: Like, axis: int = -1) -> Tensor:
    """Return the elements of `x` at `indices` along `axis`, one for each place of `indices`.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x, y: edgeml.ops.take_along_axis(x, y))
        >>> run(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1], [0]])).tolist()
        [[2.0], [3.0]]
    """
    return emit("GatherElements", x, indices, axis=axis)


def scatter_nd(x: Like, indices: Like, updates: Like, reduction: str = "none") -> Tensor:
    """Return `x` with `updates` at `indices`; reduction "none", "add", "mul", "max" or "min".

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x, y, z: edgeml.ops.scatter_nd(x, y, z))
        >>> run(np.array([1.0, 3.0, 2.0]), np.array([[1]]), np.array([9.0])).tolist()
        [1.0, 9.0, 2.0]
    """
    return emit("ScatterND", x, indices, updates, reduction=reduction)


def one_hot(indices: Like, depth: int, dtype: Any = np.float32) -> Tensor:
    """Return a last axis of size `depth` that is 1 at the index, 0 elsewhere.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.one_hot(x, 3))
        >>> run(np.array([0, 2])).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    values = np.array([0, 1], dtype)
    return emit("OneHot", cast(indices, np.int64), np.array(depth, np.int64), values)


def tril(x: Like, k: int = 0) -> Tensor:
    """Return the lower triangle of the last two axes; the rest is zero.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.tril(x))
        >>> run(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[1.0, 0.0], [3.0, 4.0]]
    """
    return emit("Trilu", x, np.array(k, np.int64), upper=0)


def triu(x: Like, k: int = 0) -> Tensor:
    """Return the upper triangle of the last two axes; the rest is zero.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.triu(x))
        >>> run(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[1.0, 2.0], [0.0, 4.0]]
    """
    return emit("Trilu", x, np.array(k, np.int64), upper=1)


def shape(x: Like) -> Tensor:
    """Return the shape as an int64 tensor, for dimensions known only when the graph runs."""
    return emit("Shape", x)


def zeros_like(x: Like) -> Tensor:
    """Return zeros of the same shape and dtype."""
    value = as_tensor(x)
    zero = np.zeros((), value.dtype)
    return emit("Expand", zero, shape(value), types=[(value.dtype, value.shape)])


def ones_like(x: Like) -> Tensor:
    """Return ones of the same shape and dtype."""
    return full_like(x, 1)


def full_like(x: Like, fill_value: Any) -> Tensor:
    """Return a tensor of the same shape and dtype that is `fill_value` everywhere.

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(lambda x: edgeml.ops.full_like(x, 7))(np.array([1, 2])).tolist()
        [7, 7]
    """
    value = as_tensor(x)
    fill = np.asarray(fill_value, value.dtype)
    return emit("Expand", fill, shape(value), types=[(value.dtype, value.shape)])


def roll(x: Like, shift: int, axis: int | None = None) -> Tensor:
    """Return `x` moved along `axis` by `shift` places; what falls off comes in at the other end.

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(lambda x: edgeml.ops.roll(x, 1))(np.array([1.0, 2.0, 3.0])).tolist()
        [3.0, 1.0, 2.0]
    """
    value = as_tensor(x)
    if axis is None:
        return reshape(roll(reshape(value, [-1]), shift, 0), value.static_shape)
    size = int(value.known_shape[axis])
    by = shift % builtins.max(size, 1)
    if not by:
        return value
    parts = (size - by, size), (0, size - by)
    return concatenate([slice_(value, [a], [b], [axis]) for a, b in parts], axis)


def gather_nd(x: Like, indices: Like, batch_dims: int = 0) -> Tensor:
    """Return what is at `indices`: each row of its last axis counts along the first axes of `x`.

    Args:
        x: Tensor.
        indices: Integers (..., k).
        batch_dims: How many first axes `x` and `indices` have in common.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.gather_nd(x, np.array([[0, 1], [1, 0]])))
        >>> run(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [2.0, 3.0]
    """
    return emit("GatherND", x, indices, batch_dims=batch_dims)


def getitem(x: Tensor, index: Any) -> Tensor:
    """Return ``x[index]``: integers, slices, None, ... and one tensor or array of integers."""
    items = list(index) if isinstance(index, tuple) else [index]
    if any(item is Ellipsis for item in items):
        at = next(i for i, item in enumerate(items) if item is Ellipsis)
        used = builtins.sum(item is not None and item is not Ellipsis for item in items)
        items[at : at + 1] = [slice(None)] * (x.ndim - used)
    starts, ends, axes, steps, drop, new = [], [], [], [], [], []
    axis = out = 0
    gather: tuple[int, Any] | None = None
    for item in items:
        if item is None:
            new.append(out)
            out += 1
            continue
        if isinstance(item, slice):
            if item != slice(None):
                step = 1 if item.step is None else int(item.step)
                starts.append((0 if step > 0 else -1) if item.start is None else int(item.start))
                ends.append((_END if step > 0 else -_END) if item.stop is None else int(item.stop))
                axes.append(axis)
                steps.append(step)
            out += 1
        elif isinstance(item, (int, np.integer)):
            _check_index(x, axis, int(item))
            starts.append(int(item))
            ends.append(_END if item == -1 else int(item) + 1)
            axes.append(axis)
            steps.append(1)
            drop.append(axis)
        elif gather is None:
            gather = (axis, item)
            out += 1
        else:
            raise TypeError("x[...]: one array of indices at most; use ops.take for more")
        axis += 1
    found = slice_(x, starts, ends, axes, steps) if axes else x
    if gather is not None:
        found = take(found, gather[1], gather[0])
    if drop:
        found = squeeze(found, drop)
    return expand_dims(found, new) if new else found


def _check_index(x: Tensor, axis: int, index: int) -> None:
    if axis >= x.ndim:
        raise ShapeError(f"too many indices for {x!r}", where=x.name, received=axis + 1)
    size = x.known_shape[axis]
    if isinstance(size, int) and not -size <= index < size:
        raise ShapeError(f"index {index} is out of range for axis {axis} of {x!r}", where=x.name)


def _ints(values: Any) -> np.ndarray[Any, Any]:
    return np.array([values] if isinstance(values, int) else list(values), np.int64)
