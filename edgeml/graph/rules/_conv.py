"""Rules of convolutions."""

from __future__ import annotations

from edgeml.errors import NoGradient
from edgeml.graph._ir import Node, Tensor, emit
from edgeml.graph._recipes import use_columns, use_matrices
from edgeml.graph._recipes_conv import depthwise_matrices, from_columns, im2col, spread, weights
from edgeml.graph._recipes_window import (
    Window,
    reshape,
    slice_axes,
    total,
    transposed_window_of,
    window_of,
)  # fmt: skip
from edgeml.graph._rules import lowering, rule

Grads = tuple[Tensor | None, ...]


@rule("Conv")
def conv(node: Node, g: Tensor) -> Grads:
    x, w = node.x, node.inputs[1]
    assert w is not None
    group = node.attr("group", 1)
    window = window_of(node, w.static_shape[2:])
    return spread(g, w, window, group), weights(x, g, window, group), _bias(node, g)


@lowering("Conv")
def trained_conv(node: Node) -> list[Tensor] | None:
    """Train small convolutions as matrix products; leave the others."""
    x, w, bias = node.x, node.inputs[1], node.input(2)
    assert w is not None
    batch, channels = x.static_shape[:2]
    filters, deep, *kernel = w.static_shape
    window = window_of(node, kernel)
    group = node.attr("group", 1)
    if group == channels == filters > deep == 1:
        if not use_matrices(batch, channels, window):
            return None
        made = depthwise_matrices(x, w, window)
        return [made if bias is None else made + reshape(bias, channels, *[1] * len(kernel))]
    trained = w in node.output.graph.differentiated
    if trained and use_columns(batch, channels, filters, group, window):
        return [from_columns(x, w, bias, window)]
    return None


@rule("ConvTranspose")
def conv_transpose(node: Node, g: Tensor) -> Grads:
    x, w = node.x, node.inputs[1]
    assert w is not None
    group = node.attr("group", 1)
    window = transposed_window_of(node, w.static_shape[2:])
    dx = emit(
        "Conv", g, w, group=group, strides=list(window.strides), dilations=list(window.dilations),
        pads=[*window.before, *(max(n, 0) for n in window.after)],
    )  # fmt: skip
    spatial = list(range(2, x.ndim))
    # Output padding of a stride or more makes room for another window.
    dx = slice_axes(dx, spatial, [0] * len(spatial), window.small)
    return dx, weights(g, x, window, group), _bias(node, g)


@rule("Col2Im")
def col2im(node: Node, g: Tensor) -> Grads:
    image, block = node.inputs[1], node.inputs[2]
    assert image is not None
    assert block is not None
    if image.value is None or block.value is None:
        raise NoGradient("Col2Im: its sizes must be constants", op="Col2Im", node=node.name)
    rank = g.ndim - 2
    kernel = tuple(int(n) for n in block.value)
    strides = tuple(node.attr("strides") or [1] * rank)
    dilations = tuple(node.attr("dilations") or [1] * rank)
    pads = node.attr("pads") or [0] * 2 * rank
    large = g.static_shape[2:]
    small = tuple(
        (n + pads[i] + pads[i + rank] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1
        for i, n in enumerate(large)
    )
    window = Window(kernel, strides, dilations, tuple(pads[:rank]), large, small)
    return (reshape(im2col(g, window, g.static_shape[1]), *node.x.static_shape),)


def _bias(node: Node, g: Tensor) -> Tensor | None:
    return total(g, 0, *range(2, g.ndim)) if node.input(2) is not None else None
