"""Making a model ready, files that must not be opened, and forms without calibration."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgeml.errors import ModelFormatError, OptimizeError
from edgeml.quantize import simplify
from edgeml.quantize._candidates import dynamic_int8, half_storage
from edgeml.quantize._model import load
from edgeml.quantize._prepare import (
    input_grid,
    is_quantized,
    prepare,
    raise_opset,
    same_outputs,
)
from edgeml.quantize._qdq import Params

X = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
FEEDS = [{"x": X}]


@pytest.fixture
def old(net):
    made = net(3, 8, 8, opset=11)
    return made.model(made.add("Relu", made.conv("x", 4, 3)))


def test_an_old_opset_is_raised_and_a_new_one_stays(old, net, run):
    raised = raise_opset(old)
    assert {e.domain: e.version for e in raised.opset_import} == {"": 17}
    np.testing.assert_allclose(run(raised, X), run(old, X), rtol=1e-5)
    assert raise_opset(raised) == raised
    made = net(3, 8, 8, opset=19)
    new = made.model(made.conv("x", 4, 3))
    assert raise_opset(new).opset_import[0].version == 19


def test_metadata_survive(old):
    old.metadata_props.add(key="edgeml.task", value="x")
    assert prepare(old, FEEDS).metadata_props == old.metadata_props


def test_a_pass_that_changes_outputs_is_left_out(old, monkeypatch):
    def broken(model):
        found = load(model)
        found.graph.initializer[0].CopyFrom(
            numpy_helper.from_array(np.zeros((4, 3, 3, 3), np.float32), "conv0_w")
        )
        return found

    notes = []
    monkeypatch.setattr("edgeml.quantize._prepare.simplify", broken)
    assert prepare(old, FEEDS, on_note=notes.append) == raise_opset(old)
    assert len(notes) == 1
    assert "cleanup left out: a pass changed the outputs by" in notes[0]


def test_a_pass_that_fails_is_left_out(old, monkeypatch):
    def broken(model):
        raise KeyError("any")

    notes = []
    monkeypatch.setattr("edgeml.quantize._prepare.raise_opset", broken)
    assert prepare(old, FEEDS, on_note=notes.append).opset_import[0].version == 11
    assert notes == ["opset left out: 'any'"]


def test_same_outputs_says_how_far_they_are(net):
    models = []
    for scale in (1.0, 1.0005):
        made = net(2)
        made.constant("w", np.eye(2, dtype=np.float32) * np.float32(scale))
        models.append(made.model(made.add("Gemm", "x", "w")))
    feeds = [{"x": np.ones((1, 2), np.float32)}]
    assert same_outputs(models[0], models[1], feeds) == pytest.approx(5e-4, rel=1e-2)
    with pytest.raises(OptimizeError, match=r"changed the outputs by 0\.0005"):
        same_outputs(models[0], models[1], feeds, tolerance=1e-4)


def test_quantized_models_are_known(net, quantize):
    made = net(3, 8, 8)
    model = made.model(made.conv("x", 4, 3))
    assert not is_quantized(model)
    assert is_quantized(quantize(model, X)[0])
    made = net(8)
    assert is_quantized(dynamic_int8(made.model(made.gemm("x", 4, 8))))


def test_integers_in_the_body_of_an_if_are_found(net, quantize):
    made = net(3, 8, 8)
    inner = quantize(made.model(made.conv("x", 4, 3)), X)[0].graph
    body = helper.make_graph(inner.node, "body", [], inner.output, inner.initializer)
    node = helper.make_node("If", ["flag"], ["y"], then_branch=body, else_branch=body)
    outer = net(3, 8, 8)
    outer.constant("flag", np.array(True))
    outer.nodes.append(node)
    model = outer.model("x")
    assert is_quantized(model)


@pytest.mark.parametrize(
    ("values", "grid"),
    [
        (np.arange(256) / 255, (1 / 255, 0)),
        (np.arange(256).astype(float), (1.0, 0)),
        ((np.arange(256) - 128) / 128, (1 / 128, 128)),
        (np.arange(17) / 16, (1 / 16, 0)),
        (np.arange(8), None),  # too few to be a grid
        (np.arange(300), None),  # too many
        (np.arange(256) + 1000, None),  # zero is not among them
        (-np.arange(1, 100), None),
        (np.random.default_rng(0).standard_normal(100), None),
        ((np.arange(256) - 127.5) / 127.5, None),  # zero lies between two
    ],
)
def test_grids(values, grid):
    found = input_grid([np.asarray(values, np.float32)])
    assert (found is None) == (grid is None)
    if found is not None:
        assert found == pytest.approx(grid, rel=1e-5)


@given(st.integers(16, 256), st.integers(0, 255), st.floats(2**-12, 10, width=32))
def test_values_on_a_grid_are_kept(count, below, step):
    low = -min(below, count - 1)
    values = (np.arange(low, low + count) * np.float32(step)).astype(np.float32)
    found = input_grid([values])
    assert found is not None
    params = Params(np.array(found[0], np.float32), np.array(found[1], np.uint8))
    back = params.dequantize(params.quantize(values))
    np.testing.assert_allclose(back, values, rtol=1e-5, atol=1e-6 * step)


def external(tmp_path, location, content=None):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 2],
                         data_location=TensorProto.EXTERNAL)  # fmt: skip
    tensor.external_data.add(key="location", value=location)
    infos = [helper.make_tensor_value_info(n, 1, s) for n, s in (("x", (1, 4)), ("y", (1, 2)))]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", infos[:1], infos[1:], [tensor]
    )
    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / "model.onnx"
    opsets = [helper.make_opsetid("", 17)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets).SerializeToString())
    if content is not None:
        (path.parent / location).write_bytes(content)
    return path


def test_weights_beside_the_model_are_read(tmp_path):
    path = external(tmp_path, "weights.bin", np.arange(8, dtype=np.float32).tobytes())
    (tensor,) = load(path).graph.initializer
    assert numpy_helper.to_array(tensor).tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "link/secret"])
def test_weights_outside_the_folder_are_refused(tmp_path, location):
    (tmp_path / "secret").write_bytes(bytes(32))
    path = external(tmp_path, location)
    (path.parent / "link").symlink_to(tmp_path)
    with pytest.raises(ModelFormatError, match="outside the model's folder"):
        load(path)


def test_files_that_are_no_models(tmp_path):
    with pytest.raises(ModelFormatError, match=r"'weights.bin', which is missing"):
        load(external(tmp_path, "weights.bin"))
    for name, content in (("empty", b""), ("text", b"some text"), ("half", None)):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(
            content if content is not None else (tmp_path / "model/model.onnx").read_bytes()[:-20]
        )
        with pytest.raises(ModelFormatError, match=f"{name}.onnx"):
            load(path)


def test_a_file_that_may_not_be_read_is_no_invalid_model(tmp_path, monkeypatch):
    def denied(*_):
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "secret.onnx"
    path.write_bytes(b"any")
    monkeypatch.setattr("edgeml.quantize._model.read_onnx", denied)
    with pytest.raises(ModelFormatError, match=r"secret\.onnx: cannot be read: Permission denied"):
        load(path)


def test_models_over_2_gb_are_refused_before_they_are_read(tmp_path):
    path = external(tmp_path, "weights.bin", b"")
    with (path.parent / "weights.bin").open("r+b") as file:
        file.truncate(3 << 30)  # sparse: takes no room
    with pytest.raises(ModelFormatError, match=r"3.2 GB with its weights; expected at most 2 GB"):
        load(path)


def test_dynamic_int8_is_for_matrices(net, run):
    made = net(64)
    model = made.model(made.gemm(made.gemm("x", 64, 64), 8, 64))
    x = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    found = dynamic_int8(simplify(model))
    assert found.ByteSize() < model.ByteSize() / 2
    assert np.abs(run(found, x) - run(model, x)).max() < 0.1 * np.abs(run(model, x)).max()
    pictures = net(3, 8, 8)
    assert dynamic_int8(pictures.model(pictures.conv("x", 4, 3))) is None


def test_half_storage_is_widened_when_it_is_opened(net, run):
    made = net(64)
    model = made.model(made.gemm("x", 64, 64))
    model.metadata_props.add(key="k", value="v")
    x = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    found = half_storage(model)
    onnx.checker.check_model(found)
    assert found.ByteSize() < model.ByteSize() * 0.6
    assert found.metadata_props == model.metadata_props
    np.testing.assert_allclose(run(found, x), run(model, x), atol=5e-3)
    small = net(4)
    assert half_storage(small.model(small.gemm("x", 4, 4))) is None
    large = net(64)
    large.constant("w", np.full((64, 64), 1e6, np.float32))  # no float16 is as large
    assert half_storage(large.model(large.add("Gemm", "x", "w"))) is None
