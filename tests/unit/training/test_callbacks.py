"""Callbacks: what they decide, what they write, and how the list calls them."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from edgeml import callbacks, metrics
from edgeml.callbacks import CallbackList
from edgeml.errors import ConfigError

STEPS = 3


class Model:
    """A small model: its only weight is the number of the epoch it was trained in."""

    def __init__(self, rate=0.1, metrics=()):
        self.stop_training = False
        self.optimizer = SimpleNamespace(learning_rate=rate)
        self.metrics = list(metrics)
        self.weights = [np.zeros(2, np.float32)]

    def get_weights(self):
        return [w.copy() for w in self.weights]

    def set_weights(self, weights):
        self.weights = [w.copy() for w in weights]

    def save(self, path):
        path.write_text(f"model {self.weights[0][0]:.0f}")

    def save_weights(self, path):
        path.write_text(f"weights {self.weights[0][0]:.0f}")


def train(given, curve, model=None, name="val_loss", epochs=None):
    """Run callbacks over an epoch for each value; return the model and what happened."""
    model = model or Model()
    calls = CallbackList(given, model=model, params={"epochs": len(curve), "steps": STEPS})
    rates, rows = [], []
    calls.on_train_begin()
    for epoch, value in enumerate(curve):
        calls.on_epoch_begin(epoch)
        for batch in range(STEPS):
            calls.on_train_batch_begin(batch)
            logs = {"loss": value} if calls.wants_logs else None
            calls.on_train_batch_end(batch, logs)
            if model.stop_training:
                break
        model.weights[0][:] = epoch + 1
        logs = {"loss": 1.0, name: value}
        calls.on_epoch_end(epoch, logs)
        rates.append(model.optimizer.learning_rate)
        rows.append(logs)
        if model.stop_training:
            break
    calls.on_train_end()
    return SimpleNamespace(model=model, epochs=epoch + 1, rates=rates, logs=rows)


CURVE = [1.0, 0.8, 0.85, 0.79, 0.8, 0.81, 0.7, 0.72, 0.74, 0.75, 0.76, 0.6]


# --- EarlyStopping


def test_early_stopping_stops_and_restores():
    stop = callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    found = train([stop], CURVE)
    assert (found.epochs, stop.stopped_epoch, stop.best_epoch, stop.best) == (6, 5, 3, 0.79)
    assert found.model.weights[0][0] == 4
    again = train([stop], [1.0, 0.5])  # the same callback in another training
    assert (again.epochs, stop.best, again.model.weights[0][0]) == (2, 0.5, 2)


def test_early_stopping_without_restoring_keeps_the_last_weights():
    assert train([callbacks.EarlyStopping(patience=2)], CURVE).model.weights[0][0] == 6


@pytest.mark.parametrize(
    ("monitor", "rises"),
    [("val_loss", False), ("val_accuracy", True), ("auc", True), ("val_mean_absolute_error", False),
     ("f1_score", True), ("val_r2_score", True), ("categorical_crossentropy", False),
     ("top_k_categorical_accuracy", True), ("mape", False), ("cosine_similarity", True)],
)  # fmt: skip
def test_direction_by_name(monitor, rises):
    curve = [0.1, 0.2, 0.3, 0.4]
    found = train([callbacks.EarlyStopping(monitor, patience=1)], curve, name=monitor)
    assert found.epochs == (4 if rises else 2)


def test_direction_by_the_models_metric():
    class Score(metrics.Precision):
        pass

    model = Model(metrics=["mae", Score(name="mine")])
    stop = callbacks.EarlyStopping("val_mine", patience=1)
    assert train([stop], [0.1, 0.2, 0.3], model, name="val_mine").epochs == 3


def test_direction_that_cannot_be_told():
    stop = callbacks.EarlyStopping("val_fancy", patience=1)
    with pytest.raises(ConfigError, match="mode='max' or mode='min'") as caught:
        train([stop], [0.1, 0.2], name="val_fancy")
    assert "raised in the callback EarlyStopping.on_train_begin" in caught.value.__notes__
    stop = callbacks.EarlyStopping("val_fancy", patience=1, mode="max")
    assert train([stop], [0.1, 0.2, 0.3], name="val_fancy").epochs == 3


def test_a_missing_value_is_told_once(caplog):
    stop = callbacks.EarlyStopping("val_accuracy", patience=1)
    assert train([stop], CURVE).epochs == len(CURVE)
    assert len(caplog.messages) == 1
    assert "'val_accuracy'" in caplog.messages[0]
    assert "there are loss, val_loss" in caplog.messages[0]


# --- ReduceLROnPlateau and LearningRateScheduler


def test_reduce_on_plateau_is_logged():
    lower = callbacks.ReduceLROnPlateau(factor=0.5, patience=2, min_delta=0, min_lr=0.03)
    found = train([lower], CURVE)
    assert found.rates == [0.1] * 5 + [0.05] * 3 + [0.03] * 4
    # As in Keras, an epoch's log has the rate that it was trained with.
    assert [row["learning_rate"] for row in found.logs] == [0.1, *found.rates[:-1]]


def test_schedule():
    schedule = callbacks.LearningRateScheduler(lambda epoch, rate: rate if epoch < 2 else rate / 2)
    found = train([schedule], [1.0] * 4)
    assert found.rates == [0.1, 0.1, 0.05, 0.025]
    assert [row["learning_rate"] for row in found.logs] == found.rates


@pytest.mark.parametrize(
    "callback",
    [callbacks.ReduceLROnPlateau(), callbacks.LearningRateScheduler(lambda epoch, rate: rate)],
    ids=["plateau", "schedule"],
)
def test_an_optimizer_with_a_schedule_is_refused(callback):
    with pytest.raises(ConfigError, match="follows a schedule"):
        train([callback], CURVE, Model(rate=lambda step: 0.1))


@pytest.mark.parametrize("rate", [None, -1.0, float("nan"), "0.1"])
def test_a_schedule_must_return_a_rate(rate):
    with pytest.raises(ConfigError, match="LearningRateScheduler: expected a learning rate"):
        train([callbacks.LearningRateScheduler(lambda epoch, old: rate)], [1.0])


# --- ModelCheckpoint


def files(folder):
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def test_checkpoint_after_each_epoch(tmp_path):
    keep = callbacks.ModelCheckpoint(tmp_path / "m-{epoch:02d}-{val_loss:.2f}.onnx")
    train([keep], [0.5, 0.25])
    assert files(tmp_path) == {"m-01-0.50.onnx": "model 1", "m-02-0.25.onnx": "model 2"}


def test_checkpoint_of_the_best(tmp_path):
    path = tmp_path / "best.npz"
    keep = callbacks.ModelCheckpoint(path, save_best_only=True, save_weights_only=True)
    train([keep], [0.5, 0.25, 0.3, 0.4])
    assert files(tmp_path) == {"best.npz": "weights 2"}
    keep = callbacks.ModelCheckpoint(path, "accuracy", True, initial_value_threshold=0.9)
    train([keep], [0.5, 0.85], name="accuracy")
    assert files(tmp_path) == {"best.npz": "weights 2"}
    train([keep], [0.5, 0.95, 0.92], name="accuracy")
    assert files(tmp_path) == {"best.npz": "model 2"}


def test_checkpoint_by_steps(tmp_path):
    keep = callbacks.ModelCheckpoint(tmp_path / "{epoch}-{batch}-{loss}", save_freq=2)
    train([keep], [0.5, 0.25, 0.125])
    assert list(files(tmp_path)) == ["1-2-0.5", "2-1-0.25", "2-3-0.25", "3-2-0.125"]


def test_checkpoint_computes_metrics_of_the_steps_it_saves_at_only():
    asked = []
    keep = callbacks.ModelCheckpoint("x", save_freq=2)
    keep._save = lambda logs, **place: asked.append(place["batch"])
    calls = CallbackList([keep], model=Model(), params={})
    wanted = []
    for batch in range(4):
        wanted.append(calls.wants_logs)
        calls.on_train_batch_end(batch, {} if calls.wants_logs else None)
    assert wanted == [False, True, False, True]
    assert asked == [2, 4]


def test_checkpoint_without_the_value_saves_each_time(tmp_path, caplog):
    keep = callbacks.ModelCheckpoint(tmp_path / "{epoch}", "val_accuracy", save_best_only=True)
    train([keep], [0.5, 0.6])
    assert list(files(tmp_path)) == ["1", "2"]
    assert len(caplog.messages) == 1
    assert "each time is saved" in caplog.messages[0]


def test_checkpoint_with_a_name_that_cannot_be_filled_in(tmp_path):
    keep = callbacks.ModelCheckpoint(tmp_path / "{val_acc:.2f}")
    with pytest.raises(ConfigError, match=r"'val_acc'.*there are loss, val_loss, epoch"):
        train([keep], [0.5])


# --- TerminateOnNaN


@pytest.mark.parametrize("value", [np.nan, np.inf, np.float32("nan")])
def test_terminate_on_nan(value, caplog):
    found = train([callbacks.TerminateOnNaN()], [1.0, value, 1.0])
    assert found.epochs == 2
    assert "the loss of batch 0" in caplog.messages[0]


# --- CSVLogger


def test_csv_logger(tmp_path):
    path = tmp_path / "logs" / "training.csv"
    logger = callbacks.CSVLogger(path)
    train([logger], [0.5, 0.25])
    assert path.read_text().splitlines() == ["epoch,loss,val_loss", "0,1.0,0.5", "1,1.0,0.25"]
    train([callbacks.CSVLogger(path, append=True)], [0.125])
    assert path.read_text().splitlines()[2:] == ["1,1.0,0.25", "0,1.0,0.125"]
    train([callbacks.CSVLogger(path, separator=";")], [0.5])
    assert path.read_text().splitlines() == ["epoch;loss;val_loss", "0;1.0;0.5"]


def test_csv_logger_writes_each_epoch_and_has_room_for_late_values(tmp_path):
    path = tmp_path / "training.csv"
    calls = CallbackList([callbacks.CSVLogger(path)], model=Model(), params={})
    calls.on_train_begin()
    calls.on_epoch_end(0, {"loss": 0.5, "per_class": np.array([0.5, 1.0])})
    assert path.read_text().splitlines() == [
        "epoch,loss,per_class,val_loss,val_per_class", '0,0.5,"[0.5, 1.0]",NA,NA',
    ]  # fmt: skip
    calls.on_epoch_end(1, {"loss": 0.25, "val_loss": 0.5})
    assert path.read_text().splitlines()[2] == "1,0.25,NA,0.5,NA"


# --- The list


def test_hooks_are_called_in_order():
    seen = []

    def spy(name):
        class Spy(callbacks.Callback):
            def __getattribute__(self, hook):
                if hook.startswith("on_"):
                    return lambda *args: seen.append((name, hook, *args))
                return object.__getattribute__(self, hook)

        return Spy()

    calls = CallbackList([spy("a"), spy("b")], model=Model(), params={})
    calls.on_train_begin()
    calls.on_epoch_begin(0)
    calls.on_train_batch_begin(1)
    calls.on_train_batch_end(1, {"loss": 1})
    calls.on_test_begin()
    calls.on_test_batch_begin(0)
    calls.on_test_batch_end(0, {})
    calls.on_test_end({"loss": 2})
    calls.on_epoch_end(0, {"loss": 3})
    calls.on_train_end()
    calls.on_predict_begin()
    calls.on_predict_batch_begin(0)
    calls.on_predict_batch_end(0)
    calls.on_predict_end()
    assert seen[::2] == [("a", *call[1:]) for call in seen[1::2]]
    assert seen[::2] == [
        ("a", "on_train_begin", None), ("a", "on_epoch_begin", 0, None),
        ("a", "on_train_batch_begin", 1, None), ("a", "on_train_batch_end", 1, {"loss": 1}),
        ("a", "on_test_begin", None), ("a", "on_test_batch_begin", 0, None),
        ("a", "on_test_batch_end", 0, {}), ("a", "on_test_end", {"loss": 2}),
        ("a", "on_epoch_end", 0, {"loss": 3}), ("a", "on_train_end", None),
        ("a", "on_predict_begin", None), ("a", "on_predict_batch_begin", 0, None),
        ("a", "on_predict_batch_end", 0, None), ("a", "on_predict_end", None),
    ]  # fmt: skip


def test_callbacks_know_model_and_params():
    callback, model = callbacks.Callback(), Model()
    CallbackList([callback], model=model, params={"epochs": 3})
    assert callback.model is model
    assert callback.params == {"epochs": 3}


def test_tensorflow_js_spelling_and_older_names():
    seen = []
    given = {"onEpochEnd": lambda epoch, logs: seen.append(("epoch", epoch)),
             "onBatchEnd": lambda batch, logs: seen.append(("batch", batch))}  # fmt: skip
    train([given], [0.5])
    assert seen == [("batch", 0), ("batch", 1), ("batch", 2), ("epoch", 0)]


def test_nobody_wants_logs_of_steps():
    calls = CallbackList(
        [callbacks.History(), callbacks.EarlyStopping(), callbacks.ModelCheckpoint("x")],
        model=Model(), params={},
    )  # fmt: skip
    assert not calls.wants_logs
    calls.on_train_batch_end(0)


def test_an_exception_keeps_its_type_and_names_the_callback():
    class Broken(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyError("val_acc")

    with pytest.raises(KeyError) as caught:
        train([callbacks.History(), Broken()], [0.5])
    assert caught.value.__notes__ == ["raised in the callback Broken.on_epoch_end"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"onEpochFinish": print}, "no hook 'on_epoch_finish'; there are on_train_begin"),
        ({"onEpochEnd": 3}, "on_epoch_end: expected a function, received 3"),
        (print, "expected an edgeml.callbacks.Callback"),
        (callbacks.EarlyStopping, r"did you mean EarlyStopping\(\)"),
    ],
)
def test_what_is_no_callback(given, message):
    with pytest.raises(ConfigError, match=message):
        CallbackList([given], model=Model(), params={})


async def test_async_hooks_run_on_the_loop_of_fit_async():
    seen = []

    class Slow(callbacks.Callback):
        async def on_epoch_begin(self, epoch, logs=None):
            await asyncio.sleep(0)
            seen.append(("class", threading.current_thread() is threading.main_thread()))

    async def end(epoch, logs):
        await asyncio.sleep(0)
        seen.append(("dict", logs["loss"]))

    def work(loop):
        calls = CallbackList([Slow(), {"onEpochEnd": end}], model=Model(), params={}, loop=loop)
        calls.on_epoch_begin(0)
        calls.on_epoch_end(0, {"loss": 0.5})
        seen.append("waited")

    await asyncio.to_thread(work, asyncio.get_running_loop())
    assert seen == [("class", True), ("dict", 0.5), "waited"]


def test_async_hooks_need_fit_async():
    async def end(epoch, logs):
        pass

    with pytest.raises(ConfigError, match="on_epoch_end is async: only fit_async can await it"):
        CallbackList([{"onEpochEnd": end}], model=Model(), params={})
    calls = CallbackList([{"onEpochEnd": lambda *a: end(*a)}], model=Model(), params={})
    with pytest.raises(ConfigError, match="only fit_async"):
        calls.on_epoch_end(0, {})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: callbacks.EarlyStopping(mode="biggest"), "'auto', 'min' or 'max'"),
        (lambda: callbacks.ReduceLROnPlateau(factor=1.0), "between 0 and 1"),
        (lambda: callbacks.ModelCheckpoint("x", save_freq="batch"), "number of steps"),
        (lambda: callbacks.ModelCheckpoint("x", save_freq=0), "number of steps"),
        (lambda: callbacks.LearningRateScheduler(0.1), "expected a function"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


# --- Keras's own callbacks, driven by the same logs


@pytest.fixture
def keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Keras and torch warn of while loading is not ours
        return pytest.importorskip("keras", reason="Keras, the oracle, is not installed")


class KerasModel(Model):
    """The same model; Keras hands it a path as a string."""

    def __init__(self):
        super().__init__()
        self.saved = []

    def save(self, path, overwrite=True):
        self.saved.append(path)

    def save_weights(self, path, overwrite=True):
        self.save(path)


def train_keras(callback, curve, name):
    model, epoch, rates = KerasModel(), 0, []
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, value in enumerate(curve):
        callback.on_epoch_begin(epoch)
        for batch in range(STEPS):
            callback.on_train_batch_end(batch, {"loss": value})
            if model.stop_training:
                break
        model.weights[0][:] = epoch + 1
        callback.on_epoch_end(epoch, {"loss": 1.0, name: value})
        rates.append(model.optimizer.learning_rate)
        if model.stop_training:
            break
    callback.on_train_end()
    return SimpleNamespace(model=model, epochs=epoch + 1, rates=rates)


def curves():
    rng = np.random.default_rng(3)
    noise = [list(np.round(rng.random(14), 2)) for _ in range(6)]
    return [CURVE, [0.5] * 6, [np.nan, 0.5, np.nan, 0.4, np.nan, np.nan, 0.6], *noise]


STOPPING = [
    {}, {"patience": 2}, {"patience": 2, "restore_best_weights": True},
    {"patience": 1, "min_delta": 0.095, "restore_best_weights": True},
    {"patience": 3, "baseline": 0.75, "restore_best_weights": True},
    {"patience": 1, "baseline": 0.3}, {"patience": 1, "start_from_epoch": 4},
    {"patience": 2, "start_from_epoch": 2, "restore_best_weights": True},
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("options", STOPPING, ids=str)
def test_early_stopping_decides_as_keras_does(keras, options, mode):
    for curve in curves():
        ours, theirs = (
            module.EarlyStopping("val_loss", mode=mode, **options)
            for module in (callbacks, keras.callbacks)
        )
        mine, other = train([ours], curve), train_keras(theirs, curve, "val_loss")
        assert mine.epochs == other.epochs
        assert (ours.stopped_epoch, ours.best_epoch) == (theirs.stopped_epoch, theirs.best_epoch)
        assert mine.model.weights[0][0] == other.model.weights[0][0]


PLATEAUS = [
    {"patience": 1}, {"patience": 2, "factor": 0.5, "min_lr": 0.02},
    {"patience": 1, "factor": 0.5, "cooldown": 2}, {"patience": 2, "min_delta": 0.095},
    {"patience": 0, "factor": 0.9},
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("options", PLATEAUS, ids=str)
def test_learning_rates_are_those_of_keras(keras, options, mode):
    for curve in curves():
        ours, theirs = (
            module.ReduceLROnPlateau("val_loss", mode=mode, **options)
            for module in (callbacks, keras.callbacks)
        )
        mine, other = train([ours], curve), train_keras(theirs, curve, "val_loss")
        np.testing.assert_allclose(mine.rates, other.rates, rtol=1e-6)


CHECKPOINTS = [
    {}, {"save_best_only": True}, {"save_best_only": True, "initial_value_threshold": 0.5},
    {"save_freq": 2}, {"save_freq": 7},
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("options", CHECKPOINTS, ids=str)
def test_checkpoints_are_those_of_keras(keras, options, tmp_path):
    for curve in curves():
        name = str(tmp_path / "{epoch:02d}.keras")
        ours, theirs = (
            module.ModelCheckpoint(name, "val_loss", mode="min", **options)
            for module in (callbacks, keras.callbacks)
        )
        model = KerasModel()
        train([ours], curve, model)
        other = train_keras(theirs, curve, "val_loss")
        assert [str(path) for path in model.saved] == other.model.saved


@pytest.mark.parametrize("curve", [[1.0, np.nan, 1.0], [np.inf], [1.0, 2.0]], ids=str)
def test_nan_ends_training_as_keras_does(keras, curve):
    mine = train([callbacks.TerminateOnNaN()], curve)
    assert mine.epochs == train_keras(keras.callbacks.TerminateOnNaN(), curve, "val_loss").epochs


def test_schedules_are_those_of_keras(keras):
    def schedule(epoch, rate):
        return rate * (0.5 if epoch % 2 else 0.9)

    mine = train([callbacks.LearningRateScheduler(schedule)], CURVE)
    other = train_keras(keras.callbacks.LearningRateScheduler(schedule), CURVE, "val_loss")
    np.testing.assert_allclose(mine.rates, other.rates)


def test_decisions_are_logged(caplog):
    caplog.set_level(logging.INFO, "edgeml.callbacks")
    train([callbacks.EarlyStopping(patience=2), callbacks.ReduceLROnPlateau(patience=1)], CURVE)
    assert any("stopped after epoch 6; the best val_loss was 0.79 in epoch 4" in m
               for m in caplog.messages)  # fmt: skip
    assert any("the learning rate is 0.01 after epoch 3" in m for m in caplog.messages)
