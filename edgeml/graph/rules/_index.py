"""Rules of operators that pick and place values by index."""

from __future__ import annotations

import numpy as np

from edgeml.graph._infer import to_elem_type
from edgeml.graph._ir import Node, Tensor, emit
from edgeml.graph._rules import attributes_of, lowering, no_grad, rule

Grads = tuple[Tensor | None, ...]

# A product with one-hot rows beats adding row by row while the table is this small.
_SMALL_TABLE = 512


def _zeros(x: Tensor) -> Tensor:
    return x.graph.constant(np.zeros(x.static_shape, x.dtype))


def _shaped(x: Tensor, *shape: int) -> Tensor:
    return emit("Reshape", x, np.array(shape, np.int64))


def _wrapped(indices: Tensor, size: int) -> Tensor:
    """Return indices with the negative ones, which count from the end, made positive."""
    if indices.value is not None:
        return indices.graph.constant(np.where(indices.value < 0, indices.value + size,
                                               indices.value).astype(np.int64))  # fmt: skip
    wide = emit("Cast", indices, to=to_elem_type(np.dtype(np.int64)))
    return emit("Where", wide < 0, wide + size, wide)


@rule("Gather")
def gather(node: Node, g: Tensor) -> Grads:
    x, indices = node.x, node.inputs[1]
    assert indices is not None
    shape, axis = x.static_shape, node.attr("axis", 0) % x.ndim
    picked = indices.ndim
    perm = [*range(axis, axis + picked), *range(axis), *range(axis + picked, g.ndim)]
    rest = [*shape[:axis], *shape[axis + 1 :]]
    count = int(np.prod(indices.static_shape, dtype=np.int64))
    width = int(np.prod(rest, dtype=np.int64))
    rows = _shaped(emit("Transpose", g, perm=perm) if axis else g, count, width)
    flat = _shaped(_wrapped(indices, shape[axis]), count)
    if shape[axis] <= _SMALL_TABLE:
        hot = emit("OneHot", flat, np.array(shape[axis], np.int64), np.array([0, 1], x.dtype))
        table = emit("MatMul", emit("Transpose", hot, perm=[1, 0]), rows)
    else:
        empty = x.graph.constant(np.zeros((shape[axis], width), x.dtype))
        at = _shaped(flat, count, 1)
        table = emit("ScatterND", empty, at, rows, reduction="add")
    full = _shaped(table, shape[axis], *rest)
    if not axis:
        return (full,)
    back = [*range(1, axis + 1), 0, *range(axis + 1, len(shape))]
    return (emit("Transpose", full, perm=back),)


@rule("GatherElements")
def gather_elements(node: Node, g: Tensor) -> Grads:
    axis = node.attr("axis", 0)
    zeros = _zeros(node.x)
    return (emit("ScatterElements", zeros, node.inputs[1], g, axis=axis, reduction="add"),)


@rule("GatherND")
def gather_nd(node: Node, g: Tensor) -> Grads:
    indices = _with_batch(node)
    return (emit("ScatterND", _zeros(node.x), indices, g, reduction="add"),)


def _with_batch(node: Node) -> Tensor:
    """Write the batch dimensions of a GatherND into its indices."""
    indices, dims = node.inputs[1], node.attr("batch_dims", 0)
    assert indices is not None
    if not dims:
        return indices
    lead = indices.static_shape[:dims]
    grids = np.stack(np.meshgrid(*(np.arange(d) for d in lead), indexing="ij"), -1)
    middle = indices.static_shape[dims:-1]
    grids = grids.reshape(*lead, *[1] * len(middle), dims)
    grids = np.broadcast_to(grids, (*lead, *middle, dims)).astype(np.int64)
    return emit("Concat", grids, indices, axis=-1)


@rule("ScatterElements", "ScatterND")
def scatter(node: Node, g: Tensor) -> Grads:
    """Equal values share the gradient of "max" and "min", as in PyTorch."""
    x, indices, updates = node.inputs[:3]
    assert x is not None
    assert updates is not None
    kept = attributes_of(node, "axis")

    def picked(value: Tensor) -> Tensor:
        gather = "GatherElements" if node.op == "ScatterElements" else "GatherND"
        return emit(gather, value, indices, **kept)

    def placed(base: Tensor, values: Tensor, how: str) -> Tensor:
        return emit(node.op, base, indices, values, reduction=how, **kept)

    kind, real = node.attr("reduction", "none"), to_elem_type(g.dtype)
    if kind == "add":
        return g, None, picked(g)
    if kind == "none":
        return placed(g, _zeros(updates), kind), None, picked(g)
    if kind == "mul":
        zero = emit("Equal", updates, 0.0)
        count = emit("Cast", zero, to=real)
        safe = emit("Where", zero, 1.0, updates, like=g)
        # The product of all others: of those that are zero, at most this one.
        alone = picked(placed(_zeros(x), count, "add")) - count < 0.5
        others = emit("Where", alone, picked(placed(x, safe, "mul")) / safe, 0.0, like=g)
        ones = x.graph.constant(np.ones(x.static_shape, x.dtype))
        return g * placed(ones, updates, "mul"), None, picked(g) * others
    hit = emit("Cast", emit("Equal", x, node.output), to=real)
    hits = emit("Cast", emit("Equal", updates, picked(node.output)), to=real)
    share = g / placed(hit, hits, "add")
    return share * hit, None, picked(share) * hits


@lowering("TensorScatter")
def tensor_scatter(node: Node) -> list[Tensor]:
    """Write new steps into a cache: a ScatterElements along its axis."""
    cache, update, start = node.x, node.inputs[1], node.input(2)
    assert update is not None
    axis, shape = node.attr("axis", -2) % cache.ndim, update.static_shape
    steps = np.arange(shape[axis], dtype=np.int64).reshape(-1, *[1] * (cache.ndim - 1 - axis))
    at: Tensor = cache.graph.constant(steps)
    if start is not None:
        at = _shaped(start, shape[0], *[1] * (cache.ndim - 1)) + at
    if node.attr("mode", "linear") == "circular":
        at = emit("Mod", at, np.array(cache.static_shape[axis], np.int64))
    places = emit("Expand", at, np.array(shape, np.int64))
    return [emit("ScatterElements", cache, places, update, axis=axis)]


@rule("TopK")
def top_k(node: Node, g: Tensor | None, _indices: Tensor | None = None) -> Grads:
    if g is None:
        return (None,)
    at = node.extra_output(1)
    axis = node.attr("axis", -1)
    return (emit("ScatterElements", _zeros(node.x), at, g, axis=axis, reduction="add"),)


@rule("ReverseSequence")
def reverse_sequence(node: Node, g: Tensor) -> Grads:
    return (
        emit("ReverseSequence", g, node.inputs[1], batch_axis=node.attr("batch_axis", 1),
             time_axis=node.attr("time_axis", 0)),
    )  # fmt: skip


no_grad("Multinomial", "NonMaxSuppression", "StringNormalizer", "TfIdfVectorizer",
        reason="it chooses, and does not compute")  # fmt: skip
