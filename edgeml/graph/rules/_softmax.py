"""Softmax and the losses of classifiers."""

from __future__ import annotations

import numpy as np

from edgeml.graph._ir import Node, Tensor, emit
from edgeml.graph._rules import lowering, rule

Grads = tuple[Tensor | None, ...]


def _total(x: Tensor, axis: int, keepdims: int = 1) -> Tensor:
    return emit("ReduceSum", x, np.array([axis], np.int64), keepdims=keepdims)


@rule("Softmax")
def softmax(node: Node, g: Tensor) -> Grads:
    weighted = g * node.output
    return (weighted - node.output * _total(weighted, node.attr("axis", -1)),)


@rule("LogSoftmax")
def log_softmax(node: Node, g: Tensor) -> Grads:
    return (g - emit("Exp", node.output) * _total(g, node.attr("axis", -1)),)


@lowering("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(node: Node) -> list[Tensor]:
    scores = emit("LogSoftmax", node.x, axis=1)
    return [_nll(node, scores), scores]


@lowering("NegativeLogLikelihoodLoss")
def negative_log_likelihood(node: Node) -> list[Tensor]:
    return [_nll(node, node.x)]


def _nll(node: Node, scores: Tensor) -> Tensor:
    """Pick with a mask: its gradient is a Where, that of a Gather would be a Scatter."""
    labels, weights = node.input(1), node.input(2)
    assert labels is not None
    count = scores.static_shape[1]
    shape = (1, count, *[1] * (scores.ndim - 2))
    classes = scores.graph.constant(np.arange(count, dtype=labels.dtype).reshape(shape))
    hot = emit("Equal", emit("Unsqueeze", labels, np.array([1], np.int64)), classes)
    ignored = node.attr("ignore_index")
    if ignored is not None and 0 <= ignored < count:
        hot = emit("And", hot, emit("Not", emit("Equal", classes, int(ignored), like=labels)))
    each = -_total(emit("Where", hot, scores, 0.0, like=scores), 1, keepdims=0)
    weight: Tensor | None = None
    if weights is not None:
        per_class = emit("Reshape", weights, np.array(shape, np.int64))
        weight = _total(emit("Where", hot, per_class, 0.0, like=scores), 1, keepdims=0)
        each = each * weight
    elif ignored is not None:
        weight = emit("Where", emit("Equal", labels, int(ignored), like=labels),
                      *np.array([0, 1], scores.dtype))  # fmt: skip
    reduction = node.attr("reduction", "mean")
    if reduction == "none":
        return each
    total = emit("ReduceSum", each, keepdims=0)
    if reduction == "sum":
        return total
    if weight is None:
        return total * (1.0 / max(labels.size, 1))
    return total / emit("ReduceSum", weight, keepdims=0)
