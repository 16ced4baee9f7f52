"""The progress bar: what it writes, and how seldom."""

from __future__ import annotations

import io
import sys
from types import ModuleType, SimpleNamespace

import pytest

from edgeml.callbacks import Callback, CallbackList
from edgeml.errors import ConfigError
from edgeml.training import _progress
from edgeml.training._progress import ProgressBar


class Terminal(io.StringIO):
    """A terminal that remembers each line as it was last seen."""

    def isatty(self):
        return True

    def screen(self):
        rows = []
        for line in self.getvalue().split("\n"):
            row = ""
            for text in line.split("\r"):
                row = text + row[len(text) :]
            rows.append(row.rstrip())
        return rows


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests set."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(_progress.time, "perf_counter", lambda: now.seconds)
    return now


def train(bar, clock, *, epochs=2, steps=4, seconds=0.5, known=True, logs=None):
    """Run a bar through epochs; return for which steps it asked for logs."""
    params = {"epochs": epochs, "steps": steps if known else None}
    calls = CallbackList([bar], model=None, params=params)
    asked = []
    calls.on_train_begin()
    for epoch in range(epochs):
        calls.on_epoch_begin(epoch)
        for batch in range(steps):
            calls.on_train_batch_begin(batch)
            clock.seconds += seconds
            asked.append(calls.wants_logs)
            calls.on_train_batch_end(batch, {"loss": 0.5} if calls.wants_logs else None)
        calls.on_epoch_end(epoch, logs or {"loss": 0.25, "val_loss": 0.5})
    calls.on_train_end()
    return asked


def test_a_bar_on_a_terminal(clock):
    terminal = Terminal()
    train(ProgressBar(1, terminal), clock)
    assert terminal.screen() == [
        "Epoch 1/2", "4 steps 2.0 s 500 ms a step  loss 0.2500  val_loss 0.5000",
        "Epoch 2/2", "4 steps 2.0 s 500 ms a step  loss 0.2500  val_loss 0.5000", "",
    ]  # fmt: skip
    assert "2/4 [==========          ] 1.0 s left  loss 0.5000" in terminal.getvalue()


def test_a_line_an_epoch(clock):
    out = io.StringIO()
    asked = train(ProgressBar(2, out), clock)
    assert out.getvalue().splitlines() == [
        "epoch 1/2  2.0 s  loss 0.2500  val_loss 0.5000",
        "epoch 2/2  2.0 s  loss 0.2500  val_loss 0.5000",
    ]
    assert not any(asked)


def test_silence(clock):
    out = io.StringIO()
    assert not any(train(ProgressBar(0, out), clock))
    assert out.getvalue() == ""


def test_it_draws_ten_times_a_second_at_most(clock):
    terminal = Terminal()
    asked = train(ProgressBar(1, terminal), clock, epochs=1, steps=1000, seconds=0.001)
    assert 9 <= sum(asked) <= 11
    assert terminal.getvalue().count("\r") == sum(asked) + 1


def test_somebody_elses_wish_for_logs_does_not_make_it_draw(clock):
    terminal = Terminal()
    bar = ProgressBar(1, terminal)
    bar.on_epoch_begin(0)
    for batch in range(100):
        bar.on_train_batch_end(batch, {"loss": 0.5})
    assert terminal.getvalue().count("\r") == 1


def test_the_number_of_steps_is_learned_from_the_first_epoch(clock):
    terminal = Terminal()
    train(ProgressBar(1, terminal), clock, known=False)
    first, second = terminal.getvalue().split("Epoch 2/2")
    assert "2 steps 1.0 s  loss" in first
    assert "2/4 [" in second


def test_a_long_line_does_not_wrap(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    terminal = Terminal()
    train(ProgressBar(1, terminal), clock, epochs=1)
    for text in terminal.getvalue().splitlines()[1].split("\r")[:-1]:
        assert len(text) < 40


def test_a_failed_training_leaves_no_line_open(clock):
    terminal = Terminal()
    calls = CallbackList([ProgressBar(1, terminal)], model=None, params={"steps": 4, "epochs": 1})
    calls.on_epoch_begin(0)
    clock.seconds += 1
    calls.on_train_batch_end(0, {"loss": 1.0})
    calls.on_train_end()
    assert terminal.getvalue().endswith("\n")


def test_values_are_readable(clock):
    out = io.StringIO()
    logs = {"loss": 12.5, "tiny": 1.25e-5, "none": 0.0, "bad": float("nan"), "each": [1.0, 2.0]}
    train(ProgressBar(2, out), clock, epochs=1, logs=logs)
    expected = "epoch 1/1  2.0 s  loss 12.5000  tiny 1.250e-05  none 0.0000  bad nan\n"
    assert out.getvalue() == expected


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (61, "1:01"), (3723, "1:02:03")]
)
def test_times_are_readable(seconds, text):
    assert _progress._clock(seconds) == text


@pytest.mark.parametrize(
    ("verbose", "stream", "level"),
    [("auto", Terminal(), 1), ("auto", io.StringIO(), 2), (True, io.StringIO(), 2),
     (False, Terminal(), 0), (1, io.StringIO(), 1), (2, Terminal(), 2)],
)  # fmt: skip
def test_verbose(verbose, stream, level):
    assert ProgressBar(verbose, stream)._level == level


def test_in_a_notebook_it_moves(monkeypatch):
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert ProgressBar("auto", io.StringIO())._level == 1
    ipython.get_ipython = lambda: None  # IPython is imported, and not what runs us
    assert ProgressBar("auto", io.StringIO())._level == 2


def test_without_a_console_it_is_silent(monkeypatch, clock):
    monkeypatch.setattr(sys, "stdout", None)
    assert not any(train(ProgressBar(1), clock))


def test_it_writes_to_the_standard_output(capsys, clock):
    train(ProgressBar(2), clock, epochs=1)
    assert capsys.readouterr().out.startswith("epoch 1/1")


def test_it_is_a_callback():
    assert isinstance(ProgressBar(), Callback)


@pytest.mark.parametrize("verbose", [3, "yes", None])
def test_unknown_verbose(verbose):
    with pytest.raises(ConfigError, match="'auto', 0, 1 or 2"):
        ProgressBar(verbose)
