"""Making a model ready: cleaned up, raised, and the same as before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.errors import ModelFormatError, OptimizeError
from edgeml.quantize._index import all_nodes
from edgeml.quantize._model import Model, describe, load, opset_of, replaceable
from edgeml.quantize._quality import outputs_of, relative_error
from edgeml.quantize._session import open_model
from edgeml.quantize._simplify import simplify

Feed = Mapping[str, NDArray[Any]]
_INTEGER_OPS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger",
     "MatMulInteger", "QLinearConv", "QLinearMatMul", "QLinearAdd", "MatMulNBits"}
)  # fmt: skip
OPSET = 17  # per-channel quantization came with 13
_SAME = 1e-3  # relative: folding changes the order of sums


def same_outputs(
    before: Model, after: Model, feeds: Iterable[Feed], *, tolerance: float = _SAME
) -> float:
    """Return the largest relative error of `after` against `before`; both run on real inputs.

    Raises:
        OptimizeError: it is above the tolerance.
    """
    kept = list(feeds)
    pairs = zip(
        outputs_of(open_model(after), kept), outputs_of(open_model(before), kept), strict=True
    )
    worst = max((relative_error(ours, theirs) for ours, theirs in pairs), default=0.0)
    if not worst <= tolerance:
        raise OptimizeError(
            f"a pass changed the outputs by {worst:.2g} (relative), more than {tolerance:g}"
        )
    return worst


def prepare(
    model: Model, feeds: Sequence[Feed], *, on_note: Callable[[str], None] = lambda _: None
) -> Model:
    """Return the model cleaned up and at opset 17 or newer; a pass that changes outputs is undone.

    Args:
        model: As it came in.
        feeds: A few real inputs, for the comparison after each pass.
        on_note: Called with what was left out and why.
    """
    found = load(model)
    if (names := replaceable(model)) and model.ir_version > 3:  # before, all weights were
        on_note(f"inputs that have a value of their own become constants: {', '.join(names)}")
    for name, step in (("opset", raise_opset), ("cleanup", simplify)):
        try:
            changed = step(found)
            same_outputs(found, changed, feeds)
            found = changed
        except Exception as error:  # onnx and the runtime raise anything here
            on_note(f"{name} left out: {' '.join(str(error).split())[:300]}")
    return found


def raise_opset(model: Model, opset: int = OPSET) -> Model:
    """Return the model at opset 17 (or another) or newer; a newer one stays as it is.

    Raises:
        ModelFormatError: it holds something of which no newer form is known.
    """
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    found = load(model)
    version = opset_of(found)
    if version >= opset:
        return found
    from onnx import inliner, version_converter

    if version < 9 and any(node.op_type == "Scan" for node in all_nodes(found.graph)):
        raise ModelFormatError(
            f"the model has opset {version}, whose Scan has an axis for the batch that newer ones "
            "do not have: export it again with opset 9 or newer"
        )
    if found.functions:  # the converter drops them
        found = inliner.inline_local_functions(found)
    try:
        raised = version_converter.convert_version(found, opset)
    except Exception as error:  # of its own class, or RuntimeError
        raise ModelFormatError(
            f"the model has opset {version}, which cannot be raised to {opset}: {error}; export it "
            f"again with opset {opset} or newer"
        ) from error
    raised.ir_version = max(raised.ir_version, 8 if opset < 21 else 10)
    describe(raised, found)
    return onnx.shape_inference.infer_shapes(raised)


def is_quantized(model: Model) -> bool:
    """Return whether there are integer operators in the graph already."""
    return any(node.op_type in _INTEGER_OPS for node in all_nodes(model.graph))


def input_grid(values: Sequence[NDArray[Any]], levels: int = 256) -> tuple[float, int] | None:
    """Return (scale, zero point) of inputs that come on a grid, as pixels do, or None.

    Rounding such inputs to the grid loses nothing, while rounding them to their measured range
    moves them all a little.

    Args:
        values: Arrays of one input.
        levels: Steps that the integers have.
    """
    found = np.unique(np.concatenate([np.unique(v) for v in values])).astype(np.float64)
    if not 16 <= len(found) <= levels:
        return None
    gaps = np.diff(found)
    step = float(gaps.min())
    if step <= 0:
        return None
    steps = found / step
    # float32 rounds what was divided by 255 or 128, a few units in the last place.
    if np.abs(steps - np.rint(steps)).max() > 1e-2:
        return None
    low = int(np.rint(steps.min()))
    if low > 0 or np.rint(steps.max()) - low > levels - 1 or np.rint(steps.max()) < 0:
        return None
    exact = (
        found[-1] / np.rint(steps[-1])
        if abs(found[-1]) > abs(found[0])
        else (found[0] / np.rint(steps[0]))
    )
    return float(exact), -low
