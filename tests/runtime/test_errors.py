from __future__ import annotations

import subprocess
import sys

import pytest

from edgeml.errors import EdgeMLError, InputError, ModelError, ModelFormatError, ModelNotFound
from edgeml.runtime._errors import ORT_ERRORS, translated


def ort_errors() -> dict[str, type[Exception]]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return {
        name: kind
        for name, kind in vars(state).items()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }


def test_every_error_of_the_runtime_is_known():
    assert set(ort_errors()) == set(ORT_ERRORS)


@pytest.mark.parametrize("loading", [True, False])
@pytest.mark.parametrize("name", sorted(ORT_ERRORS))
def test_every_error_of_the_runtime_becomes_ours(name, loading):
    message = r"^model\.onnx: what happened"
    with (
        pytest.raises(EdgeMLError, match=message) as caught,
        translated("model.onnx", loading=loading),
    ):
        raise ort_errors()[name]("[ONNXRuntimeError] : 1 : FAIL : what happened")
    assert caught.value.path == "model.onnx"
    if loading and isinstance(caught.value, ModelError):
        assert isinstance(caught.value, ModelFormatError | ModelNotFound)


def test_an_error_class_of_a_newer_runtime_becomes_ours():
    new = type("BrandNew", (Exception,), {"__module__": "onnxruntime.capi.state"})
    with pytest.raises(ModelError, match="m: oh"), translated("m"):
        raise new("oh")


@pytest.mark.parametrize("error", [InputError("ours"), KeyError("a bug"), MemoryError()])
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as caught, translated("m", loading=True):
        raise error
    assert caught.value is error


def test_the_place_in_the_runtimes_source_is_cut_off():
    text = (
        "[ONNXRuntimeError] : 1 : FAIL : /onnxruntime_src/core/graph/utils.h:46 void "
        "onnxruntime::utils::Check(const std::unordered_map<std::string, int>&, bool) "
        "Opset 99 is under development (see the list)."
    )
    with pytest.raises(ModelError) as caught, translated("m"):
        raise ort_errors()["Fail"](text)
    assert str(caught.value).startswith("m: Opset 99 is under development (see the list)")


def test_without_a_runtime_the_error_has_the_pip_command():
    script = """
import sys
sys.modules.update(dict.fromkeys(("onnxruntime", "ai_edge_litert", "tflite_runtime")))
import edgeml
for name in ("silero_vad.onnx", "blazeface.tflite"):
    try:
        edgeml.load(f"edgeml:{name}")
    except edgeml.errors.MissingExtra as error:
        print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert 'pip install "edgeml-runtime[cpu]"' in said
    assert 'pip install "edgeml-runtime[litert]"' in said


def test_importing_and_running_says_nothing_on_stderr():
    script = """
import sys, numpy as np, edgeml.runtime
heavy = {"onnxruntime", "onnx", "ai_edge_litert"} & set(sys.modules)
assert not heavy, heavy
with edgeml.load("edgeml:activity_watch_int8.onnx") as session:
    session.run(np.zeros((2, 100, 6)))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("", "")


def test_of_what_openvino_says_the_reason_is_left():
    text = (
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: "
        "/ort/openvino/ov_interface.cc:28 auto onnxruntime::openvino_ep::Boundary(F&&) [with F = "
        "OVCore::CompileModel] [OpenVINO-EP] Exception while Loading Network for graph g: "
        "Exception from src/inference/core.cpp:114: Exception from src/dev/plugin.cpp:53: "
        "CPU plug-in doesn't support dynamic rank."
    )
    with pytest.raises(ModelError) as caught, translated("m"):
        raise ort_errors()["RuntimeException"](text)
    assert str(caught.value) == (
        "m: Exception while Loading Network for graph g: CPU plug-in doesn't support dynamic rank"
    )
