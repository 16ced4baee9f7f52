"""Rules of pools over regions of an image; the places of regions count as constants."""

from __future__ import annotations

import numpy as np

from edgeml.errors import NoGradient
from edgeml.graph._ir import Node, Tensor, emit
from edgeml.graph._recipes_window import reshape, slice_axes
from edgeml.graph._rules import attributes_of, rule

Grads = tuple[Tensor | None, ...]


def _unit_images(shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return an image with a channel for each place, which is 1 there: (1, H * W, H, W)."""
    places = shape[2] * shape[3]
    return np.eye(places, dtype=np.float32).reshape(1, places, *shape[2:])


def _to_images(found: Tensor, image: Tensor, x: Tensor) -> Tensor:
    """Sum the gradients of regions, (regions, channels, places), over those of each image."""
    batch = x.static_shape[0]
    hot = emit("OneHot", image, np.array(batch, np.int64), np.array([0, 1], x.dtype))
    rows = reshape(found, found.static_shape[0], -1)
    summed = emit("MatMul", emit("Transpose", hot, perm=[1, 0]), rows)
    return reshape(summed, *x.static_shape)


@rule("RoiAlign")
def roi_align(node: Node, g: Tensor) -> Grads:
    """The mean is linear: what it makes of unit images is its matrix, region by region."""
    rois, image = node.inputs[1:3]
    assert image is not None
    if node.attr("mode", "avg") != "avg":
        raise NoGradient(
            f"RoiAlign {node.name!r}: mode 'max' has no gradient rule; 'avg' has", op="RoiAlign",
            node=node.name,
        )  # fmt: skip
    kept = attributes_of(node, "coordinate_transformation_mode", "output_height", "output_width",
                         "sampling_ratio", "spatial_scale")  # fmt: skip
    regions, channels, *bins = g.static_shape
    first = np.zeros(regions, np.int64)
    matrix = emit("RoiAlign", _unit_images(node.x.static_shape), rois, first, **kept)
    places, count = matrix.static_shape[1], bins[0] * bins[1]
    matrix = emit("Transpose", reshape(matrix, regions, places, count), perm=[0, 2, 1])
    found = emit("MatMul", reshape(g, regions, channels, count), matrix)
    return (_to_images(found, image, node.x),)


@rule("MaxRoiPool")
def max_roi_pool(node: Node, g: Tensor) -> Grads:
    """The gradient goes to the first maximum of each bin: unit images say what is in which."""
    x, rois = node.x, node.inputs[1]
    assert rois is not None
    regions, channels, *bins = g.static_shape
    batch, _, *size = x.static_shape
    places, count = size[0] * size[1], bins[0] * bins[1]
    image = emit("Cast", reshape(slice_axes(rois, [1], [0], [1]), regions), to=7)
    corners = slice_axes(rois, [1], [1], [5])
    alone = emit("Concat", np.zeros((regions, 1), x.dtype), corners, axis=1)
    found = emit("MaxRoiPool", _unit_images(x.static_shape), alone,
                 **attributes_of(node, "pooled_shape", "spatial_scale"))  # fmt: skip
    found = emit("Transpose", reshape(found, regions, 1, places, count), perm=[0, 1, 3, 2])
    rows = emit("Gather", reshape(x, batch, channels, 1, places), image, axis=0)
    best = emit("ArgMax", emit("Where", found > 0.0, rows, -np.inf, like=x), axis=3, keepdims=1)
    chosen = emit("And", emit("Equal", np.arange(places), best), found > 0.0)
    parts = emit("Where", chosen, reshape(g, regions, channels, count, 1), 0.0, like=g)
    summed = emit("ReduceSum", parts, np.array([2], np.int64), keepdims=0)
    return (_to_images(summed, image, x),)
