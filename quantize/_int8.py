"""Static int8 quantization in the form that ONNX Runtime's CPU kernels run fastest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml.errors import InputError, ModelFormatError
from edgeml.quantize._channels import check_float
from edgeml.quantize._index import Index, attribute
from edgeml.quantize._model import Model, graph_input
from edgeml.quantize._prepare import raise_opset
from edgeml.quantize._qdq import LEAST_OPSET
from edgeml.quantize._samples import input_names
from edgeml.quantize._tool import made_by_tool
from edgeml.runtime._errors import translated

Batch = Mapping[str, NDArray[Any]]


class _Reader:
    """What the calibrator pulls batches from, one at a time; each is checked."""

    def __init__(self, batches: Iterable[Batch], inputs: set[str]) -> None:
        self._batches: Iterator[Batch] = iter(batches)
        self._inputs = inputs
        self._count = 0

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        batch = next(self._batches, None)
        if batch is None:
            if self._count == 0:
                raise InputError("the calibration data is empty: pass at least one batch")
            return None
        if not isinstance(batch, Mapping):
            raise InputError(
                f"calibration batch {self._count}: expected {{input name: array}}, received "
                f"{type(batch).__name__}"
            )
        if set(batch) != self._inputs:
            raise InputError(
                f"calibration batch {self._count}: expected {sorted(self._inputs)}, "
                f"received {sorted(batch)}",
                expected=sorted(self._inputs),
                received=sorted(batch),
            )
        for name, values in batch.items():
            if np.asarray(values).dtype.kind == "f" and not np.isfinite(values).all():
                raise InputError(
                    f"calibration batch {self._count}: {name!r} holds NaN or infinity, "
                    "which leaves no range to quantize to",
                    name=name,
                )
        self._count += 1
        return dict(batch)


def quantize_int8(
    model: Model | str | os.PathLike[str],
    calibration: Iterable[Batch],
    *,
    input_ranges: Mapping[str, tuple[float, int]] | None = None,
    exclude: Iterable[str] = (),
    average_ranges: bool = False,
) -> Model:
    """Quantize weights and activations to 8 bits: QDQ, uint8 activations, int8 weights.

    1. Weights are symmetric int8 with one scale an output channel.
    2. Activations are uint8 with a range measured on `calibration`, batch after batch; only
       the ranges are kept in memory, never the activations.
    3. An input in `input_ranges` gets exactly that scale and zero point, so that data that is
       already on this grid (pixels) is quantized without loss.
    4. Nodes in `exclude` stay float. So does what the runtime's tool gets wrong: a Gemm with a
       factor for its bias, and a layer that goes out before the activation behind it.

    uint8 activations with int8 weights are what x86 (VNNI) and ARM (dot product) kernels take;
    int8 activations, ONNX Runtime's default, run slower than float on x86.

    Args:
        model: Path or ``onnx.ModelProto``, float32; run `simplify` on it first.
        calibration: Batches {input name: float32 array} of real, varied data; 50 to 300 inputs
            are enough. Consumed once.
        input_ranges: {input name: (scale, zero_point 0..255)}.
        exclude: Names of nodes.
        average_ranges: Take each range's mean over the batches instead of its extremes, which
            cuts off rare outliers.

    Returns:
        The quantized model; inputs and outputs stay float32, metadata is kept.

    Raises:
        ModelFormatError: a name is not in the model, or it is quantized already.
        InputError: `calibration` is empty, or a batch is not for this model or not finite.

    Example:
        >>> import numpy as np
        >>> import onnx
        >>> model = onnx.parser.parse_model(
        ...     '<ir_version: 9, opset_import: ["": 17]> g (float[1,3,8,8] x) => (float[1,1,8,8] y)'
        ...     "<float[1,3,1,1] w = {1, 1, 1}> { y = Conv(x, w) }"
        ... )
        >>> from edgeml.quantize import quantize_int8
        >>> batches = ({"x": np.random.rand(1, 3, 8, 8).astype(np.float32)} for _ in range(4))
        >>> small = quantize_int8(model, batches, input_ranges={"x": (1 / 255, 0)})
        >>> sum(node.op_type == "DequantizeLinear" for node in small.graph.node)
        3
    """
    model = raise_opset(model, LEAST_OPSET)
    check_float(model)
    excluded = list(exclude)
    if unknown := sorted(set(excluded) - {node.name for node in model.graph.node}):
        raise ModelFormatError(f"nodes to exclude that are not in the model: {unknown}")
    overrides = {
        graph_input(model, name).name: [
            {"scale": np.array(scale, np.float32), "zero_point": np.array(zero_point, np.uint8)}
        ]
        for name, (scale, zero_point) in (input_ranges or {}).items()
    }
    excluded += _left_out(model)
    inputs = set(input_names(model))

    def make(tool: Any, source: str, target: str) -> None:
        with translated("quantizing"):
            tool.quantize_static(
                source, target, _Reader(calibration, inputs),
                quant_format=tool.QuantFormat.QDQ, activation_type=tool.QuantType.QUInt8,
                weight_type=tool.QuantType.QInt8, per_channel=True, nodes_to_exclude=excluded,
                extra_options={
                    "TensorQuantOverrides": overrides, "CalibMovingAverage": average_ranges,
                    # Else a Relu goes even where its output, or a body, has its values in float.
                    "QDQKeepRemovableActivations": True,
                },
            )  # fmt: skip

    return made_by_tool(model, make)


def _left_out(model: Model) -> list[str]:
    """Return the nodes that the tool gets wrong (ONNX Runtime 1.31)."""
    index = Index(model)
    found: list[str] = []
    for node in index.nodes:
        if node.op_type == "Gemm" and attribute(node, "beta", 1.0) != 1.0:
            found.append(node.name)
        # It gives what goes into an activation the range of what comes out.
        before = node.input[0] if node.op_type in ("Clip", "Relu") else ""
        if before in index.outputs | index.captured and before in index.producer:
            found += [node.name, index.producer[before].name]
    return found
