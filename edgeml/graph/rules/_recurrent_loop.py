"""A simple recurrent network as a loop, for batches.

The runtime's own operator takes two to three times as long as a loop of two operators, except
for single sequences. (LSTM and GRU are the other way round: loops that keep the gates were
measured slower than the runtime's operators with the gates computed again, at any batch size.)
"""

from __future__ import annotations

import numpy as np

from edgeml.graph._ir import Tensor, emit, emit_many
from edgeml.graph.rules._recurrent_parts import Activation, scan, shaped

BATCH = 4  # measured: the loop is faster from here on


def loop(
    x: Tensor, w: Tensor, r: Tensor, b: Tensor | None, h0: Tensor, act: list[Activation], *,
    reverse: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return outputs and last state."""
    steps, batch, features = x.static_shape
    bias: Tensor | None = None
    if b is not None:
        halves = emit_many(2, "Split", b, np.array([b.size // 2] * 2, np.int64), axis=0)
        bias = halves[0] + halves[1]
    flat = shaped(x, steps * batch, features)
    projected = shaped(emit("Gemm", flat, w, bias, transB=1), steps, batch, w.static_shape[0])
    weights = emit("Transpose", r, perm=[1, 0])

    def step(state: list[Tensor], xs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        h = act[0](emit("Gemm", state[0], weights, xs[0]))
        return [h], [h]

    (h,), (y,) = scan(step, [h0], [projected], reverse=reverse)
    return y, h
