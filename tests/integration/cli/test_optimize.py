"""The commands that shrink, compare and measure models, as processes."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeml.cli import main

OTHER = ["--target", "x86-vnni"]  # nothing is timed


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two nets and 300 labelled examples; the second net has its classes exchanged."""
    rng = np.random.default_rng(0)
    w1, w2 = (rng.standard_normal(s).astype(np.float32) / 8 for s in ((64, 128), (128, 4)))
    x = rng.standard_normal((300, 64)).astype(np.float32)
    labels = (np.maximum(x @ w1, 0) @ w2).argmax(1)
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]), helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w2"], ["y"]),
    ]  # fmt: skip
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("batch", size))
             for name, size in (("x", 64), ("y", 4))]  # fmt: skip
    for name, last in (("model", w2), ("worse", w2[:, ::-1])):
        weights = [numpy_helper.from_array(np.ascontiguousarray(w), k)
                   for k, w in (("w1", w1), ("w2", last))]  # fmt: skip
        graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], weights)
        opsets = [helper.make_opsetid("", 17)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=9)
        onnx.save(made, tmp_path / f"{name}.onnx")
    np.savez(tmp_path / "data.npz", x=x, labels=labels)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_optimize_writes_a_model_and_its_report(folder, capsys):
    assert main(["optimize", "model.onnx", "--data", "data.npz", "--max-drop", "5", *OTHER]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.startswith("proved: int8")
    assert "  model:  model.optimized.onnx" in shown.out
    names = sorted(p.name for p in folder.iterdir())
    assert names == ["data.npz", "model.onnx", "model.optimized.html", "model.optimized.json",
                     "model.optimized.onnx", "worse.onnx"]  # fmt: skip
    smaller = folder / "model.optimized.onnx"
    assert smaller.stat().st_size < 0.5 * (folder / "model.onnx").stat().st_size
    assert json.loads((folder / "model.optimized.json").read_text())["verdict"] == "proved"
    onnx.checker.check_model(onnx.load(smaller))
    # A second time, it is quantized already.
    assert main(["optimize", str(smaller), "--data", "data.npz", *OTHER]) == 3


def test_optimize_refuses_with_status_3_and_writes_no_model(folder, capsys):
    arguments = ["optimize", "model.onnx", "--data", "data.npz", "--max-bytes", "10", *OTHER]
    assert main([*arguments, "-o", "small.onnx", "--json"]) == 3
    (line,) = capsys.readouterr().out.splitlines()
    report = json.loads(line)
    assert (report["type"], report["schema"], report["verdict"]) == ("optimize", 1, "refused")
    assert report["chosen"] is None
    assert not (folder / "small.onnx").exists()
    assert (folder / "small.html").exists()
    assert main([*arguments, "-o", "small.onnx"]) == 3
    assert "no model was written: keep what came in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["optimize", "none.onnx"], "none.onnx: there is no such file"),
        (["optimize", "data.npz"], "data.npz: not an ONNX model"),
        (["optimize", "edgeml:blazeface.tflite"], "is a LiteRT model: expected .onnx"),
        (["optimize", "model.onnx", "--target", "jetson"], "nearest: jetson-"),
        (["optimize", "model.onnx", "--metric", "top5"], "there is no metric 'top5'"),
        (["optimize", "model.onnx", "--max-drop", "-1"], "expected max_drop of 0 to 100"),
        (["optimize", "model.onnx", "-o", "none/x.onnx"], "there is no folder none"),
        (["optimize", "model.onnx", "--data", "model.onnx"], "expected a folder of pictures"),
        (["optimize", "model.onnx", "--resume", "data.npz/x"], "nothing can be kept in"),
        (["compare", "model.onnx", "none.onnx"], "none.onnx: there is no such file"),
        (["eval", "model.onnx", "--data", "none"], "none: expected a folder of pictures"),
    ],
)
def test_errors_are_one_line_and_status_1(folder, capsys, arguments, message):
    data = [] if "--data" in arguments else ["--data", "data.npz"]
    assert main([*arguments, *data]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("edgeml: error: ")
    assert shown.err.count("\n") == 1
    assert message in shown.err
    assert "internal error" not in shown.err


def test_optimize_without_data_is_wrong_usage(folder, capsys):
    assert main(["optimize", "model.onnx"]) == 2


def test_compare_says_what_is_lost(folder, capsys):
    assert main(["compare", "model.onnx", "worse.onnx", "--data", "data.npz"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("worse.onnx beside model.onnx, 300 examples\n  accuracy: ")
    assert main(["compare", "model.onnx", "worse.onnx", "--data", "data.npz", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["type"], found["first"]) == ("compare", 100)
    assert found["difference"]["high"] < -50
    assert set(found["latency"]) == {"first", "second"}


def test_eval_has_an_interval(folder, capsys):
    assert main(["eval", "model.onnx", "--data", "data.npz"]) == 0
    assert capsys.readouterr().out.startswith("model.onnx: accuracy 100.00 points [98.")
    assert main(["eval", "worse.onnx", "--data", "data.npz", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["type"], found["examples"], found["metric"]) == ("eval", 300, "accuracy")
    assert 0 <= found["score"]["low"] <= found["score"]["value"] <= found["score"]["high"] < 50


def test_as_a_process(folder):
    ended = subprocess.run(
        [sys.executable, "-m", "edgeml", "optimize", "model.onnx", "--data", "data.npz",
         "--max-drop", "5", *OTHER],
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-drop", "inf"], "max_drop of 0 to 100"),
        (["--max-bytes", "0"], "max_bytes above 0, received 0"),
        (["--max-latency-ms", "-1", "--target", "this"], "max_latency_ms above 0, received -1"),
        (["--seed", "-1"], "a seed of 0 or more"),
        (["--minutes", "nan"], "minutes above 0"),
        (["-o", "model.onnx"], "model.onnx is the model that comes in"),
        (["-o", "small.html"], "a file that ends in .onnx"),
        (["-o", "/proc/x.onnx"], "/proc/x.onnx cannot be written"),
    ],
)
def test_what_cannot_be_asked_is_said_at_once(folder, capsys, arguments, message):
    before = (folder / "model.onnx").read_bytes()
    assert main(["optimize", "model.onnx", "--data", "data.npz", *OTHER, *arguments]) == 1
    shown = capsys.readouterr()
    assert message in shown.err
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert (folder / "model.onnx").read_bytes() == before


@pytest.mark.parametrize("name", ["", "."])
def test_a_model_without_a_name(folder, capsys, name):
    assert main(["optimize", name, "--data", "data.npz", *OTHER]) == 1
    assert f"{name!r} is no file" in capsys.readouterr().err


def test_eval_takes_the_only_input_as_x_and_compares_nothing(folder, capsys):
    with np.load("data.npz") as given:
        np.savez("named.npz", x=given["x"], y=given["labels"])
    onnx.save(onnx.compose.add_prefix(onnx.load("model.onnx"), "my_"), "named.onnx")
    assert main(["eval", "named.onnx", "--data", "named.npz"]) == 0
    assert "accuracy 100.00 points" in capsys.readouterr().out
    assert main(["eval", "model.onnx", "--data", "data.npz", "--metric", "agreement"]) == 1
    assert "agreement says how near a model is to another one" in capsys.readouterr().err


def test_an_earlier_model_is_not_taken_for_this_runs(folder, capsys):
    arguments = ["optimize", "model.onnx", "--data", "data.npz", *OTHER]
    assert main([*arguments, "--max-drop", "5"]) == 0
    assert main([*arguments, "--max-bytes", "10"]) == 3
    assert "model.optimized.onnx is of an earlier run" in capsys.readouterr().out
