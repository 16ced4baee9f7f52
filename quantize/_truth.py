"""What really runs: per node the type asked for, the type at run time, and its share of time."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.quantize._index import Index, all_nodes, attribute
from edgeml.quantize._model import Model
from edgeml.quantize._qdq import Plan
from edgeml.quantize._session import what_runs

_INTEGER = ("QLinear", "QGemm", "ConvInteger", "MatMulInteger", "DynamicQuantize", "QAttention")
_BORDER = frozenset({"QuantizeLinear", "DequantizeLinear", "Cast"})
_COUNTS = frozenset({"ArgMax", "ArgMin", "NonZero", "Shape", "Size"})  # integers of another sort
_CONTROL = frozenset({"If", "Loop", "Scan"})  # their time is that of what they hold
_COPY = re.compile(r"_token_\d+$")  # the runtime's mark on a node that it made of another
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
        "other", "share"}}, and ``nodes``: {name: {"operator", "kind", "share"}} by the names of
        the nodes in the file; ``int8_share``: share of the time in 8-bit kernels, ``borders``:
        conversions left, ``weights_bytes``: what weights take up in memory.
    """
    runs = what_runs(model, config=config)
    times = _times(model, feeds, config)
    total = sum(times.values()) or 1.0
    nodes: dict[str, dict[str, Any]] = {}
    operators: dict[tuple[str, str], dict[str, Any]] = {}
    unnamed: dict[str, Any] = {"share": 0.0}
    for node, kind in _kinds(runs):
        share = times.pop((node.op_type, node.name), 0.0) / total if node.name else 0.0
        one = {"operator": node.op_type, "kind": kind, "share": share}
        plain = _COPY.sub("", node.name)
        nodes[plain if plain and plain not in nodes else f"{node.name} ({len(nodes)})"] = one
        group = operators.setdefault((node.op_type, kind), {"count": 0, "kind": kind, "share": 0.0})
        group["count"] += 1
        group["share"] += share
    for (op, _), took in times.items():  # of nodes without a name
        group = next((g for (other, _), g in operators.items() if other == op), unnamed)
        group["share"] += took / total
    kinds = Counter(op for op, _ in operators)
    return {
        "operators": {op if kinds[op] == 1 else f"{op}, {kind}": found
                      for (op, kind), found in operators.items()},
        "nodes": nodes,
        "int8_share": sum(o["share"] for o in operators.values() if o["kind"] == "int8"),
        "borders": sum(o["count"] for o in operators.values() if o["kind"] == "border"),
        "weights_bytes": weights_bytes(runs),
    }  # fmt: skip


def weights_bytes(runs: Model) -> int:
    """Return the bytes of the weights of a graph as it runs, after the runtime's own folding."""
    return sum(int(tensor.ByteSize()) for tensor in runs.graph.initializer)


def _kinds(runs: Model) -> list[tuple[Any, str]]:
    """Return each node, and how it runs; types that the file leaves out are followed."""
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    index = Index(runs)
    types = {onnx.TensorProto.FLOAT: "float", onnx.TensorProto.FLOAT16: "float"}
    types |= dict.fromkeys((onnx.TensorProto.INT8, onnx.TensorProto.UINT8), "int8")
    made: dict[str, str] = {}
    found = []
    for node in all_nodes(runs.graph):
        read = [made.get(name) or types.get(index.kind(name), "other") for name in node.input]
        kind, output = _kind(node.op_type, read, len([name for name in node.input if name]))
        if node.op_type == "Cast":
            output = types.get(attribute(node, "to"), "other")
        found.append((node, kind))
        made |= dict.fromkeys(node.output, output)
    return found


def _kind(op: str, read: Sequence[str], inputs: int) -> tuple[str, str]:
    """Return how an operator runs, and the type of what it makes."""
    if op in _BORDER:
        return "border", "int8" if op == "QuantizeLinear" else "float"
    if op.startswith(_INTEGER):
        made = op.startswith(("QLinear", "DynamicQuantizeLinear")) or (op == "QGemm" and inputs > 7)
        return "int8", "int8" if made else "other" if op.endswith("Integer") else "float"
    if op in _COUNTS:
        return "other", "other"
    kind = next((k for k in ("float", "int8") if k in read), "other")
    return kind, kind


def _times(
    model: Model, feeds: Sequence[Mapping[str, NDArray[Any]]], config: Mapping[str, str] | None
) -> dict[tuple[str, str], float]:
    """Return what each node takes by the runtime's profile: {(operator, name): microseconds}."""
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
    took: dict[tuple[str, str], float] = defaultdict(float)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            op = event["args"]["op_name"]
            if op not in _CONTROL:
                took[op, event["name"].removesuffix("_kernel_time")] += event["dur"]
    return took


def layers(
    index: Index, plan: Plan, sensitivity: Mapping[str, float], nodes: Mapping[str, Any],
    floating: Sequence[str] = (),
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the blocks: what was asked, what ran, scales, and what each alone costs.

    Args:
        index: The graph that was quantized.
        plan: What became 8 bits.
        sensitivity: Divergence by block, each alone in 8 bits.
        nodes: What `what_ran` returns as ``nodes``; empty when it was not measured.
        floating: Blocks that were kept float.
    """
    found = []
    operators = {node.name: node.op_type for node in index.nodes}
    asked = [(block.name, "int8") for block in plan.blocks] + [(n, "float") for n in floating]
    blocks = {block.name: block for block in plan.blocks}
    for name, form in asked:
        entry: dict[str, Any] = {"name": name, "operator": operators.get(name, ""), "asked": form}
        block = blocks.get(name)
        if block is not None and block.outputs and block.outputs[0] in plan.activations:
            entry["output_scale"] = float(plan.activations[block.outputs[0]].scale)
        for weights in block.weights if block is not None else ():
            entry["weight_scales"] = int(np.size(plan.weights[weights].scale))
        if name in sensitivity:
            entry["alone"] = sensitivity[name]
        if name in nodes:
            ran = nodes[name]
            entry |= {"ran": ran["operator"], "kind": ran["kind"], "share": ran["share"]}
        found.append(entry)
    return found


def saturation(index: Index, plan: Plan, quantized: Model | None = None) -> list[dict[str, Any]]:
    """Return the layers whose sums of two products may not fit 16 bits.

    Kernels for x86 without VNNI add products of uint8 and int8 in pairs, saturating at 32767:
    with all activations at 255, a pair of weights may overflow. Where it does, the file gives
    other answers on such a machine. The bound is the worst case over all inputs.

    Args:
        index: The graph that was quantized.
        plan: What became 8 bits.
        quantized: What came of it; its integers need not be the nearest.
    """
    found = []
    written = None if quantized is None else Index(quantized)
    for block in plan.blocks:
        for name, axis in block.weights.items():
            array = index.constant(name)
            if array is None:
                continue
            stored = None if written is None else written.constant(f"{name}_quantized")
            if stored is None:
                stored = plan.weights[name].quantize(array)
            integers = stored.astype(np.int64)
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
