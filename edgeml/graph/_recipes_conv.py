"""Ways to write the gradients of a convolution with standard operators."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from edgeml.graph import _recipes as recipes
from edgeml.graph._ir import Tensor, emit, emit_many, with_vjp
from edgeml.graph._recipes_window import Window, fit, reshape, slice_axes, total

_BEGIN = -(1 << 31)  # where a Slice that runs backwards ends


def spread(g: Tensor, w: Tensor, window: Window, group: int) -> Tensor:
    """Return the gradient of a convolution's input: what each window gathered is given back.

    Args:
        g: Gradient of the output, (batch, filters, *small).
        w: Weights, (filters, channels / group, *kernel).
        window: The geometry of the convolution.
        group: Number of groups.

    Returns:
        A tensor (batch, channels, *large).
    """
    batch, filters = g.static_shape[:2]
    channels = w.static_shape[1] * group
    if recipes.use_flipped_conv(batch, channels, filters, group, window):
        reach = [k - 1 for k in window.kernel]
        pads = [r - n for r, n in zip(reach * 2, (*window.before, *window.after), strict=True)]
        return emit("Conv", g, _flipped(w, group), group=group, pads=pads)
    if recipes.use_col2im(batch, channels, window):
        depthwise = group == channels == filters
        if depthwise and recipes.use_stretched(window):
            return _stretched(g, w, window)
        return _col2im(g, w, window, group)
    return emit("ConvTranspose", g, w, group=group, **window.spreading())


def _stretched(g: Tensor, w: Tensor, window: Window) -> Tensor:
    """Depthwise, with a stride: set zeros between the gradients, and convolve flipped."""
    strides = np.array(window.strides)
    size = [n * s for n, s in zip(window.small, window.strides, strict=True)]
    apart = np.zeros(size, g.dtype)
    apart[:: strides[0], :: strides[1]] = 1.0
    wide = emit(
        "Resize", g, None, np.array([1.0, 1.0, *strides], np.float32), mode="nearest",
        coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip
    return emit("Conv", wide * apart, _flipped(w, w.static_shape[0]), group=w.static_shape[0],
                pads=recipes.stretched_pads(window))  # fmt: skip


def _flipped(w: Tensor, group: int) -> Tensor:
    """Return the weights with inputs and outputs exchanged and each kernel reversed."""
    filters, channels, *kernel = w.static_shape
    rank = len(kernel)
    w = reshape(w, group, filters // group, channels, *kernel)
    w = emit("Transpose", w, perm=[0, 2, 1, *range(3, 3 + rank)])
    w = reshape(w, group * channels, filters // group, *kernel)
    if math.prod(kernel) == 1:
        return w
    axes = np.arange(2, 2 + rank)
    ones = np.ones(rank, np.int64)
    return emit("Slice", w, -ones, _BEGIN * ones, axes, -ones)


def from_columns(x: Tensor, w: Tensor, bias: Tensor | None, window: Window) -> Tensor:
    """Return a convolution as one product with columns, which its gradients use again.

    The bias is the weight of a column of ones. Columns are in the order of Keras's kernels, (taps,
    channels), so that a layer's kernel is the product's matrix as it is.
    """
    batch, channels = x.static_shape[:2]
    filters, places = w.static_shape[0], math.prod(window.small)
    size = window.taps * channels
    kernel = reshape(_outputs_last(w), window.taps, channels, filters)
    parts = [reshape(tap, batch, channels, places) for tap in taps(x, window)]
    weights = [reshape(kernel, size, filters)]
    arguments = [x, kernel]
    if bias is not None:
        parts.append(x.graph.constant(np.ones((batch, 1, places), x.dtype)))
        weights.append(reshape(bias, 1, filters))
        arguments.append(bias)
    read = emit("Concat", *parts, axis=1)
    matrix = emit("Concat", *weights, axis=0) if bias is not None else weights[0]
    made = emit("MatMul", emit("Transpose", matrix, perm=[1, 0]), read)

    def vjp(g: Tensor) -> tuple[Tensor, ...]:
        g = reshape(g, batch, filters, places)
        rows = emit("Transpose", kernel, perm=[1, 0, 2])
        back = emit("MatMul", reshape(rows, size, filters), g)
        found = total(emit("MatMul", read, _transposed(g)), 0)
        if bias is None:
            return _gathered(back, channels, window), reshape(found, *kernel.static_shape)
        dw, db = emit_many(2, "Split", found, np.array([size, 1], np.int64), axis=0)
        return (_gathered(back, channels, window), reshape(dw, *kernel.static_shape),
                reshape(db, filters))  # fmt: skip

    (y,) = with_vjp([reshape(made, batch, filters, *window.small)], arguments, vjp)
    return y


def _outputs_last(w: Tensor) -> Tensor:
    """Return weights as (*kernel, channels, filters), without going there and back."""
    perm = [*range(2, w.ndim), 1, 0]
    if w.producer is not None and w.producer.op == "Transpose":
        before = w.producer.attr("perm")
        if [before[axis] for axis in perm] == list(range(w.ndim)):
            return w.producer.x
    return emit("Transpose", w, perm=perm)


def _gathered(read: Tensor, channels: int, window: Window) -> Tensor:
    """Return the images of which columns were read; what several windows read is summed."""
    # Along a single axis the runtime's Col2Im takes no notice of dilations (1.31): add one.
    flat = len(window.kernel) == 1
    ones, none = ([1], [0]) if flat else ([], [])
    after = [max(n, 0) for n in window.after]
    large = [*ones, *window.large]
    images = emit(
        "Col2Im", read, np.array(large, np.int64), np.array([*ones, *window.kernel], np.int64),
        strides=[*ones, *window.strides], dilations=[*ones, *window.dilations],
        pads=[*none, *window.before, *none, *after],
        types=[(read.dtype, (read.static_shape[0], channels, *large))],
    )  # fmt: skip
    return reshape(images, read.static_shape[0], channels, *window.large) if flat else images


def _col2im(g: Tensor, w: Tensor, window: Window, group: int) -> Tensor:
    batch, filters = g.static_shape[:2]
    channels, places = w.static_shape[1], math.prod(window.small)
    matrix = reshape(w, group, filters // group, channels * window.taps)
    rows = reshape(g, batch, group, filters // group, places)
    columns = emit("MatMul", emit("Transpose", matrix, perm=[0, 2, 1]), rows)
    columns = reshape(columns, batch, group * channels * window.taps, places)
    return _gathered(columns, group * channels, window)


def weights(x: Tensor, g: Tensor, window: Window, group: int) -> Tensor:
    """Return the gradient of a convolution's weights.

    Args:
        x: The large side, (batch, channels, *large).
        g: The small side, (batch, filters, *small).
        window: The geometry of the convolution.
        group: Number of groups.

    Returns:
        A tensor (filters, channels / group, *kernel).
    """
    batch, channels = x.static_shape[:2]
    filters = g.static_shape[1]
    shape = (filters, channels // group, *window.kernel)
    if group == channels == filters and group > 1:
        found = _banded(x, g, window) if recipes.use_banded(window) else _multiplied(x, g, window)
    elif recipes.use_taps(batch, channels, group, window):
        found = _by_tap(x, g, window, group)
    elif recipes.use_merged_batch(channels, filters, group, window):
        found = _merged(x, g, window)
    else:
        found = _by_image(x, g, window, group)
    return reshape(found, *shape)


def _by_image(x: Tensor, g: Tensor, window: Window, group: int) -> Tensor:
    """One product of gradient and columns for each image, and their sum."""
    batch, channels = x.static_shape[:2]
    filters, places = g.static_shape[1], math.prod(window.small)
    deep = channels // group
    columns = im2col(x, window, group)
    rows = reshape(g, batch, group, filters // group, places)
    products = total(emit("MatMul", rows, _transposed(columns)), 0)
    products = reshape(products, filters, window.taps, deep)
    return emit("Transpose", products, perm=[0, 2, 1])


def im2col(x: Tensor, window: Window, group: int = 1) -> Tensor:
    """Return what each window reads, (batch, group, taps * channels / group, places)."""
    batch, channels = x.static_shape[:2]
    places = math.prod(window.small)
    deep = channels // group
    parts = [reshape(tap, batch, group, deep, places) for tap in taps(x, window)]
    return emit("Concat", *parts, axis=2) if len(parts) > 1 else parts[0]


def _merged(x: Tensor, g: Tensor, window: Window) -> Tensor:
    """One product over all images, with the channels first."""
    batch, channels = x.static_shape[:2]
    filters, places = g.static_shape[1], batch * math.prod(window.small)
    parts = [reshape(tap, channels, places) for tap in taps(_channels_first(x), window)]
    columns = emit("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]
    rows = reshape(_channels_first(g), filters, places)
    products = reshape(emit("MatMul", rows, _transposed(columns)), filters, window.taps, channels)
    return emit("Transpose", products, perm=[0, 2, 1])


def _by_tap(x: Tensor, g: Tensor, window: Window, group: int) -> Tensor:
    """One product for each tap: only one shifted copy of the images is there at a time."""
    batch, channels = x.static_shape[:2]
    filters, places = g.static_shape[1], math.prod(window.small)
    rows = reshape(g, batch, group, filters // group, places)
    found = []
    for tap in taps(x, window):
        columns = reshape(tap, batch, group, channels // group, places)
        product = total(emit("MatMul", rows, _transposed(columns)), 0)
        found.append(reshape(product, filters, channels // group, 1))
    return emit("Concat", *found, axis=2)


def _multiplied(x: Tensor, g: Tensor, window: Window) -> Tensor:
    """Depthwise: the shifted images times the gradient, summed."""
    axes = (0, *range(2, x.ndim))
    sums = [reshape(total(tap * g, *axes), x.static_shape[1], 1) for tap in taps(x, window)]
    return emit("Concat", *sums, axis=1)


def _banded(x: Tensor, g: Tensor, window: Window) -> Tensor:
    """Depthwise: products of whole rows, summed along the diagonals that the taps stand for."""
    channels, rows = x.static_shape[1], g.size // (g.static_shape[1] * window.small[-1])
    wide, out = window.large[-1], window.small[-1]
    gradient = reshape(_channels_first(g), channels, rows, out)
    products = []
    for shifted in taps(_channels_first(x), window, skip_last=True):
        columns = _transposed(reshape(shifted, channels, rows, wide))
        products.append(reshape(emit("MatMul", columns, gradient), channels, 1, wide * out))
    joined = emit("Concat", *products, axis=1) if len(products) > 1 else products[0]
    return emit("MatMul", joined, _bands(window))


def depthwise_matrices(x: Tensor, w: Tensor, window: Window) -> Tensor:
    """Return a depthwise convolution: for each channel, a matrix from all places to all places."""
    batch, channels = x.static_shape[:2]
    large, small = math.prod(window.large), math.prod(window.small)
    taps_only = reshape(w, channels, window.taps)
    matrices = reshape(emit("MatMul", taps_only, _where_taps_go(window)), channels, large, small)
    rows = reshape(_channels_first(x), channels, batch, large)
    made = reshape(emit("MatMul", rows, matrices), channels, batch, *window.small)
    return _channels_first(made)


def _where_taps_go(window: Window) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Return for each tap which places it takes to which, (taps, large * small)."""
    found = np.ones((1, 1, 1), np.float32)
    for axis, count in enumerate(window.kernel):
        wide, out = window.large[axis], window.small[axis]
        one = _bands(window, axis).reshape(wide, out, count).transpose(2, 0, 1)
        found = np.einsum("tls,uij->tulisj", found, one)
        found = found.reshape(math.prod(found.shape[:2]), math.prod(found.shape[2:4]), -1)
    return found.reshape(window.taps, -1)


def _bands(window: Window, axis: int = -1) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Return which pairs of coordinates along an axis belong to which tap, (pairs, taps)."""
    wide, out, count = window.large[axis], window.small[axis], window.kernel[axis]
    found = np.zeros((wide, out, count), np.float32)
    for tap in range(count):
        first = tap * window.dilations[axis] - window.before[axis]
        read = np.arange(out) * window.strides[axis] + first
        inside = np.flatnonzero((read >= 0) & (read < wide))
        found[read[inside], inside, tap] = 1.0
    return found.reshape(wide * out, count)


def _channels_first(x: Tensor) -> Tensor:
    return emit("Transpose", x, perm=[1, 0, *range(2, x.ndim)])


def _transposed(x: Tensor) -> Tensor:
    return emit("Transpose", x, perm=[*range(x.ndim - 2), x.ndim - 1, x.ndim - 2])


def taps(x: Tensor, window: Window, *, skip_last: bool = False) -> Iterator[Tensor]:
    """Yield what each tap of the window reads, of the shape (..., *small).

    Args:
        x: The large side, (batch, channels, *large), or with these two exchanged.
        window: The geometry.
        skip_last: Whether to leave the last axis as it is.
    """
    rank = len(window.kernel) - int(skip_last)
    before, after = list(window.before), list(window.after)
    if skip_last:
        before[-1] = after[-1] = 0
    padded = fit(x, before, after)
    axes = list(range(2, 2 + rank))
    strides, small = window.strides[:rank], window.small[:rank]
    phases: dict[tuple[int, ...], Tensor] = {}
    # A step costs far more than a shift: each phase of the steps is taken once.
    phased = math.prod(window.kernel[:rank]) >= 2 * math.prod(strides) > 2
    for tap in itertools.product(*(range(k) for k in window.kernel[:rank])):
        starts = [t * d for t, d in zip(tap, window.dilations, strict=False)]
        if phased:
            phase = tuple(n % s for n, s in zip(starts, strides, strict=True))
            if phase not in phases:
                sizes = padded.static_shape[2 : 2 + rank]
                phases[phase] = slice_axes(padded, axes, phase, sizes, strides)
            starts = [n // s for n, s in zip(starts, strides, strict=True)]
            ends = [n + size for n, size in zip(starts, small, strict=True)]
            yield slice_axes(phases[phase], axes, starts, ends)
            continue
        ends = [a + (n - 1) * s + 1 for a, n, s in zip(starts, small, strides, strict=True)]
        yield slice_axes(padded, axes, starts, ends, strides)
