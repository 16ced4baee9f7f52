from __future__ import annotations

import logging

import numpy as np
import pytest

import edgeml
from edgeml.errors import DelegateError
from edgeml.runtime._availability import AVAILABLE, Reason
from edgeml.runtime._delegate import Entry, available, choose, parse


def test_the_grammar():
    assert parse("npu, openvino:GPU!,cpu") == (
        Entry("npu"),
        Entry("openvino", "gpu", required=True),
        Entry("cpu"),
    )


@pytest.mark.parametrize("text", ["", "cpu,", ",cpu", "cpu!!", ":gpu", "openvino:", "c p u", "!"])
def test_what_is_not_of_the_grammar_is_refused(text):
    with pytest.raises(DelegateError, match="expected name"):
        parse(text)


@pytest.mark.parametrize("text", ["auto", "cpu", "cpu!", "CPU"])
def test_the_cpu_can_be_had(text):
    assert choose(text).name == "cpu"


def test_an_entry_that_cannot_be_had_is_logged_with_the_reason(caplog):
    with caplog.at_level(logging.WARNING, "edgeml.runtime"):
        assert choose("npu,cpu").name == "cpu"
    assert "npu: this version runs models on cpu and openvino only" in caplog.text


def test_none_that_can_be_had_says_why(doubles):
    with pytest.raises(DelegateError, match=r"'openvino:tpu'.*no device 'tpu': cpu, gpu") as caught:
        edgeml.load(doubles, delegate="openvino:tpu")
    assert caught.value.delegate == "openvino:tpu"


def test_openvino_that_is_not_installed_names_the_command(doubles, monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = available(Entry("openvino"))
    assert found.reason is Reason.NOT_INSTALLED
    assert found.fix == "pip install onnxruntime-ep-openvino"
    with pytest.raises(DelegateError, match="pip install onnxruntime-ep-openvino"):
        edgeml.load(doubles, delegate="openvino")


def test_a_plugin_that_finds_no_device_says_so(monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("edgeml.runtime._openvino._plugin_devices", lambda device: [])
    found = available(Entry("openvino", "gpu"))
    assert found.reason is Reason.NO_DEVICE
    assert "finds no GPU of Intel's" in found.detail


def test_a_tflite_model_has_no_other_delegate(monkeypatch):
    monkeypatch.setattr("edgeml.runtime._openvino.available", lambda device: AVAILABLE)
    with pytest.raises(DelegateError, match="run on the CPU, not on openvino"):
        edgeml.load("edgeml:blazeface.tflite", delegate="openvino")


def test_a_model_on_openvino(openvino):
    x = np.random.default_rng(0).standard_normal((1, 100, 6)).astype(np.float32)
    with (
        edgeml.load("edgeml:activity_watch_int8.onnx", "cpu") as cpu,
        edgeml.load("edgeml:activity_watch_int8.onnx", "openvino") as session,
    ):
        assert session.delegate == "openvino"
        assert "OpenVINOExecutionProvider" in {node.delegate for node in session.placement()}
        np.testing.assert_allclose(
            session.run(x)["probabilities"], cpu.run(x)["probabilities"], atol=0.02
        )


@pytest.fixture
def openvino():
    found = available(Entry("openvino"))
    if not found:
        pytest.skip(str(found))


def test_the_cpu_has_no_devices():
    with pytest.raises(DelegateError, match="no devices to choose from"):
        choose("cpu:1")


def test_placement_names_every_node(doubles):
    with edgeml.load(doubles) as session:
        assert session.delegate == "cpu"
        assert [(n.name, n.op, n.delegate) for n in session.placement()] == [
            ("node0", "Mul", "CPUExecutionProvider")
        ]


def test_placement_of_a_runtime_that_does_not_tell(doubles):
    class Old:
        """A session of a release before the runtime told where nodes run."""

    with edgeml.load(doubles) as session:
        session._ort = Old()
        assert [(n.op, n.delegate) for n in session.placement()] == [
            ("Mul", "CPUExecutionProvider")
        ]


def test_placement_of_a_tflite_model():
    with edgeml.load("edgeml:blazeface.tflite") as session:
        ops = {node.op: node.delegate for node in session.placement()}
    assert ops["CONV_2D"] == "cpu"
    assert ops["DELEGATE"] == "xnnpack"


def test_threads_are_at_least_one(doubles):
    with pytest.raises(ValueError, match="at least 1"):
        edgeml.load(doubles, threads=0)
    with edgeml.load(doubles, threads=1) as session:
        assert session.run(np.ones((1, 3), np.float32))["y"].tolist() == [[2, 2, 2]]
