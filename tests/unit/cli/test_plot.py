"""``edgeml plot``: pictures, the numbers behind them, and what is wrong in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest

import edgeml
from edgeml import layers
from edgeml.cli import main
from edgeml.cli.plot import _KINDS

EFFICIENTNET = "edgeml:efficientnet_lite0_int8.onnx"
WATCH = "edgeml:activity_watch_int8.onnx"
MEDIA = files("edgeml") / "media"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to be in, with tables, pictures and a model that says nothing of pictures."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.csv").write_text("epoch,loss,val_loss\n0,1,1.2\n1,0.5,0.9\n2,0.3,1.0\n")
    (tmp_path / "names.csv").write_text("true,predicted\ncat,cat\ncat,dog\ndog,dog\n")
    (tmp_path / "scores.csv").write_text(
        "label;file;cat;dog;bird\n"
        "cat;a.jpg;.8;.1;.1\ndog;b.jpg;.2;.7;.1\nbird;c.jpg;.5;.3;.2\nbird;d.jpg;.1;.1;.8\n"
    )
    (tmp_path / "one.csv").write_text("target,p\n0,.1\n1,.7\n0,.4\n1,.35\n")
    layers.set_random_seed(0)
    edgeml.Sequential([
        edgeml.Input((12, 12, 1), name="x"), layers.Conv2D(3, 3, activation="relu", name="map"),
        layers.GlobalAveragePooling2D(), layers.Dense(2, name="head"),
    ]).save(tmp_path / "grey.onnx")  # fmt: skip
    return tmp_path


def document(capsys) -> dict:
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)


COMMANDS = {
    "history": ["log.csv"],
    "confusion": ["names.csv"],
    "classes": ["scores.csv"],
    "roc": ["scores.csv"],
    "pr": ["one.csv", "--score", "p"],
    "calibration": ["scores.csv", "--bins", "5"],
    "layers": [WATCH],
    "weights": [WATCH, "--layer", "conv1d_1[56]", "--biases"],
    "activations": [EFFICIENTNET, "--data", str(MEDIA / "cat.jpg"), "--layer", "fc"],
    "gradcam": [EFFICIENTNET, str(MEDIA / "cat.jpg"), "--class", "tabby"],
    "filters": [EFFICIENTNET, "--layer", "_conv_stem", "--count", "1", "--steps", "2"],
    "embedding": [EFFICIENTNET, "--data", str(MEDIA)],
}


def test_all_pictures_are_tried():
    assert list(COMMANDS) == list(_KINDS)


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_picture_and_some_words(kind, folder, capsys):
    pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed: extra plot")
    pytest.importorskip("cv2", reason="cv2 is not installed: extra camera")
    assert main(["plot", kind, *COMMANDS[kind]]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == f"wrote {kind}.png"
    assert len(said) > 1
    assert (folder / f"{kind}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", COMMANDS)
def test_numbers_are_one_json_document_and_need_no_matplotlib(kind, folder, capsys, monkeypatch):
    pytest.importorskip("cv2", reason="cv2 is not installed: extra camera")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    before = set(folder.iterdir())
    assert main(["plot", kind, *COMMANDS[kind], "--json"]) == 0
    found = document(capsys)
    assert (found["type"], found["schema"], found["kind"], found["file"]) == ("plot", 1, kind, None)
    assert found["data"]
    assert set(folder.iterdir()) == before


def test_numbers_are_those_of_the_picture(folder, capsys):
    main(["plot", "history", "log.csv", "--json"])
    assert document(capsys)["data"]["best"] == {"loss": [2, 0.9]}
    main(["plot", "confusion", "scores.csv", "--json"])
    data = document(capsys)["data"]
    assert data["labels"] == ["cat", "dog", "bird"]
    assert data["counts"] == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
    main(["plot", "roc", "scores.csv", "--json"])
    assert document(capsys)["data"]["area"] == [1.0, 1.0, 1.0]
    main(["plot", "pr", "one.csv", "--json"])
    assert document(capsys)["data"]["area"] == [pytest.approx(5 / 6)]
    main(["plot", "gradcam", EFFICIENTNET, str(MEDIA / "espresso.jpg"), "--json"])
    data = document(capsys)["data"]
    assert (data["label"], np.shape(data["heat"])) == ("espresso", (7, 7))


def test_the_real_command_writes_where_it_is_told(folder):
    pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed: extra plot")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "edgeml", "plot", "history", "log.csv", "-o",
         "new/curves.svg"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "loss: best 0.9, epoch 2\nwrote new/curves.svg\n"
    assert (folder / "new" / "curves.svg").read_text().startswith("<?xml")


def test_folders_are_classes(folder, capsys):
    cv2 = pytest.importorskip("cv2", reason="cv2 is not installed: extra camera")
    for label in ("dark", "light"):
        (folder / "data" / label).mkdir(parents=True)
        for i in range(2):
            frame = np.full((20, 20, 3), 40 * i + 130 * (label == "light"), np.uint8)
            cv2.imwrite(str(folder / "data" / label / f"{i}.png"), frame)
    assert (
        main(["plot", "embedding", "grey.onnx", "--data", "data", "--range", "0,1", "--json"]) == 0
    )
    data = document(capsys)["data"]
    assert data["labels"] == ["dark", "dark", "light", "light"]
    assert np.shape(data["points"]) == (4, 2)


def test_a_model_without_metadata_takes_arrays_or_a_range(folder, capsys):
    pytest.importorskip("cv2", reason="cv2 is not installed: extra camera")
    photo = str(MEDIA / "cat.jpg")
    assert main(["plot", "gradcam", "grey.onnx", photo, "--json"]) == 1
    assert "--range 0,1" in capsys.readouterr().err
    assert main(["plot", "gradcam", "grey.onnx", photo, "--range=-1,1", "--json"]) == 0
    assert document(capsys)["data"]["layer"] == "map"
    np.save("x.npy", np.ones((2, 12, 12, 1), np.float32))
    assert main(["plot", "activations", "grey.onnx", "--data", "x.npy", "--json"]) == 0
    assert document(capsys)["data"]["of"] == "activations of 2 examples"


def test_the_range_says_what_black_and_white_are(folder, capsys):
    cv2 = pytest.importorskip("cv2", reason="cv2 is not installed: extra camera")
    cv2.imwrite("white.png", np.full((12, 12, 3), 255, np.uint8))
    for white in (1.0, 3.0):
        command = ["plot", "activations", "grey.onnx", "--data", "white.png", "--layer", "map"]
        assert main([*command, "--range", f"0,{white}", "--json"]) == 0
        found = document(capsys)["data"]["distributions"]["map"]["maximum"]
        whole = edgeml.load_model("grey.onnx").get_layer("map")
        made = edgeml.Sequential([edgeml.Input((12, 12, 1)), whole])
        assert found == pytest.approx(
            float(made.predict(np.full((1, 12, 12, 1), white)).max()), rel=1e-5
        )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("history none.csv", "none.csv cannot be read"),
        ("history names.csv", "no table of a training"),
        ("history log.csv -o x.xyz", ".png"),
        ("confusion none.csv", "cannot be read as a table"),
        ("confusion log.csv", "say which with --true"),
        ("confusion names.csv --true wahr", "no column 'wahr'"),
        ("confusion names.csv --predicted predictd", "Did you mean 'predicted'?"),
        ("roc names.csv", "no column of numbers"),
        ("roc one.csv --score q", "no column 'q'"),
        ("layers none.onnx", "there is no such file"),
        (f"weights {WATCH} --layer conv9", "nearest of its 7 are conv1d_1"),
        (f"filters {EFFICIENTNET} --layer conv_hed", "_conv_head"),
        (f"filters {WATCH} --layer conv1d_15", "take pictures"),
        (f"gradcam {EFFICIENTNET} log.csv", "not a picture"),
        (f"gradcam edgeml:okay_nabu.tflite {MEDIA / 'cat.jpg'}", "give the ONNX model"),
        (f"gradcam {EFFICIENTNET} {MEDIA / 'cat.jpg'} --class tabbi", "tabby cat"),
        (f"activations {WATCH} --data {MEDIA / 'cat.jpg'}", "does not say how a picture"),
        (f"activations {WATCH} --data {MEDIA / 'cat.jpg'} --range 0,1", "fixed size"),
        (f"embedding {EFFICIENTNET} --data {MEDIA / 'cat.jpg'}", "at least three examples"),
        (f"embedding {EFFICIENTNET} --data nowhere", "no such file or folder"),
        (f"embedding {EFFICIENTNET} --data .", "no picture in this folder"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(arguments, said, folder, capsys):
    pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed: extra plot")
    pytest.importorskip("cv2", reason="cv2 is not installed: extra camera")
    assert main(["plot", *arguments.split()]) == 1
    err = capsys.readouterr().err
    assert err.startswith("edgeml: error: ")
    assert err.count("\n") == 1
    assert said in err


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "nonsense",
        "history",
        "filters m.onnx",
        "gradcam m x --range 1",
        "filters m --layer a --count 0",
    ],
)
def test_wrong_usage_is_status_2(arguments, capsys):
    assert main(["plot", *arguments.split()]) == 2


def test_without_matplotlib_the_pip_command_is_told(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["plot", "history", "log.csv"]) == 1
    assert 'pip install "edgeml-runtime[plot]"' in capsys.readouterr().err


def test_debug_may_stand_at_the_end(folder, capsys):
    assert main(["plot", "history", "none.csv", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err
    assert main(["plot", "--debug", "history", "none.csv"]) == 1
    assert "Traceback" in capsys.readouterr().err
