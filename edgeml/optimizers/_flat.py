"""Parameters as one vector, and as themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgeml import ops
from edgeml.graph import Tensor, emit, emit_many

Part = tuple[str, tuple[int, ...]]
"""Path and shape of a parameter."""


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """Emit one vector of all values of all tensors."""
    flat = [x if x.ndim == 1 else ops.reshape(x, [-1]) for x in tensors]
    return emit("Concat", *flat, axis=0) if len(flat) > 1 else flat[0]


def pieces(vector: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Emit the pieces of a vector that have these sizes."""
    if len(sizes) == 1:
        return [vector]
    return list(emit_many(len(sizes), "Split", vector, np.array(sizes, np.int64), axis=0))


def shaped(vector: Tensor, parts: Sequence[Part]) -> list[Tensor]:
    """Emit the parameters that a vector holds, in their shapes."""
    each = pieces(vector, [math.prod(shape) for _, shape in parts])
    return [
        x if len(shape) == 1 else ops.reshape(x, list(shape))
        for x, (_, shape) in zip(each, parts, strict=True)
    ]
