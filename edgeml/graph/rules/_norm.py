"""Rules of normalizations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeml.graph._ir import Node, Tensor, emit, held, with_vjp
from edgeml.graph._rules import lowering, rule
from edgeml.graph.rules._linalg import transposed

Grads = tuple[Tensor | None, ...]


def _mean(x: Tensor, axes: Sequence[int]) -> Tensor:
    return emit("ReduceMean", x, np.array(axes, np.int64), keepdims=1)


def _sum(x: Tensor, axes: Sequence[int]) -> Tensor:
    return emit("ReduceSum", x, np.array(axes, np.int64), keepdims=1)


def _inverse(x: Tensor) -> Tensor:
    return emit("Reciprocal", emit("Sqrt", x))


def _shaped(x: Tensor, shape: Sequence[int]) -> Tensor:
    return emit("Reshape", x, np.array(shape, np.int64))


def _stop(x: Tensor) -> Tensor:
    return emit("StopGradient", x, domain="edgeml")


@lowering("BatchNormalization")
def batch_normalization(node: Node) -> list[Tensor]:
    given = [x for x in node.inputs[:5] if x is not None]
    run = _batch_statistics if node.attr("training_mode", 0) else _frozen_statistics
    return run(node, *given)


def _channels(x: Tensor) -> tuple[list[int], list[int]]:
    """Return the axes that are reduced, and the shape of one value a channel."""
    shape = x.static_shape
    return [0, *range(2, len(shape))], [1, shape[1], *[1] * (len(shape) - 2)]


def _frozen_statistics(
    node: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor
) -> list[Tensor]:
    inner = [held(value) for value in (x, scale, bias, mean, var)]
    epsilon = node.attr("epsilon", 1e-5)
    y = emit("BatchNormalization", *inner, epsilon=epsilon)
    x0, scale0, _, mean0, var0 = inner

    def vjp(g: Tensor) -> Grads:
        axes, shape = _channels(x0)
        inverse = _inverse(var0 + epsilon)
        total = _shaped(_sum(g, axes), [-1])
        spread = _shaped(_sum(g * (x0 - _shaped(mean0, shape)), axes), [-1]) * inverse
        factor = scale0 * inverse
        dx = g * _shaped(factor, shape)
        return dx, spread, total, -(factor * total), factor * inverse * spread * -0.5

    return with_vjp([y], [x, scale, bias, mean, var], vjp)


def _batch_statistics(
    node: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor
) -> list[Tensor]:
    """Centre once, for the variance, the output and the gradient."""
    axes, shape = _channels(x)
    x0, scale0, bias0 = held(x), held(scale), held(bias)
    now = _mean(x0, axes)
    centred = x0 - now
    spread = _mean(centred * centred, axes)
    inverse = _inverse(spread + node.attr("epsilon", 1e-5))
    factor = inverse * _shaped(scale0, shape)
    y = centred * factor + _shaped(bias0, shape)

    def vjp(g: Tensor) -> Grads:
        count = x.size / max(x.static_shape[1], 1)
        total = _sum(g, axes)
        slope = _sum(g * centred, axes) * inverse
        pull = factor * inverse * slope * (-1.0 / count)
        dx = g * factor + (centred * pull - factor * total * (1.0 / count))
        return dx, _shaped(slope, [-1]), _shaped(total, [-1])

    (made,) = with_vjp([y], [x, scale, bias], vjp)
    momentum = node.attr("momentum", 0.9)
    running = [
        _stop(old * momentum + _shaped(new, [-1]) * (1.0 - momentum))
        for old, new in ((mean, now), (var, spread))
    ]
    return [made, *running]


def _standardized(x: Tensor, axis: int, epsilon: float) -> Tensor:
    """Return `x` with mean 0 and variance 1 along `axis`, behind a boundary with its gradient."""
    x0 = held(x)
    centred = x0 - _mean(x0, [axis])
    inverse = _inverse(_mean(centred * centred, [axis]) + epsilon)
    y = centred * inverse
    return with_vjp([y], [x], lambda g: (_to_input(g, y, inverse, [axis]),))[0]


def _to_input(g: Tensor, y: Tensor, inverse: Tensor, axes: Sequence[int]) -> Tensor:
    """Return the gradient of what was standardized to `y` along `axes`."""
    return inverse * (g - y * _mean(g * y, axes) - _mean(g, axes))


def _grouped(x: Tensor, groups: int, epsilon: float) -> Tensor:
    shape = x.static_shape
    rows = _shaped(x, [shape[0], groups, x.size // max(shape[0] * groups, 1)])
    return _shaped(_standardized(rows, 2, epsilon), shape)


@lowering("InstanceNormalization")
def instance_normalization(node: Node) -> list[Tensor]:
    x, scale, bias = (value for value in node.inputs if value is not None)
    _, shape = _channels(x)
    y = _grouped(x, shape[1], node.attr("epsilon", 1e-5))
    return [y * _shaped(scale, shape) + _shaped(bias, shape)]


@lowering("GroupNormalization")
def group_normalization(node: Node) -> list[Tensor]:
    """Scale and bias are one a group in opset 18, one a channel from 21 on."""
    x, scale, bias = (value for value in node.inputs if value is not None)
    groups, (_, shape) = node.attr("num_groups"), _channels(x)
    y = _grouped(x, groups, node.attr("epsilon", 1e-5))
    if x.graph.opset >= 21:
        return [y * _shaped(scale, shape) + _shaped(bias, shape)]
    by_group = [x.static_shape[0], groups, -1]
    one = [1, groups, 1]
    scaled = _shaped(y, by_group) * _shaped(scale, one) + _shaped(bias, one)
    return [_shaped(scaled, x.static_shape)]


def _last_axes(node: Node) -> list[int]:
    rank = node.x.ndim
    return list(range(node.attr("axis", -1) % rank, rank))


@rule("LayerNormalization")
def layer_normalization(node: Node, g: Tensor | None, *others: Tensor | None) -> Grads:
    mean, inverse = node.extra_output(1), node.extra_output(2)
    statistics = _of_statistics(node, mean, inverse, *others)
    if g is None:
        return (statistics,)
    y = (node.x - mean) * inverse
    gy = g * y
    scale = node.inputs[1]
    assert scale is not None
    own = [node.x.static_shape[axis] for axis in _last_axes(node)]
    width = int(np.prod(own))
    if scale.static_shape != tuple(own):
        scale = emit("Expand", scale, np.array(own, np.int64))
    column = _shaped(scale, [width, 1]) * (1.0 / max(width, 1))

    def mean_scaled(value: Tensor) -> Tensor:
        """Return the mean of the scaled rows: a product, without the scaled tensor."""
        rows = _shaped(value, [-1, width]) if len(own) > 1 else value
        return _shaped(emit("MatMul", rows, column), inverse.static_shape)

    dx = inverse * (g * scale - y * mean_scaled(gy) - mean_scaled(g))
    dx = dx if statistics is None else dx + statistics
    return dx, _column_sums(gy, own), _column_sums(g, own) if node.input(2) is not None else None


def _of_statistics(
    node: Node, mean: Tensor, inverse: Tensor, by_mean: Tensor | None = None,
    by_inverse: Tensor | None = None,
) -> Tensor | None:  # fmt: skip
    """Return what the mean and the inverse deviation pass on: second derivatives need them."""
    count = node.x.size / max(mean.size, 1)
    found: Tensor | None = None
    if by_inverse is not None:
        found = (node.x - mean) * (by_inverse * inverse * inverse * inverse * (-1.0 / count))
    if by_mean is not None:
        spread = emit("Expand", by_mean * (1.0 / count), np.array(node.x.static_shape, np.int64))
        found = spread if found is None else found + spread
    return found


def _column_sums(x: Tensor, own: Sequence[int]) -> Tensor:
    """Return the sum over all but the last axes, as a product: a reduction is twice as slow."""
    width = int(np.prod(own))
    rows = x.size // max(width, 1)
    ones = x.graph.constant(np.ones((1, rows), x.dtype))
    return _shaped(emit("MatMul", ones, _shaped(x, [rows, width])), own)


@rule("RMSNormalization")
def rms_normalization(node: Node, g: Tensor) -> Grads:
    axes = _last_axes(node)
    inverse = _inverse(_mean(node.x * node.x, axes) + node.attr("epsilon", 1e-5))
    y = node.x * inverse
    scaled = g * node.inputs[1]
    dx = inverse * (scaled - y * _mean(scaled * y, axes))
    return dx, _column_sums(g * y, [node.x.static_shape[axis] for axis in axes])


@rule("MeanVarianceNormalization")
def mean_variance_normalization(node: Node, g: Tensor) -> Grads:
    axes = node.attr("axes") or [0, 2, 3]
    centred = node.x - _mean(node.x, axes)
    inverse = emit("Reciprocal", emit("Sqrt", _mean(centred * centred, axes)) + 1e-9)
    return (_to_input(g, node.output, inverse, axes),)


@rule("LpNormalization")
def lp_normalization(node: Node, g: Tensor) -> Grads:
    axis, y = [node.attr("axis", -1)], node.output
    one = node.attr("p", 2) == 1
    size = emit("ReduceL1" if one else "ReduceL2", node.x, np.array(axis, np.int64), keepdims=1)
    direction = emit("Sign", node.x) if one else y
    dx = (g - direction * _sum(g * y, axis)) / size
    return (emit("Where", size > 0.0, dx, 0.0, like=g),)


@rule("LRN")
def local_response(node: Node, g: Tensor) -> Grads:
    """Sums over neighbouring channels are products with a banded matrix."""
    n, channels, *rest = node.x.static_shape
    size, alpha, beta = node.attr("size"), node.attr("alpha", 1e-4), node.attr("beta", 0.75)
    distance = np.arange(channels)[None] - np.arange(channels)[:, None]
    before, after = (size - 1) // 2, size // 2
    near = ((distance >= -before) & (distance <= after)).astype(node.x.dtype)
    band = node.x.graph.constant(near * (alpha / size))
    x, up = (_shaped(value, [n, channels, int(np.prod(rest))]) for value in (node.x, g))
    s = emit("MatMul", band, x * x) + node.attr("bias", 1.0)
    scaled = up * emit("Pow", s, -beta, like=s)
    through = emit("MatMul", transposed(band), scaled * x / s)
    return (_shaped(scaled - x * through * (2.0 * beta), node.x.static_shape),)
