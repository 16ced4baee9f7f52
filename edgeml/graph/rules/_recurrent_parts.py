"""What the recurrent rules share: loops over time and activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgeml.errors import NoGradient
from edgeml.graph._ir import Graph, Node, Tensor, emit, emit_many

Step = Callable[[list[Tensor], list[Tensor]], tuple[list[Tensor], list[Tensor]]]


def scan(
    step: Step, state: Sequence[Tensor], sequences: Sequence[Tensor], *, reverse: bool = False
) -> tuple[list[Tensor], list[Tensor]]:
    """Run `step` over the first axis of `sequences`, and return (last state, what it emitted).

    Args:
        step: ``step(state, slices) -> (state, emitted)``; traced once.
        state: What goes from step to step; shapes do not change.
        sequences: Tensors with one slice for each step.
        reverse: Whether to go from the last slice to the first; what is emitted keeps its place.
    """
    graph = sequences[0].graph
    body = Graph(parent=graph)
    with body:
        held = [body.input(None, x.dtype, x.shape) for x in state]
        slices = [body.input(None, x.dtype, x.known_shape[1:]) for x in sequences]
        new, emitted = step(held, slices)
    mark = f"scan{len(graph.nodes)}"
    body.outputs = {f"{mark}/{i}": x for i, x in enumerate([*new, *emitted])}
    steps = sequences[0].known_shape[0]
    types = [(x.dtype, x.shape) for x in state]
    types += [(x.dtype, (steps, *x.known_shape)) for x in emitted]
    way = int(reverse)
    made = emit_many(
        len(types), "Scan", *state, *sequences, types=types, body=body,
        num_scan_inputs=len(sequences), scan_input_directions=[way] * len(sequences),
        scan_output_directions=[way] * len(emitted) or None,
    )  # fmt: skip
    return list(made[: len(state)]), list(made[len(state) :])


@dataclass(frozen=True)
class Activation:
    """One of the activations that ONNX's recurrent operators take."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0

    def __call__(self, x: Tensor) -> Tensor:
        """Return the activation of `x`."""
        if self.name == "affine":
            return x * self.alpha + self.beta
        if self.name == "scaledtanh":
            return emit("Tanh", x * self.beta) * self.alpha
        op = _OPS[self.name]
        alpha = self.alpha if self.name in _ALPHA else None
        beta = self.beta if self.name in _BETA else None
        return emit(op, x, alpha=alpha, beta=beta)

    def through(self, p: Callable[[], Tensor], py: Tensor, y: Tensor) -> Tensor:
        """Return `p` times the derivative where the value is `y`; `py` is ``p * y``.

        For the usual activations the product saves a pass over memory.
        """
        if self.name == "sigmoid":
            return py - py * y
        if self.name == "tanh":
            return p() - py * y
        return p() * self.slope(y)

    def slope(self, y: Tensor) -> Tensor:
        """Return the derivative where the activation's value is `y`."""
        return _SLOPES[self.name](y, self.alpha, self.beta)


_OPS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "leakyrelu": "LeakyRelu",
        "thresholdedrelu": "ThresholdedRelu", "hardsigmoid": "HardSigmoid", "elu": "Elu",
        "softsign": "Softsign", "softplus": "Softplus"}  # fmt: skip
_ALPHA = {"affine": 1.0, "leakyrelu": 0.01, "thresholdedrelu": 1.0, "scaledtanh": 1.0,
          "hardsigmoid": 0.2, "elu": 1.0}  # fmt: skip
_BETA = {"affine": 0.0, "scaledtanh": 1.0, "hardsigmoid": 0.5}


def _positive(y: Tensor, above: float, below: Tensor | float) -> Tensor:
    return emit("Where", y > 0.0, above, below, like=y)


def _softsign_slope(y: Tensor) -> Tensor:
    rest = 1.0 - abs(y)
    return rest * rest


def _hard_sigmoid_slope(y: Tensor, alpha: float) -> Tensor:
    return emit("Where", emit("And", y > 0.0, y < 1.0), alpha, 0.0, like=y)


_SLOPES: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "sigmoid": lambda y, a, b: y - y * y,
    "tanh": lambda y, a, b: 1.0 - y * y,
    "relu": lambda y, a, b: _positive(y, 1.0, 0.0),
    "leakyrelu": lambda y, a, b: _positive(y, 1.0, a),
    "thresholdedrelu": lambda y, a, b: _positive(y, 1.0, 0.0),
    "elu": lambda y, a, b: _positive(y, 1.0, y + a),
    "affine": lambda y, a, b: y * 0.0 + a,
    "scaledtanh": lambda y, a, b: b * a - (y * y) * (b / a),
    "hardsigmoid": lambda y, a, b: _hard_sigmoid_slope(y, a),
    "softsign": lambda y, a, b: _softsign_slope(y),
    "softplus": lambda y, a, b: 1.0 - emit("Exp", -y),
}
_DEFAULTS = {
    "LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"],
}  # fmt: skip


def activations(node: Node, directions: int) -> list[list[Activation]]:
    """Return the activations of each direction.

    Raises:
        NoGradient: one of them is not known.
    """
    defaults = _DEFAULTS[node.op]
    names = [str(_text(name)).lower() for name in node.attr("activations") or defaults * directions]
    alphas = iter(node.attr("activation_alpha") or [])
    betas = iter(node.attr("activation_beta") or [])
    found = []
    for name in names:
        if name not in _SLOPES:
            raise NoGradient(
                f"{node.op} {node.name!r}: the activation {name!r} has no gradient; "
                f"there are {', '.join(sorted(_SLOPES))}",
                op=node.op, node=node.name,
            )  # fmt: skip
        alpha = next(alphas, _ALPHA[name]) if name in _ALPHA else 0.0
        beta = next(betas, _BETA[name]) if name in _BETA else 0.0
        found.append(Activation(name, float(alpha), float(beta)))
    each = len(defaults)
    return [found[i * each : (i + 1) * each] for i in range(directions)]


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


def cut(x: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """Split the last axis into parts of `sizes`."""
    return emit_many(len(sizes), "Split", x, np.array(sizes, np.int64), axis=-1)


def part(x: Tensor, axis: int, start: int, end: int) -> Tensor:
    """Return a range along one axis."""
    return emit("Slice", x, *(np.array([n], np.int64) for n in (start, end, axis)))


def shaped(x: Tensor, *shape: int) -> Tensor:
    """Return `x` with another shape."""
    return x if x.shape == shape else emit("Reshape", x, np.array(shape, np.int64))
