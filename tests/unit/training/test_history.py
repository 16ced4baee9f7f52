"""The history of a training, its table and its picture."""

from __future__ import annotations

import csv
import subprocess
import sys

import numpy as np
import pytest

from edgeml.callbacks import CallbackList, History
from edgeml.errors import DataError, MissingExtra


@pytest.fixture
def history():
    """Three epochs, of which the second was validated, with a metric that is an array."""
    found = History()
    calls = CallbackList([found], model=None, params={"epochs": 3, "steps": 4})
    calls.on_train_begin()
    for epoch, loss in enumerate([0.75, 0.5, 0.25]):
        logs = {"loss": loss, "accuracy": np.float32(1 - loss), "f1": np.array([loss, 1.0])}
        if epoch == 1:
            logs |= {"val_loss": 0.6, "val_accuracy": 0.5}
        calls.on_epoch_end(epoch, logs)
    calls.on_train_end()
    return found


def test_what_is_written_down(history):
    assert history.epoch == [0, 1, 2]
    assert history.history["loss"] == [0.75, 0.5, 0.25]
    assert history.history["val_loss"] == [0.6]
    assert history.params == {"epochs": 3, "steps": 4}


def test_a_callers_logs_may_change_later():
    found, logs = History(), {"loss": 1.0}
    found.on_epoch_end(0, logs)
    logs["loss"] = 2.0
    assert found.history == {"loss": [1.0]}


def test_table(history, tmp_path):
    history.to_csv(tmp_path / "history.csv")
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["epoch", "loss", "accuracy", "f1", "val_loss", "val_accuracy"],
        ["0", "0.75", "0.25", "[0.75, 1.0]", "", ""],
        ["1", "0.5", "0.5", "[0.5, 1.0]", "0.6", "0.5"],
        ["2", "0.25", "0.75", "[0.25, 1.0]", "", ""],
    ]


def matplotlib():
    return pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")


def test_picture(history, tmp_path):
    matplotlib()
    figure = history.plot(tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")
    losses, accuracies = figure.axes
    assert (losses.get_title(), accuracies.get_title()) == ("loss", "accuracy")
    training, validation = losses.lines
    assert (training.get_xdata().tolist(), training.get_ydata().tolist()) == (
        [1, 2, 3], [0.75, 0.5, 0.25],
    )  # fmt: skip
    # Validation stands where it was made, also when some epochs had none.
    assert (validation.get_xdata().tolist(), validation.get_ydata().tolist()) == ([2], [0.6])
    assert [text.get_text() for text in losses.get_legend().get_texts()] == [
        "training", "validation", "best: 0.6, epoch 2",
    ]  # fmt: skip


def test_picture_on_the_users_axes(history, tmp_path):
    axes = matplotlib().Figure().add_subplot()
    figure = history.plot(ax=axes, path=tmp_path / "history.svg")
    assert figure is axes.get_figure()
    assert [line.get_label() for line in axes.lines] == [
        "loss training", "loss validation", "accuracy training", "accuracy validation",
    ]  # fmt: skip
    assert (tmp_path / "history.svg").read_text().startswith("<?xml")


def test_a_picture_leaves_pyplot_alone():
    matplotlib()
    code = (
        "import sys; from edgeml.callbacks import History; h = History();"
        "h.on_epoch_end(0, {'loss': 1.0}); h.plot(); print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_nothing_to_draw():
    with pytest.raises(DataError, match="train for at least one epoch"):
        History().plot()


def test_without_matplotlib(history, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"\[plot\]"):
        history.plot()
