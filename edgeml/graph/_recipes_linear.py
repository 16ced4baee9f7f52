"""Gradients of operators that are a matrix along each axis: resizing, averaging."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeml.graph._ir import Tensor, emit
from edgeml.graph._recipes_window import reshape


def identity_along(size: int) -> np.ndarray[tuple[int, int, int, int], np.dtype[np.float32]]:
    """Return unit vectors as images (size, 1, size, 1).

    What an operator makes of them, applied along axis 2, is its matrix. The runtime computes it
    once, when the graph is loaded: constants are folded.
    """
    return np.eye(size, dtype=np.float32).reshape(size, 1, size, 1)


def spread_along(g: Tensor, matrices: Mapping[int, Tensor]) -> Tensor:
    """Return `g` multiplied along each axis by a matrix.

    Args:
        g: Gradient of the output.
        matrices: For each axis that changes, the operator's response to unit vectors, (size of
            the input, 1, size of the output, 1).
    """

    # Axes that shrink most come first: less is left for the others.
    def growth(item: tuple[int, Tensor]) -> float:
        inputs, _, outputs, _ = item[1].static_shape
        return inputs / max(outputs, 1)

    for axis, response in sorted(matrices.items(), key=growth):
        inputs, _, outputs, _ = response.static_shape
        matrix = reshape(response, inputs, outputs)
        shape = list(g.static_shape)
        shape[axis] = inputs
        inner = int(np.prod(shape[axis + 1 :]))
        outer = int(np.prod(shape[:axis]))
        if inner == 1:
            rows = reshape(g, outer, outputs)
            g = emit("MatMul", rows, emit("Transpose", matrix, perm=[1, 0]))
        else:
            g = emit("MatMul", matrix, reshape(g, outer, outputs, inner))
        g = reshape(g, *shape)
    return g
