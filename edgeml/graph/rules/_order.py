"""Operators in another order: the same values, a cheaper gradient."""

from __future__ import annotations

from edgeml.graph._ir import Node, Tensor, emit
from edgeml.graph._rules import lowering


@lowering("MaxPool")
def relu_after_pool(node: Node) -> list[Tensor] | None:
    """Pool first, then rectify: both orders give the same, and fewer values need a mask.

    Equal zeros within a window, of which any may be the largest, pass no gradient either way.
    """
    relu = node.x.producer
    if relu is None or relu.op != "Relu" or len([y for y in node.outputs if y is not None]) > 1:
        return None
    return [emit("Relu", emit("MaxPool", relu.x, **node.attributes))]
