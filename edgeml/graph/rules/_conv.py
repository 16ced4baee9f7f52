"""Rules of convolutions."""

from __future__ import annotations

from edgeml.graph._ir import Node, Tensor, emit
from edgeml.graph._recipes_conv import spread, weights
from edgeml.graph._recipes_window import slice_axes, total, transposed_window_of, window_of
from edgeml.graph._rules import rule

Grads = tuple[Tensor | None, ...]


@rule("Conv")
def conv(node: Node, g: Tensor) -> Grads:
    x, w = node.x, node.inputs[1]
    assert w is not None
    group = node.attr("group", 1)
    window = window_of(node, w.static_shape[2:])
    return spread(g, w, window, group), weights(x, g, window, group), _bias(node, g)


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


def _bias(node: Node, g: Tensor) -> Tensor | None:
    return total(g, 0, *range(2, g.ndim)) if node.input(2) is not None else None
