"""Gradients of LSTM, GRU and RNN cells over a sequence, one direction each.

The forward pass is the runtime's own operator, which gives no gates. They are computed again for
all steps at once from its output, in one product; so the loop over time that goes backward holds
only what depends on the running gradient: one product with the recurrent weights and a few
elementwise operators. Products that give the gradients of the weights are done once, at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeml.graph._ir import Tensor, emit, emit_many
from edgeml.graph.rules._recurrent_parts import Activation, cut, part, scan, shaped


@dataclass
class Pass:
    """One direction of a recurrent operator, as the forward pass left it."""

    x: Tensor  # (steps, batch, features)
    w: Tensor  # (gates * units, features)
    r: Tensor  # (gates * units, units)
    b: Tensor | None  # (2 * gates * units,)
    h0: Tensor  # (batch, units)
    c0: Tensor | None
    y: Tensor  # (steps, batch, units)
    reverse: bool
    mask: Tensor | None  # (steps, batch, 1): 1 where the step counts
    last: Tensor | None  # (steps, batch, 1): 1 at the last step that counts
    act: list[Activation]
    linear_before_reset: bool = False

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """(steps, batch, features, units)."""
        return (*self.x.static_shape, self.y.static_shape[-1])  # type: ignore[return-value]

    def before(self, values: Tensor, first: Tensor) -> Tensor:
        """Return, for each step, the value of the one before it; `first` before the first."""
        steps, batch, _, units = self.sizes
        start = shaped(first, 1, batch, units)
        if not self.reverse:
            return emit("Concat", start, part(values, 0, 0, steps - 1), axis=0)
        shifted = emit("Concat", part(values, 0, 1, steps), start, axis=0)
        if self.last is None:
            return shifted
        return emit("Where", self.last > 0.5, start, shifted)

    def rows(self) -> Tensor:
        """Return ``[x, h before, 1]`` of all steps, (rows, features + units + 1)."""
        steps, batch, features, units = self.sizes
        one = self.x.graph.constant(np.ones((steps, batch, 1), self.x.dtype))
        both = emit("Concat", self.x, self.before(self.y, self.h0), one, axis=-1)
        return shaped(both, steps * batch, features + units + 1)

    def masked(self, value: Tensor) -> Tensor:
        """Set what does not count to zero."""
        return value if self.mask is None else value * self.mask


@dataclass
class Grads:
    """Gradients of one direction's arguments."""

    x: Tensor
    w: Tensor
    r: Tensor
    b: Tensor
    h0: Tensor
    c0: Tensor | None = None


def upstream(p: Pass, gy: Tensor | None, gh: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the gradients of all outputs and of the last state."""
    steps, batch, _, units = p.sizes
    zero = np.zeros((batch, units), p.x.dtype)
    gy = gy if gy is not None else p.x.graph.constant(np.zeros((steps, *zero.shape), zero.dtype))
    gh = gh if gh is not None else p.x.graph.constant(zero)
    gy = p.masked(gy)
    if p.last is None or p.reverse:
        return gy, gh
    # The output of the last step that counts is also the last state.
    return gy + p.last * gh, p.x.graph.constant(zero)


def _shifted(p: Pass, gy: Tensor | None, gh: Tensor | None) -> tuple[Tensor, list[Tensor]]:
    """Return the gradient of h after the last step, and what comes in before each step, if any."""
    steps, batch, _, units = p.sizes
    if gy is None and gh is not None and p.last is None:
        return gh, []  # only the last state is used
    gy, gh = upstream(p, gy, gh)
    end, begin = (0, 1) if p.reverse else (steps - 1, 0)
    first = shaped(part(gy, 0, end, end + 1), batch, units) + gh
    rest = part(gy, 0, begin, begin + steps - 1)
    none = p.x.graph.constant(np.zeros((1, batch, units), p.x.dtype))
    return first, [emit("Concat", *((rest, none) if p.reverse else (none, rest)), axis=0)]


def biases(p: Pass) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Return the biases of the products with x and with the state."""
    if p.b is None:
        return None, None
    half = p.w.static_shape[0]
    first, second = cut(p.b, [half, half])
    return first, second


def _gates(p: Pass, rows: Tensor) -> list[Tensor]:
    """Return the gates before activation, (steps, batch, units) each.

    One product for each costs less than one for all and splitting it.
    """
    steps, batch, _, units = p.sizes
    weights = [p.w, p.r]
    bw, br = biases(p)
    if bw is not None and br is not None:
        weights.append(shaped(bw + br, -1, 1))
    else:
        weights.append(p.x.graph.constant(np.zeros((p.w.static_shape[0], 1), p.x.dtype)))
    each = emit_many(4, "Split", emit("Concat", *weights, axis=1),
                     np.array([units] * 4, np.int64), axis=0)  # fmt: skip
    return [shaped(emit("Gemm", rows, w, transB=1), steps, batch, units) for w in each]


def _finish(p: Pass, dz: Tensor, rows: Tensor, h0: Tensor, c0: Tensor | None = None) -> Grads:
    """Return all gradients, given that of the gates before activation."""
    steps, batch, features, units = p.sizes
    flat = shaped(dz, steps * batch, p.w.static_shape[0])
    dw, dr, db = cut(emit("Gemm", flat, rows, transA=1), [features, units, 1])
    db = shaped(db, p.w.static_shape[0])
    dx = shaped(emit("MatMul", flat, p.w), steps, batch, features)
    return Grads(dx, dw, dr, emit("Concat", db, db, axis=0), _first(p, dz, h0), c0)


def _first(p: Pass, dz: Tensor, h0: Tensor) -> Tensor:
    """Return the gradient of the initial state."""
    if p.last is None or not p.reverse:
        return h0
    # Steps that do not count come between the first one that does and the end of the loop.
    at = emit("ReduceSum", dz * p.last, np.array([0], np.int64), keepdims=0)
    return emit("MatMul", at, p.r)


def lstm(p: Pass, gy: Tensor | None, gh: Tensor | None, gc: Tensor | None = None) -> Grads:
    """Return the gradients of an LSTM; gates are in the order input, output, forget, cell."""
    batch, units = p.sizes[1], p.sizes[3]
    rows = p.rows()
    k, a, f = _factors(p, rows)
    dh, extra = _shifted(p, gy, gh)
    dc = gc if gc is not None else p.x.graph.constant(np.zeros((batch, units), p.x.dtype))

    def step(state: list[Tensor], xs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        h, c = state
        a, k, f, *extra = xs
        c = c + h * a
        dz = emit("Concat", c, h, c, c, axis=-1) * k
        return [emit("Gemm", dz, p.r, *extra), c * f], [dz]

    (h0, c0), (dz,) = scan(step, [dh, dc], [a, k, f, *extra], reverse=not p.reverse)
    return _finish(p, dz, rows, h0, c0)


def _factors(p: Pass, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the running gradient is multiplied by, from the outputs alone.

    That is: for the gates, given the gradients of c, h, c and c; for c, given that of h; for c of
    the step before, given that of c.
    """
    inner, squash, outer = p.act
    zi, zo, zf, zg = _gates(p, rows)
    i, o, f, g = inner(zi), inner(zo), inner(zf), squash(zg)
    u = p.masked(i * g)
    if p.mask is not None:
        f = emit("Where", p.mask > 0.5, f, 1.0, like=f)  # cells and their gradients pass by
    assert p.c0 is not None

    def step(state: list[Tensor], xs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        kept = xs[0] * state[0]  # emitted in place of c, which as the state would be copied
        return [kept + xs[1]], [kept]

    _, (kept,) = scan(step, [p.c0], [f, u], reverse=p.reverse)
    c = kept + u
    y = outer(c)
    c0 = p.c0
    k = [
        inner.through(lambda: g, u, i),
        inner.through(lambda: y, p.y, o),
        inner.through(lambda: p.before(c, c0), kept, f),
        squash.through(lambda: i, u, g),
    ]
    a = outer.through(lambda: o, p.y, y)
    return p.masked(emit("Concat", *k, axis=-1)), p.masked(a), f


def rnn(p: Pass, gy: Tensor | None, gh: Tensor | None, gc: Tensor | None = None) -> Grads:
    """Return the gradients of a simple recurrent network."""
    k = p.masked(p.act[0].slope(p.y))
    dh, extra = _shifted(p, gy, gh)

    def step(state: list[Tensor], xs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        k, *extra = xs
        dz = state[0] * k
        return [emit("Gemm", dz, p.r, *extra)], [dz]

    (h0,), (dz,) = scan(step, [dh], [k, *extra], reverse=not p.reverse)
    return _finish(p, dz, p.rows(), h0)
