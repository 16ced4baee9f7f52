"""Small real models, made on the spot."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

MakeModel = Callable[..., Path]


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Return a function that writes an ONNX model with constant outputs.

    Its input is `x`, float32 of the given shape; the outputs are the given arrays plus 0 times
    the sum of the input, so that they depend on it.
    """

    def make(
        outputs: Mapping[str, np.ndarray[Any, Any]],
        shape: tuple[int, ...] = (1, 3, 8, 8),
        metadata: Mapping[str, Any] | None = None,
    ) -> Path:
        nodes = [
            helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
            helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        ]
        constants = [numpy_helper.from_array(np.float32(0), "zero")]
        infos = []
        for name, values in outputs.items():
            values = values.astype(np.float32)
            constants.append(numpy_helper.from_array(values, f"{name}_constant"))
            nodes.append(helper.make_node("Add", ["nothing", f"{name}_constant"], [name]))
            infos.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, values.shape))
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        graph = helper.make_graph(nodes, "test", [x], infos, constants)
        opset = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=8)
        for key, value in (metadata or {}).items():
            text = value if isinstance(value, str) else json.dumps(value)
            model.metadata_props.add(key=f"edgeml.{key}", value=text)
        path = tmp_path / f"model{len(list(tmp_path.iterdir()))}.onnx"
        onnx.save(model, path)
        return path

    return make
