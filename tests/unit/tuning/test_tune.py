"""The search: what it finds, what it never looks at, and what it survives."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from sklearn.datasets import load_wine

import edgeml
from edgeml.callbacks import Callback
from edgeml.data import Dataset
from edgeml.errors import ConfigError, DataError, TrainingError
from edgeml.layers import Dense, Normalization
from edgeml.tuning import Choice, Float, Int, Sealed, tune

pytest.importorskip("optuna", reason="what proposes settings")

SPACE = {"rate": Float(1e-4, 1.0, log=True), "units": Int(2, 32, log=True)}


@pytest.fixture(scope="module")
def wine():
    x, y = load_wine(return_X_y=True)
    return (x.astype(np.float32), y)


def build(params, train):
    scale = Normalization()
    scale.adapt(train.to_arrays()[0])
    model = edgeml.Sequential([edgeml.Input((13,)), scale,
                               Dense(params.get("units", 8), activation="relu"),
                               Dense(3, activation="softmax")])  # fmt: skip
    model.compile(edgeml.optimizers.Adam(params.get("rate", 0.01)),
                  "sparse_categorical_crossentropy", metrics=["accuracy"])  # fmt: skip
    return model


def line(params):
    """Return a model of one number."""
    model = edgeml.Sequential([edgeml.Input((1,)), Dense(1)])
    model.compile(edgeml.optimizers.SGD(params["rate"]), "mse")
    return model


X = np.linspace(-1, 1, 60, dtype=np.float32)[:, None]
DATA = (X, 2 * X[:, 0])
RATE = {"rate": Float(1e-3, 0.3, log=True)}


def test_wine(wine):
    result = tune(SPACE, build, wine, trials=12, epochs=8, by="label", seed=1)
    assert len(result.trials) == 12
    assert result.sizes == {"train": 107, "validation": 36, "test": 35}
    assert result.metric == "val_loss"
    complete = [t.value for t in result.trials if t.state == "complete"]
    assert result.value == min(complete)
    assert result.test["accuracy"].value > 0.85
    assert result.test["accuracy"].low < result.test["accuracy"].value
    assert result.report.beats_baseline
    assert result.params["rate"] > 1e-3
    assert result.model.evaluate(*wine)["accuracy"] > 0.9
    assert "test accuracy" in result.summary()
    assert result.to_dict()["params"] == result.params
    with pytest.raises(DataError, match="opened before"):
        result.open_test()


def test_the_same_seed_is_the_same_search():
    both = [tune(RATE, line, DATA, trials=4, epochs=3, seed=5) for _ in range(2)]
    assert [t.params for t in both[0].trials] == [t.params for t in both[1].trials]
    assert [t.value for t in both[0].trials] == [t.value for t in both[1].trials]
    other = tune(RATE, line, DATA, trials=4, epochs=3, seed=6)
    assert other.trials[0].params != both[0].trials[0].params


def test_the_model_is_that_of_the_best_epoch():
    class Climb(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = [3.0, 1.0, 2.0, 4.0][epoch]
            if epoch == 1:
                self.weights = self.model.get_weights()

    climb = Climb()
    result = tune(RATE, line, DATA, trials=1, epochs=4, callbacks=[climb])
    assert result.value == 1.0
    for kept, best in zip(result.model.get_weights(), climb.weights, strict=True):
        np.testing.assert_array_equal(kept, best)


def test_patience_and_pruning_end_trials():
    class Feed(Callback):
        def __init__(self):
            self.trial = -1

        def on_train_begin(self, logs=None):
            self.trial += 1

        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = 1.0 + 0.1 * self.trial + 0.001 * epoch

    patient = tune(RATE, line, DATA, trials=1, epochs=9, patience=2, callbacks=[Feed()])
    assert patient.trials[0].epochs == 3
    pruned = tune(RATE, line, DATA, trials=7, epochs=6, callbacks=[Feed()])
    assert [t.state for t in pruned.trials] == ["complete"] * 5 + ["pruned"] * 2
    assert pruned.trials[-1].epochs == 2
    kept = tune(RATE, line, DATA, trials=7, epochs=6, callbacks=[Feed()], prune=False)
    assert kept.counts == {"complete": 7}


def test_failing_trials_are_told_and_do_not_end_the_search():
    space = {"rate": Choice(0.1, 1e30, "bad")}

    def sometimes(params):
        if params["rate"] == "bad":
            raise ValueError("this setting cannot be built")
        return line(params)

    result = tune(space, sometimes, DATA, trials=12, epochs=3)
    reasons = {t.params["rate"]: t.reason for t in result.trials if t.state == "failed"}
    assert reasons.keys() == {1e30, "bad"}
    assert "NonFinite" in reasons[1e30]
    assert reasons["bad"] == "ValueError: this setting cannot be built"
    assert result.params == {"rate": 0.1}
    repeated = [t for t in result.trials if t.state == "complete"][1:]
    assert repeated
    assert all("the setting of trial" in t.reason for t in repeated)


def test_all_failed_is_an_error_with_the_reasons():
    with pytest.raises(TrainingError, match=r"all 2 trials failed: NonFinite: .*"):
        tune({"rate": Choice(1e30, 1e31)}, line, DATA, trials=2, epochs=3)


def test_a_mistake_in_the_program_is_no_failed_trial():
    with pytest.raises(TypeError, match="unsupported operand"):
        tune(RATE, lambda params: line({"rate": params["rate"] + "x"}), DATA, trials=3)
    with pytest.raises(ConfigError, match="there is no 'val_f1' in the logs; there are loss"):
        tune(RATE, line, DATA, trials=3, epochs=1, metric="f1")
    with pytest.raises(ConfigError, match="expected a compiled Model or a Trainer, received int"):
        tune(RATE, lambda params: 3, DATA, trials=1)


def test_a_metric_that_rises(wine):
    result = tune({"units": Choice(1, 24)}, build, wine, trials=4, epochs=6, metric="accuracy",
                  by="label")  # fmt: skip
    complete = [t.value for t in result.trials if t.state == "complete"]
    assert result.metric == "val_accuracy"
    assert result.value == max(complete)
    assert result.params == {"units": 24}


def test_groups_stay_whole_and_leaks_are_errors(wine):
    x, y = wine
    people = np.arange(len(y)) % 10
    seen = []

    def spy(params, train):
        seen.append(set(train.sources))
        return build(params, train)

    data = Dataset.from_arrays(x, y, sources=people)
    result = tune({"units": Choice(8)}, spy, data, trials=1, epochs=2, by="source")
    assert len(seen[0]) == 6
    assert result.report.groups is None  # of two people nothing can be said
    assert any("2 sources, too few" in note or "2 groups, too few" in note
               for note in result.report.notes)  # fmt: skip
    twice = (np.concatenate([x, x]), np.concatenate([y, y]))
    with pytest.raises(DataError, match="the test set leaks") as caught:
        tune({"units": Choice(8)}, build, twice, trials=1)
    assert caught.value.__notes__ == ["between train and validation data"]
    times = Dataset.from_arrays(x, y, times=np.arange(len(y)))
    ordered = tune({"units": Choice(8)}, build, times, trials=1, epochs=1, by="time", gap=5.0)
    assert sum(ordered.sizes.values()) < len(y)


def test_given_parts_and_arguments_for_fit():
    def batched(params):
        return line({"rate": 0.1}), {"batch_size": params["batch"]}

    parts = {"validation": (X + 0.001, DATA[1]), "test": (X + 0.002, DATA[1])}
    result = tune({"batch": Choice(5, 60)}, batched, DATA, trials=4, epochs=2, **parts)
    assert result.sizes == {"train": 60, "validation": 60, "test": 60}
    assert result.params == {"batch": 5}  # more steps in as many epochs


def test_the_seal():
    sealed = Sealed(Dataset.from_arrays(X))
    assert repr(sealed) == "<Sealed test set of 60, closed>"
    assert len(sealed.open()) == 60
    with pytest.raises(DataError, match="opened before"):
        sealed.open()
    assert not [name for name in vars(sealed) if isinstance(getattr(sealed, name), Dataset)]


def test_time_ends_a_search_with_what_there_is():
    result = tune(RATE, line, DATA, trials=50, epochs=5, seconds=0.0)
    assert len(result.trials) == 1
    assert result.trials[0].reason == "ended early: the time was over"
    assert result.trials[0].epochs == 1
    assert result.test is not None


class Interrupt(Callback):
    """Presses Ctrl-C in the second epoch of a trial."""

    def __init__(self, trial):
        self.trial, self.seen = trial, -1

    def on_train_begin(self, logs=None):
        self.seen += 1

    def on_epoch_begin(self, epoch, logs=None):
        if self.seen == self.trial and epoch == 1:
            raise KeyboardInterrupt


def test_ctrl_c_returns_the_best_so_far_and_leaves_the_test_set_sealed(tmp_path):
    file = tmp_path / "study.db"
    result = tune(RATE, line, DATA, trials=5, epochs=3, callbacks=[Interrupt(2)], storage=file)
    assert result.interrupted
    assert result.counts == {"complete": 2, "interrupted": 1}
    assert result.test is None
    assert "sealed" in result.summary()
    whole = tune(RATE, line, DATA, trials=5, epochs=3)
    resumed = tune(RATE, line, DATA, trials=5, epochs=3, storage=file)
    values = [t.value for t in resumed.trials if t.state == "complete"]
    assert values == [t.value for t in whole.trials]  # as if it had not been interrupted
    assert resumed.test["mse" if "mse" in resumed.test else "mae"] is not None
    with pytest.raises(KeyboardInterrupt):
        tune(RATE, line, DATA, trials=2, epochs=3, callbacks=[Interrupt(0)])


def test_the_test_set_of_an_interrupted_search_opens_once():
    result = tune(RATE, line, DATA, trials=5, epochs=3, callbacks=[Interrupt(1)])
    assert result.open_test().keys() >= {"mae", "rmse"}
    with pytest.raises(DataError, match="opened before"):
        result.open_test()


def test_no_more_trials_after_the_test(tmp_path):
    file = tmp_path / "study.db"
    first = tune(RATE, line, DATA, trials=2, epochs=2, storage=file)
    again = tune(RATE, line, DATA, trials=2, epochs=2, storage=file)
    assert again.test == first.test
    assert again.report is None
    for own, other in zip(again.model.get_weights(), first.model.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)
    with pytest.raises(TrainingError, match="its test set was opened"):
        tune(RATE, line, DATA, trials=3, epochs=2, storage=file)
    with pytest.raises(ConfigError, match="another epochs: 2, now it is 3"):
        tune(RATE, line, DATA, trials=2, epochs=3, storage=file)


PROGRAM = """
import numpy as np, edgeml
from edgeml.layers import Dense
from edgeml.tuning import Float, tune

def build(params):
    model = edgeml.Sequential([edgeml.Input((1,)), Dense(1)])
    model.compile(edgeml.optimizers.SGD(params["rate"]), "mse")
    return model

class Tell(edgeml.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        print("epoch", flush=True)

x = np.linspace(-1, 1, 60, dtype=np.float32)[:, None]
tune({"rate": Float(1e-3, 0.3, log=True)}, build, (x, 2 * x[:, 0]), trials=1000, epochs=3,
     storage="study.db", callbacks=[Tell()])
"""


def test_a_killed_search_goes_on(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(PROGRAM)], cwd=tmp_path,
                               stdout=subprocess.PIPE, text=True)  # fmt: skip
    for _ in range(11):  # within the fourth trial
        assert process.stdout.readline() == "epoch\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    result = tune(RATE, line, DATA, trials=6, epochs=3, storage=tmp_path / "study.db")
    assert result.counts.get("complete", 0) + result.counts.get("pruned", 0) >= 6
    assert result.counts.get("interrupted", 0) <= 1
    alone = tune(RATE, line, DATA, trials=6, epochs=3)
    values = [t.value for t in result.trials if t.state != "interrupted"]
    assert values[:6] == [t.value for t in alone.trials]


def test_importance_of_many_trials():
    def two(params):
        return line({"rate": params["rate"]})

    space = {"rate": Float(1e-4, 0.3, log=True), "idle": Float(0.0, 1.0)}
    result = tune(space, two, DATA, trials=20, epochs=3, prune=False)
    share = result.importance()
    assert sum(share.values()) == pytest.approx(1.0)
    assert share["rate"] > share["idle"]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Int(5, 3), "low <= high"),
        (lambda: Int(0, 3, log=True), "low >= 1"),
        (lambda: Float(0.0, 1.0, log=True), "low > 0"),
        (lambda: Choice(), "at least one option"),
        (lambda: tune({}, line, DATA), "expected a dict"),
        (lambda: tune({"rate": 0.1}, line, DATA), r"space\['rate'\]: expected Int"),
        (lambda: tune(RATE, line, DATA, trials=0), "at least 1 trial"),
        (lambda: tune(RATE, line, DATA, metric="quality"), "larger or smaller"),
        (lambda: tune(RATE, line, DATA, split=(0.5, 0.5)), "train, validation and test"),
        (lambda: tune(RATE, line, X), "expected a dataset or"),
    ],
)
def test_bad_arguments(make, match):
    with pytest.raises((ConfigError, DataError), match=match):
        make()


def test_a_list_is_a_choice_of_anything():
    fast, slow = object(), object()
    rates = {fast: 0.2, slow: 0.001}
    result = tune({"how": [fast, slow]}, lambda p: line({"rate": rates[p["how"]]}), DATA, trials=5,
                  epochs=3)  # fmt: skip
    assert result.params["how"] is fast
