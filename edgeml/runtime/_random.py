"""Random inputs, for timing and comparing models of which no data are at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeml.runtime._spec import TensorSpec


def random_inputs(
    specs: Sequence[TensorSpec], shapes: Mapping[str, Sequence[int]], seed: int = 0
) -> dict[str, np.ndarray[Any, Any]]:
    """Return random arrays of the model's dtypes and shapes.

    Args:
        specs: The model's inputs.
        shapes: Shapes by input name; where there is none, a free dimension is 1.
        seed: Of the generator.
    """
    rng = np.random.default_rng(seed)
    return {spec.name: _random(rng, spec, shapes.get(spec.name)) for spec in specs}


def _random(rng: np.random.Generator, spec: TensorSpec, shape: Sequence[int] | None) -> Any:
    if shape is None:
        shape = [n if isinstance(n, int) and n > 0 else 1 for n in spec.shape]
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if dtype.kind == "O":
        return np.full(shape, "", object)
    # Quantized data has the whole range; indices and counts are safe when they are small.
    limits = np.iinfo(dtype) if dtype.kind in "iu" and dtype.itemsize == 1 else None
    low, high = (limits.min, limits.max + 1) if limits is not None else (0, 2)
    return np.asarray(rng.integers(low, high, shape), dtype)
