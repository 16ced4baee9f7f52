from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest

from edgeml.errors import ModelFormatError, ModelNotFound
from edgeml.runtime import inspect


def test_a_small_model(doubles_with):
    path = doubles_with(props={"edgeml.license": "MIT"})
    info = inspect(path)
    assert (info.path, info.format, info.size) == (str(path), "onnx", path.stat().st_size)
    assert (info.ops, info.opsets, info.parameters) == ({"Mul": 1}, {"ai.onnx": 17}, 1)
    assert [str(spec) for spec in (*info.inputs, *info.outputs)] == [
        "x: float32 [N, 3]",
        "y: float32 [N, 3]",
    ]
    assert info.metadata.license == "MIT"


@pytest.mark.parametrize("name", ["silero_vad.onnx", "efficientnet_lite0_int8.onnx"])
def test_it_agrees_with_the_onnx_package(name):
    import edgeml

    info = inspect(f"edgeml:{name}")
    model = onnx.load(str(edgeml.runtime.resolve(f"edgeml:{name}")))
    sizes = [np.prod(tensor.dims, dtype=int) for tensor in model.graph.initializer]
    assert info.parameters == sum(sizes)
    assert info.opsets == {o.domain or "ai.onnx": o.version for o in model.opset_import}
    ops = [node.op_type for node in nodes(model.graph)]
    assert info.ops == {op: ops.count(op) for op in ops}


def nodes(graph):
    """Yield the nodes of a graph and of those inside it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from nodes(attribute.g)


def test_a_tflite_model():
    info = inspect("edgeml:okay_nabu.tflite")
    assert (info.path, info.format) == ("edgeml:okay_nabu.tflite", "tflite")
    assert info.ops["VAR_HANDLE"] == info.ops["CALL_ONCE"] * 6
    assert "DELEGATE" not in info.ops
    assert info.inputs[0].scale == pytest.approx(0.10196, abs=1e-5)
    assert info.inputs[0].zero_point == -128
    assert (info.opsets, info.parameters) == ({}, None)


def test_it_is_json(doubles):
    document = json.loads(json.dumps(inspect(doubles).to_dict()))
    assert document["inputs"] == [
        {"name": "x", "shape": ["N", 3], "dtype": "float32", "scale": None, "zero_point": None}
    ]


def test_it_does_not_need_the_onnx_package():
    script = """
import sys
sys.modules["onnx"] = None
from edgeml.runtime import inspect
print(inspect("edgeml:silero_vad.onnx").parameters)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(ran.stdout) == 309_633


def test_what_is_no_model(tmp_path):
    path = tmp_path / "picture.onnx"
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ModelFormatError, match="neither an ONNX nor a TFLite model"):
        inspect(path)
    with pytest.raises(ModelNotFound):
        inspect(tmp_path / "missing.onnx")
