"""Whether two models compute the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.quantize._channels import example_shapes
from edgeml.quantize._model import Model
from edgeml.quantize._session import open_model


def example_inputs(model: Model) -> dict[str, NDArray[Any]] | None:
    """Return random inputs for a batch of two; None where another dimension is open."""
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    rng = np.random.default_rng(0)
    kinds = {i.name: i.type.tensor_type.elem_type for i in model.graph.input}
    found: dict[str, NDArray[Any]] = {}
    for name, shape in example_shapes(model).items():
        if any(isinstance(dim, str) for dim in shape):
            return None
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kinds[name])
        values = rng.standard_normal([int(dim) for dim in shape])
        found[name] = values.astype(dtype) if dtype.kind == "f" else np.ones(values.shape, dtype)
    return found


def difference(one: Model, other: Model) -> float | None:
    """Return the largest difference of two models' outputs on random inputs.

    Returns:
        Relative to the largest output; infinity when shapes differ; None where an input has an
        open dimension beside the batch.
    """
    feeds = example_inputs(one)
    if feeds is None:
        return None
    worst = 0.0
    results = [open_model(model).run(None, feeds) for model in (one, other)]
    for a, b in zip(*results, strict=True):
        if a.shape != b.shape:
            return float("inf")
        if a.dtype.kind == "f" and a.size:
            scale = max(float(np.abs(a).max()), 1e-6)
            worst = max(worst, float(np.abs(a - b).max()) / scale)
    return worst
