"""Ways to write a convolution and its gradients with standard operators."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from edgeml.graph._ir import Tensor, emit
from edgeml.graph._recipes_window import Window, fit, reshape, slice_axes, total


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
    if window.pointwise and group == 1:
        return _mix(g, emit("Transpose", reshape(w, *w.static_shape[:2]), perm=[1, 0]))
    return emit("ConvTranspose", g, w, group=group, **window.spreading())


def _mix(x: Tensor, matrix: Tensor) -> Tensor:
    """Return a product over the channels: (batch, channels, ...) by (filters, channels)."""
    batch, channels, *sizes = x.static_shape
    rows = reshape(x, batch, channels, int(np.prod(sizes)))
    return reshape(emit("MatMul", matrix, rows), batch, matrix.static_shape[0], *sizes)


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
    places = int(np.prod(window.small))
    shape = (filters, channels // group, *window.kernel)
    columns = [reshape(tap, batch, channels, 1, places) for tap in taps(x, window)]
    joined = emit("Concat", *columns, axis=2) if len(columns) > 1 else columns[0]
    per_group = channels // group * window.taps
    joined = reshape(joined, batch, group, per_group, places)
    rows = reshape(g, batch, group, filters // group, places)
    products = emit("MatMul", rows, emit("Transpose", joined, perm=[0, 1, 3, 2]))
    return reshape(total(products, 0), *shape)


def taps(x: Tensor, window: Window) -> Iterator[Tensor]:
    """Yield what each tap of the window reads: (batch, channels, *small)."""
    padded = fit(x, window.before, window.after)
    axes = range(2, 2 + len(window.kernel))
    for tap in itertools.product(*(range(k) for k in window.kernel)):
        starts = [t * d for t, d in zip(tap, window.dilations, strict=True)]
        ends = [
            start + (n - 1) * s + 1
            for start, n, s in zip(starts, window.small, window.strides, strict=True)
        ]
        yield slice_axes(padded, list(axes), starts, ends, window.strides)
