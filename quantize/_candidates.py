"""The forms that a model may take, from the float one to the smallest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeml._require import require
from edgeml.errors import OptimizeError
from edgeml.quantize._index import Index, all_nodes
from edgeml.quantize._model import Model, load, unused
from edgeml.quantize._tool import made_by_tool
from edgeml.quantize._weight_only import quantize_weights

_DYNAMIC = ("Attention", "Gemm", "LSTM", "MatMul")
_SMALL = 1024  # weights of fewer values are not worth a Cast


@dataclass
class Candidate:
    """A form of the model, and what is known of it.

    Args:
        name: What the report calls it: ``"int8 (mse ranges), 3 blocks float"``.
        model: The ``onnx.ModelProto``.
        recipe: What makes it again.
        floating: Blocks that stay float.
        divergence: Mean distance of its outputs from the original's, on the search data.
        drop: Points that it loses there; negative when it is better.
        likely_drop: The same and one standard error: what it may lose on other data.
        ratio: How many times as fast as the original, once it is measured.
        note: Why it was not taken.
    """

    name: str
    model: Model
    recipe: dict[str, Any] = field(default_factory=dict)
    floating: tuple[str, ...] = ()
    divergence: float | None = None
    drop: float | None = None
    likely_drop: float | None = None
    ratio: float | None = None
    note: str = ""

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return int(self.model.ByteSize())

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "name": self.name, "recipe": self.recipe, "float_blocks": list(self.floating),
            "bytes": self.size, "divergence": self.divergence, "drop_points": self.drop,
            "likely_drop_points": self.likely_drop,
            "ratio": self.ratio, "note": self.note,
        }  # fmt: skip


def dynamic_int8(model: Model) -> Model | None:
    """Return the model with int8 weights and activations rounded as they come, or None.

    For what multiplies matrices: MatMul, Gemm, LSTM, Attention. Ranges are measured at run time,
    which needs no calibration and costs a little at each call; convolutions stay float, as their
    dynamic kernels are slower than float ones.
    """
    if not any(node.op_type in _DYNAMIC for node in all_nodes(model.graph)):
        return None
    return made_by_tool(
        model,
        lambda tool, source, target: tool.quantize_dynamic(
            source, target, weight_type=tool.QuantType.QInt8, per_channel=True,
            op_types_to_quantize=list(_DYNAMIC),
            extra_options={"EnableSubgraph": True, "MatMulConstBOnly": True},
        ),
    )  # fmt: skip


def half_storage(model: Model) -> Model | None:
    """Return the model with weights stored as float16, or None when there are none.

    The file is half as large; the runtime widens them once, when it opens the model, so that
    memory and speed stay those of float32.
    """
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    found = load(model)
    taken = Index(found).names
    kept, casts = [], []
    for tensor in found.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        small = tensor.data_type != onnx.TensorProto.FLOAT or values.size < _SMALL
        if small or np.abs(values).max(initial=0.0) > np.finfo(np.float16).max:
            kept.append(tensor)
            continue
        name = unused(f"{tensor.name}/float16", taken)
        kept.append(onnx.numpy_helper.from_array(values.astype(np.float16), name))
        casts.append(
            onnx.helper.make_node(
                "Cast", [name], [tensor.name], name=f"{tensor.name}/widen",
                to=onnx.TensorProto.FLOAT,
            )
        )  # fmt: skip
    if not casts:
        return None
    del found.graph.initializer[:]
    found.graph.initializer.extend(kept)
    nodes = [*casts, *found.graph.node]
    del found.graph.node[:]
    found.graph.node.extend(nodes)
    return found


def _weights(model: Model, bits: int) -> Model | None:
    """Return the model with matrices' weights in integers, or None when others are most of it."""
    try:
        found = quantize_weights(model, bits=bits)
    except OptimizeError:
        return None
    return found if found.ByteSize() < _MOSTLY * model.ByteSize() else None


_MOSTLY = 0.6  # of the size: else what was not touched is what counts
FORMS: Mapping[str, Callable[[Model], Model | None]] = {
    "int8 weights": lambda model: _weights(model, 8),
    "int4 weights": lambda model: _weights(model, 4),
    "dynamic int8": dynamic_int8,
    "float16 storage": half_storage,
}
WEIGHTS = ("int8 weights", "int4 weights")
