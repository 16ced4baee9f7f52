"""An LSTM as a loop that keeps its gates, for batches.

For single sequences the runtime's operator is faster, even though its gates must be computed
again; from a few sequences on, that product costs more than the loop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeml.graph._ir import Tensor, emit, emit_many
from edgeml.graph.rules._recurrent_parts import Activation, scan, shaped

BATCH = 4  # measured: the loop is faster from here on
_USUAL = [Activation("sigmoid"), Activation("tanh"), Activation("tanh")]


@dataclass
class Saved:
    """What the loop keeps of one direction, (steps, batch, units) or four times as wide.

    The cell gate is written as ``tanh(z) = 2 sigmoid(2 z) - 1``, so that one operator activates
    all gates; `double` is 2 in its rows of the weights, 1 in the others.
    """

    double: Tensor
    gates: Tensor  # after the sigmoid: input, output, forget, cell
    partners: Tensor  # what each is multiplied with: g, tanh(c), c of the step before, i
    output: Tensor
    forget: Tensor
    squashed: Tensor  # tanh(c)
    y: Tensor

    def factors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the factors of the running gradient, see `_recurrent_cells`."""
        slopes = self.gates - self.gates * self.gates
        return self.partners * slopes, self.output - self.y * self.squashed, self.forget


def suits(act: list[Activation], x: Tensor | None, lengths: Tensor | None) -> bool:
    """Return whether the loop is the faster way, and can be taken."""
    return act == _USUAL and x is not None and x.static_shape[1] >= BATCH and lengths is None


def forward(
    x: Tensor, w: Tensor, r: Tensor, b: Tensor | None, h0: Tensor, c0: Tensor, *, reverse: bool
) -> tuple[Tensor, Tensor, Tensor, Saved]:
    """Return outputs, last state, last cell state, and what the gradient needs."""
    steps, batch, features = x.static_shape
    units = r.static_shape[-1]
    scale = np.ones((4 * units, 1), x.dtype)
    scale[3 * units :] = 2.0
    double = x.graph.constant(scale)
    bias = None
    if b is not None:
        halves = emit_many(2, "Split", b, np.array([4 * units] * 2, np.int64), axis=0)
        bias = (halves[0] + halves[1]) * shaped(double, 4 * units)
    flat = shaped(x, steps * batch, features)
    z = shaped(emit("Gemm", flat, w * double, bias, transB=1), steps, batch, 4 * units)
    weights = emit("Transpose", r * double, perm=[1, 0])

    def step(state: list[Tensor], xs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        h, c = state
        s = emit("Sigmoid", emit("Gemm", h, weights, xs[0]))
        i, o, f, half = emit_many(4, "Split", s, np.array([units] * 4, np.int64), axis=-1)
        g = half * 2.0 - 1.0
        new = f * c + i * g
        squashed = emit("Tanh", new)
        # Twice i: the slope of g is 2 s (1 - s).
        partners = emit("Concat", g, squashed, c, i + i, axis=-1)
        return [o * squashed, new], [s, partners, o, f, squashed]

    (h, c), kept = scan(step, [h0, c0], [z], reverse=reverse)
    s, partners, o, f, squashed = kept
    y = o * squashed
    return y, h, c, Saved(double, s, partners, o, f, squashed, y)
