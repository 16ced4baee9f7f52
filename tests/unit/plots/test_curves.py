from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from edgeml import plots
from edgeml.callbacks import CallbackList, CSVLogger, History
from edgeml.errors import ConfigError, DataError

LOGS = [
    {"loss": 0.9, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.4},
    {"loss": 0.5, "accuracy": 0.8, "val_loss": 0.7, "val_accuracy": 0.7},
    {"loss": 0.2, "accuracy": 0.9, "val_loss": 0.8, "val_accuracy": 0.7},
]


def history(callbacks=()):
    found = History()
    calls = CallbackList([found, *callbacks], model=None, params={"epochs": 3, "steps": 1})
    calls.on_train_begin()
    for epoch, logs in enumerate(LOGS):
        calls.on_epoch_end(epoch, dict(logs))
    return found


def test_the_best_epoch_is_by_validation_in_the_metrics_own_direction():
    best = plots.curves(history()).best
    assert best == {"loss": (2, 0.7), "accuracy": (2, 0.7)}


def test_without_validation_it_is_by_training_and_unknown_metrics_have_none():
    found = plots.curves({"loss": [3.0, 1.0, 2.0], "learning_rate": [0.1, 0.1, 0.1]})
    assert found.best == {"loss": (2, 1.0)}


def test_nan_is_never_the_best():
    assert plots.curves({"loss": [np.nan, 2.0, 3.0]}).best["loss"] == (2, 2.0)
    assert plots.curves({"loss": [np.nan, np.inf]}).best == {}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_table_of_csvlogger_gives_the_same(tmp_path, separator):
    made = history([CSVLogger(tmp_path / "log.csv", separator=separator)])
    assert plots.curves(tmp_path / "log.csv") == plots.curves(made)
    made.to_csv(tmp_path / "table.csv")
    assert plots.curves(str(tmp_path / "table.csv")) == plots.curves(made)


def test_epochs_without_validation_have_no_point(tmp_path):
    (tmp_path / "log.csv").write_text('epoch,loss,val_loss,f1\n0,1,NA,"[1, 2]"\n1,0.5,0.6,NA\n')
    found = plots.curves(tmp_path / "log.csv")
    assert found.epochs == {"loss": [1, 2], "val_loss": [2]}
    assert found.values == {"loss": [1.0, 0.5], "val_loss": [0.6]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "first line such as"),
        ("a,b\n1,2\n", "received 'a,b'"),
        ("epoch,loss\n", "empty"),
        ("epoch,loss\n0,1\nx,2\n", "line 3"),
        ("epoch,loss\n0,much\n", "line 2"),
    ],
)
def test_what_is_no_table_is_told(tmp_path, text, said):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        plots.curves(tmp_path / "log.csv")
    with pytest.raises(DataError, match="cannot be read"):
        plots.curves(tmp_path / "none.csv")
    with pytest.raises(DataError, match="empty"):
        plots.curves(History())


def test_picture_has_a_panel_a_metric_and_a_ring_at_the_best_epoch():
    matplotlib()
    loss, accuracy = plots.curves(history()).plot().axes
    assert (loss.get_title(), accuracy.get_title()) == ("loss", "accuracy")
    training, validation = loss.lines
    assert training.get_ydata().tolist() == [0.9, 0.5, 0.2]
    assert validation.get_xdata().tolist() == [1, 2, 3]
    (ring,) = loss.collections
    assert ring.get_offsets().tolist() == [[2, 0.7]]
    labels = [text.get_text() for text in loss.get_legend().get_texts()]
    assert labels == ["training", "validation", "best: 0.7, epoch 2"]
    assert loss.get_xlabel() == "epoch"


def test_what_only_validation_has_is_a_panel_too():
    matplotlib()
    (axis,) = plots.curves({"val_loss": [1.0, 2.0]}).plot().axes
    assert axis.get_title() == "val_loss"


def test_many_metrics_are_rows_of_panels():
    matplotlib()
    figure = plots.curves({f"loss_{i}": [1.0, 0.5] for i in range(6)}).plot()
    assert len(figure.axes) == 6


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_files(tmp_path, ending):
    matplotlib()
    path = tmp_path / "new" / f"curves.{ending}"
    plots.curves(history()).plot(path)
    head = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending]
    assert path.read_bytes().startswith(head)


def test_an_ending_that_is_no_pictures_is_told_before_anything_is_written(tmp_path):
    matplotlib()
    for name in ("curves.xyz", "curves"):
        with pytest.raises(ConfigError, match=r"\.png, .*\.svg"):
            plots.curves(history()).plot(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_pictures_are_made_in_threads_and_pyplot_knows_nothing_of_them(tmp_path):
    matplotlib()
    code = (
        "import sys, threading; from edgeml import plots\n"
        "made = plots.curves({'loss': [2.0, 1.0]})\n"
        "t = threading.Thread(target=made.plot, args=(sys.argv[1],)); t.start(); t.join()\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.png")],
        capture_output=True, text=True, check=True, env={"DISPLAY": ""},
    )  # fmt: skip
    assert done.stdout.strip() == "False"
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    made = plots.curves(history())
    threads = [
        threading.Thread(target=made.plot, args=(tmp_path / f"{i}.png",)) for i in range(3)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({(tmp_path / f"{i}.png").read_bytes() for i in range(3)}) == 1


def test_a_notebook_shows_it_by_itself():
    matplotlib()
    assert plots.curves(history())._repr_png_().startswith(b"\x89PNG")


def test_names_with_dollars_are_no_formulas(tmp_path):
    matplotlib()
    plots.curves({"cost_$_per_$\\frac": [1.0, 2.0]}).plot(tmp_path / "x.png")


def test_numbers_as_json():
    assert plots.curves({"loss": [float("nan"), 1.0]}).to_dict() == {
        "epochs": {"loss": [1, 2]}, "values": {"loss": [None, 1.0]}, "best": {"loss": [2, 1.0]},
    }  # fmt: skip


def matplotlib():
    pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed: extra plot")
