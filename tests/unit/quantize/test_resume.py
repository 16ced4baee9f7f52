"""Searches that are stopped or killed: what is left, and how the next one goes on."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest

from edgeml.errors import StoreError
from edgeml.quantize import optimize
from edgeml.quantize._judge import Judge
from edgeml.quantize._session import open_model

OTHER = "x86-vnni"  # never "this", so that nothing is timed

STAGES = ("calibrating", "rounding weights", "choosing ranges", "keeping blocks float",
          "asking each block", "other forms", "timing", "final examination")  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_returns_the_best_so_far(digits, outputs, stage, tmp_path):
    model, x, _ = digits

    def near(outputs, label):
        return 1 - min(1, float(np.abs(outputs["dense"] - label).max()))

    def interrupt(name, share, left):
        heard.append(name)
        if name == stage:
            raise KeyboardInterrupt

    heard = []
    labels = list(outputs)
    name = model.graph.output[0].name
    found = optimize(
        model, x, labels=labels, target=OTHER, max_drop=0.3, on_progress=interrupt,
        metric=lambda outputs, label: near({"dense": outputs[name]}, label),
    )  # fmt: skip
    assert heard.count(stage) == 1
    assert found.report.to_dict()["why"] == "stopped by the user"
    assert found.verdict == ("not proved" if stage in STAGES[-2:] else "refused")
    found.save(tmp_path / "any.onnx")
    open_model(onnx.load(tmp_path / "any.onnx"))


KILLED = """
import os, signal, sys
from edgeml.cli import main
from edgeml.quantize import _store

kind, count = sys.argv[1], int(sys.argv[2])
at = {"put": (_store.Store, "put"), "fsync": (os, "fsync")}[kind]
plain, calls = getattr(*at), []

def counted(*arguments):
    calls.append(1)
    if len(calls) == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(*arguments)

setattr(*at, counted)
main(sys.argv[3:])
"""


def test_a_killed_run_goes_on_where_it_ended(digits, tmp_path, monkeypatch):
    model, x, y = digits
    onnx.save(model, tmp_path / "digits.onnx")
    np.savez(tmp_path / "data.npz", **{model.graph.input[0].name: x}, labels=y)
    folder = tmp_path / "kept"
    arguments = ["optimize", tmp_path / "digits.onnx", "--data", tmp_path / "data.npz",
                 "--target", OTHER, "--max-drop", "2", "--resume", folder]  # fmt: skip
    for kind, count, entries in (("put", 3, 2), ("fsync", 2, 3)):
        ended = subprocess.run([sys.executable, "-c", KILLED, kind, str(count), *arguments])
        assert ended.returncode == -9
        assert not (tmp_path / "digits.optimized.onnx").exists()
        whole = [p for p in folder.rglob("*.json") if not p.name.startswith(".")]
        assert len(whole) == entries
        assert all("divergence" in json.loads(p.read_text()) for p in whole)

    asked = []
    scores = Judge.scores
    monkeypatch.setattr(
        Judge, "scores", lambda self, model, at: asked.append(len(at)) or scores(self, model, at)
    )
    data = {model.graph.input[0].name: np.load(tmp_path / "data.npz")[model.graph.input[0].name]}
    options = {"labels": list(y), "target": OTHER, "max_drop": 2}
    resumed = optimize(tmp_path / "digits.onnx", data, resume=folder, **options)
    after_it = len(asked)
    whole = optimize(tmp_path / "digits.onnx", data, **options)
    assert len(asked) - after_it == after_it + 3  # what was kept is not asked again
    assert resumed.model == whole.model
    best = onnx.load(next(folder.rglob("best.onnx")))
    assert best.graph == whole.model.graph


def test_another_question_starts_anew(digits, tmp_path):
    model, x, y = digits
    common = {"target": OTHER, "max_drop": 2, "resume": tmp_path}

    def first(outputs, label):
        return 1.0

    def second(outputs, label):
        return 0.5

    second.__name__ = "first"
    for data, options in (((x, y), {}), ((x, y), {"seed": 1}), ((x, 9 - y), {}),
                          ((x[:-1], y[:-1]), {}), (x, {"metric": first}),
                          (x, {"metric": second})):  # fmt: skip
        optimize(model, data, **common, **options)
    assert len(list(tmp_path.iterdir())) == 6
    optimize(model, (x, y), **common)
    assert len(list(tmp_path.iterdir())) == 6


def test_the_best_that_is_kept_is_what_would_be_chosen(digits, tmp_path):
    """Not the last that passed, nor one of a run that was asked for less, nor one that failed."""
    model, x, y = digits
    common = {"target": OTHER, "resume": tmp_path}
    found = optimize(model, (x, y), max_drop=100, **common)
    (best,) = tmp_path.rglob("best.onnx")
    assert best.read_bytes() == found.model.SerializeToString()
    what = json.loads(best.with_suffix(".json").read_text())
    assert what["name"] == found.report.to_dict()["chosen"]["name"]

    def stop(name, share, left):
        raise KeyboardInterrupt

    stopped = optimize(model, (x, y), max_drop=100, on_progress=stop, **common)
    assert (
        f"stopped by the user; {best} is the best of an earlier run"
        == (stopped.report.to_dict()["why"])
    )
    assert optimize(model, (x, y), max_bytes=10, max_drop=100, **common).verdict == "refused"
    assert not best.exists()


def test_what_passes_later_does_not_take_the_place_of_what_is_better(net, tmp_path):
    made = net(64)
    model = made.model(made.gemm(made.add("Relu", made.gemm("x", 256, 64)), 64, 256))
    x = np.random.default_rng(0).standard_normal((60, 64)).astype(np.float32)

    def stop(name, share, left):
        if name == "timing":
            raise KeyboardInterrupt

    options = {"metric": "closeness", "max_drop": 50, "target": OTHER, "resume": tmp_path}
    report = optimize(model, x, on_progress=stop, **options).report.to_dict()
    passed = [c["name"] for c in report["candidates"] if c["drop_points"] is not None]
    (kept,) = tmp_path.rglob("best.json")
    assert json.loads(kept.read_text())["name"] == report["chosen"]["name"] == passed[0]
    assert passed[-2:] == ["int8 weights", "int4 weights"]


def test_a_folder_that_cannot_be_written_to_is_named(digits, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edgeml.platform._files.os.fsync", full)
    with pytest.raises(StoreError, match=f"nothing can be kept in {tmp_path}.*No space left"):
        optimize(digits[0], (digits[1], digits[2]), target=OTHER, resume=tmp_path)
