from __future__ import annotations

import ctypes
import logging
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import edgeml
from edgeml.errors import DelegateError, MissingExtra, ModelFormatError
from edgeml.runtime import Availability, Backend, Delegate, Reason, available, delegates
from edgeml.runtime._availability import AVAILABLE
from edgeml.runtime._delegate import first, parse
from edgeml.runtime._delegates._cuda import CUDA
from edgeml.runtime._delegates._openvino import OpenVINO
from edgeml.runtime._delegates._qnn import QNN
from edgeml.runtime._delegates._tensorrt import TensorRT
from edgeml.runtime._delegates._webgpu import WebGPU


def choose(delegate, model_format="onnx"):
    """Return the delegate that is taken, when opening a model works with each."""
    return first(delegate, model_format, lambda entry, backend: backend.name)[1]


class Toaster(Backend):
    """A delegate of others: the CPU by another name."""

    name = "toaster"
    provider = "CPUExecutionProvider"
    devices = {"slot": "npu"}  # noqa: RUF012
    options = {"crust": ("thin", "thick")}  # noqa: RUF012

    def available(self, device=None):
        return AVAILABLE

    def attach(self, options, delegate, threads):
        return [self.provider]


class Burnt(Toaster):
    """One that registers, finds its device, and fails when a session is made."""

    def attach(self, options, delegate, threads):
        raise RuntimeError("the heating element is gone")


def test_the_grammar():
    assert parse("npu, openvino:GPU!,cpu") == (
        Delegate("npu"),
        Delegate("openvino", "gpu", required=True),
        Delegate("cpu"),
    )
    fast = Delegate("openvino", device="GPU", precision="fp16")
    assert parse([fast, "npu,cpu"]) == (fast, Delegate("npu"), Delegate("cpu"))
    assert fast.device == "gpu"
    assert fast.options == {"precision": "fp16"}
    assert Delegate(**fast.to_dict()) == fast


@pytest.mark.parametrize("text", ["", "cpu,", ",cpu", "cpu!!", ":gpu", "openvino:", "c p u", "!"])
def test_what_is_not_of_the_grammar_is_refused(text):
    with pytest.raises(DelegateError, match="expected name"):
        parse(text)


@pytest.mark.parametrize("text", ["auto", "cpu", "cpu!", "CPU"])
def test_the_cpu_can_be_had(text):
    assert choose(text).name == "cpu"


def test_the_cpu_has_no_devices():
    with pytest.raises(DelegateError, match="no device '1'"):
        choose("cpu:1")


def test_an_unknown_delegate_names_the_nearest(caplog):
    with caplog.at_level(logging.WARNING, "edgeml.runtime"):
        assert choose("opnvino,cpu").name == "cpu"
    assert "opnvino: no delegate has this name; there are cpu, xnnpack" in caplog.text
    assert "did you mean openvino?" in caplog.text
    assert available("opnvino").reason is Reason.UNKNOWN


def test_none_that_can_be_had_says_why_of_each(doubles):
    with pytest.raises(
        DelegateError, match=r"openvino:tpu: it has no device 'tpu'; its devices: cpu, gpu"
    ) as caught:
        edgeml.load(doubles, delegate="openvino:tpu,tosater")
    assert "tosater: no delegate has this name" in str(caught.value)
    assert "Add cpu to the list" in str(caught.value)
    assert caught.value.delegate == "openvino:tpu,tosater"


def test_a_wrong_option_is_refused_even_before_a_fall_back(doubles):
    with pytest.raises(DelegateError, match=r"no option 'precison'; did you mean precision\?"):
        edgeml.load(doubles, delegate=[Delegate("openvino", precison="fp16"), "cpu"])
    with pytest.raises(DelegateError, match="precision expects 'fp32' or 'fp16' or 'bf16'"):
        edgeml.load(doubles, delegate=[Delegate("openvino", precision="int4"), "cpu"])
    with pytest.raises(DelegateError, match="memory_limit expects a value of type int"):
        edgeml.load(doubles, delegate=[Delegate("cuda", memory_limit="2 GB"), "cpu"])


def test_free_dimensions_can_be_fixed(doubles):
    with edgeml.load(doubles, delegate=Delegate("cpu", dims={"N": 2})) as session:
        assert session.inputs[0].shape == (2, 3)


@pytest.mark.parametrize("dims", [{"N": 0}, {"N": "one"}, [("N", 1)]])
def test_dimensions_are_names_with_sizes(doubles, dims):
    with pytest.raises(DelegateError, match="dims expects"):
        edgeml.load(doubles, delegate=Delegate("cpu", dims=dims))


def test_options_of_the_other_kind_of_model_are_refused(doubles):
    with pytest.raises(DelegateError, match="xnnpack= is for TFLite models"):
        edgeml.load(doubles, delegate=Delegate("cpu", xnnpack=False))
    with pytest.raises(DelegateError, match="dims= is for ONNX models"):
        edgeml.load("edgeml:blazeface.tflite", delegate=Delegate("cpu", dims={"N": 1}))


def test_every_delegate_says_whether_it_can_be_had():
    found = delegates()
    assert {"cpu", "xnnpack", "openvino:cpu", "openvino:npu", "qnn:htp", "cuda:0"} <= found.keys()
    assert found["cpu"]
    for name, availability in found.items():
        assert availability or availability.detail, name


# --- kinds ---


def test_a_kind_that_cannot_be_had_says_why_of_each_delegate(monkeypatch):
    monkeypatch.setattr(QNN, "available", lambda *_: Availability(Reason.SIMULATED, "a simulator"))
    monkeypatch.setattr(OpenVINO, "available", lambda *_: Availability(Reason.NO_DEVICE, "none"))
    with pytest.raises(DelegateError, match=r"npu: no NPU can be had \(openvino:npu: none; qnn"):
        choose("npu")
    assert not available("npu")


def test_a_kind_takes_a_device_that_is_no_simulator(monkeypatch):
    monkeypatch.setattr(OpenVINO, "available", lambda *_: AVAILABLE)
    assert choose("npu!,cpu") == Delegate("openvino", "npu", required=True)
    assert available("npu")


def test_options_of_a_kind_are_those_of_its_delegate(monkeypatch):
    monkeypatch.setattr(OpenVINO, "available", lambda *_: AVAILABLE)
    fast = Delegate("gpu", precision="fp16")
    assert choose(fast) == Delegate("openvino", "gpu", precision="fp16")
    with pytest.raises(DelegateError, match=r"openvino:gpu: .* no option 'workspace'"):
        choose(Delegate("gpu", workspace=1))


# --- delegates of others, by entry point ---


@pytest.fixture
def installed(monkeypatch):
    """Return what installs a delegate of another package."""

    def install(loads, name="toaster"):
        def load():
            if isinstance(loads, Exception):
                raise loads
            return loads

        entry = SimpleNamespace(name=name, value="toaster_edgeml:Backend", load=load)
        monkeypatch.setattr(
            "edgeml.runtime._delegates.metadata.entry_points",
            lambda group, name=entry.name: [entry] if name == entry.name else [],
        )

    return install


@pytest.mark.parametrize("loads", [Toaster, Toaster()], ids=["class", "object"])
def test_a_delegate_by_entry_point(doubles, installed, loads):
    installed(loads)
    assert delegates()["toaster:slot"]
    with edgeml.load(doubles, delegate=Delegate("toaster", crust="thin")) as session:
        assert session.delegate == "toaster"
        assert session.run(np.ones((1, 3), np.float32))["y"].tolist() == [[2, 2, 2]]
    assert str(choose("npu")) == "toaster:slot"


@pytest.mark.parametrize(
    ("loads", "why"),
    [
        (ImportError("no module named toast"), "ImportError: no module named toast"),
        (dict, "is no edgeml.runtime.Backend"),
    ],
)
def test_an_entry_point_that_is_broken_says_so(installed, loads, why):
    installed(loads)
    found = available("toaster")
    assert found.reason is Reason.BROKEN
    assert why in found.detail
    with pytest.raises(DelegateError, match="toaster_edgeml:Backend"):
        choose("toaster")


def test_a_delegate_that_fails_when_a_session_is_made(doubles, installed, caplog):
    installed(Burnt)
    with edgeml.load(doubles, delegate="toaster,cpu") as session:
        assert session.delegate == "cpu"
    assert "failed to open" in caplog.text
    assert "the heating element is gone" in caplog.text
    with pytest.raises(DelegateError, match="the heating element is gone"):
        edgeml.load(doubles, delegate="toaster")


def test_a_provider_that_is_silently_left_out_is_refused(doubles, installed):
    class Lying(Toaster):
        provider = "ToasterExecutionProvider"

        def attach(self, options, delegate, threads):
            return ["CPUExecutionProvider"]

    installed(Lying)
    with pytest.raises(DelegateError, match="without ToasterExecutionProvider"):
        edgeml.load(doubles, delegate="toaster")


def test_a_broken_file_is_no_fault_of_the_delegate(tmp_path, installed):
    installed(Toaster)
    file = tmp_path / "broken.onnx"
    file.write_bytes(b"\x08\x09" + b"\x3a\x02\x0a\x00")
    with pytest.raises(ModelFormatError):
        edgeml.load(file, delegate="toaster,cpu")


# --- plugins ---


@pytest.fixture
def ort(monkeypatch):
    """Replace onnxruntime by one that has no plugin registered yet."""
    fake = SimpleNamespace(
        __version__="1.30.0",
        get_available_providers=lambda: ["CPUExecutionProvider"],
        get_ep_devices=list,
        register_execution_provider_library=lambda name, path: None,
    )
    monkeypatch.setattr("edgeml.runtime._plugin.runtime", lambda: fake)
    for name in ("openvino", "cuda"):
        monkeypatch.setattr(f"edgeml.runtime._delegates._{name}.runtime", lambda: fake)
    for name in ("onnxruntime_ep_openvino", "onnxruntime_ep_webgpu", "onnxruntime_qnn"):
        module = SimpleNamespace(
            __spec__=object(), get_library_path=lambda: "p.so", get_qnn_htp_path=lambda: "htp.so"
        )
        monkeypatch.setitem(sys.modules, name, module)
    return fake


def device(provider, kind):
    return SimpleNamespace(
        ep_name=provider, device=SimpleNamespace(type=f"OrtHardwareDeviceType.{kind}")
    )


@pytest.mark.parametrize(
    ("backend", "command"),
    [
        (OpenVINO, "pip install onnxruntime-ep-openvino"),
        (QNN, "pip install onnxruntime-qnn"),
        (WebGPU, "pip install onnxruntime-ep-webgpu"),
        (CUDA, "pip uninstall onnxruntime && pip install onnxruntime-gpu"),
        (TensorRT, "pip uninstall onnxruntime && pip install onnxruntime-gpu"),
    ],
)
def test_what_is_not_installed_names_the_command(ort, monkeypatch, backend, command):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = backend().available()
    assert found.reason is Reason.NOT_INSTALLED
    assert found.fix == command
    assert command in str(found)


@pytest.mark.parametrize("backend", [OpenVINO, QNN, WebGPU])
def test_a_plugin_for_a_newer_runtime_says_which(ort, backend):
    del ort.register_execution_provider_library
    found = backend().available()
    assert found.reason is Reason.WRONG_VERSION
    assert "there is 1.30.0" in found.detail
    assert found.fix.startswith('pip install "onnxruntime>=1.2')


@pytest.mark.parametrize("backend", [OpenVINO, QNN, WebGPU])
def test_a_plugin_that_cannot_be_registered_says_why(ort, backend):
    def register(name, path):
        raise RuntimeError("expected API version 27,\n received 23")

    ort.register_execution_provider_library = register
    found = backend().available()
    assert found.reason is Reason.WRONG_VERSION
    assert "cannot load it: expected API version 27, received 23" in found.detail
    assert "pip install --upgrade onnxruntime" in found.fix


def test_a_plugin_whose_library_is_broken_says_why(ort):
    def register(name, path):
        raise RuntimeError("libQnnHtp.so: cannot open shared object file")

    ort.register_execution_provider_library = register
    found = QNN().available()
    assert found.reason is Reason.BROKEN
    assert "cannot load it: libQnnHtp.so: cannot open shared object file" in found.detail
    assert found.fix == "pip install --upgrade onnxruntime onnxruntime-qnn"


def test_a_plugin_that_was_registered_before_is_no_failure(ort):
    def register(name, path):
        raise RuntimeError("library is already registered")

    ort.register_execution_provider_library = register
    found = OpenVINO().available("gpu")
    assert found.reason is Reason.NO_DEVICE
    assert "finds no GPU of Intel's" in found.detail


def test_the_cpu_plugin_of_openvino_names_the_build_for_other_cpus(ort):
    assert "onnxruntime-openvino instead of onnxruntime" in OpenVINO().available().detail


def test_a_virtual_gpu_is_no_gpu(ort):
    ort.get_ep_devices = lambda: [device("WebGpuExecutionProvider", "CPU")]
    assert WebGPU().available().reason is Reason.NO_DEVICE


def test_a_device_that_vanishes_before_the_session_is_made(ort):
    with pytest.raises(DelegateError, match="openvino:gpu: its device has gone"):
        OpenVINO().attach(SimpleNamespace(), Delegate("openvino", "gpu"), 1)


@pytest.fixture
def node(tmp_path, monkeypatch):
    """Return the device node of a toaster that this process may not open."""
    made = tmp_path / "toaster0"
    made.touch()
    made.chmod(0o660)
    monkeypatch.setattr(Toaster, "nodes", {"slot": (str(tmp_path / "toaster*"),)}, raising=False)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    return made


def test_a_device_node_without_permission(doubles, installed, node):
    installed(Toaster)
    if node.stat().st_gid == 0:
        os.chown(node, -1, 1)
    group = node.group()
    found = available("toaster")
    assert found.reason is Reason.NO_PERMISSION
    assert found.detail == f"no permission for {node}, which is for the group {group}"
    assert found.fix == f"sudo usermod -aG {group} $USER, then log in again"
    assert delegates()["toaster:slot"] == found
    assert not available("npu")
    with pytest.raises(DelegateError, match=f"toaster: no permission for {node}"):
        edgeml.load(doubles, delegate="toaster")


def test_a_device_node_that_is_roots(installed, node):
    installed(Toaster)
    node.chmod(0o600)
    found = available("toaster:slot")
    assert "which only root may open" in found.detail
    assert "a udev rule" in found.fix


def test_a_second_node_that_may_be_opened_is_enough(installed, node, monkeypatch):
    installed(Toaster)
    monkeypatch.setattr("os.access", lambda path, mode: path.endswith("1"))
    node.with_name("toaster1").touch()
    assert available("toaster")


def test_what_is_not_installed_is_said_before_permissions(installed, node):
    class Missing(Toaster):
        def available(self, device=None):
            return Availability(Reason.NOT_INSTALLED, "there is no toaster package")

    installed(Missing)
    assert available("toaster").reason is Reason.NOT_INSTALLED


class Options:
    """Session options that remember what a plugin was added with."""

    def add_provider_for_devices(self, devices, settings):
        self.devices, self.settings = devices, settings


def test_options_of_plugins(ort, monkeypatch):
    monkeypatch.setattr("edgeml.runtime._delegates._qnn.machine", lambda: "aarch64")
    gpu = device("OpenVINOExecutionProvider", "GPU")
    npu, web = device("QNNExecutionProvider", "NPU"), device("WebGpuExecutionProvider", "GPU")
    ort.get_ep_devices = lambda: [device("OpenVINOExecutionProvider", "CPU"), gpu, npu, web]
    options = Options()
    assert OpenVINO().attach(options, Delegate("openvino", "gpu", precision="fp16"), 2) == []
    assert options.devices == [gpu]
    assert options.settings == {"load_config": '{"GPU": {"INFERENCE_PRECISION_HINT": "f16"}}'}
    QNN().attach(options, Delegate("qnn", mode="burst"), 2)
    assert options.devices == [npu]
    assert options.settings == {"backend_path": "htp.so", "htp_performance_mode": "burst"}
    WebGPU().attach(options, Delegate("webgpu"), 2)
    assert options.devices == [web]
    assert options.settings == {}


def test_options_of_cuda_and_tensorrt():
    assert CUDA().attach(
        None, Delegate("cuda", "1", precision="tf32", memory_limit=1 << 30), 1
    ) == [
        (
            "CUDAExecutionProvider",
            {"device_id": "1", "use_tf32": "1", "gpu_mem_limit": "1073741824"},
        )
    ]
    assert TensorRT().attach(None, Delegate("tensorrt", precision="fp16", workspace=1024), 1) == [
        (
            "TensorrtExecutionProvider",
            {"device_id": "0", "trt_fp16_enable": "1", "trt_max_workspace_size": "1024"},
        ),
        ("CUDAExecutionProvider", {"device_id": "0", "use_tf32": "0"}),
    ]


def test_cuda_without_a_gpu_or_driver(ort, monkeypatch):
    ort.get_available_providers = lambda: ["CUDAExecutionProvider", "TensorrtExecutionProvider"]
    assert "no device 'first'" in available("cuda:first").detail
    monkeypatch.setattr("edgeml.runtime._delegates._cuda.gpus", lambda: 1)
    assert CUDA().available()
    assert "finds 1 GPUs" in CUDA().available("1").detail

    def load(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert TensorRT().available().fix == "pip install tensorrt"
    monkeypatch.undo()


def test_a_gpu_that_the_driver_does_not_find():
    found = available("cuda:9")
    assert found.reason in (Reason.NOT_INSTALLED, Reason.NO_DEVICE)


# --- real ones, where they are installed ---


def needs(delegate):
    found = available(delegate)
    if not found:
        pytest.skip(f"{delegate}: {found}")


def test_a_model_on_openvino():
    needs("openvino")
    x = np.random.default_rng(0).standard_normal((1, 100, 6)).astype(np.float32)
    with (
        edgeml.load("edgeml:activity_watch_int8.onnx", "cpu") as cpu,
        edgeml.load("edgeml:activity_watch_int8.onnx", "openvino!") as session,
    ):
        assert session.delegate == "openvino"
        assert {node.delegate for node in session.placement()} == {"OpenVINOExecutionProvider"}
        np.testing.assert_allclose(
            session.run(x)["probabilities"], cpu.run(x)["probabilities"], atol=0.02
        )


def test_a_model_on_the_simulator_of_qualcomms_npu(caplog):
    needs("qnn")
    x = np.random.default_rng(0).integers(0, 256, (1, 3, 224, 224), np.uint8)
    name = "edgeml:efficientnet_lite0_int8.onnx"
    with edgeml.load(name, "cpu") as cpu, edgeml.load(name, "npu,cpu") as npu:
        assert npu.delegate == "cpu"  # a simulator does not count as an NPU
        expected = cpu.run(x)
    qnn = Delegate("qnn", required=True, dims={"N": 1})
    with edgeml.load(name, qnn) as session:
        assert {node.delegate for node in session.placement()} == {"QNNExecutionProvider"}
        received = session.run(x)
    assert "a simulator of Qualcomm's NPU" in caplog.text
    for output, array in expected.items():
        scale = np.abs(array.astype(np.float32)).max()
        np.testing.assert_allclose(
            received[output].astype(np.float32), array.astype(np.float32), atol=0.1 * scale
        )


def test_nodes_that_a_delegate_does_not_take_are_logged_or_refused(caplog):
    needs("qnn")
    qnn = Delegate("qnn", dims={"N": 1})
    with edgeml.load("edgeml:activity_watch_int8.onnx", qnn) as session:
        assert "CPUExecutionProvider" in {node.delegate for node in session.placement()}
    assert "delegate qnn: it does not take " in caplog.text
    assert "they run on the CPU" in caplog.text
    with pytest.raises(DelegateError, match=r"does not take \d+ of the \d+ nodes .*without the !"):
        edgeml.load(
            "edgeml:activity_watch_int8.onnx", Delegate("qnn", required=True, dims={"N": 1})
        )


# --- TFLite ---


def test_a_tflite_model_has_delegates_of_its_own():
    with pytest.raises(DelegateError, match="openvino: it runs onnx models, and this is tflite"):
        edgeml.load("edgeml:blazeface.tflite", delegate="openvino")
    with edgeml.load("edgeml:blazeface.tflite", delegate="npu,xnnpack") as session:
        assert session.delegate == "xnnpack"
    with pytest.raises(DelegateError, match="leave out the !"):
        edgeml.load("edgeml:blazeface.tflite", delegate="xnnpack!")


def test_an_onnx_model_has_no_xnnpack(doubles):
    with pytest.raises(DelegateError, match="xnnpack: it runs tflite models, and this is onnx"):
        edgeml.load(doubles, delegate="xnnpack")


def test_litert_without_xnnpack_is_the_reference():
    x = np.random.default_rng(0).random((1, 128, 128, 3), np.float32)
    name = "edgeml:blazeface.tflite"
    with edgeml.load(name) as session, edgeml.load(name, Delegate("cpu", xnnpack=False)) as plain:
        assert "DELEGATE" not in {node.op for node in plain.placement()}
        assert "DELEGATE" in {node.op for node in session.placement()}
        for key, expected in plain.run(x).items():
            np.testing.assert_allclose(session.run(x)[key], expected, atol=1e-3)


# --- placement ---


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
    with pytest.raises(ValueError, match="from 1 to 1024"):
        edgeml.load(doubles, threads=0)
    with edgeml.load(doubles, threads=1) as session:
        assert session.run(np.ones((1, 3), np.float32))["y"].tolist() == [[2, 2, 2]]


@pytest.mark.parametrize("name", ["cuda", "openvino:gpu", "webgpu", "gpu"])
def test_without_the_runtime_none_of_its_delegates_can_be_had(monkeypatch, doubles, name):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found = available(name)
    assert found.reason is Reason.NOT_INSTALLED
    assert 'pip install "edgeml-runtime[cpu]"' in str(found)
    assert not delegates()["cuda:0"]
    with pytest.raises(MissingExtra, match="needs onnxruntime"):
        edgeml.load(doubles, name)
