from __future__ import annotations

import json

import numpy as np
import pytest

from edgeml.cli import main
from edgeml.cli.bench import random_inputs
from edgeml.errors import InputError
from edgeml.runtime import TensorSpec

ACTIVITY = "edgeml:activity_watch_int8.onnx"


def document(capsys) -> dict:
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)


@pytest.mark.parametrize("model", [ACTIVITY, "edgeml:okay_nabu.tflite", "edgeml:blazeface.tflite"])
def test_bench_prints_one_json_document(model, capsys) -> None:
    assert main(["bench", model, "--seconds", "0.1", "--threads", "1,2", "--json"]) == 0
    report = document(capsys)
    assert (report["type"], report["schema"], report["model"]) == ("bench", 1, model)
    assert [row["threads"] for row in report["rows"]] == [1, 2]
    for row in report["rows"]:
        assert 0 < row["median_ms"] <= row["p99_ms"]
        assert row["calls"] > 0


def test_bench_prints_a_table(capsys) -> None:
    assert main(["bench", ACTIVITY, "--seconds", "0.1", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert "inputs input [1, 100, 6]" in out
    assert "MEDIAN MS" in out


def test_a_free_dimension_that_cannot_be_1_is_named(capsys) -> None:
    assert main(["bench", "edgeml:silero_vad.onnx", "--seconds", "0.1"]) == 1
    assert "give the free dimensions of input, state by --shape" in capsys.readouterr().err
    shapes = ["--shape", "input=1,576", "--shape", "state=2,1,128"]
    assert main(["bench", "edgeml:silero_vad.onnx", "--seconds", "0.1", *shapes]) == 0


@pytest.mark.parametrize(
    "flags",
    [["--threads", "0"], ["--threads", "a"], ["--seconds", "-1"], ["--shape", "x"]],
)  # fmt: skip
def test_wrong_arguments_are_usage_errors(flags, capsys) -> None:
    assert main(["bench", ACTIVITY, *flags]) == 2


def test_random_inputs_have_the_models_dtypes() -> None:
    specs = [
        TensorSpec("f", (None, 3), np.dtype(np.float32)),
        TensorSpec("i8", (1000,), np.dtype(np.int8)),
        TensorSpec("i64", (100,), np.dtype(np.int64)),
        TensorSpec("b", (4,), np.dtype(bool)),
        TensorSpec("scalar", (), np.dtype(np.int32)),
    ]
    made = random_inputs(specs, {"f": [2, 3]})
    assert {name: array.dtype for name, array in made.items()} == {s.name: s.dtype for s in specs}
    assert made["f"].shape == (2, 3)
    assert made["i8"].min() < -100
    assert made["i8"].max() > 100
    assert set(made["i64"]) <= {0, 1}
    assert made["scalar"].shape == ()
    with pytest.raises(InputError, match="no input 'g'; expected one of f, i8"):
        random_inputs(specs, {"g": [1]})


@pytest.mark.parametrize("model", [ACTIVITY, "edgeml:okay_nabu.tflite"])
def test_inspect_prints_one_json_document(model, capsys) -> None:
    assert main(["inspect", model, "--json"]) == 0
    report = document(capsys)
    assert (report["type"], report["schema"], report["path"]) == ("model", 1, model)
    assert report["size"] > 0
    assert report["inputs"][0]["dtype"] in ("float32", "int8")
    assert sum(report["ops"].values()) > 5


def test_inspect_shows_shapes_licence_and_operators(capsys) -> None:
    assert main(["inspect", ACTIVITY]) == 0
    out = capsys.readouterr().out
    for expected in ("float32 [batch, 100, 6]", "edgeml.license", "Apache-2.0", "Conv", "KiB"):
        assert expected in out


@pytest.mark.parametrize("command", ["bench", "inspect"])
def test_what_is_no_model_is_one_line(command, tmp_path, capsys) -> None:
    (tmp_path / "x.onnx").write_text("this is no model")
    for path in (tmp_path / "x.onnx", tmp_path / "none.onnx"):
        assert main([command, str(path)]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("edgeml: error: ")
        assert captured.err.count("\n") == 1
