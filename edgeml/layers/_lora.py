"""Low-rank adapters beside frozen weights: a pass over the nodes that use a weight.

Hu et al., "LoRA: low-rank adaptation of large language models", 2021. A weight W of shape (in…,
out…) gets A (in…, rank) and B (rank, out…), and what was computed with W has ``scale * A @ B``
added: by a path of its own, which costs little, where the operator allows it.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError, GraphError
from edgeml.graph import Node, Tensor, current_graph, emit
from edgeml.graph._tree import map_leaves
from edgeml.layers._parameter import Array, Parameter

_VIEWS = frozenset({"Reshape", "Transpose", "Identity"})
_COPIED = ("auto_pad", "dilations", "pads", "strides")
_merged: contextvars.ContextVar[bool] = contextvars.ContextVar("merged", default=False)


@contextlib.contextmanager
def without_adapters() -> Iterator[None]:
    """Trace layers as if they had no adapters, for files that hold merged weights."""
    token = _merged.set(True)
    try:
        yield
    finally:
        _merged.reset(token)


@dataclass(eq=False)
class Adapter:
    """The low-rank change of one weight; called after each trace of its layer.

    Args:
        weight: What is changed, (in…, out…).
        a: Parameter (in…, rank).
        b: Parameter (rank, out…).
        scale: Factor of the change.
    """

    weight: Parameter
    a: Parameter
    b: Parameter
    scale: float

    def __call__(self, nodes: Sequence[Node], result: Any) -> Any:
        """Return the layer's result, with the adapter in it."""
        graph = current_graph()
        if graph is None or _merged.get():
            return result
        root = graph.root()
        tensors = [root.parameter(p) for p in (self.weight, self.a, self.b)]
        new = attach(nodes, tensors[0], tensors[1], tensors[2], self.scale)
        return map_leaves(lambda y: new.get(y, y), result)

    def merged(self) -> Array:
        """Return the weight with its change."""
        return self.weight.value + change(self.a.value, self.b.value, self.scale)


def change(a: Array, b: Array, scale: float) -> Array:
    """Return ``scale * a @ b`` of the shape (in…, out…)."""
    rank = len(b)
    found = a.reshape(-1, rank) @ b.reshape(rank, -1) * np.float32(scale)
    return np.asarray(found.reshape(a.shape[:-1] + b.shape[1:]), a.dtype)


def attach(
    nodes: Sequence[Node], weight: Tensor, a: Tensor, b: Tensor, scale: float
) -> dict[Tensor, Tensor]:
    """Add an adapter's path to each node that uses a weight; return the new of each old output.

    Args:
        nodes: In the order in which they run; those that come later use the new outputs.
        weight: The weight; views of it count, too.
        a: (in…, rank).
        b: (rank, out…).
        scale: Factor of the path.

    Raises:
        GraphError: none of the nodes uses the weight.
    """
    views: set[Tensor] = {weight}
    new: dict[Tensor, Tensor] = {}
    whole: Tensor | None = None
    found = False
    for node in list(nodes):
        node.inputs = [new.get(x, x) if x is not None else None for x in node.inputs]
        if not any(x in views for x in node.inputs):
            continue
        found = True
        if node.op in _VIEWS and node.x in views:
            views.add(node.output)
            continue
        path = _path(node, views, a, b)
        if path is not None:
            new[node.output] = node.output + (path if scale == 1.0 else path * scale)
        elif whole is None:
            whole = _whole(weight, a, b, scale)
    if not found:
        raise GraphError(f"{weight.name}: no operator here uses it, so that it cannot be adapted")
    if whole is not None:
        _replace(nodes, weight, whole, set(new))
    return new


def _replace(nodes: Sequence[Node], weight: Tensor, whole: Tensor, adapted: set[Tensor]) -> None:
    """Give the changed weight to nodes that have no path, through the views that they use."""
    views: dict[Tensor, Tensor] = {weight: whole}
    for node in nodes:
        if not any(x in views for x in node.inputs) or any(y in adapted for y in node.outputs):
            continue
        inputs = [views.get(x, x) if x is not None else None for x in node.inputs]
        if node.op in _VIEWS:
            views[node.output] = emit(node.op, *inputs, **node.attributes)
        else:
            node.inputs = inputs


def _whole(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    rank = b.static_shape[0]
    product = ops.matmul(ops.reshape(a, [-1, rank]), ops.reshape(b, [rank, -1])) * scale
    return weight + ops.reshape(product, list(weight.static_shape))


def _path(node: Node, views: set[Tensor], a: Tensor, b: Tensor) -> Tensor | None:
    """Return what the node computes with ``a @ b`` instead of the weight; None: it does not say."""
    rank = b.static_shape[0]
    rows, columns = math.prod(a.static_shape[:-1]), math.prod(b.static_shape[1:])
    second = node.input(1)
    if node.op == "Gather" and node.x in views and not node.attr("axis", 0) and a.ndim == b.ndim:
        assert second is not None
        return ops.matmul(ops.take(a, second), b) if a.ndim == 2 else None
    if second is None or second not in views or node.x in views:
        return None
    if node.op == "MatMul" and second.static_shape == (rows, columns):
        low = ops.matmul(node.x, a if a.ndim == 2 else ops.reshape(a, [rows, rank]))
        return ops.matmul(low, b if b.ndim == 2 else ops.reshape(b, [rank, columns]))
    if node.op == "Gemm" and not node.attr("transA", 0) and a.ndim == b.ndim == 2:
        return ops.matmul(ops.matmul(node.x, a), b) * float(node.attr("alpha", 1.0))
    if node.op == "Conv" and node.attr("group", 1) == 1 and b.ndim == 2:
        return _conv_path(node, a, b)
    if node.op == "Einsum" and len(node.inputs) == 2 and b.ndim == 2:
        return _einsum_path(node, a, b)
    return None


def _conv_path(node: Node, a: Tensor, b: Tensor) -> Tensor:
    spatial = a.ndim - 2
    rank, columns = b.static_shape
    low = emit(
        "Conv", node.x, ops.transpose(a, [spatial + 1, spatial, *range(spatial)]),
        **{key: node.attributes[key] for key in _COPIED if key in node.attributes},
    )  # fmt: skip
    up = ops.reshape(ops.transpose(b, [1, 0]), [columns, rank, *[1] * spatial])
    return emit("Conv", low, up)


def _einsum_path(node: Node, a: Tensor, b: Tensor) -> Tensor | None:
    equation = str(node.attr("equation")).replace(" ", "")
    inputs, _, output = equation.partition("->")
    left, _, right = inputs.partition(",")
    last = right[-1:]
    if not last.isalpha() or output.count(last) != 1 or last in left:
        return None
    free = next(c for c in "zyxwvutsrqponmlkjihgfedcba" if c not in equation)
    between = output.replace(last, free)
    low = ops.einsum(f"{left},{right[:-1]}{free}->{between}", node.x, a)
    return ops.einsum(f"{between},{free}{last}->{output}", low, b)


def enable_lora(
    layer: Any, rank: int, a_initializer: Any, b_initializer: Any, lora_alpha: float | None
) -> Adapter:
    """Give a layer's kernel an adapter, and freeze the kernel; see `Layer.enable_lora`."""
    who = f"{type(layer).__name__} {layer.name!r}"
    weight = kernel_of(layer)
    if rank < 1:
        raise ConfigError(f"{who}: rank: expected at least 1, received {rank}")
    if not layer.built:
        raise ConfigError(f"{who} is not built yet: call it once, or give the model an Input")
    if weight is None:
        raise ConfigError(f"{who} has no kernel that could be adapted")
    if adapter_of(layer) is not None:
        raise ConfigError(f"{who} has an adapter already")
    outputs = getattr(layer, "outputs", None)  # of a projection to heads; else the last axis
    at = len(weight.shape) - (len(outputs) if isinstance(outputs, tuple) else 1)
    shapes = {"a": (*weight.shape[:at], rank), "b": (rank, *weight.shape[at:])}
    made = {}
    for name, start in (("a", a_initializer), ("b", b_initializer)):
        made[name] = layer.add_weight(f"lora_{weight.name}_{name}", shapes[name], start)
        made[name].path = f"{weight.path.rpartition('/')[0]}/lora_{weight.name}_{name}"
    weight.trainable = False
    found = Adapter(
        weight, made["a"], made["b"], (rank if lora_alpha is None else lora_alpha) / rank
    )
    layer.__dict__.setdefault("_passes", []).append(found)
    layer.__dict__.pop("_eager", None)
    return found


def kernel_of(layer: Any) -> Parameter | None:
    """Return the weight that an adapter changes: a kernel, or a table of vectors."""
    own = vars(layer)
    found = own.get("kernel", own.get("embeddings"))
    return found if isinstance(found, Parameter) and len(found.shape) > 1 else None


def adapter_of(layer: Any) -> Adapter | None:
    """Return a layer's adapter, if it has one."""
    return next((p for p in vars(layer).get("_passes", ()) if isinstance(p, Adapter)), None)


def adapters_of(model: Any) -> list[Adapter]:
    """Return the adapters of all layers within, each once."""
    found = [adapter_of(layer) for layer in model.flatten_layers()]
    return list({id(adapter): adapter for adapter in found if adapter is not None}.values())
