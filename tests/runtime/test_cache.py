from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import edgeml
from edgeml.errors import DelegateError
from edgeml.runtime import Backend, Delegate, available
from edgeml.runtime import _cache as engines
from edgeml.runtime._availability import AVAILABLE
from edgeml.runtime._delegates._openvino import OpenVINO
from edgeml.runtime._delegates._tensorrt import TensorRT

X = np.ones((1, 3), np.float32)


class Toaster(Backend):
    """The CPU by another name, which keeps what it compiles in a folder and checks it."""

    name = "toaster"
    provider = "CPUExecutionProvider"
    devices = {"slot": "npu"}  # noqa: RUF012
    options = {"crust": ("thin", "thick")}  # noqa: RUF012
    engines = "folder"
    version = "1.0"

    def __init__(self):
        self.compiled = 0
        self.fails = False

    def available(self, device=None):
        return AVAILABLE

    def attach(self, options, delegate, threads):
        if self.fails:
            raise RuntimeError("it does not heat")
        folder = delegate.options["cache"]
        blob = Path(folder, "toast.blob") if folder else None
        if blob is not None and blob.exists():
            if blob.read_bytes() != b"toast":
                raise RuntimeError("burnt")
        else:
            self.compiled += 1
            if blob is not None:
                blob.write_bytes(b"toast")
        return [self.provider]

    def versions(self):
        return {"toaster": self.version}


@pytest.fixture
def toaster(monkeypatch):
    """Install a toaster."""
    made = Toaster()
    entry = SimpleNamespace(name="toaster", value="toaster_edgeml:T", load=lambda: made)
    monkeypatch.setattr(
        "edgeml.runtime._delegates.metadata.entry_points",
        lambda group, name="toaster": [entry] if name == "toaster" else [],
    )
    return made


def load(model, **options):
    """Load and run a model on the toaster."""
    with edgeml.load(model, Delegate("toaster", **options), threads=1) as session:
        assert session.run(X)["y"].tolist() == [[2, 2, 2]]


def said(caplog):
    """Return what was logged of engines."""
    return [message for message in caplog.messages if "its engine" in message]


def kept(cache):
    """Return the folders of the engines that are kept."""
    return sorted(path for path in (cache / "engines").iterdir() if path.name[0] != ".")


def test_an_engine_is_compiled_once(doubles, toaster, cache):
    load(doubles)
    load(doubles)
    assert toaster.compiled == 1
    (folder,) = kept(cache)
    manifest = json.loads((folder / "engine.json").read_text())
    assert manifest["versions"]["toaster"] == "1.0"
    assert "onnxruntime" in manifest["versions"]
    assert list(manifest["files"]) == ["toast.blob"]
    assert not list((cache / "engines").glob(".part-*"))


def test_each_model_and_option_has_an_engine_of_its_own(doubles, doubles_with, toaster, cache):
    load(doubles)
    load(doubles, crust="thin")
    load(doubles, dims={"N": 1})
    load(doubles_with(name="other.onnx", props={"a": "b"}))
    assert toaster.compiled == len(kept(cache)) == 4


def test_the_weights_beside_a_model_belong_to_it(tmp_path, toaster, cache):
    import onnx

    file = tmp_path / "model.onnx"
    weights = onnx.numpy_helper.from_array(np.full((1, 3), 2, np.float32), "two")
    node = onnx.helper.make_node("Mul", ["x", "two"], ["y"])
    x, y = (onnx.helper.make_tensor_value_info(n, 1, [1, 3]) for n in "xy")
    graph = onnx.helper.make_graph([node], "g", [x], [y], [weights])
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)
    onnx.save(model, file, save_as_external_data=True, location="w.bin", size_threshold=0)
    load(file)
    stat = (tmp_path / "w.bin").stat()
    os.utime(tmp_path / "w.bin", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    load(file)
    assert toaster.compiled == 2


def test_it_can_be_switched_off(doubles, toaster, cache):
    load(doubles, cache=False)
    load(doubles, cache=False)
    assert toaster.compiled == 2
    assert not cache.exists()
    with pytest.raises(DelegateError, match="cache expects True or False, received '/tmp'"):
        edgeml.load(doubles, Delegate("toaster", cache="/tmp"))
    with pytest.raises(DelegateError, match="no option 'cache'"):
        edgeml.load(doubles, Delegate("cpu", cache=False))


def test_an_engine_of_other_versions_is_compiled_again(doubles, toaster, cache, caplog):
    load(doubles)
    toaster.version = "1.1"
    load(doubles)
    load(doubles)
    assert toaster.compiled == 2
    assert len(kept(cache)) == 1
    assert "was compiled with toaster 1.0, and now there is 1.1: compiled again" in caplog.text


def test_an_engine_of_another_device_is_compiled_again(doubles, toaster, monkeypatch, caplog):
    load(doubles)
    monkeypatch.setattr(engines, "cpu_name", lambda: "Pentium 90")
    load(doubles)
    assert toaster.compiled == 2
    assert "now there is Pentium 90" in caplog.text


def _rewrite(**changes):
    def change(folder):
        file = folder / "engine.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda folder: (folder / "toast.blob").write_bytes(b"toas"), r"damaged \(toast.blob\)"),
        (lambda folder: (folder / "toast.blob").unlink(), "toast.blob"),
        (lambda folder: (folder / "engine.json").unlink(), "engine.json"),
        (lambda folder: (folder / "engine.json").write_bytes(b'{"sch'), "JSONDecodeError"),
        (lambda folder: (folder / "engine.json").write_bytes(b"[\xff"), "UnicodeDecodeError"),
        (lambda folder: (folder / "engine.json").write_text("[]"), "TypeError"),
        (_rewrite(schema=2), "another version of edgeml"),
        (_rewrite(device=3), "AttributeError"),
        (_rewrite(nodes=[["CPU", [["a"]]]]), "TypeError"),
        (_rewrite(files={}, nodes=7), "TypeError"),
    ],
)
def test_a_damaged_engine_is_compiled_again(doubles, toaster, cache, caplog, damage, why):
    load(doubles)
    (folder,) = kept(cache)
    damage(folder)
    with caplog.at_level(logging.WARNING, "edgeml.runtime"):
        load(doubles)
    (message,) = said(caplog)
    assert re.search(why, message)
    assert message.endswith("compiled again")
    load(doubles)
    assert toaster.compiled == 2


def test_an_engine_that_the_delegate_refuses_is_compiled_again(doubles, toaster, cache, caplog):
    load(doubles)
    (folder,) = kept(cache)
    (folder / "toast.blob").write_bytes(b"black")
    _rewrite(files={})(folder)
    load(doubles)
    assert toaster.compiled == 2
    assert "cannot be loaded (burnt): compiled again" in caplog.text


def test_what_a_delegate_writes_later_is_no_damage(doubles, toaster, cache, caplog):
    load(doubles)
    (folder,) = kept(cache)

    class Later(Toaster):
        def attach(self, options, delegate, threads):
            Path(delegate.options["cache"], "later.blob").write_bytes(os.urandom(8))
            return super().attach(options, delegate, threads)

    toaster.__class__ = Later
    load(doubles)
    load(doubles)
    assert toaster.compiled == 1
    assert "damaged" not in caplog.text
    assert "later.blob" in json.loads((folder / "engine.json").read_text())["files"]


def test_a_delegate_that_fails_leaves_nothing(doubles, toaster, cache):
    toaster.fails = True
    with pytest.raises(DelegateError, match="it does not heat"):
        load(doubles)
    assert not list((cache / "engines").iterdir())


def test_a_cache_that_cannot_be_written_is_said(doubles, toaster, cache, caplog):
    cache.write_text("a file where the folder should be")
    load(doubles)
    assert "each load compiles it; set EDGEML_CACHE_DIR" in caplog.text


def test_a_cache_that_may_not_be_read_is_said(toaster, caplog, no_rights):
    def load_one():
        edgeml.load("edgeml:activity_watch_int8.onnx", Delegate("toaster"), threads=1).close()

    load_one()
    assert not said(caplog)
    no_rights()
    load_one()
    assert "each load compiles it; set EDGEML_CACHE_DIR" in caplog.text


def test_an_engine_that_another_process_removes(doubles, toaster, cache):
    load(doubles)
    (folder,) = kept(cache)
    engine = engines.Engine(folder, "doubles", {})
    (folder / "toast.blob").unlink()
    (folder / "engine.json").unlink()
    engine._used({})  # between its being loaded and the note that it was


def test_a_full_disk_is_said(doubles, toaster, cache, caplog, monkeypatch):
    def fsync(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(engines.os, "fsync", fsync)
    load(doubles)
    assert "cannot be kept: No space left on device" in caplog.text
    assert not list((cache / "engines").iterdir())


def test_another_process_may_be_faster(doubles, toaster, cache, monkeypatch, caplog):
    rename = os.rename

    def late(source, target):
        os.mkdir(target)
        (Path(target) / "engine.json").write_text("{}")
        rename(source, target)

    monkeypatch.setattr(engines.os, "rename", late)
    load(doubles)
    assert not said(caplog)
    assert [path.name[0] != "." for path in (cache / "engines").iterdir()] == [True]


def test_the_budget_goes_to_those_used_last(doubles, toaster, cache, monkeypatch, caplog):
    load(doubles, dims={"N": 1})
    (size,) = {sum(f.stat().st_size for f in folder.iterdir()) for folder in kept(cache)}
    (first,) = kept(cache)
    load(doubles, crust="thin")
    (second,) = set(kept(cache)) - {first}
    for age, folder in enumerate([first, second]):
        os.utime(folder / "engine.json", ns=(age, age))
    load(doubles, dims={"N": 1})  # a use: now the second is the oldest
    monkeypatch.setattr(engines, "BUDGET", size * 2 + size // 2)
    load(doubles, crust="thick")
    assert first in kept(cache)
    assert second not in kept(cache)
    assert len(kept(cache)) == 2
    monkeypatch.setattr(engines, "BUDGET", 3)
    load(doubles)
    assert "its engine is not kept: it has 5 bytes, and all may have 3" in caplog.text


def test_what_others_left_half_is_removed(doubles, toaster, cache):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    old, young, dead, odd = (
        cache / "engines" / f".part-{name}"
        for name in (f"{os.getpid()}-a", f"{os.getpid()}-b", f"{gone.pid}-c", "x")
    )
    for folder in (old, young, dead, odd):
        folder.mkdir(parents=True)
        (folder / "toast.blob").touch()
    os.utime(old, (0, 0))
    load(doubles)
    assert [folder.exists() for folder in (old, young, dead, odd)] == [False, True, False, False]


def test_threads_may_compile_at_the_same_time(doubles, toaster, cache, caplog):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(load, [doubles] * 12))
    assert len(kept(cache)) == 1
    assert not list((cache / "engines").glob(".part-*"))
    assert not said(caplog)


def test_graphs_that_were_made_in_memory_have_none(doubles, toaster, cache):
    import onnx

    from edgeml.graph._execute import open_session

    session = open_session(onnx.load(doubles), delegate=Delegate("toaster"))
    assert session.run(None, {"x": X})[0].tolist() == [[2, 2, 2]]
    assert not cache.exists()


def test_options_of_tensorrt_and_openvino(monkeypatch):
    monkeypatch.setattr(OpenVINO, "_is_built_in", lambda self: True)
    (provider, settings), _ = TensorRT().attach(None, Delegate("tensorrt", cache="/engines"), 1)
    assert provider == "TensorrtExecutionProvider"
    assert settings["trt_engine_cache_enable"] == settings["trt_timing_cache_enable"] == "1"
    assert settings["trt_engine_cache_path"] == settings["trt_timing_cache_path"] == "/engines"
    (_, settings), _ = TensorRT().attach(None, Delegate("tensorrt", cache=False), 1)
    assert not [name for name in settings if "cache" in name]
    ((_, settings),) = OpenVINO().attach(None, Delegate("openvino", "gpu", cache="/engines"), 1)
    assert json.loads(settings["load_config"])["GPU"]["CACHE_DIR"] == "/engines"
    ((_, settings),) = OpenVINO().attach(None, Delegate("openvino", "gpu", cache=False), 1)
    assert "CACHE_DIR" not in settings["load_config"]


def test_nvidias_driver_is_a_version(tmp_path, monkeypatch):
    file = tmp_path / "version"
    monkeypatch.setattr("edgeml.runtime._delegates._cuda._DRIVER", file)
    assert "nvidia driver" not in TensorRT().versions()
    file.write_text("NVRM version: 580.65.06\nGCC version: 12\n")
    assert TensorRT().versions()["nvidia driver"] == "NVRM version: 580.65.06"


def test_openvino_keeps_what_its_gpu_compiles():
    assert OpenVINO().keeps(Delegate("openvino", "gpu"))
    assert not OpenVINO().keeps(Delegate("openvino", "gpu", cache=False))
    assert not OpenVINO().keeps(Delegate("openvino"))
    assert OpenVINO().keeps(Delegate("openvino", "cpu", cache=True))


# --- real ones, where they are installed ---


def needs(delegate):
    if not (found := available(delegate)):
        pytest.skip(f"{delegate}: {found}")


def quantized(onnx_file):
    """Write a convolution in 8 bits, with a node before it that no NPU takes."""
    rng = np.random.default_rng(0)
    scale, zero = np.array(0.02, np.float32), np.array(128, np.uint8)
    return onnx_file(
        [
            ("Erf", ["x"], ["e"]),
            ("QuantizeLinear", ["e", "s", "z"], ["q"]),
            ("DequantizeLinear", ["q", "s", "z"], ["d"]),
            ("DequantizeLinear", ["w", "sw", "zw"], ["dw"]),
            ("Conv", ["d", "dw"], ["c"]),
            ("QuantizeLinear", ["c", "s", "z"], ["cq"]),
            ("DequantizeLinear", ["cq", "s", "z"], ["y"]),
        ],
        {"x": ([1, 4, 16, 16], "FLOAT")},
        {"y": ([1, 8, 14, 14], "FLOAT")},
        {
            "s": scale, "z": zero, "sw": scale, "zw": np.array(0, np.int8),
            "w": rng.integers(-9, 9, (8, 4, 3, 3), np.int8),
        },
    )  # fmt: skip


def test_an_engine_of_the_simulator_of_qualcomms_npu(cache, caplog, onnx_file):
    needs("qnn")
    file = quantized(onnx_file)
    x = np.random.default_rng(0).standard_normal((1, 4, 16, 16)).astype(np.float32)

    def run():
        with edgeml.load(file, "qnn", threads=1) as session:
            return session.run(x)["y"], list(session.placement())

    expected, placed = run()
    (folder,) = kept(cache)
    assert {path.name for path in folder.iterdir()} == {
        "engine.onnx", "engine_qnn.bin", "engine.json"
    }  # fmt: skip
    began = (folder / "engine_qnn.bin").stat().st_mtime_ns
    with caplog.at_level(logging.DEBUG, "edgeml.runtime"):
        received, again = run()
    assert f"the engine in {folder} is used" in caplog.text
    assert {"QNNExecutionProvider"} <= {node.delegate for node in placed}
    np.testing.assert_array_equal(received, expected)
    assert again == placed  # not the one node that an engine is
    assert (folder / "engine_qnn.bin").stat().st_mtime_ns == began

    engine = (folder / "engine_qnn.bin").read_bytes()
    (folder / "engine_qnn.bin").write_bytes(engine[: len(engine) // 2])
    np.testing.assert_array_equal(run()[0], expected)
    assert "is damaged (engine_qnn.bin): compiled again" in caplog.text
    assert (folder / "engine_qnn.bin").stat().st_size == len(engine)

    (folder / "engine_qnn.bin").write_bytes(b"")
    _rewrite(files={})(folder)  # damage that only the plugin can see
    np.testing.assert_array_equal(run()[0], expected)
    assert "cannot be loaded" in caplog.text


def test_a_delegate_that_takes_nothing_has_no_engine(cache, onnx_file):
    needs("qnn")
    double = {name: ([1, 3], "DOUBLE") for name in "xy"}
    file = onnx_file(
        [("Mul", ["x", "two"], ["y"])],
        {"x": double["x"]},
        {"y": double["y"]},
        {"two": np.array(2.0)},
    )
    with edgeml.load(file, "qnn") as session:
        assert session.run(X.astype(float))["y"].tolist() == [[2, 2, 2]]
    assert not kept(cache)


def test_an_engine_of_openvino_that_is_damaged(cache, caplog):
    needs("openvino")
    keeping = Delegate("openvino", cache=True)
    x = np.random.default_rng(0).standard_normal((1, 100, 6)).astype(np.float32)

    def run():
        with edgeml.load("edgeml:activity_watch_int8.onnx", keeping, threads=1) as session:
            return session.run(x)["probabilities"]

    expected = run()
    (folder,) = kept(cache)
    np.testing.assert_array_equal(run(), expected)
    assert "damaged" not in caplog.text
    (blob,) = folder.glob("*.blob")
    blob.write_bytes(blob.read_bytes()[:1000])
    np.testing.assert_array_equal(run(), expected)
    assert f"is damaged ({blob.name}): compiled again" in caplog.text
