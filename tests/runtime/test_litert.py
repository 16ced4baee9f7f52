from __future__ import annotations

import json
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import edgeml
from edgeml.errors import InputError, ModelFormatError

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")

import ai_edge_litert.schema_py_generated as schema
import flatbuffers


class Builder:
    """Makes a TFLite file with one operator."""

    def __init__(self):
        self.buffers = [schema.BufferT()]
        self.tensors = []

    def tensor(self, name, shape, *, data=None, signature=None, variable=False):
        """Add a float32 tensor; return its index."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), schema.TensorType.FLOAT32
        tensor.isVariable = variable
        if signature is not None:
            tensor.shapeSignature = list(signature)
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.asarray(data, np.float32).tobytes(), np.uint8)
            self.buffers.append(buffer)
            tensor.buffer = len(self.buffers) - 1
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def model(self, op, takes, gives, inputs, options=None, metadata=None):
        """Return the file's bytes."""
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = op
        code.version = 1
        operator = schema.OperatorT()
        operator.inputs, operator.outputs = takes, gives
        operator.builtinOptionsType, operator.builtinOptions = options or (0, None)
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self.tensors, [operator]
        graph.inputs, graph.outputs = inputs, gives
        model = schema.ModelT()
        model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
        if metadata is not None:
            buffer, entry = schema.BufferT(), schema.MetadataT()
            buffer.data = np.frombuffer(metadata, np.uint8)
            self.buffers.append(buffer)
            entry.name, entry.buffer = "edgeml", len(self.buffers) - 1
            model.metadata = [entry]
        model.buffers = self.buffers
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


@pytest.fixture
def adds(tmp_path):
    """Return what writes y = x + 1, with x of shape [any, 3], and metadata."""

    def build(metadata=None):
        b = Builder()
        x = b.tensor("x", (1, 3), signature=(-1, 3))
        one = b.tensor("one", (3,), data=[1, 1, 1])
        y = b.tensor("y", (1, 3), signature=(-1, 3))
        options = (schema.BuiltinOptions.AddOptions, schema.AddOptionsT())
        op = schema.BuiltinOperator.ADD
        path = tmp_path / "adds.tflite"
        path.write_bytes(b.model(op, [x, one], [y], [x], options, metadata))
        return path

    return build


@pytest.fixture
def sums(tmp_path):
    """Write a recurrent model: h = relu(x + h), y = h, with h a variable tensor."""
    b = Builder()
    x = b.tensor("x", (1, 2))
    takes = [
        x,
        b.tensor("weights", (2, 2), data=np.eye(2)),
        b.tensor("recurrent", (2, 2), data=np.eye(2)),
        b.tensor("bias", (2,), data=[0, 0]),
        b.tensor("h", (1, 2), variable=True),
    ]
    y = b.tensor("y", (1, 2))
    rnn = schema.RNNOptionsT()
    rnn.fusedActivationFunction = schema.ActivationFunctionType.RELU
    options = (schema.BuiltinOptions.RNNOptions, rnn)
    path = tmp_path / "sums.tflite"
    path.write_bytes(b.model(schema.BuiltinOperator.RNN, takes, [y], [x], options))
    return path


def test_a_free_dimension_takes_any_size(adds):
    with edgeml.load(adds(), threads=1) as session:
        assert session.inputs[0].shape == (None, 3)
        for n in (1, 4, 2, 1):
            x = np.arange(3 * n, dtype=np.float32).reshape(n, 3)
            np.testing.assert_array_equal(session.run(x)["y"], x + 1)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((1, 4), np.float32), r"'x': expected shape \[\?, 3\], received \[1, 4\]"),
        (np.ones(3, np.float32), r"'x': expected shape \[\?, 3\], received \[3\]"),
        (np.ones((1, 3), np.int8), "'x': expected dtype float32, received int8"),
        ({"z": 1}, "no input 'z'"),
        ({}, "'x' is missing"),
    ],
    ids=["shape", "rank", "dtype", "name", "missing"],
)
def test_inputs_that_do_not_fit_are_refused(adds, x, message):
    with edgeml.load(adds()) as session:
        with pytest.raises(InputError, match=message):
            session.run(x)
        assert session.run(np.zeros((1, 3)))["y"].tolist() == [[1, 1, 1]]


def test_the_outputs_are_the_callers(adds):
    with edgeml.load(adds()) as session:
        first = session.run(np.zeros((1, 3)))["y"]
        second = session.run(np.ones((1, 3)))["y"]
        assert first.tolist() == [[1, 1, 1]]
        first[:] = 9
        assert second.tolist() == [[2, 2, 2]]


def test_out_is_written_into(adds):
    with edgeml.load(adds()) as session:
        buffer = np.zeros((1, 3), np.float32)
        assert session.run(np.zeros((1, 3)), out={"y": buffer})["y"] is buffer
        assert buffer.tolist() == [[1, 1, 1]]
        with pytest.raises(InputError, match=r"out\['y'\]: expected shape \[1, 3\], received"):
            session.run(np.zeros((1, 3)), out={"y": np.zeros((2, 3), np.float32)})
        with pytest.raises(InputError, match="no output 'z'"):
            session.run(np.zeros((1, 3)), out={"z": buffer})


def test_calls_from_many_threads(adds):
    with edgeml.load(adds(), threads=1) as session, ThreadPoolExecutor(8) as pool:

        def call(i):
            x = np.full((1 + i % 3, 3), i, np.float32)
            return bool(np.all(session.run(x)["y"] == x + 1))

        assert all(pool.map(call, range(300)))


def test_calls_of_a_recurrent_model_do_not_remember_but_streams_do(sums):
    x = np.array([[1, 2]], np.float32)
    with edgeml.load(sums, threads=1) as session:
        for _ in range(3):
            assert session.run(x)["y"].tolist() == [[1, 2]]
        one, other = session.stream(), session.stream()
        assert one.run(x)["y"].tolist() == [[1, 2]]
        assert one.run(x)["y"].tolist() == [[2, 4]]
        assert other.run(x)["y"].tolist() == [[1, 2]]
        assert session.run(x)["y"].tolist() == [[1, 2]]
        assert one.run(x)["y"].tolist() == [[3, 6]]
        one.reset()
        assert one.run(x)["y"].tolist() == [[1, 2]]


def test_metadata(adds):
    said = {"task": "sum", "labels": ["a", "b"], "edgeml.license": "MIT", "new": 1}
    with edgeml.load(adds(json.dumps(said).encode())) as session:
        assert session.metadata.task == "sum"
        assert session.metadata.labels == ("a", "b")
        assert session.metadata.license == "MIT"
        assert session.metadata.props["edgeml.new"] == "1"


def test_no_metadata(adds):
    with edgeml.load(adds()) as session:
        assert session.metadata.props == {}


@pytest.mark.parametrize("text", [b"{", b"[1]", b"\xff", b'{"schema": 9}'])
def test_metadata_that_cannot_be_read(adds, text):
    path = adds(text)
    with pytest.raises(ModelFormatError) as caught:
        edgeml.load(path)
    assert str(path) in str(caught.value)


def test_damaged_bytes_never_crash(adds, tmp_path):
    """In a process of its own, which a crash would end."""
    content = bytearray(adds().read_bytes())
    path = tmp_path / "damaged.tflite"
    root = struct.unpack_from("<I", content)[0]
    script = """
import sys, edgeml
try:
    edgeml.load(sys.argv[1]).close()
except edgeml.errors.ModelError as error:
    assert sys.argv[1] in str(error)
"""
    for at in (0, root, root + 4, len(content) // 2):
        damaged = bytearray(content)
        damaged[at : at + 4] = b"\xff\xff\xff\x7f"
        path.write_bytes(damaged)
        subprocess.run([sys.executable, "-c", script, str(path)], check=True)


def test_the_scale_of_quantized_tensors():
    with edgeml.load("edgeml:okay_nabu.tflite") as session:
        (probability,) = session.outputs
    assert (probability.scale, probability.zero_point) == (1 / 256, 0)


def test_a_real_model_on_a_picture():
    with edgeml.load("edgeml:blazeface.tflite") as session:
        outputs = session.run(np.zeros((1, 128, 128, 3)))
    assert {name: array.shape for name, array in outputs.items()} == {
        "regressors": (1, 896, 16),
        "classificators": (1, 896, 1),
    }
