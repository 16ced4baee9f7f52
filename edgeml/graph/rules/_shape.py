"""Rules of operators that move values about."""

from __future__ import annotations

import numpy as np

from edgeml.errors import NoGradient
from edgeml.graph._ir import Node, Tensor, emit, emit_many
from edgeml.graph._rules import no_grad, rule

Grads = tuple[Tensor | None, ...]


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(node: Node, g: Tensor) -> Grads:
    shape = node.x.static_shape
    return (emit("Reshape", g, np.array(shape, np.int64), allowzero=1 if 0 in shape else None),)


@rule("Transpose")
def transpose(node: Node, g: Tensor) -> Grads:
    perm = node.attr("perm") or list(range(node.x.ndim))[::-1]
    return (emit("Transpose", g, perm=[int(i) for i in np.argsort(perm)]),)


no_grad("Shape", "Size", reason="its output is a shape")
no_grad("Range", "ConstantOfShape", "EyeLike", "NonZero", "OneHot",
        "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli",
        reason="its output does not depend on real numbers")  # fmt: skip


@rule("Expand")
def expand(node: Node, g: Tensor) -> Grads:
    return (g,)  # the walker sums over what was repeated


@rule("Concat")
def concat(node: Node, g: Tensor) -> Grads:
    axis = node.attr("axis") % g.ndim
    sizes = [x.static_shape[axis] for x in node.inputs if x is not None]
    if len(sizes) == 1:
        return (g,)
    return emit_many(len(sizes), "Split", g, np.array(sizes, np.int64), axis=axis)


@rule("Split")
def split(node: Node, *gs: Tensor | None) -> Grads:
    parts = [
        g if g is not None else _zeros(y)
        for g, y in zip(gs, node.outputs, strict=True) if y is not None
    ]  # fmt: skip
    return (emit("Concat", *parts, axis=node.attr("axis", 0)),)


@rule("Slice")
def slice_(node: Node, g: Tensor) -> Grads:
    shape = node.x.static_shape
    starts, ends = _ints(node, 1), _ints(node, 2)
    axes = _ints(node, 3) or list(range(len(starts)))
    steps = _ints(node, 4) or [1] * len(starts)
    before, after = [0] * len(shape), [0] * len(shape)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        at = axis % len(shape)
        places = range(*slice(start, end if step > 0 or end >= -shape[at] else None, step)
                       .indices(shape[at]))  # fmt: skip
        if not places:
            return (_zeros(node.x),)
        if step < 0:
            g = _reversed(g, at)
            places = places[::-1]
        if abs(step) > 1:
            g = _spaced(g, at, abs(step))
        before[at], after[at] = places[0], shape[at] - 1 - places[-1]
    if not any(before) and not any(after):
        return (g,)
    return (emit("Pad", g, np.array([*before, *after], np.int64)),)


def _ints(node: Node, i: int) -> list[int]:
    given = node.input(i)
    if given is None:
        return []
    if given.value is None:
        raise NoGradient(
            f"{node.op}, node {node.name!r}: its {i}th input must be constant to be differentiated",
            op=node.op, node=node.name,
        )  # fmt: skip
    return [int(value) for value in given.value.reshape(-1)]


def _reversed(g: Tensor, axis: int) -> Tensor:
    end = np.iinfo(np.int64).min
    ints = [np.array([value], np.int64) for value in (-1, end, axis, -1)]
    return emit("Slice", g, *ints)


def _spaced(g: Tensor, axis: int, step: int) -> Tensor:
    """Put `step - 1` zeros after each slice but the last."""
    shape = list(g.static_shape)
    wide = emit("Unsqueeze", g, np.array([axis + 1], np.int64))
    pads = [0] * (2 * (len(shape) + 1))
    pads[len(shape) + 1 + axis + 1] = step - 1
    wide = emit("Pad", wide, np.array(pads, np.int64))
    size = shape[axis] * step
    shape[axis] = size
    long = emit("Reshape", wide, np.array(shape, np.int64))
    cut = [np.array([value], np.int64) for value in (0, size - step + 1, axis)]
    return emit("Slice", long, *cut)


def _zeros(x: Tensor) -> Tensor:
    return x.graph.constant(np.zeros(x.static_shape, x.dtype))


@rule("Pad")
def pad(node: Node, g: Tensor) -> Grads:
    shape, axes = node.x.static_shape, _ints(node, 3) or list(range(node.x.ndim))
    given = _ints(node, 1)
    before, after = [0] * len(shape), [0] * len(shape)
    for i, axis in enumerate(axes):
        before[axis % len(shape)], after[axis % len(shape)] = given[i], given[i + len(axes)]
    if node.attr("mode", "constant") == "constant":
        back = [-n for n in (*before, *after)]
        return (emit("Pad", g, np.array(back, np.int64)),)
    # Each padded place is a copy of one place: along each axis, a matrix of zeros and ones.
    mode = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}[node.attr("mode")]
    for axis, (lead, trail) in enumerate(zip(before, after, strict=True)):
        if lead or trail:
            origin = np.pad(np.arange(shape[axis]), (lead, trail), mode=mode)  # type: ignore[call-overload]
            copies = np.eye(shape[axis], dtype=g.dtype)[origin]
            last = _moved(g, axis, g.ndim - 1)
            g = _moved(emit("MatMul", last, copies), g.ndim - 1, axis)
    return (g,)


def _moved(x: Tensor, source: int, target: int) -> Tensor:
    if source == target:
        return x
    perm = list(range(x.ndim))
    perm.insert(target, perm.pop(source))
    return emit("Transpose", x, perm=perm)


@rule("Tile")
def tile(node: Node, g: Tensor) -> Grads:
    shape, repeats = node.x.static_shape, _ints(node, 1)
    pairs = [n for pair in zip(repeats, shape, strict=True) for n in pair]
    split_up = emit("Reshape", g, np.array(pairs, np.int64))
    axes = np.array([2 * i for i in range(len(shape))], np.int64)
    return (emit("ReduceSum", split_up, axes, keepdims=0),)


@rule("DepthToSpace")
def depth_to_space(node: Node, g: Tensor) -> Grads:
    block = node.attr("blocksize")
    if node.attr("mode", "DCR") == "DCR":
        return (emit("SpaceToDepth", g, blocksize=block),)
    n, c, h, w = node.x.static_shape
    inner = c // (block * block)
    shape = np.array([n, inner, h, block, w, block], np.int64)
    cut = emit("Transpose", emit("Reshape", g, shape), perm=[0, 1, 3, 5, 2, 4])
    return (emit("Reshape", cut, np.array([n, c, h, w], np.int64)),)


@rule("SpaceToDepth")
def space_to_depth(node: Node, g: Tensor) -> Grads:
    return (emit("DepthToSpace", g, blocksize=node.attr("blocksize")),)


@rule("Trilu")
def trilu(node: Node, g: Tensor) -> Grads:
    return (emit("Trilu", g, node.input(1), upper=node.attr("upper", 1)),)
