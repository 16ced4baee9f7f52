"""Rules of reductions."""

from __future__ import annotations

import numpy as np

from edgeml.errors import NoGradient
from edgeml.graph._infer import to_elem_type
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
    return emit("Reshape", value, np.array(shape, np.int64), allowzero=1 if 0 in shape else None)


def spread(node: Node, g: Tensor) -> Tensor:
    """Return a reduction's gradient, spread over what was reduced."""
    shape = np.array(node.x.static_shape, np.int64)
    return emit("Expand", keep_dims(node, g), shape)


@rule("ReduceSum")
def reduce_sum(node: Node, g: Tensor) -> Grads:
    return (spread(node, g),)


@rule("ReduceMean")
def reduce_mean(node: Node, g: Tensor) -> Grads:
    share = node.output.size / max(node.x.size, 1)
    return (spread(node, g * share),)


no_grad("ArgMax", "ArgMin", reason="its output is an index")


@rule("ReduceMax", "ReduceMin")
def reduce_extreme(node: Node, g: Tensor) -> Grads:
    """Equal values share the gradient, as in PyTorch's amax."""
    hit = emit("Equal", node.x, keep_dims(node, node.output))
    mask = emit("Cast", hit, to=to_elem_type(g.dtype))
    count = emit("ReduceSum", mask, np.array(axes_of(node), np.int64), keepdims=1)
    return (mask * (keep_dims(node, g) / count),)


@rule("ReduceSumSquare")
def reduce_sum_square(node: Node, g: Tensor) -> Grads:
    return (node.x * (keep_dims(node, g) * 2.0),)


@rule("ReduceL1")
def reduce_l1(node: Node, g: Tensor) -> Grads:
    return (emit("Sign", node.x) * keep_dims(node, g),)


@rule("ReduceL2")
def reduce_l2(node: Node, g: Tensor) -> Grads:
    length = keep_dims(node, node.output)
    safe = emit("Where", length > 0.0, length, 1.0, like=length)
    return (node.x * (keep_dims(node, g) / safe),)


@rule("ReduceLogSum")
def reduce_log_sum(node: Node, g: Tensor) -> Grads:
    shape = np.array(node.x.static_shape, np.int64)
    total = emit("Exp", keep_dims(node, node.output))
    return (emit("Expand", keep_dims(node, g) / total, shape),)


@rule("ReduceLogSumExp")
def reduce_log_sum_exp(node: Node, g: Tensor) -> Grads:
    return (emit("Exp", node.x - keep_dims(node, node.output)) * keep_dims(node, g),)


@rule("ReduceProd")
def reduce_prod(node: Node, g: Tensor) -> Grads:
    """The product of all others: by running products from both ends, so that zeros do no harm."""
    axes = axes_of(node)
    x, shape = node.x, node.x.static_shape
    rest = [i for i in range(x.ndim) if i not in axes]
    perm = [*rest, *axes]
    count = int(np.prod([shape[i] for i in axes], dtype=np.int64))
    rows = emit("Reshape", emit("Transpose", x, perm=perm), np.array([-1, count], np.int64))
    # A row of matrices, each with one factor replaced by 1; their products are the gradients.
    eye = np.eye(count, dtype=bool)[None]
    tiled = emit("Unsqueeze", rows, np.array([1], np.int64))
    others = emit("ReduceProd", emit("Where", eye, 1.0, tiled, like=rows),
                  np.array([2], np.int64), keepdims=0)  # fmt: skip
    back = emit("Reshape", others, np.array([shape[i] for i in perm], np.int64))
    product = emit("Transpose", back, perm=[int(i) for i in np.argsort(perm)])
    return (product * keep_dims(node, g),)


@rule("CumSum")
def cum_sum(node: Node, g: Tensor) -> Grads:
    back = int(not node.attr("reverse", 0))
    return (emit("CumSum", g, node.inputs[1], exclusive=node.attr("exclusive", 0), reverse=back),)


@rule("CumProd")
def cum_prod(node: Node, g: Tensor) -> Grads:
    """For each factor, the products in which it is 1: zeros do no harm."""
    at, x, shape = node.inputs[1], node.x, node.x.static_shape
    assert at is not None
    if at.value is None:
        raise NoGradient("CumProd: its axis must be a constant", op="CumProd", node=node.name)
    exclusive, back = node.attr("exclusive", 0), node.attr("reverse", 0)
    axis = int(at.value) % x.ndim
    perm = [*(i for i in range(x.ndim) if i != axis), axis]
    turned = [shape[i] for i in perm]
    size = shape[axis]

    def rows(value: Tensor) -> Tensor:
        flat = emit("Transpose", value, perm=perm)
        return emit("Reshape", flat, np.array([x.size // max(size, 1), 1, size], np.int64))

    others = emit("Where", np.eye(size, dtype=bool), 1.0, rows(x), like=x)
    made = emit("CumProd", others, np.array(2, np.int64), exclusive=exclusive, reverse=back)
    reach = (np.tril if back else np.triu)(
        np.ones((size, size), x.dtype), exclusive * (1 - 2 * back)
    )
    total = emit("ReduceSum", made * rows(g) * reach, np.array([2], np.int64), keepdims=0)
    found = emit("Reshape", total, np.array(turned, np.int64))
    return (emit("Transpose", found, perm=[int(i) for i in np.argsort(perm)]),)
