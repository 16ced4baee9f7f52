"""Sampling of images at computed places."""

from __future__ import annotations

import itertools
import math
from functools import reduce

import numpy as np

from edgeml.errors import NoGradient
from edgeml.graph._ir import Node, Tensor, emit
from edgeml.graph._rules import lowering

_LINEAR, _NEAREST = ("linear", "bilinear"), ("nearest",)


@lowering("GridSample")
def grid_sample(node: Node) -> list[Tensor]:
    """Gather the values around each place, and mix them by how near they are."""
    x, grid = node.x, node.inputs[1]
    assert grid is not None
    mode = node.attr("mode", "linear")
    if mode not in (*_LINEAR, *_NEAREST):
        raise NoGradient(
            f"GridSample {node.name!r}: mode {mode!r} has no gradient rule; 'linear' and "
            "'nearest' have",
            op=node.op, node=node.name,
        )  # fmt: skip
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
    if padding == "reflection":
        at = _reflected(at, 0.0 if aligned else -0.5, size - 1 if aligned else size)
    if padding != "zeros":
        at = emit("Clip", at, 0.0, float(size - 1), like=p)
    if mode in _NEAREST:
        near = emit("Round", at)
        return [_side(near, None, size, padding)]
    low = emit("Floor", at)
    after = at - low
    return [
        _side(low, 1.0 - after, size, padding),
        _side(low + 1.0, after, size, padding),
    ]


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
