"""Each pass on small graphs, one test for each numbered case of its docstring."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgeml.errors import InputError, ModelFormatError, ModelNotFound
from edgeml.quantize import (
    float_input,
    fold_normalization,
    get_metadata,
    quantize_int8,
    raw_pixel_input,
    save,
    set_metadata,
    simplify,
)

RNG = np.random.default_rng(3)
WEIGHTS = RNG.standard_normal((4, 3, 3, 3)).astype(np.float32)
BIAS = RNG.standard_normal(4).astype(np.float32)
PIXELS = RNG.integers(0, 256, (2, 3, 8, 8), np.uint8)


def build(nodes, constants, inputs=("x",), output="y", shape=(None, 3, 8, 8)):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, (None,) * 4)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def conv_net(bias=True, pads=(1, 1, 1, 1)):
    names = ["x", "w", "b"] if bias else ["x", "w"]
    nodes = [
        helper.make_node("Conv", names, ["c"], "conv", pads=pads),
        helper.make_node("Relu", ["c"], ["y"], "relu"),
    ]
    return build(nodes, {"w": WEIGHTS, "b": BIAS} if bias else {"w": WEIGHTS})


def run(model, **inputs) -> NDArray[np.float32]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def ops(model) -> list[str]:
    return [node.op_type for node in model.graph.node]


def centred(pixels):
    return ((pixels.astype(np.float32) - 127) / 128).astype(np.float32)


def batches(count=8):
    for _ in range(count):
        yield {"x": centred(RNG.integers(0, 256, (1, 3, 8, 8), np.uint8))}


@pytest.fixture(scope="module")
def quantized():
    return quantize_int8(conv_net(), batches(), input_ranges={"x": (1 / 128, 127)})


def weights_of(model):
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def test_quantize_1_weights_are_symmetric_int8_per_channel(quantized):
    constants = weights_of(quantized)
    assert constants["w_quantized"].dtype == np.int8
    assert constants["w_scale"].shape == (4,)
    assert not constants["w_zero_point"].any()


def test_quantize_2_activations_are_uint8_and_near_float(quantized):
    # A Conv sums 27 products: each off by at most half a step of input or of weight.
    reference, received = (run(m, x=centred(PIXELS)) for m in (conv_net(), quantized))
    constants = weights_of(quantized)
    step = constants["y_scale"]
    assert constants["y_zero_point"].dtype == np.uint8
    bound = step / 2 + 27 * float(constants["w_scale"].max()) / 2
    inside = reference < 255 * step
    assert np.abs(reference - received)[inside].max() <= bound


def test_quantize_2_calibration_is_consumed_batch_after_batch():
    seen = []

    def stream():
        for batch in batches(5):
            seen.append(1)
            yield batch

    quantize_int8(conv_net(), stream())
    assert len(seen) == 5


def test_quantize_3_input_range_is_exact(quantized):
    constants = weights_of(quantized)
    assert constants["x_scale"] == np.float32(1 / 128)
    assert constants["x_zero_point"] == 127


def test_quantize_4_excluded_nodes_stay_float():
    model = quantize_int8(conv_net(), batches(), exclude=["conv", "relu"])
    assert ops(model) == ["Conv", "Relu"]


def test_quantize_refuses_an_unknown_node_and_no_data():
    with pytest.raises(ModelFormatError, match="nope"):
        quantize_int8(conv_net(), batches(), exclude=["nope"])
    with pytest.raises(InputError, match="calibration data is empty"):
        quantize_int8(conv_net(), [])


def test_quantize_refuses_batches_that_do_not_fit():
    with pytest.raises(InputError, match=r"batch 0: expected \['x'\], received \['z'\]"):
        quantize_int8(conv_net(), [{"z": PIXELS}])
    with pytest.raises(InputError, match="batch 0: 'x' holds NaN"):
        quantize_int8(conv_net(), [{"x": np.full((1, 3, 8, 8), np.nan, np.float32)}])
    with pytest.raises(InputError, match="array}, received ndarray"):
        quantize_int8(conv_net(), [PIXELS])
    with pytest.raises(InputError, match="Got: 7 Expected: 8"):
        quantize_int8(conv_net(), [{"x": np.zeros((1, 3, 7, 8), np.float32)}])


def test_quantize_refuses_what_is_quantized(quantized):
    with pytest.raises(ModelFormatError, match="quantized already"):
        quantize_int8(quantized, batches())


def test_raw_pixels_1_outputs_are_bit_equal(quantized):
    raw = raw_pixel_input(quantized)
    assert np.array_equal(run(raw, x=PIXELS), run(quantized, x=centred(PIXELS)))


def test_raw_pixels_2_swapped_channels_are_bit_equal(quantized):
    raw = raw_pixel_input(quantized, swap_channels=True)
    assert np.array_equal(run(raw, x=PIXELS[:, ::-1]), run(quantized, x=centred(PIXELS)))


def test_raw_pixels_3_a_float_model_is_refused():
    with pytest.raises(ModelFormatError, match=r"found \['Conv'\]: quantize the model first"):
        raw_pixel_input(conv_net())


def test_float_input_1_undoes_raw_pixels(quantized):
    again = float_input(raw_pixel_input(quantized))
    assert np.array_equal(run(again, x=centred(PIXELS)), run(quantized, x=centred(PIXELS)))


def test_float_input_2_swaps_back(quantized):
    again = float_input(raw_pixel_input(quantized, swap_channels=True), swap_channels=True)
    assert np.array_equal(run(again, x=centred(PIXELS)), run(quantized, x=centred(PIXELS)))


def test_float_input_3_a_float_input_is_refused(quantized):
    with pytest.raises(ModelFormatError, match="uint8 input 'x'"):
        float_input(quantized)


@pytest.mark.parametrize("bias", [True, False], ids=["1_bias", "2_no_bias"])
def test_fold(bias):
    mean, std = [100.0, 110.0, 120.0], [50.0, 60.0, 70.0]
    before = conv_net(bias, pads=(0, 0, 0, 0))
    after = fold_normalization(before, mean, std)
    x = PIXELS.astype(np.float32)
    normalised = (x - np.reshape(mean, (1, 3, 1, 1))) / np.reshape(std, (1, 3, 1, 1))
    expected = run(before, x=normalised.astype(np.float32))
    np.testing.assert_allclose(run(after, x=x), expected, rtol=1e-4, atol=1e-4)


def test_fold_3_another_reader_is_refused():
    model = build([helper.make_node("Relu", ["x"], ["y"])], {})
    with pytest.raises(ModelFormatError, match="Relu"):
        fold_normalization(model, [0, 0, 0], [1, 1, 1])


def test_fold_refuses_a_wrong_number_of_means():
    with pytest.raises(ModelFormatError, match="expected 3 means"):
        fold_normalization(conv_net(), [0], [1])


def test_simplify_1_folds_constants():
    nodes = [
        helper.make_node("Add", ["a", "b"], ["s"]),
        helper.make_node("Mul", ["x", "s"], ["y"]),
    ]
    model = build(nodes, {"a": np.float32(1), "b": np.float32(2)})
    assert ops(simplify(model)) == ["Mul"]


def test_simplify_2_drops_transposes_that_cancel_out():
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Transpose", ["t"], ["u"], perm=[0, 3, 1, 2]),
        helper.make_node("Relu", ["u"], ["y"]),
    ]
    assert ops(simplify(build(nodes, {}))) == ["Relu"]


def test_simplify_3_an_add_becomes_the_bias():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Add", ["c", "b"], ["y"]),
    ]
    model = simplify(build(nodes, {"w": WEIGHTS, "b": BIAS.reshape(1, 4, 1, 1)}))
    assert ops(model) == ["Conv"]


def pool_net(fill):
    pads = np.array([0, 0, 1, 1, 0, 0, 0, 0], np.int64)
    nodes = [
        helper.make_node("Pad", ["x", "pads", "fill"], ["p"]),
        helper.make_node("MaxPool", ["p"], ["y"], kernel_shape=[3, 3], strides=[2, 2]),
    ]
    return build(nodes, {"pads": pads, "fill": np.float32(fill)})


def test_simplify_4_pool_padding_with_the_lowest_float():
    before = pool_net(np.finfo(np.float32).min)
    after = simplify(before)
    x = RNG.standard_normal((1, 3, 8, 8)).astype(np.float32)
    assert ops(after) == ["MaxPool"]
    assert np.array_equal(run(after, x=x), run(before, x=x))


def test_simplify_4_any_other_padding_stays():
    assert ops(simplify(pool_net(5.0))) == ["Pad", "MaxPool"]


def test_simplify_5_names_are_unique_and_unused_weights_go():
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Sigmoid", ["r"], ["y"])]
    model = simplify(build(nodes, {"unused": WEIGHTS}))
    names = [node.name for node in model.graph.node]
    assert all(names)
    assert len(set(names)) == len(names)
    assert not model.graph.initializer


def test_simplify_6_only_standard_operators():
    model = simplify(conv_net())
    assert {opset.domain for opset in model.opset_import} == {""}


def test_passes_leave_what_they_are_given(quantized):
    before = quantized.SerializeToString()
    raw_pixel_input(quantized, swap_channels=True)
    set_metadata(quantized, {"task": "x"})
    assert quantized.SerializeToString() == before


def test_metadata_round_trip_through_a_file(tmp_path):
    path = tmp_path / "m.onnx"
    save(set_metadata(conv_net(), {"task": "t", "labels": ["a", "ä"], "x": {"n": 1}}), path)
    assert get_metadata(path) == {
        "schema": "1",
        "task": "t",
        "labels": ["a", "ä"],
        "x": {"n": 1},
    }


def test_metadata_3_replaces_removes_and_keeps():
    model = conv_net()
    model.metadata_props.add(key="author", value="me")
    model = set_metadata(set_metadata(model, {"task": "t", "x": "1"}), {"task": "u", "x": None})
    assert get_metadata(model) == {"schema": "1", "task": "u"}
    assert [e.value for e in model.metadata_props if e.key == "author"] == ["me"]


def test_metadata_that_is_not_json():
    with pytest.raises(ModelFormatError, match="'x' cannot be JSON"):
        set_metadata(conv_net(), {"x": object()})
    with pytest.raises(ModelFormatError, match=r"edgeml\.x"):
        get_metadata(set_metadata(conv_net(), {"x": "[1,"}))


def test_files_that_are_missing_or_no_models(tmp_path):
    with pytest.raises(ModelNotFound):
        simplify(tmp_path / "none.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(ModelFormatError, match=r"broken\.onnx"):
        simplify(broken)


def test_save_of_an_invalid_model_writes_nothing(tmp_path):
    with pytest.raises(ModelFormatError):
        save(onnx.ModelProto(), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
