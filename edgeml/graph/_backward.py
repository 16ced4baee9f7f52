"""Reverse-mode differentiation: walks a graph backwards and emits its gradient into it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from edgeml.errors import NoGradient, ShapeError
from edgeml.graph._ir import Graph, Node, Tensor, emit
from edgeml.graph._onnx import live_nodes
from edgeml.graph._rules import (
    Rule,
    find_lowering,
    find_rule,
    passes_no_gradient,
    supported_ops,
)  # fmt: skip


def gradients(
    outputs: Sequence[Tensor], wrt: Sequence[Tensor], seeds: Sequence[Tensor] | None = None
) -> list[Tensor | None]:
    """Return the gradient of the sum of `outputs` with respect to each tensor of `wrt`.

    The backward nodes are appended to the graph that `outputs` stand in. Only what lies between
    `wrt` and `outputs` is differentiated.

    Args:
        outputs: Tensors to differentiate, with static shapes.
        wrt: Tensors of the same graph.
        seeds: Gradients of the outputs, ones when not given.

    Returns:
        A tensor of the same shape for each of `wrt`; None where nothing depends on it.

    Raises:
        NoGradient: an operator in between has no rule; raised before anything is run.
        ShapeError: a shape in between is not known.

    Example:
        >>> import numpy as np
        >>> from edgeml.graph import Graph, gradients
        >>> with Graph() as graph:
        ...     x = graph.input("x", np.float32, (3,))
        ...     (g,) = gradients([x * x], [x])
        >>> g.shape
        (3,)
    """
    graph = outputs[0].graph
    targets = list(outputs)
    with graph:
        path = _lower(graph, targets, wrt)
        _check(path)
        found: dict[Tensor, Tensor] = {}
        for i, output in enumerate(targets):
            seed = seeds[i] if seeds is not None else _ones(output)
            _accumulate(found, output, seed)
        on_path = _on_path(path, wrt)
        for node in reversed(path):
            _differentiate(node, found, on_path)
        return [found.get(tensor) for tensor in wrt]


def _ones(tensor: Tensor) -> Tensor:
    return tensor.graph.constant(np.ones(tensor.static_shape, tensor.dtype))


def _lower(graph: Graph, targets: list[Tensor], wrt: Sequence[Tensor]) -> list[Node]:
    """Replace the operators that are differentiated through others; return the path."""
    while True:
        path = _path(targets, wrt)
        graph.differentiated = frozenset(_on_path(path, wrt))
        new: dict[Tensor, Tensor] = {}
        for node in path:
            lower = find_lowering(node)
            if lower is None:
                continue
            with _scope(graph, node.name or node.op):
                lowered = lower(node)
            if lowered is None:
                continue
            for old, made in zip(node.outputs, lowered, strict=False):
                if old is not None:
                    new[old] = made
                    made.name, old.name = made.name or old.name, None
        if not new:
            return path
        graph.replace(new)
        targets[:] = [new.get(x, x) for x in targets]


def _path(outputs: Iterable[Tensor], wrt: Sequence[Tensor]) -> list[Node]:
    """Return the nodes between `wrt` and `outputs`, in the order of execution."""
    reached = set(wrt)
    path: list[Node] = []
    for node in live_nodes(outputs):
        if passes_no_gradient(node) or not any(x in reached for x in _differentiable(node)):
            continue
        path.append(node)
        reached.update(x for x in node.outputs if x is not None)
    needed, kept = set(outputs), []
    for node in reversed(path):
        if any(x in needed for x in node.outputs):
            kept.append(node)
            needed.update(_carrying(node))
    return kept[::-1]


def _carrying(node: Node) -> list[Tensor]:
    """Return the inputs that may get a gradient: of a boundary, not what is inside."""
    if node.op == "CustomGradient" and node.domain == "edgeml":
        return [x for x in node.inputs[len(node.outputs) :] if x is not None]
    return node.uses()


def _differentiable(node: Node) -> list[Tensor]:
    return [x for x in node.uses() if x.dtype.kind == "f" or _quantized(x)]


def _quantized(tensor: Tensor) -> bool:
    """Quantized values carry the gradient of the real value that they stand for."""
    return tensor.producer is not None and tensor.producer.op == "QuantizeLinear"


def _on_path(path: Sequence[Node], wrt: Sequence[Tensor]) -> set[Tensor]:
    made = {x for node in path for x in node.outputs if x is not None}
    return made | set(wrt)


def _check(path: Sequence[Node]) -> None:
    missing = [node for node in path if find_rule(node) is None]
    if not missing:
        return
    node = missing[0]
    op = f"{node.domain or 'ai.onnx'}::{node.op}"
    label = node.name or node.output.name or "without a name"
    others = sorted({other.op for other in missing} - {node.op})
    also = f" (also {', '.join(others)})" if others else ""
    raise NoGradient(
        f"no gradient rule for {op}, node {label!r}, opset {node.output.graph.opset}{also}; "
        f"{len(supported_ops())} operators have one, see edgeml.graph.supported_ops(). Train only "
        "what comes after it (trainable='head'), put ops.stop_gradient before it, or register a "
        "rule with edgeml.graph.rule",
        op=op, node=label,
    )  # fmt: skip


def _differentiate(node: Node, found: dict[Tensor, Tensor], on_path: set[Tensor]) -> None:
    upstream = [found.get(x) if x is not None else None for x in node.outputs]
    if all(g is None for g in upstream):
        return
    apply = find_rule(node)
    assert apply is not None
    for tensor, g in zip(node.inputs, _apply(apply, node, upstream), strict=False):
        if g is None or tensor is None or tensor not in on_path:
            continue
        _accumulate(found, tensor, _unbroadcast(g, tensor, node))


def _apply(apply: Rule, node: Node, upstream: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    with _scope(node.output.graph, f"grad/{node.name or node.op}"):
        return apply(node, *upstream)


@contextmanager
def _scope(graph: Graph, name: str) -> Iterator[None]:
    """Name the nodes that are emitted within after a node."""
    outer, graph.scope = graph.scope, name.rstrip("/") + "/"
    try:
        yield
    finally:
        graph.scope = outer


def _accumulate(found: dict[Tensor, Tensor], tensor: Tensor, g: Tensor) -> None:
    before = found.get(tensor)
    found[tensor] = g if before is None else before + g


def _unbroadcast(g: Tensor, tensor: Tensor, node: Node) -> Tensor:
    """Sum `g` over the axes along which `tensor` was broadcast."""
    got, want = g.static_shape, tensor.static_shape
    if got == want:
        return g
    lead = len(got) - len(want)
    fits = lead >= 0 and all(w in (1, d) for d, w in zip(got[lead:], want, strict=True))
    if not fits:
        raise ShapeError(
            f"the gradient rule of {node.op} returned the shape {got} for an input of {want}",
            where=node.name, expected=want, received=got,
        )  # fmt: skip
    axes = [i for i, d in enumerate(got) if i < lead or (want[i - lead] == 1 and d != 1)]
    summed = emit("ReduceSum", g, np.array(axes, np.int64), keepdims=0)
    return (
        summed if summed.static_shape == want else emit("Reshape", summed, np.array(want, np.int64))
    )
