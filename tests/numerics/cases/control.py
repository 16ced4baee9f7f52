"""Cases of control flow: loops that are written out, and branches."""

import numpy as np

from edgeml.graph import Graph, current_graph, emit_many
from edgeml.graph.rules._recurrent_parts import scan

rng = np.random.default_rng(0)


def _n(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def _scan(reverse):
    def run(xs, w, h):
        def step(state, now):
            new = (state[0] @ w + now[0]) * 0.5  # w comes from the graph around
            return [new], [new * now[0]]

        (last,), (ys,) = scan(step, [h], [xs], reverse=reverse)
        return last, ys

    return run


def _scan_torch(reverse):
    def run(torch, xs, w, h):
        ys = [None] * len(xs)
        for t in reversed(range(len(xs))) if reverse else range(len(xs)):
            h = (h @ w + xs[t]) * 0.5
            ys[t] = h * xs[t]
        return h, torch.stack(ys)

    return run


def _scan_axes(xs, h):
    graph = current_graph()
    body = Graph(parent=graph)
    with body:
        state, now = body.input(None, h.dtype, h.shape), body.input(None, h.dtype, h.shape)
        body.outputs = {"a/state": state * now, "a/out": state + now}
    types = [(h.dtype, h.shape), (h.dtype, (*h.shape, xs.shape[1]))]
    return emit_many(
        2, "Scan", h, xs, types=types, body=body, num_scan_inputs=1, scan_input_axes=[1],
        scan_output_axes=[-1],
    )  # fmt: skip


def _scan_axes_torch(torch, xs, h):
    out = []
    for t in range(xs.shape[1]):
        out.append(h + xs[:, t])
        h = h * xs[:, t]
    return h, torch.stack(out, -1)


def _loop(x, w):
    graph = current_graph()
    body = Graph(parent=graph)
    with body:
        i, go = body.input(None, np.int64, ()), body.input(None, np.bool_, ())
        state = body.input(None, x.dtype, x.shape)
        big = body.constant(np.linspace(0.1, 1, 20).astype(np.float32).reshape(4, 5)) @ w
        new = state * 0.5 + x * big
        body.outputs = {"l/go": go, "l/state": new, "l/out": new * 2.0}
    assert i.shape == ()
    types = [(x.dtype, x.shape), (x.dtype, (3, *x.shape))]
    return emit_many(2, "Loop", np.array(3), None, x, types=types, body=body)


def _loop_torch(torch, x, w):
    state, out = x, []
    for _ in range(3):
        state = state * 0.5 + x * (torch.linspace(0.1, 1, 20).reshape(4, 5) @ w)
        out.append(state * 2)
    return state, torch.stack(out)


def _if(computed):
    def run(x, w):
        graph = current_graph()
        sides = []
        for name, factor in (("then", 2.0), ("else", 3.0)):
            side = Graph(parent=graph)
            with side:
                side.outputs = {f"{name}/y": x * w * factor}
            sides.append(side)
        condition = np.array(True)
        if computed:
            condition = emit_many(1, "ReduceSum", x, keepdims=0)[0] > 1e6
        return emit_many(1, "If", condition, types=[(x.dtype, x.shape)], then_branch=sides[0],
                         else_branch=sides[1])  # fmt: skip

    return run


def _body(*inputs):
    """Return a body in the graph that is traced, and its inputs."""
    body = Graph(parent=current_graph())
    return body, [body.input(None, dtype, shape) for dtype, shape in inputs]


def _real(x):
    return x.dtype, x.shape


COUNT, FLAG = (np.int64, ()), (np.bool_, ())


def _nested(x, w):
    """Loop over rows, in which there is a loop that uses both bodies around it, and a branch."""
    outer, (i, go, state) = _body(COUNT, FLAG, _real(x))
    with outer:
        scaled = state * outer.constant(np.linspace(0.5, 1.5, 20).astype(np.float32)[:8])
        inner, (_, on, own) = _body(COUNT, FLAG, _real(x))
        with inner:
            inner.outputs = {"n/on": on, "n/new": own * w + scaled}
        (rows,) = emit_many(1, "Loop", np.array(2), None, state, types=[_real(x)], body=inner)
        sides = []
        for name, factor in (("then", 0.5), ("else", 0.25)):
            side, _ = _body()
            with side:
                side.outputs = {f"n/{name}": rows * factor + scaled}
            sides.append(side)
        (new,) = emit_many(1, "If", i < 1, types=[_real(x)], then_branch=sides[0],
                           else_branch=sides[1])  # fmt: skip
        outer.outputs = {"n/go": go, "n/state": new}
    return emit_many(1, "Loop", np.array(3), None, x, types=[_real(x)], body=outer)


def _nested_torch(torch, x, w):
    state, row = x, torch.linspace(0.5, 1.5, 20)[:8]
    for i in range(3):
        scaled, own = state * row, state
        for _ in range(2):
            own = own * w + scaled
        state = own * (0.5 if i < 1 else 0.25) + scaled
    return (state,)


def _ends_early(x):
    """Double until the largest is above 2: after two of five steps."""
    body, (i, go, state) = _body(COUNT, FLAG, _real(x))
    assert i.shape == go.shape
    with body:
        new = state * state + x
        largest = emit_many(1, "ReduceMax", new, keepdims=0)[0]
        body.outputs = {"e/go": largest < 2.0, "e/state": new}
    return emit_many(1, "Loop", np.array(5), None, x, types=[_real(x)], body=body)


def _ends_early_torch(torch, x):
    state = x
    for _ in range(5):
        state = state * state + x
        if state.max() >= 2.0:
            break
    return (state,)


CASES = [
    {"op": "Loop", "inputs": [_n(3, 8), _n(8)], "emit": _nested, "torch": _nested_torch},
    {"op": "Loop", "inputs": [np.float32([0.5, 0.9, 0.2])], "emit": _ends_early,
     "torch": _ends_early_torch},
    *({"op": "Scan", "inputs": [_n(4, 2, 3), _n(3, 3), _n(2, 3)], "emit": _scan(way),
       "torch": _scan_torch(way)} for way in (False, True)),
    {"op": "Scan", "inputs": [_n(3, 4, 2), _n(3, 2)], "emit": _scan_axes,
     "torch": _scan_axes_torch},
    {"op": "Loop", "inputs": [_n(4, 2), _n(5, 2)], "emit": _loop, "torch": _loop_torch},
    {"op": "If", "inputs": [_n(4, 2), _n(4, 2)], "emit": _if(False),
     "torch": lambda t, x, w: x * w * 2},
    {"op": "If", "inputs": [_n(4, 2), _n(4, 2)], "emit": _if(True),
     "torch": lambda t, x, w: x * w * 3},
]  # fmt: skip
