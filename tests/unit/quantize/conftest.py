"""Small ONNX models, and how to run them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

import edgeml
from edgeml.layers import Conv2D, Dense, Flatten, MaxPooling2D
from edgeml.quantize._blocks import find_blocks
from edgeml.quantize._calibrate import calibrate
from edgeml.quantize._index import Index
from edgeml.quantize._plan import make_plan, ranges_by, tensors_of
from edgeml.quantize._qdq import write
from edgeml.quantize._session import open_model
from edgeml.quantize._targets import target_of


class Net:
    """Builds an ONNX model node by node; each node is named after its output.

    Args:
        shape: Shape of the input ``x`` behind the batch.
        seed: Seed of the weights.
    """

    def __init__(self, *shape: int, seed: int = 0, opset: int = 18) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self._shape = shape
        self._opset = opset

    def constant(self, name: str, value: Any) -> str:
        self.constants[name] = np.asarray(value)
        return name

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        name = f"{op.lower()}{len(self.nodes)}"
        names = [name] if outputs == 1 else [f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name, **attributes))
        return names[0] if outputs == 1 else names

    def weights(self, *shape: int) -> Any:
        scale = 1 / np.sqrt(max(np.prod(shape[1:]), 1))
        return (self.rng.standard_normal(shape) * scale).astype(np.float32)

    def conv(self, x: str, made: int, read: int, size: int = 3, group: int = 1) -> str:
        name = f"conv{len(self.nodes)}"
        w = self.constant(f"{name}_w", self.weights(made, read // group, size, size))
        b = self.constant(f"{name}_b", self.weights(made))
        return self.add("Conv", x, w, b, group=group, pads=[size // 2] * 4)

    def gemm(self, x: str, made: int, read: int) -> str:
        name = f"gemm{len(self.nodes)}"
        w = self.constant(f"{name}_w", self.weights(read, made))
        b = self.constant(f"{name}_b", self.weights(made))
        return self.add("Gemm", x, w, b)

    def model(self, *outputs: str) -> Any:
        graph = helper.make_graph(
            self.nodes, "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", *self._shape))],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )  # fmt: skip
        opsets = [helper.make_opsetid("", self._opset)]
        found = helper.make_model(graph, opset_imports=opsets, ir_version=9)
        return onnx.shape_inference.infer_shapes(found)


@pytest.fixture(scope="session")
def net() -> type[Net]:
    """The class that builds models."""
    return Net


def _run(model: Any, x: Any, *, fused: bool = True) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    if not fused:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


@pytest.fixture(scope="session")
def run() -> Any:
    """``run(model, x)`` returns a model's first output."""
    return _run


@pytest.fixture(scope="session")
def arrays() -> Any:
    """``arrays(model)`` returns a model's initializers, by name."""
    return lambda model: {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def _quantize(model: Any, x: Any, target: str = "this", **options: Any) -> Any:
    index, place = Index(model), target_of(target)
    blocks = find_blocks(index, place.kernels)
    histograms = calibrate(model, [{"x": x}], tensors_of(index, blocks))
    plan = make_plan(index, blocks, ranges_by("minmax", histograms), place, **options)
    return write(model, plan), plan


@pytest.fixture(scope="session")
def quantize() -> Any:
    """``quantize(model, x, target)`` returns a model in 8 bits, and its plan."""
    return _quantize


@pytest.fixture(scope="session")
def digits(tmp_path_factory: Any) -> Any:
    """A net that reads digits, and the digits that it has not seen."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    net = edgeml.Sequential([
        edgeml.Input((8, 8, 1)), Conv2D(16, 3, padding="same", activation="relu"),
        Conv2D(32, 3, padding="same", activation="relu"), MaxPooling2D(), Flatten(), Dense(10),
    ])  # fmt: skip
    loss = edgeml.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile("adam", loss)
    net.fit(x[:500], y[:500], epochs=3, verbose=0)
    path = tmp_path_factory.mktemp("digits") / "digits.onnx"
    net.save(path)
    return onnx.load(path), x[500:], y[500:]


@pytest.fixture(scope="session")
def outputs(digits: Any) -> Any:
    """What the float net says."""
    model, x, _ = digits
    return open_model(model).run(None, {model.graph.input[0].name: x})[0]
