"""What really runs: per node the type asked for, the type at run time, and its share of time."""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.quantize._index import Index
from edgeml.quantize._model import Model
from edgeml.quantize._qdq import Plan
from edgeml.quantize._session import what_runs

_INTEGER = ("QLinear", "QGemm", "ConvInteger", "MatMulInteger", "DynamicQuantize", "QAttention")
_BORDER = frozenset({"QuantizeLinear", "DequantizeLinear", "Cast"})
_OVERFLOW = 32767  # of the 16-bit sums that older x86 kernels keep


def what_ran(
    model: Model, feeds: Sequence[Mapping[str, NDArray[Any]]], *,
    config: Mapping[str, str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the operators that the runtime runs, of which type, and their shares of the time.

    Args:
        model: The candidate.
        feeds: A few inputs, to measure with.
        config: Entries of the session's configuration.

    Returns:
        ``operators``: {operator: {"count", "kind": "int8" | "float" | "border" |
        "other", "share"}},
        ``int8_share``: share of the time in 8-bit kernels, ``borders``: conversions left.
    """
    runs = what_runs(model, config=config)
    counts = Counter(node.op_type for node in runs.graph.node)
    shares = _shares(model, feeds, config)
    operators = {
        op: {"count": count, "kind": _kind(op, runs), "share": shares.get(op, 0.0)}
        for op, count in counts.most_common()
    }
    return {
        "operators": operators,
        "int8_share": sum(o["share"] for o in operators.values() if o["kind"] == "int8"),
        "borders": sum(o["count"] for o in operators.values() if o["kind"] == "border"),
    }


def _kind(op: str, runs: Model) -> str:
    if op in _BORDER:
        return "border"
    if op.startswith(_INTEGER):
        return "int8"
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    index = Index(runs)
    read = [n for node in index.nodes if node.op_type == op for n in (*node.input, *node.output)]
    kinds = {index.kind(name) for name in read}
    if onnx.TensorProto.FLOAT in kinds:
        return "float"
    return "int8" if kinds & {onnx.TensorProto.INT8, onnx.TensorProto.UINT8} else "other"


def _shares(
    model: Model, feeds: Sequence[Mapping[str, NDArray[Any]]], config: Mapping[str, str] | None
) -> dict[str, float]:
    """Return each operator's share of a run's time, by the runtime's profile."""
    ort = require("onnxruntime", extra="optimize", purpose="edgeml.quantize")
    with tempfile.TemporaryDirectory(prefix="edgeml-") as folder:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        for key, value in (config or {}).items():
            options.add_session_config_entry(key, value)
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        for feed in (*feeds, *feeds):
            session.run(None, dict(feed))
        events = json.loads(Path(session.end_profiling()).read_text())
    took: dict[str, float] = defaultdict(float)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            took[event["args"]["op_name"]] += event["dur"]
    total = sum(took.values())
    return {op: time / total for op, time in took.items()} if total else {}


def layers(plan: Plan, sensitivity: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the blocks of a plan: operator, scales and what each alone costs."""
    found = []
    for block in plan.blocks:
        entry: dict[str, Any] = {"name": block.name, "operator": block.op, "asked": "int8"}
        if block.outputs and block.outputs[0] in plan.activations:
            params = plan.activations[block.outputs[0]]
            entry["output_scale"] = float(params.scale)
        for name in block.weights:
            entry["weight_scales"] = int(np.size(plan.weights[name].scale))
        if block.name in sensitivity:
            entry["alone"] = sensitivity[block.name]
        found.append(entry)
    return found


def saturation(index: Index, plan: Plan) -> list[dict[str, Any]]:
    """Return the layers whose sums of two products may not fit 16 bits.

    Kernels for x86 without VNNI add products of uint8 and int8 in pairs, saturating at 32767:
    with all activations at 255, a pair of weights may overflow. Where it does, the file gives
    other answers on such a machine. The bound is the worst case over all inputs.
    """
    found = []
    for block in plan.blocks:
        for name, axis in block.weights.items():
            array = index.constant(name)
            if array is None:
                continue
            integers = plan.weights[name].quantize(array).astype(np.int64)
            if block.op == "Conv":  # its kernels go through the channels first
                integers = np.moveaxis(integers, 1, -1)
            rows = np.moveaxis(integers, axis, 0).reshape(integers.shape[axis], -1)
            pairs = rows[:, : rows.shape[1] // 2 * 2].reshape(len(rows), -1, 2)
            high = np.maximum(pairs, 0).sum(-1) * 255
            low = -np.minimum(pairs, 0).sum(-1) * 255
            worst = np.maximum(high, low)
            if (worst > _OVERFLOW).any():
                found.append(
                    {
                        "name": block.name, "pairs": float((worst > _OVERFLOW).mean()),
                        "worst": int(worst.max()),
                    }
                )  # fmt: skip
    return sorted(found, key=lambda entry: -entry["pairs"])
