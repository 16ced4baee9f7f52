"""Rules of pools."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from edgeml.graph._ir import Node, Tensor, emit, emit_many
from edgeml.graph._recipes import use_enlarged
from edgeml.graph._recipes_linear import identity_along, spread_along
from edgeml.graph._recipes_window import Window, reshape, total, window_of
from edgeml.graph._rules import attributes_of, rule
from edgeml.graph.rules._elementwise import masked

Grads = tuple[Tensor | None, ...]


@rule("MaxPool")
def max_pool(node: Node, g: Tensor, *_: Tensor | None) -> Grads:
    """Each window's gradient goes to its first maximum, as in PyTorch."""
    window = window_of(node, node.attr("kernel_shape"))
    if use_enlarged(window) and g.dtype == np.float32:
        return (_to_first_maximum(node, g, window),)
    if node.attr("storage_order", 0):  # MaxUnpool takes row-major indices only
        indices = emit_many(2, "MaxPool", node.x, **{**node.attributes, "storage_order": 0})[1]
    else:
        indices = node.extra_output(1)
    x = node.x.static_shape
    # Windows that far apart do not share a value.
    layers = [math.ceil(e / s) for e, s in zip(window.extent, window.strides, strict=True)]
    layers = [min(n, size) for n, size in zip(layers, window.small, strict=True)]
    count = int(np.prod(layers))
    if count == 1:
        return (_unpool(g, indices, x),)
    # Windows that overlap write to different copies of the image, which are then summed: a
    # scatter that adds takes 20 ns for each value.
    offsets = np.zeros((1, 1, *window.small), np.int64)
    for place in itertools.product(*(range(n) for n in layers)):
        layer = int(np.ravel_multi_index(place, layers))
        at: Any = tuple(slice(p, None, n) for p, n in zip(place, layers, strict=True))
        offsets[(0, 0, *at)] = layer * node.x.size
    return (total(_unpool(g, indices + offsets, (count, *x)), 0),)


def _to_first_maximum(node: Node, g: Tensor, window: Window) -> Tensor:
    """Return `g` where the enlarged maximum equals the input, of equal places the first."""
    shape = node.x.static_shape
    flat = (shape[0] * shape[1], 1, *([1] if len(shape) == 3 else []))

    def as_images(value: Tensor) -> Tensor:
        return reshape(value, *flat, *value.static_shape[2:])

    kernel = (*([1] if len(shape) == 3 else []), *window.kernel)
    scales = np.array([1.0, 1.0, *kernel], np.float32)

    def enlarged(value: Tensor) -> Tensor:
        return emit("Resize", value, None, scales, mode="nearest",
                    coordinate_transformation_mode="asymmetric", nearest_mode="floor")  # fmt: skip

    x = as_images(node.x)
    rank = np.arange(math.prod(kernel), 0, -1, dtype=np.float32).reshape(kernel)
    repeats = [size // k for size, k in zip(x.static_shape[2:], kernel, strict=True)]
    equal = emit("Cast", emit("Equal", x, enlarged(as_images(node.output))), to=1)
    ranked = equal * np.tile(rank, repeats)
    best = emit("MaxPool", ranked, kernel_shape=list(kernel), strides=list(kernel))
    first = masked(enlarged(as_images(g)), emit("Equal", ranked, enlarged(best)))
    return reshape(first, *shape)


def _unpool(g: Tensor, indices: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return zeros with `g` at flat `indices`: in one dimension, the runtime takes any size."""
    size = int(np.prod(shape))
    flat = emit(
        "MaxUnpool", reshape(g, 1, 1, g.size), reshape(indices, 1, 1, g.size),
        np.array([1, 1, size], np.int64), kernel_shape=[1], strides=[1],
        types=[(g.dtype, (1, 1, size))],
    )  # fmt: skip
    return reshape(flat, *shape)


@rule("MaxUnpool")
def max_unpool(node: Node, g: Tensor) -> Grads:
    x, indices = node.x, node.inputs[1]
    assert indices is not None
    flat = emit("Gather", reshape(g, g.size), reshape(indices, x.size), axis=0)
    return (reshape(flat, *x.static_shape),)


@rule("AveragePool")
def average_pool(node: Node, g: Tensor) -> Grads:
    return (_spread(node, "AveragePool", g, "count_include_pad"),)


@rule("LpPool")
def lp_pool(node: Node, g: Tensor) -> Grads:
    p = node.attr("p", 2)
    slope = g if p == 1 else _lp_slope(g, node.output, p)
    return (_lp_inner(node.x, _spread(node, "LpPool", slope, p=1), p),)


def _lp_slope(g: Tensor, y: Tensor, p: int) -> Tensor:
    """Return ``g * y ** (1 - p)``, zero where the window is."""
    power = y if p == 2 else emit("Pow", y, float(p - 1))
    return emit("Where", y > 0.0, g / power, 0.0, like=g)


def _lp_inner(x: Tensor, g: Tensor, p: int) -> Tensor:
    if p == 2:
        return g * x
    power = emit("Sign", x)
    return g * power if p == 1 else g * power * emit("Pow", emit("Abs", x), float(p - 1))


def _spread(node: Node, op: str, g: Tensor, *names: str, **fixed: int) -> Tensor:
    """Return the transpose of a pool that is a sum along each axis."""
    matrices = {}
    rank = node.x.ndim - 2
    pads = node.attr("pads") or [0] * 2 * rank
    attributes = attributes_of(node, "auto_pad", "ceil_mode", *names) | fixed
    for i, kernel in enumerate(node.attr("kernel_shape")):
        stride = (node.attr("strides") or [1] * rank)[i]
        dilation = (node.attr("dilations") or [1] * rank)[i]
        if kernel == stride == 1 and not pads[i] and not pads[i + rank]:
            continue
        matrices[i + 2] = emit(
            op, identity_along(node.x.static_shape[i + 2]), kernel_shape=[kernel, 1],
            strides=[stride, 1], dilations=[dilation, 1] if dilation > 1 else None,
            pads=None if "auto_pad" in attributes and attributes["auto_pad"] != "NOTSET"
            else [pads[i], 0, pads[i + rank], 0], **attributes,
        )  # fmt: skip
    return spread_along(g, matrices)


@rule("GlobalAveragePool")
def global_average_pool(node: Node, g: Tensor) -> Grads:
    shape = node.x.static_shape
    channels, count = shape[0] * shape[1], int(np.prod(shape[2:]))
    # A product with a row of numbers: Expand takes six times as long for 1280x7x7 at batch 32.
    share = np.full((1, count), 1.0 / max(count, 1), g.dtype)
    return (reshape(emit("MatMul", reshape(g, channels, 1), share), *shape),)


@rule("GlobalMaxPool")
def global_max_pool(node: Node, g: Tensor) -> Grads:
    """The gradient goes to the first maximum of each channel, as in PyTorch."""
    shape = node.x.static_shape
    batch, channels, places = *shape[:2], int(np.prod(shape[2:]))
    best = emit("ArgMax", reshape(node.x, batch, channels, places), axis=2, keepdims=1)
    chosen = emit("Equal", np.arange(places), best)
    made = emit("Where", chosen, reshape(g, batch, channels, 1), 0.0, like=g)
    return (reshape(made, *shape),)


@rule("GlobalLpPool")
def global_lp_pool(node: Node, g: Tensor) -> Grads:
    p = node.attr("p", 2)
    return (_lp_inner(node.x, _lp_slope(g, node.output, p) if p > 1 else g, p),)
