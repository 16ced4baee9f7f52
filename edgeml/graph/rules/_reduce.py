"""Rules of reductions."""

from __future__ import annotations

import numpy as np

from edgeml.graph._ir import Node, Tensor, emit
from edgeml.graph._rules import no_grad, rule

Grads = tuple[Tensor | None, ...]


def axes_of(node: Node) -> list[int]:
    """Return the axes that a reduction goes over, non-negative."""
    given = node.input(1)
    if given is not None and given.value is not None and given.size:
        axes = [int(axis) for axis in given.value]
    elif node.attr("axes"):
        axes = list(node.attr("axes"))
    elif node.attr("noop_with_empty_axes", 0):
        axes = []
    else:
        axes = list(range(node.x.ndim))
    return [axis % node.x.ndim for axis in axes]


def keep_dims(node: Node, value: Tensor) -> Tensor:
    """Return a reduction's result with the reduced axes back as ones."""
    axes = axes_of(node)
    if node.attr("keepdims", 1) or not axes:
        return value
    shape = [1 if i in axes else d for i, d in enumerate(node.x.static_shape)]
    return emit("Reshape", value, np.array(shape, np.int64))


def spread(node: Node, g: Tensor) -> Tensor:
    """Return a reduction's gradient, spread over what was reduced."""
    shape = np.array(node.x.static_shape, np.int64)
    return emit("Expand", keep_dims(node, g), shape)


@rule("ReduceSum")
def reduce_sum(node: Node, g: Tensor) -> Grads:
    return (spread(node, g),)


@rule("ReduceMean")
def reduce_mean(node: Node, g: Tensor) -> Grads:
    count = node.x.size / max(node.output.size, 1)
    return (spread(node, g * (1.0 / count)),)


no_grad("ArgMax", "ArgMin", reason="its output is an index")
