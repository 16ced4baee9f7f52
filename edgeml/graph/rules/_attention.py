"""Attention, by the operators that it stands for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgeml.graph._ir import Node, Tensor, emit
from edgeml.graph._rules import lowering

_LOW = -1e30  # stands for minus infinity where a softmax would make NaN of a row of it


@lowering("Attention")
def attention(node: Node) -> list[Tensor]:
    flat = node.x.ndim == 3
    q, k, v = _heads(node)
    past_k, past_v = node.input(4), node.input(5)
    if past_k is not None and past_v is not None:
        k, v = emit("Concat", past_k, k, axis=2), emit("Concat", past_v, v, axis=2)
    batch, heads, rows, width = q.static_shape
    groups, columns = k.static_shape[1:3]
    scale = node.attr("scale") or 1.0 / math.sqrt(width)
    cap = node.attr("softcap", 0.0)

    def grouped(x: Tensor) -> Tensor:
        """Give queries an axis for those that share a key; keys are broadcast over it."""
        each = x.static_shape[1] // groups
        return _shaped(x, batch, groups, each, *x.static_shape[2:])

    keys, values = (grouped(k), grouped(v)) if groups != heads else (k, v)
    queries = grouped(q) if groups != heads else q
    perm = [*range(keys.ndim - 2), keys.ndim - 1, keys.ndim - 2]
    scores = emit("MatMul", queries * scale, emit("Transpose", keys, perm=perm))
    scores = _shaped(scores, batch, heads, rows, columns)
    stages = [scores]
    if cap:
        scores = emit("Tanh", scores * (1.0 / cap)) * cap
    stages.append(scores)
    bias, dead = _bias(node, rows, columns, past_k)
    if bias is not None:
        scores = scores + bias
    stages.append(scores)
    weights = emit("Softmax", scores, axis=-1)
    if dead is not None:
        weights = emit("Where", dead, 0.0, weights, like=weights)
    stages.append(weights)
    mixed = grouped(weights) if groups != heads else weights
    y = _shaped(emit("MatMul", mixed, values), batch, heads, rows, v.static_shape[3])
    if flat:
        y = emit("Transpose", y, perm=[0, 2, 1, 3])
        y = _shaped(y, batch, rows, heads * v.static_shape[3])
    return [y, k, v, stages[node.attr("qk_matmul_output_mode", 0)]]


def _shaped(x: Tensor, *shape: int) -> Tensor:
    return x if x.shape == shape else emit("Reshape", x, np.array(shape, np.int64))


def _heads(node: Node) -> list[Tensor]:
    """Return queries, keys and values as (batch, heads, steps, width)."""
    found = []
    for i, name in enumerate(["q_num_heads", "kv_num_heads", "kv_num_heads"]):
        x = node.inputs[i]
        assert x is not None
        if x.ndim == 3:
            batch, steps, width = x.static_shape
            heads = node.attr(name)
            x = _shaped(x, batch, steps, heads, width // heads)
            x = emit("Transpose", x, perm=[0, 2, 1, 3])
        found.append(x)
    return found


def _bias(
    node: Node, rows: int, columns: int, past: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Return what is added to the scores, and the rows that may attend to nothing."""
    mask, lengths = node.input(3), node.input(6)
    allowed: list[Any] = []  # conditions, broadcast to (batch, heads, rows, columns)
    index = np.arange(columns, dtype=np.int64)
    ends = None if lengths is None else emit("Reshape", lengths, np.array([-1, 1, 1, 1], np.int64))
    if node.attr("is_causal", 0):
        last = np.arange(rows, dtype=np.int64)[:, None]
        if past is not None:
            last = last + past.static_shape[2]
        if ends is not None and past is None:
            allowed.append(emit("LessOrEqual", index, ends + (last - rows)))
        else:
            allowed.append(node.x.graph.constant(index <= last))
    if ends is not None:
        allowed.append(emit("Less", index, ends))
    bias: Tensor | None = None
    if mask is not None:
        short = columns - mask.static_shape[-1]
        if mask.dtype == np.bool_:
            allowed.append(_padded(mask, short, False))
        else:
            bias = _padded(mask, short, -np.inf)
            allowed.append(emit("Not", emit("IsInf", bias, detect_positive=0)))
    if not allowed:
        return None, None
    every = allowed[0]
    for condition in allowed[1:]:
        every = emit("And", every, condition)
    limits = emit("Where", every, 0.0 if bias is None else bias, _LOW, like=node.x)
    if mask is None and lengths is None:
        return limits, None  # each query can see itself
    counted = emit("Cast", every, to=1)
    return limits, emit("ReduceMax", counted, np.array([-1], np.int64), keepdims=1) < 1.0


def _padded(mask: Tensor, count: int, value: Any) -> Tensor:
    if not count:
        return mask
    fill = np.full((*mask.static_shape[:-1], count), value, mask.dtype)
    return emit("Concat", mask, fill, axis=-1)
