"""Elementwise functions and products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgeml.graph import Tensor, as_tensor, emit
from edgeml.graph._infer import to_elem_type
from edgeml.graph._ir import held, with_vjp

Like = Any  # a tensor, an array or a number


def add(x: Like, y: Like) -> Tensor:
    """Return ``x + y``."""
    return emit("Add", x, y)


def subtract(x: Like, y: Like) -> Tensor:
    """Return ``x - y``."""
    return emit("Sub", x, y)


def multiply(x: Like, y: Like) -> Tensor:
    """Return ``x * y``."""
    return emit("Mul", x, y)


def divide(x: Like, y: Like) -> Tensor:
    """Return ``x / y``; integers are divided as C does."""
    return emit("Div", x, y)


def power(x: Like, y: Like) -> Tensor:
    """Return ``x ** y``."""
    return emit("Pow", x, y)


def floor_divide(x: Like, y: Like) -> Tensor:
    """Return ``x / y`` rounded down, of integers, too.

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(lambda x: edgeml.ops.floor_divide(x, 2))(np.array([-3, 3])).tolist()
        [-2, 1]
    """
    left = as_tensor(x, y if isinstance(y, Tensor) else None)
    if left.dtype.kind == "f":
        return floor(divide(left, y))
    return divide(left - mod(left, y), y)


def divide_no_nan(x: Like, y: Like) -> Tensor:
    """Return ``x / y``, and 0 where `y` is 0; the gradient is 0 there, too.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda y: edgeml.ops.divide_no_nan(1.0, y))
        >>> run(np.array([0.0, 2.0])).tolist()
        [0.0, 0.5]
    """
    below = as_tensor(y, x if isinstance(x, Tensor) else None)
    none = equal(below, 0.0)
    return where(none, 0.0, divide(x, where(none, 1.0, below)))


def squared_difference(x: Like, y: Like) -> Tensor:
    """Return ``(x - y) ** 2``."""
    return square(subtract(x, y))


def mod(x: Like, y: Like) -> Tensor:
    """Return the remainder of ``x / y``, with the sign of `y`, as ``numpy.mod``."""
    left = as_tensor(x, y if isinstance(y, Tensor) else None)
    if left.dtype.kind == "f":
        return subtract(left, multiply(floor(divide(left, y)), y))
    return emit("Mod", left, y)


def negative(x: Like) -> Tensor:
    """Return ``-x``."""
    return _unary("Neg", x)


def absolute(x: Like) -> Tensor:
    """Return the absolute value."""
    return _unary("Abs", x)


def exp(x: Like) -> Tensor:
    """Return e to the power of `x`."""
    return _unary("Exp", x)


def expm1(x: Like) -> Tensor:
    """Return ``exp(x) - 1``, exact to the last digits near 0, too."""
    value = as_tensor(x)
    inner = held(value)
    half = tanh(inner * 0.5)
    y = where(inner < 1.0, 2.0 * half / (1.0 - half), exp(inner) - 1.0)
    return with_vjp([y], [value], lambda g: (g * exp(value),))[0]


def log(x: Like) -> Tensor:
    """Return the natural logarithm."""
    return _unary("Log", x)


def log1p(x: Like) -> Tensor:
    """Return ``log(1 + x)``, exact to the last digits near 0, too."""
    value = as_tensor(x)
    inner = held(value)
    total = inner + 1.0
    kept = total - 1.0  # what of x the sum did not round off
    exact = where(equal(kept, 0.0), inner, log(total) * (inner / kept))
    y = where(equal(kept, inner), log(total), exact)
    return with_vjp([y], [value], lambda g: (g / (value + 1.0),))[0]


def sqrt(x: Like) -> Tensor:
    """Return the square root."""
    return _unary("Sqrt", x)


def rsqrt(x: Like) -> Tensor:
    """Return ``1 / sqrt(x)``."""
    return reciprocal(sqrt(x))


def square(x: Like) -> Tensor:
    """Return ``x * x``."""
    value = as_tensor(x)
    return value * value


def reciprocal(x: Like) -> Tensor:
    """Return ``1 / x``."""
    return _unary("Reciprocal", x)


def sign(x: Like) -> Tensor:
    """Return -1, 0 or 1."""
    return _unary("Sign", x)


def floor(x: Like) -> Tensor:
    """Round down."""
    return _unary("Floor", x)


def ceil(x: Like) -> Tensor:
    """Round up."""
    return _unary("Ceil", x)


def round(x: Like) -> Tensor:
    """Round to the nearest integer, halves to even."""
    return _unary("Round", x)


def sin(x: Like) -> Tensor:
    """Return the sine of `x` in radians."""
    return _unary("Sin", x)


def cos(x: Like) -> Tensor:
    """Return the cosine of `x` in radians."""
    return _unary("Cos", x)


def tan(x: Like) -> Tensor:
    """Return the tangent of `x` in radians."""
    return _unary("Tan", x)


def arcsin(x: Like) -> Tensor:
    """Return the inverse sine, in radians."""
    return _unary("Asin", x)


def arccos(x: Like) -> Tensor:
    """Return the inverse cosine, in radians."""
    return _unary("Acos", x)


def arctan(x: Like) -> Tensor:
    """Return the inverse tangent, in radians."""
    return _unary("Atan", x)


def arctan2(y: Like, x: Like) -> Tensor:
    """Return the angle of the point (`x`, `y`), in radians from -pi to pi.

    Example:
        >>> import edgeml
        >>> print(f"{float(edgeml.function(edgeml.ops.arctan2)(1.0, -1.0)):.4f}")
        2.3562
    """
    up = as_tensor(y, x if isinstance(x, Tensor) else None)
    right = as_tensor(x, up)
    dy, dx = held(up), held(right)
    # The smaller over the larger: the quotient is finite wherever the angle is.
    steep = absolute(dy) > absolute(dx)
    angle = arctan(divide_no_nan(where(steep, -dx, dy), where(steep, dy, dx)))
    half = where(dy < 0.0, -math.pi, math.pi)
    turn = where(steep, half * 0.5, where(dx < 0.0, half, half * 0.0))

    def vjp(g: Tensor) -> tuple[Tensor, Tensor]:
        share = g / (square(up) + square(right))
        return share * right, -(share * up)

    return with_vjp([angle + turn], [up, right], vjp)[0]


def sinh(x: Like) -> Tensor:
    """Return the hyperbolic sine."""
    return _unary("Sinh", x)


def cosh(x: Like) -> Tensor:
    """Return the hyperbolic cosine."""
    return _unary("Cosh", x)


def tanh(x: Like) -> Tensor:
    """Return the hyperbolic tangent."""
    return _unary("Tanh", x)


def arcsinh(x: Like) -> Tensor:
    """Return the inverse hyperbolic sine."""
    return _unary("Asinh", x)


def arccosh(x: Like) -> Tensor:
    """Return the inverse hyperbolic cosine."""
    return _unary("Acosh", x)


def arctanh(x: Like) -> Tensor:
    """Return the inverse hyperbolic tangent."""
    return _unary("Atanh", x)


def erf(x: Like) -> Tensor:
    """Return the error function."""
    return _unary("Erf", x)


def isnan(x: Like) -> Tensor:
    """Return where `x` is not a number, as bool."""
    return _unary("IsNaN", x)


def isinf(x: Like) -> Tensor:
    """Return where `x` is infinite, as bool."""
    return _unary("IsInf", x)


def isfinite(x: Like) -> Tensor:
    """Return where `x` is neither infinite nor NaN, as bool."""
    return logical_not(logical_or(isnan(x), isinf(x)))


def clip(x: Like, low: Like = None, high: Like = None) -> Tensor:
    """Limit `x` to [low, high]; None is no limit.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.clip(x, 1.5, 2.5))
        >>> run(np.array([1.0, 3.0, 2.0])).tolist()
        [1.5, 2.5, 2.0]
    """
    return emit("Clip", x, low, high)


def maximum(x: Like, y: Like) -> Tensor:
    """Return the larger of two, elementwise.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.maximum(x, 2.0))
        >>> run(np.array([1.0, 3.0, 2.0])).tolist()
        [2.0, 3.0, 2.0]
    """
    return emit("Max", x, y)


def minimum(x: Like, y: Like) -> Tensor:
    """Return the smaller of two, elementwise."""
    return emit("Min", x, y)


def where(condition: Like, x: Like, y: Like) -> Tensor:
    """Return `x` where `condition` holds, else `y`.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.where(x > 1.5, x, 0.0))
        >>> run(np.array([1.0, 3.0, 2.0])).tolist()
        [0.0, 3.0, 2.0]
    """
    like = x if isinstance(x, Tensor) else y if isinstance(y, Tensor) else None
    if like is None:
        x, y = as_tensor(np.asarray(x)), as_tensor(np.asarray(y))
        like = x if x.dtype.kind == "f" else y
        x, y = cast(x, like.dtype), cast(y, like.dtype)
    return emit("Where", condition, x, y, like=like)


def equal(x: Like, y: Like) -> Tensor:
    """Return where two are equal, as bool."""
    return emit("Equal", x, y)


def not_equal(x: Like, y: Like) -> Tensor:
    """Return where two differ, as bool."""
    return logical_not(equal(x, y))


def less(x: Like, y: Like) -> Tensor:
    """Return ``x < y`` as bool."""
    return emit("Less", x, y)


def less_equal(x: Like, y: Like) -> Tensor:
    """Return ``x <= y`` as bool."""
    return emit("LessOrEqual", x, y)


def greater(x: Like, y: Like) -> Tensor:
    """Return ``x > y`` as bool."""
    return emit("Greater", x, y)


def greater_equal(x: Like, y: Like) -> Tensor:
    """Return ``x >= y`` as bool."""
    return emit("GreaterOrEqual", x, y)


def logical_and(x: Like, y: Like) -> Tensor:
    """Return where both hold; bool in, bool out."""
    return emit("And", x, y)


def logical_or(x: Like, y: Like) -> Tensor:
    """Return where either holds; bool in, bool out."""
    return emit("Or", x, y)


def logical_xor(x: Like, y: Like) -> Tensor:
    """Return where exactly one holds; bool in, bool out."""
    return emit("Xor", x, y)


def logical_not(x: Like) -> Tensor:
    """Return where `x` does not hold; bool in, bool out."""
    return _unary("Not", x)


def cast(x: Like, dtype: Any) -> Tensor:
    """Return `x` with another dtype; as it is when it has that already.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.cast(x, np.int32))
        >>> run(np.array([1.7, -1.7])).tolist()
        [1, -1]
    """
    value = as_tensor(x)
    if value.dtype == np.dtype(dtype):
        return value
    return emit("Cast", value, to=to_elem_type(np.dtype(dtype)))


def matmul(x: Like, y: Like) -> Tensor:
    """Return the matrix product ``x @ y``, over leading axes as NumPy does.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x, y: edgeml.ops.matmul(x, y))
        >>> run(np.array([[1.0, 2.0], [3.0, 4.0]]), np.ones(2)).tolist()
        [3.0, 7.0]
    """
    return emit("MatMul", x, y)


def einsum(equation: str, *operands: Like) -> Tensor:
    """Return the sum of products that Einstein's notation describes: ``"bij,bjk->bik"``.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x, y: edgeml.ops.einsum("ij,j->i", x, y))
        >>> run(np.array([[1.0, 2.0], [3.0, 4.0]]), np.ones(2)).tolist()
        [3.0, 7.0]
    """
    return emit("Einsum", *operands, equation=equation)


def relu(x: Like) -> Tensor:
    """Return ``max(x, 0)``."""
    return _unary("Relu", x)


def relu6(x: Like) -> Tensor:
    """Return `x` limited to [0, 6]."""
    return clip(x, 0.0, 6.0)


def leaky_relu(x: Like, negative_slope: float = 0.2) -> Tensor:
    """Return `x`, times `negative_slope` where it is negative.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.leaky_relu(x))
        >>> run(np.array([-1.0, 1.0])).tolist()
        [-0.20000000298023224, 1.0]
    """
    return emit("LeakyRelu", x, alpha=float(negative_slope))


def elu(x: Like, alpha: float = 1.0) -> Tensor:
    """Return `x`, or ``alpha * (exp(x) - 1)`` where it is negative."""
    return emit("Elu", x, alpha=float(alpha))


def selu(x: Like) -> Tensor:
    """Return the scaled exponential linear unit (Klambauer et al., 2017)."""
    return _unary("Selu", x)


def celu(x: Like, alpha: float = 1.0) -> Tensor:
    """Return the continuously differentiable exponential linear unit."""
    return emit("Celu", x, alpha=float(alpha))


def sigmoid(x: Like) -> Tensor:
    """Return ``1 / (1 + exp(-x))``."""
    return _unary("Sigmoid", x)


def hard_sigmoid(x: Like) -> Tensor:
    """Return ``relu6(x + 3) / 6``."""
    return emit("HardSigmoid", x, alpha=1.0 / 6.0, beta=0.5)


def softplus(x: Like) -> Tensor:
    """Return ``log(1 + exp(x))``, without overflow."""
    return _unary("Softplus", x)


def softsign(x: Like) -> Tensor:
    """Return ``x / (1 + |x|)``."""
    return _unary("Softsign", x)


def silu(x: Like) -> Tensor:
    """Return ``x * sigmoid(x)``."""
    value = as_tensor(x)
    return value * sigmoid(value)


def mish(x: Like) -> Tensor:
    """Return ``x * tanh(softplus(x))``."""
    value = as_tensor(x)
    return value * tanh(softplus(value))


def gelu(x: Like, approximate: bool = True) -> Tensor:
    """Return the Gaussian error linear unit (Hendrycks and Gimpel, 2016).

    Args:
        x: A tensor.
        approximate: Whether to use the formula with tanh, as Keras does, or the exact one.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.gelu(x))
        >>> run(np.zeros(1)).tolist()
        [0.0]
    """
    value = as_tensor(x)
    if approximate:
        inner = math.sqrt(2.0 / math.pi) * (value + 0.044715 * value * value * value)
        return 0.5 * value * (1.0 + tanh(inner))
    return 0.5 * value * (1.0 + erf(value * math.sqrt(0.5)))


def softmax(x: Like, axis: int = -1) -> Tensor:
    """Return ``exp(x) / sum(exp(x))`` along `axis`, without overflow.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.softmax(x * 0.0))
        >>> run(np.array([1.0, 3.0, 2.0])).tolist()
        [0.3333333432674408, 0.3333333432674408, 0.3333333432674408]
    """
    return emit("Softmax", x, axis=axis)


def log_softmax(x: Like, axis: int = -1) -> Tensor:
    """Return the logarithm of the softmax along `axis`.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.log_softmax(x * 0.0, axis=0))
        >>> run(np.zeros(1)).tolist()
        [0.0]
    """
    return emit("LogSoftmax", x, axis=axis)


def _unary(op: str, x: Like) -> Tensor:
    return emit(op, x)
