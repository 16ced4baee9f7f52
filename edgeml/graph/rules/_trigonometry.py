"""Rules of the trigonometric and hyperbolic functions."""

from __future__ import annotations

from edgeml.graph._ir import Node, Tensor, emit
from edgeml.graph._rules import rule

Grads = tuple[Tensor | None, ...]


@rule("Sin")
def sin(node: Node, g: Tensor) -> Grads:
    return (g * emit("Cos", node.x),)


@rule("Cos")
def cos(node: Node, g: Tensor) -> Grads:
    return (-(g * emit("Sin", node.x)),)


@rule("Tan")
def tan(node: Node, g: Tensor) -> Grads:
    y = node.output
    return (g * (y * y + 1.0),)


@rule("Asin")
def asin(node: Node, g: Tensor) -> Grads:
    x = node.x
    return (g / emit("Sqrt", 1.0 - x * x),)


@rule("Acos")
def acos(node: Node, g: Tensor) -> Grads:
    x = node.x
    return (-(g / emit("Sqrt", 1.0 - x * x)),)


@rule("Atan")
def atan(node: Node, g: Tensor) -> Grads:
    x = node.x
    return (g / (x * x + 1.0),)


@rule("Sinh")
def sinh(node: Node, g: Tensor) -> Grads:
    return (g * emit("Cosh", node.x),)


@rule("Cosh")
def cosh(node: Node, g: Tensor) -> Grads:
    return (g * emit("Sinh", node.x),)


@rule("Asinh")
def asinh(node: Node, g: Tensor) -> Grads:
    x = node.x
    return (g / emit("Sqrt", x * x + 1.0),)


@rule("Acosh")
def acosh(node: Node, g: Tensor) -> Grads:
    x = node.x
    return (g / emit("Sqrt", x * x - 1.0),)


@rule("Atanh")
def atanh(node: Node, g: Tensor) -> Grads:
    x = node.x
    return (g / (1.0 - x * x),)
