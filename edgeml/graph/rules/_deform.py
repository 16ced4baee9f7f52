"""Deformable convolution: values sampled at places that are computed, and one product."""

from __future__ import annotations

import math

import numpy as np

from edgeml.graph._ir import Array, Node, Tensor, emit
from edgeml.graph._recipes_window import Window, reshape, window_of
from edgeml.graph._rules import lowering


@lowering("DeformConv")
def deform_conv(node: Node) -> list[Tensor]:
    """Sample what each tap reads with GridSample, which has a gradient of its own."""
    x, w, offset = node.inputs[:3]
    assert x is not None
    assert w is not None
    assert offset is not None
    bias, mask = node.input(3), node.input(4)
    batch, channels, *size = x.static_shape
    filters, deep, *kernel = w.static_shape
    window, parts = window_of(node, kernel), node.attr("offset_group", 1)
    taps, places = window.taps, math.prod(window.small)
    away = reshape(offset, batch * parts, taps, 2, *window.small)
    at = emit("Transpose", away, perm=[0, 1, 3, 4, 2]) + _places(window)
    # GridSample counts from -1 to 1, along x first.
    extent = np.array(size, np.float32)
    grid = emit("Gather", at * (2.0 / extent) + (1.0 / extent - 1.0), np.array([1, 0]), axis=4)
    read = emit(
        "GridSample", reshape(x, batch * parts, channels // parts, *size),
        reshape(grid, batch * parts, taps * window.small[0], window.small[1], 2),
        mode="linear" if x.graph.opset >= 20 else "bilinear",
    )  # fmt: skip
    if mask is not None:
        read = reshape(read, batch, parts, channels // parts, taps, places)
        read = read * reshape(mask, batch, parts, 1, taps, places)
    group = node.attr("group", 1)
    columns = reshape(read, batch, group, deep * taps, places)
    y = emit("MatMul", reshape(w, group, filters // group, deep * taps), columns)
    y = reshape(y, batch, filters, *window.small)
    return [y if bias is None else y + reshape(bias, filters, 1, 1)]


def _places(window: Window) -> Array:
    """Return where each tap reads when nothing is offset, (taps, *small, 2): y and x."""
    axes = [
        np.arange(k)[:, None] * d + np.arange(n) * s - before
        for k, d, n, s, before in zip(window.kernel, window.dilations, window.small,
                                      window.strides, window.before, strict=True)
    ]  # fmt: skip
    rows = np.broadcast_to(axes[0][:, None, :, None], (*window.kernel, *window.small))
    columns = np.broadcast_to(axes[1][None, :, None, :], rows.shape)
    found = np.stack([rows, columns], -1).astype(np.float32)
    return found.reshape(window.taps, *window.small, 2)
