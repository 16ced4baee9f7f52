"""Rules of resizing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeml.errors import NoGradient
from edgeml.graph._ir import Array, Node, Tensor, emit
from edgeml.graph._recipes_linear import identity_along, spread_along
from edgeml.graph._recipes_window import slice_axes
from edgeml.graph._rules import attributes_of, rule

Grads = tuple[Tensor | None, ...]

_KEPT = ("antialias", "coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside",
         "mode", "nearest_mode")  # fmt: skip


@rule("Resize")
def resize(node: Node, g: Tensor) -> Grads:
    inputs, outputs = node.x.static_shape, node.output.static_shape
    axes = [axis % node.x.ndim for axis in node.attr("axes") or range(node.x.ndim)]
    scales = _constant(node, 2)
    changed = [
        axis for i, axis in enumerate(axes)
        if inputs[axis] != outputs[axis] or (scales is not None and scales[i] != 1.0)
        or node.attr("coordinate_transformation_mode") == "tf_crop_and_resize"
    ]  # fmt: skip
    factors = _block(node, axes, changed, scales)
    if factors is not None:
        count = float(np.prod(factors))
        made = emit("AveragePool", g, kernel_shape=factors, strides=factors)
        return (made * count,)
    return (spread_along(g, {axis: _response(node, axis, axes, scales) for axis in changed}),)


def _block(
    node: Node, axes: Sequence[int], changed: Sequence[int], scales: Array | None
) -> list[int] | None:
    """Return the factors when each value is repeated a whole number of times along each axis."""
    how = (
        node.attr("coordinate_transformation_mode", "half_pixel"),
        node.attr("nearest_mode", "round_prefer_floor"),
    )
    repeats = [
        ("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"),
        ("half_pixel", "round_prefer_ceil"),
    ]  # fmt: skip
    inputs, outputs = node.x.static_shape, node.output.static_shape
    nearest = node.attr("mode", "nearest") == "nearest" and how in repeats
    if not nearest or not 3 <= len(inputs) <= 5 or not all(axis >= 2 for axis in changed):
        return None
    factors = [o // max(i, 1) for i, o in zip(inputs, outputs, strict=True)]
    whole = all(f * i == o > 0 for f, i, o in zip(factors, inputs, outputs, strict=True))
    given = scales is None or all(scales[i] == factors[axis] for i, axis in enumerate(axes))
    return factors[2:] if whole and given else None


def _response(node: Node, axis: int, axes: Sequence[int], scales: Array | None) -> Tensor:
    """Return the matrix of one axis: the operator's response to unit vectors."""
    size, out = node.x.static_shape[axis], node.output.static_shape[axis]
    attributes = attributes_of(node, *_KEPT)
    if node.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        return _aspect_response(node, axis, axes)
    units, roi = identity_along(size), _roi(node, axis, axes)
    if scales is not None:
        factor = np.array([1, 1, scales[axes.index(axis)], 1], np.float32)
        return emit("Resize", units, roi, factor, **attributes)
    sizes = np.array([size, 1, out, 1], np.int64)
    return emit("Resize", units, roi, None, sizes, **attributes)


def _aspect_response(node: Node, axis: int, axes: Sequence[int]) -> Tensor:
    """Where one axis decides the scale of all, it must be there: constant along it."""
    policy = node.attr("keep_aspect_ratio_policy")
    sizes = _constant(node, 3)
    if sizes is None:
        raise NoGradient("Resize: its sizes must be constants", op="Resize", node=node.name)
    shape = node.x.static_shape
    scales = [int(n) / shape[a] for n, a in zip(sizes, axes, strict=True)]
    decides = int(np.argmin(scales) if policy == "not_larger" else np.argmax(scales))
    units = np.repeat(identity_along(shape[axis]), shape[axes[decides]], axis=3)
    target = np.array([sizes[axes.index(axis)], sizes[decides]], np.int64)
    made = emit("Resize", units, None, None, target, axes=[2, 3], keep_aspect_ratio_policy=policy,
                **attributes_of(node, *_KEPT))  # fmt: skip
    return slice_axes(made, [3], [0], [1])


def _roi(node: Node, axis: int, axes: Sequence[int]) -> Array | None:
    if node.attr("coordinate_transformation_mode") != "tf_crop_and_resize":
        return None
    given = _constant(node, 1)
    if given is None:
        raise NoGradient("Resize: its region (roi) must be a constant", op="Resize", node=node.name)
    i = axes.index(axis)
    return np.array([0, 0, given[i], 0, 1, 1, given[i + len(axes)], 1], np.float32)


def _constant(node: Node, i: int) -> Array | None:
    given = node.input(i)
    return None if given is None or given.value is None or not given.size else given.value
