"""Rules of elementwise operators."""

from __future__ import annotations

import math

import numpy as np

from edgeml.graph._infer import to_elem_type
from edgeml.graph._ir import Node, Tensor, emit
from edgeml.graph._rules import lowering, no_grad, rule

Grads = tuple[Tensor | None, ...]
_STEEP = 3e38


def masked(g: Tensor, chosen: Tensor) -> Tensor:
    """Return `g` where `chosen`, a tensor of truth values, and 0 elsewhere.

    A product, because it takes two thirds of the time of Where.
    """
    return g * emit("Cast", chosen, to=to_elem_type(g.dtype))


@rule("Add")
def add(node: Node, g: Tensor) -> Grads:
    return g, g


@rule("Sub")
def sub(node: Node, g: Tensor) -> Grads:
    return g, -g


@rule("Mul")
def mul(node: Node, g: Tensor) -> Grads:
    a, b = node.inputs
    return g * b, g * a


@rule("Div")
def div(node: Node, g: Tensor) -> Grads:
    b = node.inputs[1]
    left = g / b
    return left, -left * node.output


@rule("Neg")
def neg(node: Node, g: Tensor) -> Grads:
    return (-g,)


@rule("Identity")
def identity(node: Node, g: Tensor) -> Grads:
    return (g,)


@rule("Relu")
def relu(node: Node, g: Tensor) -> Grads:
    # The output is never below 0, so what has to be told is only where it is above.
    if g.dtype != np.float32:
        return (masked(g, emit("Cast", node.output, to=to_elem_type(np.dtype(np.bool_)))),)
    # In one pass: 0 stays 0, and any normal number times the slope is cut at 1.
    y = emit("StopGradient", node.output, domain="edgeml")
    return (g * emit("HardSigmoid", y, alpha=_STEEP, beta=0.0),)


@rule("Sigmoid")
def sigmoid(node: Node, g: Tensor) -> Grads:
    y = node.output
    return (g * y * (1.0 - y),)


@rule("Tanh")
def tanh(node: Node, g: Tensor) -> Grads:
    y = node.output
    return (g * (1.0 - y * y),)


@rule("Exp")
def exp(node: Node, g: Tensor) -> Grads:
    return (g * node.output,)


@rule("Log")
def log(node: Node, g: Tensor) -> Grads:
    return (g / node.x,)


@rule("Sqrt")
def sqrt(node: Node, g: Tensor) -> Grads:
    return (g * 0.5 / node.output,)


@rule("Abs")
def abs_(node: Node, g: Tensor) -> Grads:
    return (g * emit("Sign", node.x),)


@rule("Where")
def where(node: Node, g: Tensor) -> Grads:
    condition = node.inputs[0]
    return (
        None,
        emit("Where", condition, g, 0.0, like=g),
        emit("Where", condition, 0.0, g, like=g),
    )


@rule("Cast")
def cast(node: Node, g: Tensor) -> Grads:
    maker = node.x.producer
    if maker is not None and maker.op == "QuantizeLinear":
        from edgeml.graph.rules._quantize import per_step

        return (per_step(maker, g),)
    if g.dtype == node.x.dtype:
        return (g,)
    return (emit("Cast", g, to=to_elem_type(node.x.dtype)),)


no_grad(
    "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor", "Not",
    "IsNaN", "IsInf", reason="its output is a truth value",
)  # fmt: skip
no_grad("Sign", "Floor", "Ceil", "Round", "Hardmax",
        reason="its derivative is zero almost everywhere")  # fmt: skip


@rule("Reciprocal")
def reciprocal(node: Node, g: Tensor) -> Grads:
    y = node.output
    return (-(g * y * y),)


@rule("Pow")
def power(node: Node, g: Tensor) -> Grads:
    x, p = node.x, node.inputs[1]
    assert p is not None
    if p.value is not None and p.value.size == 1:
        exponent = float(p.value.reshape(()))
        if exponent == 2.0:
            return (g * x * 2.0,)
        if exponent == 1.0:
            return (g,)
        return (g * emit("Pow", x, exponent - 1.0, like=x) * exponent, None)
    dx = g * p * emit("Pow", x, p - 1.0)
    # Where the base is not positive its logarithm says nothing; 0 ** p does not change with p.
    safe = emit("Where", x > 0.0, x, 1.0, like=x)
    return dx, g * node.output * emit("Log", safe)


@rule("Erf")
def erf(node: Node, g: Tensor) -> Grads:
    x = node.x
    return (g * emit("Exp", -(x * x)) * (2.0 / math.sqrt(math.pi)),)


@rule("LeakyRelu")
def leaky_relu(node: Node, g: Tensor) -> Grads:
    return (emit("Where", node.x > 0.0, g, g * float(node.attr("alpha", 0.01))),)


@rule("PRelu")
def prelu(node: Node, g: Tensor) -> Grads:
    x, slope = node.inputs[:2]
    assert x is not None
    assert slope is not None
    positive = x > 0.0
    return (
        emit("Where", positive, g, g * slope),
        emit("Where", positive, 0.0, g * x, like=g),
    )


@rule("ThresholdedRelu")
def thresholded_relu(node: Node, g: Tensor) -> Grads:
    return (masked(g, node.x > float(node.attr("alpha", 1.0))),)


@rule("Elu")
def elu(node: Node, g: Tensor) -> Grads:
    alpha = float(node.attr("alpha", 1.0))
    return (emit("Where", node.x > 0.0, g, g * (node.output + alpha)),)


@rule("Selu")
def selu(node: Node, g: Tensor) -> Grads:
    alpha = float(node.attr("alpha", 1.6732632423543772))
    gamma = float(node.attr("gamma", 1.0507009873554805))
    return (emit("Where", node.x > 0.0, g * gamma, g * (node.output + alpha * gamma)),)


@rule("Celu")
def celu(node: Node, g: Tensor) -> Grads:
    alpha = float(node.attr("alpha", 1.0))
    slope = emit("Exp", emit("Min", node.x, 0.0, like=g) * (1.0 / alpha))
    return (g * slope,)


@rule("HardSigmoid")
def hard_sigmoid(node: Node, g: Tensor) -> Grads:
    y = node.output
    inside = emit("And", y > 0.0, y < 1.0)
    return (masked(g * float(node.attr("alpha", 0.2)), inside),)


@lowering("HardSwish")
def hard_swish(node: Node) -> list[Tensor]:
    return [node.x * emit("HardSigmoid", node.x, alpha=1.0 / 6.0, beta=0.5)]


@rule("Softplus")
def softplus(node: Node, g: Tensor) -> Grads:
    return (g * emit("Sigmoid", node.x),)


@rule("Softsign")
def softsign(node: Node, g: Tensor) -> Grads:
    d = emit("Abs", node.x) + 1.0
    return (g / (d * d),)


@lowering("Mish")
def mish(node: Node) -> list[Tensor]:
    return [node.x * emit("Tanh", emit("Softplus", node.x))]


@lowering("Swish")
def swish(node: Node) -> list[Tensor]:
    alpha = float(node.attr("alpha", 1.0))
    return [node.x * emit("Sigmoid", node.x if alpha == 1.0 else node.x * alpha)]


@rule("Gelu")
def gelu(node: Node, g: Tensor) -> Grads:
    x = node.x
    if node.attr("approximate", "none") == "tanh":
        scale = math.sqrt(2.0 / math.pi)
        t = emit("Tanh", (x + x * x * x * 0.044715) * scale)
        inner = (x * x * (3.0 * 0.044715) + 1.0) * scale
        return (g * ((t + 1.0) * 0.5 + x * 0.5 * (1.0 - t * t) * inner),)
    cdf = (emit("Erf", x * math.sqrt(0.5)) + 1.0) * 0.5
    density = emit("Exp", x * x * -0.5) * (1.0 / math.sqrt(2.0 * math.pi))
    return (g * (cdf + x * density),)


@rule("Shrink")
def shrink(node: Node, g: Tensor) -> Grads:
    return (masked(g, emit("Abs", node.x) > float(node.attr("lambd", 0.5))),)


@rule("Clip")
def clip(node: Node, g: Tensor) -> Grads:
    if node.input(1) is None and node.input(2) is None:
        return (g,)
    return (masked(g, emit("Equal", node.x, node.output)),)


@rule("Max", "Min")
def extreme(node: Node, g: Tensor) -> Grads:
    """Equal arguments share the gradient, as in PyTorch."""
    y = node.output
    hits = [emit("Cast", emit("Equal", x, y), to=to_elem_type(g.dtype)) for x in node.inputs]
    if len(hits) == 1:
        return (g,)
    shared = g / emit("Sum", *hits)
    return tuple(shared * hit for hit in hits)


@rule("Sum")
def sum_(node: Node, g: Tensor) -> Grads:
    return (g,) * len(node.inputs)


@rule("Mean")
def mean(node: Node, g: Tensor) -> Grads:
    return (g * (1.0 / len(node.inputs)),) * len(node.inputs)


@rule("Mod")
def mod(node: Node, g: Tensor) -> Grads:
    quotient = node.x / node.inputs[1]
    towards_zero = emit("Sign", quotient) * emit("Floor", emit("Abs", quotient))
    return g, -(g * towards_zero)


@rule("CastLike")
def cast_like(node: Node, g: Tensor) -> Grads:
    return (emit("Cast", g, to=to_elem_type(node.x.dtype)), None)


@rule("Dropout")
def dropout(node: Node, g: Tensor, _mask: Tensor | None = None) -> Grads:
    mode, ratio = node.input(2), node.input(1)
    if mode is None or (mode.value is not None and not mode.value.any()):
        return (g,)
    rate = 0.5 if ratio is None or ratio.value is None else float(ratio.value)
    mask = emit("Cast", node.extra_output(1), to=to_elem_type(g.dtype))
    return (g * mask * (1.0 / (1.0 - rate)),)


no_grad("BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot", "BitShift",
        reason="it works on integers")  # fmt: skip
no_grad("BitCast", reason="it works on bits")
