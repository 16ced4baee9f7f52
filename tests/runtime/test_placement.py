from __future__ import annotations

import numpy as np
import pytest

import edgeml
from edgeml.errors import InputError, ModelError
from edgeml.runtime import Delegate, PlacedNode, Placement, available
from edgeml.runtime._placement import CPU, advise, from_profile, with_precision

NPU = "NpuExecutionProvider"


def event(name, op, provider, ts, dur, dtype="float"):
    details = {"op_name": op, "provider": provider, "input_type_shape": [{dtype: [1]}]}
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": ts, "dur": dur, "args": details}


RUN = {"cat": "Session", "name": "model_run", "ts": 0, "dur": 0, "args": {}}


def test_a_profile_on_the_cpu():
    with edgeml.load("edgeml:activity_watch_int8.onnx", threads=1) as session:
        placement = session.placement(profile=True)
    assert sum(node.share for node in placement) == pytest.approx(1)
    assert [node.share for node in placement] == sorted((n.share for n in placement), reverse=True)
    convs = [node for node in placement if node.kernel == "QLinearConv"]
    assert len(convs) == 3
    assert {(node.op, node.precision, node.delegate) for node in convs} == {("Conv", "uint8", CPU)}
    assert placement.partitions == 1
    assert placement.copies == 0
    assert placement.advice.startswith(f"All {len(placement)} kernels run on the CPU; ")


def test_a_profile_without_a_folder_to_write_it_to(doubles, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with edgeml.load(doubles) as session, pytest.raises(ModelError, match="set TMPDIR to one"):
        session.placement(profile=True)


def test_a_profile_with_inputs_of_the_users(doubles):
    with edgeml.load(doubles) as session:
        x = np.ones((50, 3), np.float32)
        assert [n.kernel for n in session.placement(profile=True, inputs=x)] == ["Mul"]
        with pytest.raises(InputError, match="expected shape"):
            session.placement(profile=True, inputs=x[:, :2])


def test_the_bodies_of_control_flow_are_counted_once():
    with edgeml.load("edgeml:silero_vad.onnx", threads=1) as session:
        inputs = {
            "input": np.zeros((1, 576), np.float32),
            "state": np.zeros((2, 1, 128), np.float32),
            "sr": np.array(16000),
        }
        placement = session.placement(profile=True, inputs=inputs)
    shares = {node.op: node.share for node in placement}
    assert shares["If"] < 0.5
    assert "LSTM" in shares


def test_time_partitions_and_copies_of_a_profile():
    first = [event("a", "Conv", NPU, 0, 999), RUN]
    run = [
        event("a", "Conv", NPU, 0, 20),
        event("to", "MemcpyToHost", NPU, 20, 10),
        event("outer", "If", CPU, 30, 50),
        event("inner", "HardSwish", CPU, 40, 30),
        event("b_token_3", "QLinearConv", NPU, 80, 20, "uint8"),
        RUN,
    ]
    placement = from_profile(first + run, {"b": "Conv"}, warm=1)
    assert {node.name: node.share for node in placement} == {
        "a": 0.2, "to": 0.1, "outer": 0.2, "inner": 0.3, "b_token_3": 0.2
    }  # fmt: skip
    assert PlacedNode("b_token_3", "Conv", NPU, "QLinearConv", "uint8", 0.2) in placement
    assert placement.partitions == 3
    assert placement.copies == 1


def placed(*nodes, partitions=None):
    return Placement(tuple(nodes), "", partitions)


def test_advice_of_what_is_left_to_the_cpu():
    conv = PlacedNode("a", "Conv", NPU, share=0.69)
    swish = PlacedNode("b", "HardSwish", CPU, share=0.2)
    resize = PlacedNode("c", "Resize", CPU, share=0.11)
    left = placed(conv, swish, resize, partitions=5)
    assert advise(left, "qnn", NPU, []) == (
        "1 HardSwish and 1 Resize nodes keep 31% of the time on the CPU, in 5 partitions; export "
        "the model with operators that qnn takes instead."
    )
    few = placed(conv, PlacedNode("b", "HardSwish", CPU, share=0.004), partitions=2)
    assert advise(few, "qnn", NPU, []) == (
        "1 HardSwish nodes stay on the CPU for 0.4% of the time: nothing to gain there."
    )
    assert "profile=True" in advise(placed(conv, swish), "qnn", NPU, [])
    assert advise(placed(conv), "qnn", NPU, []) == (
        "Every node runs on qnn: nothing is left to the CPU."
    )
    assert "fix its free dimensions with dims= (N)" in advise(placed(swish), "qnn", NPU, ["N"])


def test_advice_of_float_models():
    conv = PlacedNode("a", "Conv", CPU, "Conv", "float", 1.0)
    assert "Conv takes 100% of the time, in float32: edgeml optimize" in advise(
        placed(conv, partitions=1), "cpu", CPU, []
    )
    assert advise(placed(conv), "cpu", CPU, []) == "All 1 nodes run on the CPU."


def test_placement_is_a_sequence_that_prints(doubles):
    with edgeml.load(doubles) as session:
        placement = session.placement()
    assert len(placement) == 1
    assert placement[0].op == "Mul"
    assert placement[:1] == placement.nodes
    assert str(placement).splitlines() == [
        "    1 Mul on CPUExecutionProvider", "All 1 nodes run on the CPU."
    ]  # fmt: skip


def test_a_tflite_model_tells_no_times():
    with edgeml.load("edgeml:blazeface.tflite") as session:
        assert session.placement().advice.startswith("XNNPACK runs 1 parts")
        with pytest.raises(ModelError, match="does not tell the time"):
            session.placement(profile=True)


@pytest.mark.parametrize("delegate", ["openvino", "qnn"])
def test_a_profile_on_a_delegate(delegate):
    if not (found := available(delegate)):
        pytest.skip(f"{delegate}: {found}")
    with edgeml.load(
        "edgeml:activity_watch_int8.onnx", Delegate(delegate, dims={"N": 1})
    ) as session:
        placement = session.placement(profile=True)
    assert placement[0].delegate != CPU or delegate == "qnn"
    assert sum(node.share for node in placement) == pytest.approx(1)
    assert delegate in placement.advice


def test_the_precision_of_what_a_delegate_runs():
    conv = PlacedNode("a", "Conv", NPU)
    quantized = PlacedNode("q", "QuantizeLinear", NPU)
    fused = PlacedNode("f", "Npu_1", NPU, "Npu_1", "int64", 0.5)
    half = PlacedNode("g", "Npu_1", NPU, "Npu_1", "float16", 0.5)
    alone = PlacedNode("a", "Conv", NPU, "Conv", "float", 0.5)
    index = PlacedNode("a", "Conv", NPU, "Conv", "int64", 0.5)
    cpu = PlacedNode("c", "Erf", CPU, "Erf", "float", 0.5)

    def precisions(nodes, precision):
        found = with_precision(placed(fused, half, alone, index, cpu), nodes, NPU, precision)
        return [node.precision for node in found]

    assert precisions([conv], "fp16") == ["float16", "float16", "float16", "int64", "float"]
    assert precisions([conv], "fp32") == ["float", "float16", "float", "int64", "float"]
    assert precisions([conv, quantized], "fp16")[:2] == ["int8", "float16"]


def test_advice_of_float16_models_on_the_cpu(onnx_file):
    half = {name: ([64, 64], "FLOAT16") for name in "xy"}
    weights = np.eye(64, dtype=np.float16)
    nodes = [("MatMul", ["x", "w"], ["a"]), ("Erf", ["a"], ["b"]), ("MatMul", ["b", "w"], ["y"])]
    file = onnx_file(nodes, {"x": half["x"]}, {"y": half["y"]}, {"w": weights})
    with edgeml.load(file, "cpu", threads=1) as session:
        advice = session.placement(profile=True).advice
    assert "its float16 is calculated in float32 on a CPU, with casts" in advice
    assert advice.endswith("use a float32 file, or edgeml optimize to make it int8.")
