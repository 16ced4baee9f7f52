"""What each target runs fast: integer formats, kernels, and what its sessions need."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from edgeml._require import require
from edgeml.errors import OptimizeError
from edgeml.platform import cpu_flags, machine
from edgeml.quantize._blocks import FOLLOWING, PASSING, WEIGHTED

_ALL = WEIGHTED | FOLLOWING | PASSING


@dataclass(frozen=True)
class Target:
    """Where a model is to run.

    Args:
        name: As the user writes it.
        activations: ``"uint8"`` or ``"int8"``.
        symmetric: Whether activations have their zero point in the middle.
        weight_bits: 7 where sums of two products overflow 16 bits.
        kernels: Operators with 8-bit kernels, when neighbours are in 8 bits, too.
        config: Entries of the session's configuration.
        static: Whether all shapes must be numbers.
        here: Whether it is this machine, so that time can be measured.
        note: What the report says about it.
    """

    name: str
    activations: str = "uint8"
    symmetric: bool = False
    weight_bits: int = 8
    kernels: frozenset[str] = _ALL
    config: Mapping[str, str] = field(default_factory=dict, hash=False)
    static: bool = False
    here: bool = False
    note: str = ""


_X86 = "uint8 activations, int8 weights: what the CPU provider's x86 kernels take"
_ARM = "uint8 activations, symmetric int8 weights: dot-product kernels"
TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("x86-vnni", note=_X86),
        Target("x86-avx2", weight_bits=7, note=f"{_X86}; 7-bit weights, as its 16-bit sums of "
               "two products would overflow with 8"),
        Target("raspberry-pi-5", note=_ARM),
        Target("raspberry-pi-4", note="uint8 activations, symmetric int8 weights; its cores have "
               "no dot product, so that the gain is uncertain: measure there"),
        Target("jetson-orin-cpu", note=_ARM),
        Target("rk3588-cpu", note=_ARM),
        Target("jetson-tensorrt", activations="int8", symmetric=True, static=True,
               note="TensorRT takes symmetric int8 only, zero points 0"),
        Target("qnn", static=True, note="QNN's HTP: uint8 activations, int8 weights, fixed shapes"),
        Target("openvino", note="OpenVINO on x86: uint8 activations, int8 weights"),
    )
}  # fmt: skip


def target_of(name: str) -> Target:
    """Return the target of a name; ``"this"`` is this machine, its kernels probed.

    Raises:
        OptimizeError: there is no such target; the nearest names are shown.
    """
    if name == "this":
        return _this()
    if name in TARGETS:
        return TARGETS[name]
    near = difflib.get_close_matches(name, [*TARGETS, "this"], n=3, cutoff=0.3)
    raise OptimizeError(
        f"there is no target {name!r}"
        + (f"; nearest: {', '.join(near)}" if near else "")
        + f". All: this, {', '.join(sorted(TARGETS))}",
        target=name,
    )


def _this() -> Target:
    flags = cpu_flags()
    if machine() == "x86_64":
        vnni = {"avx512_vnni", "avx_vnni"} & flags
        base = TARGETS["x86-vnni" if vnni else "x86-avx2"]
    else:
        base = TARGETS["raspberry-pi-5" if "asimddp" in flags else "raspberry-pi-4"]
    return replace(base, name="this", here=True, kernels=probed(base.activations))


@cache
def probed(activations: str) -> frozenset[str]:
    """Return the operators that this machine's runtime runs in 8 bits, by trying each.

    A graph of one operator between two convolutions is quantized, opened, and read back after
    the runtime's own fusions.
    """
    return frozenset(op for op in sorted(_ALL) if _runs(op, activations))


def _runs(op: str, activations: str) -> bool:
    from edgeml.quantize._blocks import find_blocks
    from edgeml.quantize._index import Index
    from edgeml.quantize._qdq import Plan, activation_params, weight_params, write
    from edgeml.quantize._session import what_runs

    model = _example(op)
    index = Index(model)
    plan = Plan(find_blocks(index, _ALL))
    for block in plan.blocks:
        for name in (*block.inputs, *block.outputs):
            plan.activations[name] = activation_params(0, 6, activations)
        for name, axis in block.weights.items():
            array = index.constant(name)
            assert array is not None
            plan.weights[name] = weight_params(array, axis)
    runs = what_runs(write(model, plan))
    left = sum(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in runs.graph.node)
    return left <= 1 + len(model.graph.output)  # at the graph's own input and outputs


def _example(op: str) -> Any:
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    rng = np.random.default_rng(0)
    constants: dict[str, Any] = {
        "w": rng.uniform(-1, 1, (8, 8, 1, 1)).astype(np.float32),
        "m": rng.uniform(-1, 1, (4, 4)).astype(np.float32),
        "v": rng.uniform(-1, 1, (8, 4)).astype(np.float32),
    }
    shapes: dict[str, tuple[list[str], dict[str, Any]]] = {
        "Add": (["x", "x"], {}), "Mul": (["x", "x"], {}), "Concat": (["x", "x"], {"axis": 1}),
        "AveragePool": (["x"], {"kernel_shape": [2, 2]}),
        "MaxPool": (["x"], {"kernel_shape": [2, 2]}),
        "Flatten": (["x"], {}), "Sigmoid": (["x"], {}), "LeakyRelu": (["x"], {}),
        "GlobalAveragePool": (["x"], {}), "Transpose": (["x"], {"perm": [0, 1, 3, 2]}),
        "DepthToSpace": (["x"], {"blocksize": 2}), "SpaceToDepth": (["x"], {"blocksize": 2}),
        "Reshape": (["x", "shape"], {}), "Squeeze": (["x", "axes0"], {}),
        "Unsqueeze": (["x", "axes0"], {}), "Gather": (["x", "indices"], {"axis": 2}),
        "Slice": (["x", "start", "end", "axes2"], {}), "Split": (["x"], {"axis": 1,
        "num_outputs": 2}), "Resize": (["x", "", "factors"], {"mode": "nearest"}),
        "Conv": (["x", "w"], {}), "MatMul": (["x", "m"], {}), "Gemm": (["x", "v"], {}),
    }  # fmt: skip
    constants |= {
        "shape": np.array([1, 4, 8, 4]), "axes0": np.array([0]), "indices": np.array([1, 0]),
        "start": np.array([0]), "end": np.array([2]), "axes2": np.array([2]),
        "factors": np.array([1, 1, 2, 2], np.float32),
    }  # fmt: skip
    make = onnx.helper.make_node
    inputs, attributes = shapes[op]
    flat = op == "Gemm"
    nodes = [] if flat else [make("Conv", ["image", "w"], ["x"], name="first")]
    outputs = ["y", "z"] if op == "Split" else ["y"]
    nodes.append(make(op, inputs, outputs, name="tried", **attributes))
    info = onnx.helper.make_tensor_value_info
    entry = info("x" if flat else "image", 1, [2, 8] if flat else [1, 8, 4, 4])
    ends = [onnx.helper.make_empty_tensor_value_info(name) for name in outputs]
    used = {name for node in nodes for name in node.input}
    graph = onnx.helper.make_graph(
        nodes, "probe", [entry], ends,
        [onnx.numpy_helper.from_array(v, k) for k, v in constants.items() if k in used],
    )  # fmt: skip
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8
    )
    return onnx.shape_inference.infer_shapes(model)
