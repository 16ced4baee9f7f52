"""Gradients of a GRU over a sequence, one direction; see `_recurrent_cells`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeml.graph._ir import Tensor, emit
from edgeml.graph.rules._recurrent_cells import Grads, Pass, biases, upstream
from edgeml.graph.rules._recurrent_parts import cut, part, scan, shaped


@dataclass
class _Gates:
    """What all steps need, (rows, units) each: gates, and factors of the gradient."""

    x: Tensor
    h: Tensor  # the state before the step
    z: Tensor  # (steps, batch, units)
    r: Tensor
    slope_r: Tensor
    q: Tensor | None  # the hidden gate's product with the state, when it comes before the reset
    kz: Tensor  # gradient of the update gate, for that of the state
    kc: Tensor  # of the hidden gate


def gru(p: Pass, gy: Tensor | None, gh: Tensor | None, gc: Tensor | None = None) -> Grads:
    """Return the gradients of a GRU; gates are in the order update, reset, hidden."""
    steps, batch, features, _ = p.sizes
    gates = _gates(p)
    gy, gh = upstream(p, gy, gh)
    run = _after if p.linear_before_reset else _before
    d_zr, dc, h_side, dr, h0 = run(p, gates, gy, gh)
    x_side = emit("Concat", d_zr, dc, axis=-1) if p.linear_before_reset else h_side
    dw = emit("Gemm", x_side, gates.x, transA=1)
    db = [emit("ReduceSum", side, np.array([0], np.int64), keepdims=0)
          for side in (x_side, h_side)]  # fmt: skip
    dx = shaped(emit("MatMul", x_side, p.w), steps, batch, features)
    return Grads(dx, dw, dr, emit("Concat", *db, axis=0), h0)


def _gates(p: Pass) -> _Gates:
    steps, batch, features, units = p.sizes
    inner, squash = p.act
    x = shaped(p.x, steps * batch, features)
    h = shaped(p.before(p.y, p.h0), steps * batch, units)
    bw, br = biases(p)
    from_x = emit("Gemm", x, p.w, bw, transB=1)
    x_zr, x_c = cut(from_x, [2 * units, units])
    q: Tensor | None = None
    if p.linear_before_reset:
        h_zr, q = cut(emit("Gemm", h, p.r, br, transB=1), [2 * units, units])
        zr = inner(x_zr + h_zr)
        z, r = cut(zr, [units, units])
        c = squash(x_c + r * q)
    else:
        r_zr, r_c = part(p.r, 0, 0, 2 * units), part(p.r, 0, 2 * units, 3 * units)
        b_zr, b_c = cut(br, [2 * units, units]) if br is not None else (None, None)
        zr = inner(x_zr + emit("Gemm", h, r_zr, b_zr, transB=1))
        z, r = cut(zr, [units, units])
        c = squash(x_c + emit("Gemm", r * h, r_c, b_c, transB=1))
    slope_z, slope_r = cut(inner.slope(zr), [units, units])
    passed = shaped(z, steps, batch, units)
    if p.mask is not None:
        passed = emit("Where", p.mask > 0.5, passed, 1.0, like=z)
    kc = (1.0 - z) * squash.slope(c)
    return _Gates(x, h, passed, r, slope_r, q, (h - c) * slope_z, kc)


Found = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def _after(p: Pass, gates: _Gates, gy: Tensor, gh: Tensor) -> Found:
    """The reset gate applies after the product with the state, as in Keras and PyTorch."""
    steps, batch, _, units = p.sizes
    assert gates.q is not None
    parts = gates.kz, gates.kc * gates.q * gates.slope_r, gates.kc * gates.r
    k = p.masked(shaped(emit("Concat", *parts, axis=-1), steps, batch, 3 * units))

    def step(state: list[Tensor], xs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        gy, z, k = xs
        gh = state[0] + gy
        d = emit("Concat", gh, gh, gh, axis=-1) * k
        return [emit("Gemm", d, p.r, gh * z)], [d, gh]

    (h0,), (d, dh) = scan(step, [gh], [gy, gates.z, k], reverse=not p.reverse)
    d = shaped(d, steps * batch, 3 * units)
    dc = p.masked(dh * shaped(gates.kc, steps, batch, units))
    dr = emit("Gemm", d, gates.h, transA=1)
    return part(d, 1, 0, 2 * units), shaped(dc, steps * batch, units), d, dr, h0


def _before(p: Pass, gates: _Gates, gy: Tensor, gh: Tensor) -> Found:
    """The reset gate applies to the state, before the product."""
    steps, batch, _, units = p.sizes
    k = emit("Concat", gates.kz, gates.h * gates.slope_r, axis=-1)
    r_zr, r_c = part(p.r, 0, 0, 2 * units), part(p.r, 0, 2 * units, 3 * units)
    sequences = [gy, gates.z, p.masked(shaped(gates.kc, steps, batch, units)),
                 p.masked(shaped(gates.r, steps, batch, units)),
                 p.masked(shaped(k, steps, batch, 2 * units))]  # fmt: skip

    def step(state: list[Tensor], xs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        gy, z, kc, r, k = xs
        gh = state[0] + gy
        dc = gh * kc
        e = emit("MatMul", dc, r_c)
        d = emit("Concat", gh, e, axis=-1) * k
        return [emit("Gemm", d, r_zr, gh * z) + e * r], [d, dc]

    (h0,), (d, dc) = scan(step, [gh], sequences, reverse=not p.reverse)
    d, dc = shaped(d, steps * batch, 2 * units), shaped(dc, steps * batch, units)
    dr = emit("Concat", emit("Gemm", d, gates.h, transA=1),
              emit("Gemm", dc, gates.r * gates.h, transA=1), axis=0)  # fmt: skip
    return d, dc, emit("Concat", d, dc, axis=-1), dr, h0
