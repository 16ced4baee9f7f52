"""LSTM, GRU and RNN: the runtime's operator forward, loops of few operators backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeml.errors import NoGradient
from edgeml.graph._ir import Node, Tensor, current_graph, emit, emit_many, held, with_vjp
from edgeml.graph._rules import lowering
from edgeml.graph.rules._recurrent_cells import Grads, Pass, lstm, rnn
from edgeml.graph.rules._recurrent_gru import gru
from edgeml.graph.rules._recurrent_loop import BATCH, loop
from edgeml.graph.rules._recurrent_parts import activations, shaped

_CELLS = {"LSTM": lstm, "GRU": gru, "RNN": rnn}


@lowering("LSTM", "GRU", "RNN")
def recurrent(node: Node) -> list[Tensor]:
    """Put the operator behind a boundary that has a gradient; the time axis comes first."""
    _check(node)
    batch_first = bool(node.attr("layout", 0))
    inputs = [node.input(i) for i in range(7)]
    if batch_first:
        for i in (0, 5, 6):
            inputs[i] = _swapped(inputs[i])
    attributes = {key: value for key, value in node.attributes.items() if key != "layout"}
    graph = current_graph()
    assert graph is not None
    # The arguments, in the order in which the rule returns their gradients.
    places = [i for i in (0, 1, 2, 3, 5, 6) if inputs[i] is not None]
    for i in places:
        x = inputs[i]
        assert x is not None
        inputs[i] = held(x)
    count = 3 if node.op == "LSTM" else 2
    ways = _directions(node, inputs)
    if node.op == "RNN" and inputs[4] is None and ways[0]["x"].static_shape[1] >= BATCH:
        pairs = [loop(**{key: way[key] for key in way if key != "c0"}) for way in ways]
        ys, hs = zip(*pairs, strict=True)
        made: tuple[Tensor, ...] = (_stack(ys, 1), _stack(hs))
    else:
        made = emit_many(count, node.op, *inputs, **attributes)

    def vjp(*gs: Tensor | None) -> list[Tensor | None]:
        found = _backward(node, _passes(node, ways, inputs[4], made[0]), gs)
        return [found[i] for i in places]

    given = [_swapped(node.inputs[i]) if batch_first and i in (0, 5, 6) else node.inputs[i]
             for i in places]  # fmt: skip
    outputs = with_vjp(made, [x for x in given if x is not None], vjp)
    if not batch_first:
        return outputs
    first = emit("Transpose", outputs[0], perm=[2, 0, 1, 3])
    return [first, *(emit("Transpose", x, perm=[1, 0, 2]) for x in outputs[1:])]


def _swapped(x: Tensor | None) -> Tensor | None:
    return None if x is None else emit("Transpose", x, perm=[1, 0, 2])


def _check(node: Node) -> None:
    reason = None
    if node.attr("clip"):
        reason = "clip"
    elif node.attr("input_forget", 0):
        reason = "input_forget"
    elif node.op == "LSTM" and node.input(7) is not None:
        reason = "peepholes (input P)"
    if reason:
        raise NoGradient(
            f"{node.op} {node.name!r} has {reason}, for which there is no gradient: export the "
            "model without it, or freeze what comes before the operator",
            op=node.op, node=node.name,
        )  # fmt: skip


def _directions(node: Node, inputs: Sequence[Tensor | None]) -> list[dict[str, Any]]:
    """Return the arguments of each direction."""
    x, w, r, b, _, h0, c0 = inputs
    assert x is not None
    assert w is not None
    assert r is not None
    units = r.static_shape[-1]
    zero = x.graph.constant(np.zeros((x.static_shape[1], units), x.dtype))
    way = node.attr("direction", "forward")
    reversed_ = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    ways = reversed_[way if isinstance(way, str) else way.decode()]
    acts = activations(node, len(ways))
    return [
        {
            "x": x, "w": _pick(w, d), "r": _pick(r, d), "b": _pick(b, d) if b is not None else None,
            "h0": _pick(h0, d) if h0 is not None else zero,
            "c0": _pick(c0, d) if c0 is not None else zero, "act": acts[d], "reverse": reverse,
        }
        for d, reverse in enumerate(ways)
    ]  # fmt: skip


def _passes(
    node: Node, ways: Sequence[dict[str, Any]], lengths: Tensor | None, y: Tensor
) -> list[Pass]:
    steps, _, batch, _ = y.static_shape
    mask, last = _masks(lengths, steps, batch, y)
    after = bool(node.attr("linear_before_reset", 0))
    return [
        Pass(**way, y=_pick(y, d, axis=1), mask=mask, last=last, linear_before_reset=after)
        for d, way in enumerate(ways)
    ]


def _backward(
    node: Node, passes: Sequence[Pass], gs: Sequence[Tensor | None]
) -> dict[int, Tensor | None]:
    """Return the gradient of each input, by its place."""
    found: list[Grads] = []
    for d, one in enumerate(passes):
        upstream = [None if g is None else _pick(g, d, axis=int(i == 0)) for i, g in enumerate(gs)]
        found.append(_CELLS[node.op](one, *upstream))
    cells = [g.c0 for g in found if g.c0 is not None]
    dx = found[0].x if len(found) == 1 else found[0].x + found[1].x
    return {
        0: dx, 1: _stack([g.w for g in found]), 2: _stack([g.r for g in found]),
        3: _stack([g.b for g in found]), 5: _stack([g.h0 for g in found]),
        6: _stack(cells) if cells else None,
    }  # fmt: skip


def _pick(x: Tensor, i: int, axis: int = 0) -> Tensor:
    """Return one slice of an axis; free when there is only one."""
    shape = list(x.static_shape)
    size = shape.pop(axis)
    if size == 1:
        return shaped(x, *shape)
    return emit("Gather", x, np.array(i, np.int64), axis=axis)


def _stack(values: Sequence[Tensor], axis: int = 0) -> Tensor:
    whole = [shaped(x, *x.static_shape[:axis], 1, *x.static_shape[axis:]) for x in values]
    return emit("Concat", *whole, axis=axis) if len(whole) > 1 else whole[0]


def _masks(
    lengths: Tensor | None, steps: int, batch: int, x: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Return which steps count, and which are the last that do."""
    if lengths is None:
        return None, None
    if lengths.value is not None and (lengths.value == steps).all():
        return None, None
    index = x.graph.constant(np.arange(steps, dtype=np.int32).reshape(-1, 1, 1))
    ends = shaped(lengths, 1, batch, 1)
    one = np.ones((), x.dtype)
    mask = emit("Where", index < ends, one, one * 0)
    last = emit("Where", emit("Equal", index + np.int32(1), ends), one, one * 0)
    return mask, last
