"""Rules of elementwise operators."""

from __future__ import annotations

from edgeml.graph._ir import Node, Tensor, emit
from edgeml.graph._rules import no_grad, rule

Grads = tuple[Tensor | None, ...]


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
    return (emit("Where", node.output > 0.0, g, 0.0, like=g),)


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
    if g.dtype == node.x.dtype:
        return (g,)
    from edgeml.graph._infer import to_elem_type

    return (emit("Cast", g, to=to_elem_type(node.x.dtype)),)


no_grad(
    "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor", "Not",
    "IsNaN", "IsInf", reason="its output is a truth value",
)  # fmt: skip
no_grad("Sign", "Floor", "Ceil", "Round", reason="its derivative is zero almost everywhere")
