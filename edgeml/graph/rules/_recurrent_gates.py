"""LSTM and RNN as loops, for batches; the loop of an LSTM keeps its gates.

For single sequences the runtime's operators are faster, even though the gates must be computed
again. From a few sequences on that product costs more than the loop, and the runtime's RNN takes
twice as long as a loop of two operators.
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


def suits(op: str, act: list[Activation], x: Tensor, lengths: Tensor | None) -> bool:
    """Return whether a loop is the faster way, and can be taken."""
    usual = op == "RNN" or (op == "LSTM" and act == _USUAL)
    return usual and x.static_shape[1] >= BATCH and lengths is None


def _projected(x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    """Return the product of all steps with the weights of the input."""
    steps, batch, features = x.static_shape
    flat = shaped(x, steps * batch, features)
    return shaped(emit("Gemm", flat, w, bias, transB=1), steps, batch, w.static_shape[0])


def _bias(b: Tensor | None) -> Tensor | None:
    """Return the sum of both biases."""
    if b is None:
        return None
    halves = emit_many(2, "Split", b, np.array([b.size // 2] * 2, np.int64), axis=0)
    return halves[0] + halves[1]


def rnn(
    x: Tensor, w: Tensor, r: Tensor, b: Tensor | None, h0: Tensor, act: list[Activation], *,
    reverse: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return outputs and last state."""
    weights = emit("Transpose", r, perm=[1, 0])

    def step(state: list[Tensor], xs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        h = act[0](emit("Gemm", state[0], weights, xs[0]))
        return [h], [h]

    (h,), (y,) = scan(step, [h0], [_projected(x, w, _bias(b))], reverse=reverse)
    return y, h


def lstm(
    x: Tensor, w: Tensor, r: Tensor, b: Tensor | None, h0: Tensor, c0: Tensor, *, reverse: bool
) -> tuple[Tensor, Tensor, Tensor, Saved]:
    """Return outputs, last state, last cell state, and what the gradient needs."""
    units = r.static_shape[-1]
    scale = np.ones((4 * units, 1), x.dtype)
    scale[3 * units :] = 2.0
    double = x.graph.constant(scale)
    bias = _bias(b)
    if bias is not None:
        bias = bias * shaped(double, 4 * units)
    z = _projected(x, w * double, bias)
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
