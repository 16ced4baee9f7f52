"""Sampling of images at computed places."""

from __future__ import annotations

import itertools
import math
from functools import reduce

import numpy as np

from edgeml.graph._ir import Node, Tensor, emit
from edgeml.graph._rules import lowering

_LINEAR, _NEAREST, _CUBIC = ("linear", "bilinear"), ("nearest",), ("cubic", "bicubic")
_SHARPNESS = -0.75  # of the cubic kernel, as in the runtime and in PyTorch


@lowering("GridSample")
def grid_sample(node: Node) -> list[Tensor]:
    """Gather the values around each place, and mix them by how near they are."""
    x, grid = node.x, node.inputs[1]
    assert grid is not None
    mode = node.attr("mode", "linear")
    batch, channels, *sizes = x.static_shape
    rank = len(sizes)
    sides = [
        _sides(node, emit("Gather", grid, np.array(rank - 1 - i), axis=rank + 1), size, mode)
        for i, size in enumerate(sizes)
    ]
    rows = emit("Transpose", x, perm=[0, *range(2, rank + 2), 1])
    rows = emit("Reshape", rows, np.array([-1, channels], np.int64))
    image = np.arange(batch, dtype=np.int64).reshape(-1, *[1] * rank) * math.prod(sizes)
    parts = []
    for corner in itertools.product(*sides):
        index: Tensor | np.ndarray[tuple[int, ...], np.dtype[np.int64]] = image
        for axis, (at, _) in enumerate(corner):
            index = at * math.prod(sizes[axis + 1 :]) + index
        picked = emit("Gather", rows, index, axis=0)
        weights = [weight for _, weight in corner if weight is not None]
        if weights:
            share = reduce(lambda a, b: a * b, weights)
            picked = picked * emit("Unsqueeze", share, np.array([rank + 1], np.int64))
        parts.append(picked)
    mixed = emit("Sum", *parts) if len(parts) > 1 else parts[0]
    return [emit("Transpose", mixed, perm=[0, rank + 1, *range(1, rank + 1)])]


def _sides(node: Node, p: Tensor, size: int, mode: str) -> list[tuple[Tensor, Tensor | None]]:
    """Return the indices around a place along one axis, each with its share (None: all)."""
    aligned = bool(node.attr("align_corners", 0))
    padding = node.attr("padding_mode", "zeros")
    at = (p + 1.0) * ((size - 1) / 2 if aligned else size / 2) - (0.0 if aligned else 0.5)
    low, span = (0.0, size - 1) if aligned else (-0.5, size)
    if mode in _CUBIC:
        first = emit("Floor", at)
        taps = [first + (k - 1.0) for k in range(4)]
        if padding == "reflection":
            taps = [_reflected(tap, low, span) for tap in taps]
        shares = [_cubic(emit("Abs", at - first - (k - 1.0)), k in (1, 2)) for k in range(4)]
        return [_side(tap, w, size, padding) for tap, w in zip(taps, shares, strict=True)]
    if padding == "reflection":
        at = _reflected(at, low, span)
    if padding != "zeros":
        at = emit("Clip", at, 0.0, float(size - 1), like=p)
    if mode in _NEAREST:
        return [_side(emit("Round", at), None, size, padding)]
    first = emit("Floor", at)
    after = at - first
    return [
        _side(first, 1.0 - after, size, padding),
        _side(first + 1.0, after, size, padding),
    ]


def _cubic(d: Tensor, near: bool) -> Tensor:
    """Return the share of a value `d` away (Keys, 1981): its kernel up to 1, or from 1 to 2."""
    a = _SHARPNESS
    if near:
        return (d * (a + 2.0) - (a + 3.0)) * d * d + 1.0
    return ((d - 5.0) * d + 8.0) * d * a - 4.0 * a


def _side(
    at: Tensor, share: Tensor | None, size: int, padding: str
) -> tuple[Tensor, Tensor | None]:
    inside = emit("Clip", at, 0.0, float(size - 1), like=at)
    if padding == "zeros":
        counts = emit("Cast", emit("Equal", at, inside), to=1)
        share = counts if share is None else share * counts
    return emit("Cast", inside, to=7), share


def _reflected(at: Tensor, low: float, span: int) -> Tensor:
    """Fold the axis at both ends, as often as needed."""
    if not span:
        return at * 0.0
    away = emit("Abs", at - low)
    turn = away - emit("Floor", away * (0.5 / span)) * (2.0 * span)
    return span - emit("Abs", span - turn) + low
