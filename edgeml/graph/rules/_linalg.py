"""Rules of matrix products."""

from __future__ import annotations

import numpy as np

from edgeml.graph._ir import Node, Tensor, emit
from edgeml.graph._rules import rule

Grads = tuple[Tensor | None, ...]


def transposed(x: Tensor) -> Tensor:
    """Swap the last two axes."""
    perm = list(range(x.ndim))
    perm[-1], perm[-2] = perm[-2], perm[-1]
    return emit("Transpose", x, perm=perm)


@rule("MatMul")
def matmul(node: Node, g: Tensor) -> Grads:
    a, b = node.inputs
    assert a is not None
    assert b is not None
    if a.ndim == 1 or b.ndim == 1:
        return _vectors(a, b, g)
    if b.ndim == 2 and a.ndim > 2:  # one product over all rows instead of one for each matrix
        rows_a = emit("Reshape", a, [-1, a.static_shape[-1]])
        rows_g = emit("Reshape", g, [-1, g.static_shape[-1]])
        return emit("MatMul", g, transposed(b)), emit("MatMul", transposed(rows_a), rows_g)
    return emit("MatMul", g, transposed(b)), emit("MatMul", transposed(a), g)


def _vectors(a: Tensor, b: Tensor, g: Tensor) -> Grads:
    """As NumPy: a vector on the left is a row, on the right a column, dropped from the result."""
    rows = emit("Unsqueeze", a, [0]) if a.ndim == 1 else a
    columns = emit("Unsqueeze", b, [1]) if b.ndim == 1 else b
    full = emit("Unsqueeze", g, [-1]) if b.ndim == 1 else g
    full = emit("Unsqueeze", full, [-2]) if a.ndim == 1 else full
    da, db = emit("MatMul", full, transposed(columns)), emit("MatMul", transposed(rows), full)
    return (
        emit("Squeeze", da, [-2]) if a.ndim == 1 else da,
        emit("Squeeze", db, [-1]) if b.ndim == 1 else db,
    )


@rule("Gemm")
def gemm(node: Node, g: Tensor) -> Grads:
    a, b = node.inputs[:2]
    alpha, beta = node.attr("alpha", 1.0), node.attr("beta", 1.0)
    ta, tb = node.attr("transA", 0), node.attr("transB", 0)
    scaled = g if alpha == 1.0 else g * alpha

    def product(x: Tensor | None, y: Tensor | None, tx: int, ty: int) -> Tensor:
        return emit("Gemm", x, y, transA=int(tx), transB=int(ty))

    da = product(b, scaled, tb, 1) if ta else product(scaled, b, 0, not tb)
    db = product(scaled, a, 1, ta) if tb else product(a, scaled, not ta, 0)
    return da, db, g if beta == 1.0 else g * beta


@rule("Det")
def det(node: Node, g: Tensor) -> Grads:
    """The cofactors, each a determinant: right for singular matrices, too."""
    lead, size = node.x.ndim - 2, node.x.static_shape[-1]
    each = emit("Unsqueeze", g, np.array([lead, lead + 1], np.int64))
    if size < 2:
        return (each,)
    others = np.array([[j for j in range(size) if j != i] for i in range(size)], np.int64)
    minors = emit("Gather", emit("Gather", node.x, others, axis=lead), others, axis=lead + 2)
    perm = [*range(lead), lead, lead + 2, lead + 1, lead + 3]
    signs = (-1.0) ** np.add.outer(np.arange(size), np.arange(size))
    return (each * (emit("Det", emit("Transpose", minors, perm=perm)) * signs),)
