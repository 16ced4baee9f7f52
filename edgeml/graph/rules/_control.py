"""Control flow with a known course: loops are written out, branches chosen or both computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edgeml.errors import NoGradient
from edgeml.graph._ir import Graph, Node, Tensor, current_graph, emit, emit_many
from edgeml.graph._onnx import live_nodes
from edgeml.graph._rules import lowering

Known = Mapping[Tensor, Tensor]
STEPS = 512  # longer loops would make graphs that take minutes to load
OPERATORS = 1 << 16  # loops in loops


def _refuse(node: Node, reason: str) -> NoGradient:
    return NoGradient(
        f"{node.op} {node.name!r} has no gradient: {reason}", op=node.op, node=node.name
    )


class _Body:
    """A body that can be written into the graph around it, once for each step.

    Args:
        node: The operator that it belongs to.
        body: The body.
        known: What tensors of bodies around it were written out as.
    """

    def __init__(self, node: Node, body: Graph, known: Known) -> None:
        graph = current_graph()
        assert graph is not None
        self._graph = graph
        self._node = node
        self._body = body
        self._nodes = [
            inner for inner in live_nodes(body.outputs.values())
            if any(x is not None and x.graph is body for x in inner.outputs)
        ]  # fmt: skip
        for inner in self._nodes:
            if inner.domain == "edgeml" or (inner.subgraphs() and inner.op not in _WRITERS):
                raise _refuse(node, f"its body holds {inner.op}, which cannot be written out")
        used = [x for inner in self._nodes for x in inner.uses()] + list(body.outputs.values())
        self._known = dict(known)
        self._known |= {
            x: graph.initializer(x.name, x.value)
            for x in dict.fromkeys(used)
            if x.graph is body and x.producer is None and x.value is not None
        }

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Write the body out for `inputs`; return its outputs."""
        if len(self._graph.nodes) > OPERATORS:
            raise _refuse(self._node, f"written out, it is more than {OPERATORS} operators")
        known = self._known | dict(zip(self._body.inputs, inputs, strict=True))
        for inner in self._nodes:
            made: Sequence[Tensor | None]
            if inner.subgraphs():
                made = _WRITERS[inner.op](inner, known)
            else:
                made = self._graph.node(
                    inner.op, _inputs(inner, known), inner.attributes,
                    outputs=len(inner.outputs), domain=inner.domain,
                ).outputs  # fmt: skip
            pairs = zip(inner.outputs, made, strict=False)
            known.update({old: new for old, new in pairs if old is not None and new is not None})
        return [known.get(x, x) for x in self._body.outputs.values()]


def _inputs(node: Node, known: Known) -> list[Tensor | None]:
    return [None if x is None else known.get(x, x) for x in node.inputs]


def _cut(x: Tensor, axis: int, backwards: bool) -> list[Tensor]:
    """Return the slices along `axis`, in the order of the loop."""
    axis %= x.ndim
    steps = x.static_shape[axis]
    parts = (x,) if steps == 1 else emit_many(
        steps, "Split", x, np.ones(steps, np.int64), axis=axis
    )  # fmt: skip
    found = [emit("Squeeze", part, np.array([axis], np.int64)) for part in parts]
    return found[::-1] if backwards else found


def _joined(values: Sequence[Tensor], axis: int, backwards: bool) -> Tensor:
    at = axis % (values[0].ndim + 1)
    whole = [emit("Unsqueeze", x, np.array([at], np.int64)) for x in values]
    return emit("Concat", *(whole[::-1] if backwards else whole), axis=at)


def _scan(node: Node, known: Known) -> list[Tensor]:
    count = node.attr("num_scan_inputs")
    inputs = [x for x in _inputs(node, known) if x is not None]
    state, sequences = inputs[: len(inputs) - count], inputs[len(inputs) - count :]
    axes = node.attr("scan_input_axes") or [0] * count
    ways = node.attr("scan_input_directions") or [0] * count
    steps = sequences[0].static_shape[axes[0]]
    _check_steps(node, steps)
    slices = [_cut(x, axis, bool(way))
              for x, axis, way in zip(sequences, axes, ways, strict=True)]  # fmt: skip
    body = _Body(node, node.attr("body"), known)
    emitted: list[list[Tensor]] = []
    for i in range(steps):
        made = body([*state, *(each[i] for each in slices)])
        state, rest = made[: len(state)], made[len(state) :]
        emitted.append(rest)
    return [*state, *_collected(node, emitted)]


def _collected(node: Node, emitted: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    columns = list(zip(*emitted, strict=True))
    axes = node.attr("scan_output_axes") or [0] * len(columns)
    ways = node.attr("scan_output_directions") or [0] * len(columns)
    return [_joined(column, axis, bool(way))
            for column, axis, way in zip(columns, axes, ways, strict=True)]  # fmt: skip


def _check_steps(node: Node, steps: int) -> None:
    if not 0 < steps <= STEPS:
        raise _refuse(node, f"{steps} steps cannot be written out, only 1 to {STEPS}")


def _loop(node: Node, known: Known) -> list[Tensor]:
    """A loop that may end early goes on with what it had when it ended."""
    body: Graph = node.attr("body")
    trips, go, *rest = _inputs(node, known)
    state = [x for x in rest if x is not None]
    if trips is None or trips.value is None:
        raise _refuse(node, "the number of its steps is not a constant")
    goes_on = _source(next(iter(body.outputs.values())))
    endless = goes_on is body.inputs[1] or _is_true(goes_on)
    early = not endless or (go is not None and not _is_true(go))
    if early and len(body.outputs) > 1 + len(state):
        raise _refuse(node, "it may end early, and how many values it gives out is not known")
    steps = int(trips.value)
    _check_steps(node, steps)
    written = _Body(node, body, known)
    running = go if go is not None else trips.graph.constant(np.array(True))
    emitted: list[list[Tensor]] = []
    for i in range(steps):
        number = trips.graph.constant(np.array(i, np.int64))
        going, *made = written([number, running, *state])
        new, out = made[: len(state)], made[len(state) :]
        emitted.append(out)
        state = (
            [_while(node, running, *pair) for pair in zip(new, state, strict=True)]
            if early
            else new
        )
        running = emit("And", running, going) if early else running
    return [*state, *_collected(node, emitted)]


def _while(node: Node, running: Tensor, new: Tensor, old: Tensor) -> Tensor:
    if new.static_shape != old.static_shape:
        raise _refuse(node, f"it may end early, and what was {old.shape} becomes {new.shape}")
    return emit("Where", _shapeless(running), new, old)


def _shapeless(flag: Tensor) -> Tensor:
    return emit("Reshape", flag, np.array([], np.int64)) if flag.ndim else flag


def _source(x: Tensor) -> Tensor:
    while x.producer is not None and x.producer.op in ("Identity", "Cast"):
        x = x.producer.x
    return x


def _is_true(x: Tensor) -> bool:
    return x.value is not None and bool(np.all(x.value))


def _branch(node: Node, known: Known) -> list[Tensor]:
    """Of a condition that is computed, both sides are, and one is chosen by values."""
    (condition,) = _inputs(node, known)
    assert condition is not None
    sides: Mapping[bool, Graph] = {
        True: node.attr("then_branch"), False: node.attr("else_branch"),
    }  # fmt: skip
    if condition.value is not None:
        return _Body(node, sides[bool(np.all(condition.value))], known)([])
    first, second = (_Body(node, sides[side], known)([]) for side in (True, False))
    for a, b in zip(first, second, strict=True):
        if a.static_shape != b.static_shape:
            raise _refuse(node, f"its sides have the shapes {a.shape} and {b.shape}")
    flag = _shapeless(condition)
    return [emit("Where", flag, a, b) for a, b in zip(first, second, strict=True)]


_WRITERS: Mapping[str, Callable[[Node, Known], list[Tensor]]] = {
    "Scan": _scan, "Loop": _loop, "If": _branch,
}  # fmt: skip


@lowering("Scan", "Loop", "If")
def written_out(node: Node) -> list[Tensor]:
    """Return the outputs of a loop, step after step, or of a branch; what is inside goes along."""
    return _WRITERS[node.op](node, {})
