"""Control flow with a known course: loops are written out, branches chosen or both computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgeml.errors import NoGradient
from edgeml.graph._ir import Graph, Node, Tensor, current_graph, emit, emit_many
from edgeml.graph._onnx import live_nodes
from edgeml.graph._rules import lowering

STEPS = 512  # longer loops would make graphs that take minutes to load


def _refuse(node: Node, reason: str) -> NoGradient:
    return NoGradient(
        f"{node.op} {node.name!r} has no gradient: {reason}", op=node.op, node=node.name
    )


class _Body:
    """A body that can be written into the graph around it, once for each step."""

    def __init__(self, node: Node, body: Graph) -> None:
        graph = current_graph()
        assert graph is not None
        self._graph = graph
        self._body = body
        self._nodes = [
            inner for inner in live_nodes(body.outputs.values())
            if any(x is not None and x.graph is body for x in inner.outputs)
        ]  # fmt: skip
        for inner in self._nodes:
            if inner.subgraphs() or inner.domain == "edgeml":
                raise _refuse(node, f"its body holds {inner.op}, which cannot be written out")
        used = [x for inner in self._nodes for x in inner.inputs] + list(body.outputs.values())
        self._constants = {
            x: graph.initializer(x.name, x.value)
            for x in dict.fromkeys(used)
            if x is not None and x.graph is body and x.producer is None and x.value is not None
        }

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Write the body out for `inputs`; return its outputs."""
        known: dict[Tensor, Tensor] = dict(self._constants)
        known.update(zip(self._body.inputs, inputs, strict=True))
        for inner in self._nodes:
            made = self._graph.node(
                inner.op, [None if x is None else known.get(x, x) for x in inner.inputs],
                inner.attributes, outputs=len(inner.outputs), domain=inner.domain,
            )  # fmt: skip
            pairs = zip(inner.outputs, made.outputs, strict=True)
            known.update({old: new for old, new in pairs if old is not None and new is not None})
        return [known.get(x, x) for x in self._body.outputs.values()]


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


@lowering("Scan")
def scan(node: Node) -> list[Tensor]:
    count = node.attr("num_scan_inputs")
    inputs = [x for x in node.inputs if x is not None]
    state, sequences = inputs[: len(inputs) - count], inputs[len(inputs) - count :]
    axes = node.attr("scan_input_axes") or [0] * count
    ways = node.attr("scan_input_directions") or [0] * count
    steps = sequences[0].static_shape[axes[0]]
    _check_steps(node, steps)
    slices = [_cut(x, axis, bool(way))
              for x, axis, way in zip(sequences, axes, ways, strict=True)]  # fmt: skip
    body = _Body(node, node.attr("body"))
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


@lowering("Loop")
def loop(node: Node) -> list[Tensor]:
    body: Graph = node.attr("body")
    trips, go = node.input(0), node.input(1)
    if trips is None or trips.value is None:
        raise _refuse(node, "the number of its steps is not a constant")
    goes_on = _source(next(iter(body.outputs.values())))
    endless = goes_on is body.inputs[1] or _is_true(goes_on)
    if not endless or (go is not None and not _is_true(go)):
        raise _refuse(node, "it may end early, by a condition that is computed")
    steps = int(trips.value)
    _check_steps(node, steps)
    written = _Body(node, body)
    state = [x for x in node.inputs[2:] if x is not None]
    true = trips.graph.constant(np.array(True))
    emitted: list[list[Tensor]] = []
    for i in range(steps):
        number = trips.graph.constant(np.array(i, np.int64))
        made = written([number, true, *state])[1:]
        state, rest = made[: len(state)], made[len(state) :]
        emitted.append(rest)
    return [*state, *_collected(node, emitted)]


def _source(x: Tensor) -> Tensor:
    while x.producer is not None and x.producer.op in ("Identity", "Cast"):
        x = x.producer.x
    return x


def _is_true(x: Tensor) -> bool:
    return x.value is not None and bool(np.all(x.value))


@lowering("If")
def branch(node: Node) -> list[Tensor]:
    """Of a condition that is computed, both sides are, and one is chosen by values."""
    condition = node.x
    sides: Mapping[bool, Graph] = {
        True: node.attr("then_branch"), False: node.attr("else_branch"),
    }  # fmt: skip
    if condition.value is not None:
        return _Body(node, sides[bool(np.all(condition.value))])([])
    first, second = (_Body(node, sides[side])([]) for side in (True, False))
    for a, b in zip(first, second, strict=True):
        if a.static_shape != b.static_shape:
            raise _refuse(node, f"its sides have the shapes {a.shape} and {b.shape}")
    flag = emit("Reshape", condition, np.array([], np.int64))
    return [emit("Where", flag, a, b) for a, b in zip(first, second, strict=True)]
