from __future__ import annotations

import numpy as np
import pytest

import edgeml
from edgeml import layers, plots
from edgeml.errors import ConfigError, InputError, ModelFormatError, ModelNotFound
from edgeml.plots._probe import Probe, find_parts


def test_rows_of_a_model_are_its_layers(pooled):
    found = plots.layers(pooled)
    assert [(r.name, r.output_shape, r.parameters, r.macs) for r in found.rows] == [
        ("map", ("batch", 5, 10, 10), 140, 5 * 10 * 10 * 27),
        ("mean", ("batch", 5), 0, 0),
        ("scores", ("batch", 4), 24, 20),
    ]
    assert found.parameters == pooled.count_params()
    assert found.macs == 13520
    assert found.to_dict()["macs"] == 13520


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (layers.DepthwiseConv2D(3), (8, 8, 4), 6 * 6 * 4 * 9),
        (layers.Conv2D(6, 3, groups=2), (8, 8, 4), 6 * 6 * 6 * 9 * 2),
        (layers.Conv2DTranspose(5, 2, strides=2), (4, 4, 3), 4 * 4 * 3 * 5 * 4),
        (layers.Conv1D(5, 3), (10, 4), 8 * 5 * 4 * 3),
        (layers.Dense(7), (3, 4), 3 * 4 * 7),
        (layers.LSTM(5), (6, 4), 6 * 4 * 5 * (4 + 5)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_multiplications(layer, shape, macs):
    model = edgeml.Sequential([edgeml.Input(shape), layer])
    found = plots.layers(model)
    assert found.macs == macs
    assert found.parameters == model.count_params()


def test_text_has_a_line_a_layer_and_the_totals(pooled):
    lines = str(plots.layers(pooled)).splitlines()
    assert lines[0].split() == ["Layer", "Operators", "Output", "shape", "Parameters", "MACs"]
    assert lines[2].startswith("map")
    assert lines[-1] == "pooled: 3 layers, 164 parameters; 13,520 MACs for one example"


def test_picture_has_the_same_cells(pooled):
    pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
    (axis,) = plots.layers(pooled).plot().axes
    texts = [text.get_text() for text in axis.texts]
    assert {"map", "Conv + Relu", "(batch, 5, 10, 10)", "140", "13,500"} <= set(texts)


def test_quantized_files_name_layers_after_their_weights():
    found = plots.layers("edgeml:efficientnet_lite0_int8.onnx")
    names = [row.name for row in found.rows]
    assert names[:2] == ["_conv_stem", "_blocks.0._depthwise_conv"]
    assert names[-1] == "fc"
    assert len(set(names)) == len(names)
    assert found.rows[-1].parameters == 1280 * 1000 + 1000
    assert not any("Quantize" in row.kind for row in found.rows)


def test_weights_within_branches_count():
    found = plots.layers("edgeml:silero_vad.onnx")
    # Its LSTM stands in an If: 4 gates of 128 units, from input and state, with both biases.
    assert found.rows[0].kind == "Shape + Gather + If + Concat"
    assert found.rows[0].parameters == 2 * 4 * 128 * (128 + 1)
    assert found.macs is None


def test_an_activation_belongs_to_the_operator_before_it_in_files_without_scopes(tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: extra train")
    helper = onnx.helper
    weight = onnx.numpy_helper.from_array(np.ones((3, 2), np.float32), "first.weight")
    nodes = [
        helper.make_node("MatMul", ["x", "first.weight"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Add", ["b", "b"], ["y"]),
    ]
    infos = [helper.make_tensor_value_info(n, 1, [1, k]) for n, k in (("x", 3), ("y", 2))]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], [weight])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    rows = plots.layers(tmp_path / "m.onnx").rows
    assert [(row.name, row.kind) for row in rows] == [("first", "MatMul + Relu"), ("y", "Add")]


def test_layers_are_found_by_the_names_of_their_operators_and_tensors(pooled):
    probe = Probe.open(pooled)
    parts = find_parts(probe.graph())
    node = parts[0].nodes[-1]
    assert probe.part(parts, "map") is parts[0]
    assert probe.part(parts, node.name) is parts[0]
    assert probe.part(parts, node.output.name) is parts[0]
    with pytest.raises(ConfigError, match=r"no layer 'mep'; the nearest of its 3 are map"):
        probe.part(parts, "mep")


def test_what_is_no_onnx_file_is_told(tmp_path):
    with pytest.raises(ModelNotFound):
        plots.layers(tmp_path / "none.onnx")
    (tmp_path / "x.onnx").write_text("no model")
    with pytest.raises(ModelFormatError, match="not an ONNX model"):
        plots.layers(tmp_path / "x.onnx")
    with pytest.raises(ModelFormatError, match="give the ONNX model"):
        plots.layers("edgeml:okay_nabu.tflite")
    with pytest.raises(InputError, match=r"expected a model: .* received int"):
        plots.layers(3)


def test_network_has_a_box_a_layer_and_an_arrow_a_connection():
    x = edgeml.Input((4,), name="x")
    a, b = layers.Dense(3, name="a")(x), layers.Dense(3, name="b")(x)
    model = edgeml.Model(x, layers.Add(name="sum")([a, b]))
    found = plots.network(model)
    assert [(row, text.split()[0]) for row, text in found.boxes] == [
        (0, "x"), (1, "a"), (1, "b"), (2, "sum"),
    ]  # fmt: skip
    assert found.arrows == [(0, 1), (0, 2), (1, 3), (2, 3)]
    pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
    (axis,) = model.plot().axes
    assert len(axis.texts) == 8  # four boxes, four arrows
