"""``edgeml evaluate``."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_wine

import edgeml
from edgeml.cli import main
from edgeml.layers import Dense, Normalization


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    x, y = load_wine(return_X_y=True)
    x = x.astype(np.float32)
    scale = Normalization()
    scale.adapt(x[::2])
    model = edgeml.Sequential([edgeml.Input((13,)), scale, Dense(3, activation="softmax")])
    model.compile(edgeml.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    model.fit(x[::2], y[::2], epochs=10, verbose=0)
    model.save(folder / "wine.onnx")
    x, y = x[1::2], y[1::2]
    np.savez(folder / "wine.npz", x=x, y=y, groups=np.arange(len(y)) % 8, strong=x[:, 0] > 13)
    rows = [",".join([*(f"c{i}" for i in range(13)), "y"])]
    rows += [",".join(map(str, [*row, label])) for row, label in zip(x, y, strict=True)]
    (folder / "wine.csv").write_text("\n".join(rows))
    return folder


def test_a_report(files, capsys):
    assert main(["evaluate", f"{files}/wine.onnx", f"{files}/wine.npz", "--slice", "strong"]) == 0
    text = capsys.readouterr().out
    assert "the model beats the baseline (majority class)" in text
    assert "in 8 groups" in text
    assert "accuracy by slice" in text


def test_json_of_a_table(files, capsys):
    command = ["evaluate", f"{files}/wine.onnx", f"{files}/wine.csv", "--label", "y", "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["type"] == "evaluation"
    assert found["metrics"]["accuracy"]["value"] > 0.9
    assert found["groups"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["wine.csv"], "Give --label"),
        (["wine.npz", "--slice", "weak"], "there is no array 'weak'; there are x, y"),
        (["wine.onnx.npz"], "cannot be read as .npz"),
        (["wine.npz", "--metric", "mae"], "there is no metric 'mae'"),
    ],
)
def test_mistakes_are_one_line(files, capsys, arguments, said):
    data, *options = arguments
    assert main(["evaluate", f"{files}/wine.onnx", f"{files}/{data}", *options]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
