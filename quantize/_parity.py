"""Whether two models compute the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.quantize._channels import example_shapes
from edgeml.quantize._model import Model
from edgeml.quantize._session import open_model

_SMALL = 1e-3  # outputs: what a sigmoid makes of large negative numbers has no exact digits
_OPEN = 64  # for dimensions beside the batch that are open


def example_inputs(model: Model) -> dict[str, NDArray[Any]]:
    """Return random inputs for a batch of two."""
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    rng = np.random.default_rng(0)
    kinds = {i.name: i.type.tensor_type.elem_type for i in model.graph.input}
    found: dict[str, NDArray[Any]] = {}
    for name, shape in example_shapes(model).items():
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kinds[name])
        values = rng.standard_normal([dim if isinstance(dim, int) else _OPEN for dim in shape])
        found[name] = values.astype(dtype) if dtype.kind == "f" else np.ones(values.shape, dtype)
    return found


def difference(one: Model, other: Model) -> float | None:
    """Return the largest difference of two models' outputs on random inputs.

    Returns:
        Relative to the largest output (at least 0.001); infinity when shapes differ; None where
        the first model does not take inputs of such shapes.
    """
    feeds = example_inputs(one)
    try:
        wanted = open_model(one).run(None, feeds)
    except Exception:  # of ONNX Runtime, which has no class for this
        return None
    worst = 0.0
    for a, b in zip(wanted, open_model(other).run(None, feeds), strict=True):
        if a.shape != b.shape:
            return float("inf")
        if a.dtype.kind == "f" and a.size:
            scale = max(float(np.abs(a).max()), _SMALL)
            worst = max(worst, float(np.abs(a - b).max()) / scale)
    return worst
