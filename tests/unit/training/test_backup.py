"""Callbacks that keep training: backups, averaged weights, TensorBoard's logs."""

import struct
from pathlib import Path

import numpy as np
import pytest

import edgeml
from edgeml.callbacks import (
    BackupAndRestore,
    Callback,
    ModelCheckpoint,
    SwapEMAWeights,
    TensorBoard,
)
from edgeml.errors import CheckpointError, ConfigError
from edgeml.layers import BatchNormalization, Dense, Dropout, Input
from edgeml.optimizers import SGD, Adam
from edgeml.training import Trainer

rng = np.random.default_rng(0)
X = rng.standard_normal((44, 5)).astype(np.float32)
Y = np.tanh(X[:, :2]).astype(np.float32)


class Cut(Callback):
    """Ends training like a power cut."""

    def __init__(self, epoch, batch):
        self.place = epoch, batch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.place:
            raise KeyboardInterrupt


def network(optimizer=None, units=4):
    edgeml.layers.clear_names()
    edgeml.layers.set_random_seed(1)
    model = edgeml.Sequential([
        Input((5,)), Dense(units), BatchNormalization(), Dropout(0.2), Dense(2),
    ])  # fmt: skip
    model.compile(optimizer or Adam(0.01, gradient_accumulation_steps=3), "mse")
    return model


def fit(model, *callbacks, epochs=4, **options):
    model.fit(X, Y, batch_size=8, epochs=epochs, verbose=0, seed=5, callbacks=list(callbacks),
              **options)  # fmt: skip
    return model.get_weights()


def assert_equal(received, expected):
    for a, b in zip(received, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("place", "save_freq"), [
    ((0, 3), "epoch"), ((2, 5), "epoch"), ((0, 1), 2), ((2, 0), 1), ((2, 5), 1), ((3, 4), 4),
])  # fmt: skip
def test_what_was_cut_off_goes_on_bit_for_bit(tmp_path, place, save_freq):
    whole = fit(network())
    with pytest.raises(KeyboardInterrupt):
        fit(network(), BackupAndRestore(tmp_path / "b", save_freq), Cut(*place))
    again = network()
    backup = BackupAndRestore(tmp_path / "b", save_freq)
    assert_equal(fit(again, backup), whole)
    assert again.history.epoch == list(range(place[0], 4))
    assert not (tmp_path / "b").exists()


def test_frozen_weights_and_the_average_are_restored_too(tmp_path):
    def started(seed):
        model = network(SGD(0.1, momentum=0.9, use_ema=True, ema_momentum=0.9))
        model.layers[0].trainable = False
        draw = np.random.default_rng(seed)
        model.layers[0].set_weights([draw.random((5, 4)), draw.random(4)])
        return model

    whole = fit(started(1))
    with pytest.raises(KeyboardInterrupt):
        fit(started(1), BackupAndRestore(tmp_path), Cut(2, 2))
    assert_equal(fit(started(2), BackupAndRestore(tmp_path)), whole)


def test_a_trainer_goes_on_too(tmp_path):
    network().save(tmp_path / "m.onnx")

    def trained(*callbacks):
        trainer = Trainer(tmp_path / "m.onnx", loss="mse", optimizer=Adam(0.01), seed=3)
        trainer.fit(X, Y, epochs=3, batch_size=8, verbose=0, callbacks=list(callbacks))
        return trainer.predict(X)

    whole = trained()
    with pytest.raises(KeyboardInterrupt):
        trained(BackupAndRestore(tmp_path / "b", 2), Cut(1, 4))
    np.testing.assert_array_equal(trained(BackupAndRestore(tmp_path / "b", 2)), whole)


def test_a_backup_is_deleted_at_the_end_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    fit(network(), BackupAndRestore(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    fit(network(), BackupAndRestore(tmp_path, delete_checkpoint=False))
    assert (tmp_path / "backup.npz").exists()
    model = network()
    before = fit(model, BackupAndRestore(tmp_path, delete_checkpoint=False))
    assert model.history.epoch == []  # all epochs were done
    assert_equal(before, fit(network()))


def test_a_stopped_training_deletes_its_backup(tmp_path):
    class Stop(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    fit(network(), BackupAndRestore(tmp_path / "b"), Stop())
    assert not (tmp_path / "b").exists()


def test_the_backup_before_the_last_one_serves_when_that_is_lost(tmp_path):
    whole = fit(network())
    with pytest.raises(KeyboardInterrupt):
        fit(network(), BackupAndRestore(tmp_path, 1, double_checkpoint=True), Cut(2, 3))
    (tmp_path / "backup.npz").write_bytes(b"lost")
    assert_equal(fit(network(), BackupAndRestore(tmp_path, 1, double_checkpoint=True)), whole)


def test_a_backup_of_something_else_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(network(), BackupAndRestore(tmp_path), Cut(1, 2))
    with pytest.raises(CheckpointError, match=r"another model or optimizer.*kernel"):
        fit(network(units=5), BackupAndRestore(tmp_path))
    with pytest.raises(CheckpointError, match="another model or optimizer"):
        fit(network(SGD(0.1)), BackupAndRestore(tmp_path))
    (tmp_path / "backup.npz").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="is not a checkpoint, or is damaged"):
        fit(network(), BackupAndRestore(tmp_path))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: BackupAndRestore(""), "backup_dir"),
    (lambda: BackupAndRestore("b", 0), "save_freq: expected 'epoch' or a number of steps"),
    (lambda: BackupAndRestore("b", "batch"), "save_freq"),
    (lambda: TensorBoard(update_freq="step"), "update_freq: expected 'epoch', 'batch'"),
    (lambda: TensorBoard(histogram_freq=-1), "histogram_freq: expected at least 0"),
])  # fmt: skip
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


# --- averaged weights


class Seen(Callback):
    def __init__(self):
        self.own, self.shown, self.average = [], [], []

    def on_train_batch_end(self, batch, logs=None):
        self.own.append(self.model.get_weights()[0])
        self.average.append(self.model._engine.state.view(self.model.weights[0], "average").copy())

    def on_epoch_end(self, epoch, logs=None):
        self.shown.append(self.model.get_weights()[0])


@pytest.mark.parametrize("swap", [False, True])
def test_evaluation_sees_the_average_and_training_does_not(swap):
    def run(*callbacks):
        model = network(SGD(0.1, momentum=0.9, use_ema=True, ema_momentum=0.9))
        model.fit(X, Y, batch_size=8, epochs=3, verbose=0, seed=5, callbacks=list(callbacks),
                  validation_data=(X, Y))  # fmt: skip
        return model

    plain, seen = Seen(), Seen()
    without = run(plain)
    model = run(SwapEMAWeights(swap), seen)
    assert_equal(seen.own, plain.own)  # training is the same
    assert_equal(model.get_weights(), without.get_weights())
    ends = seen.average[5::6] if swap else seen.own[5::6]
    assert_equal(seen.shown, ends)
    # The validation loss is that of the average.
    last = model.evaluate(X, Y)["loss"]
    assert model.history.history["val_loss"][-1] == pytest.approx(last, rel=1e-6)
    assert without.history.history["val_loss"][-1] != pytest.approx(last, rel=1e-6)


def test_the_average_is_what_a_checkpoint_after_it_saves(tmp_path):
    model, seen = network(SGD(0.1, use_ema=True)), Seen()
    fit(model, SwapEMAWeights(True), ModelCheckpoint(tmp_path / "m.onnx"), seen)
    saved = edgeml.load_model(tmp_path / "m.onnx").get_weights()[0]
    np.testing.assert_array_equal(saved, seen.average[-1])


def test_without_an_average_nothing_is_swapped():
    with pytest.raises(ConfigError, match="use_ema=True"):
        fit(network(), SwapEMAWeights())


# --- TensorBoard


def events(folder):
    """Return {tag: [(step, value)]}; value is None for what is no number."""
    from tensorboardX.proto.event_pb2 import Event

    found, content = {}, b"".join(p.read_bytes() for p in sorted(Path(folder).glob("events.*")))
    while content:  # records: length, its checksum, an event, its checksum
        size = struct.unpack("<Q", content[:8])[0]
        event = Event.FromString(content[12 : 12 + size])
        content = content[16 + size :]
        for value in event.summary.value:
            number = value.simple_value if value.HasField("simple_value") else None
            found.setdefault(value.tag, []).append((event.step, number))
    return found


def test_tensorboard_has_keras_names(tmp_path):
    pytest.importorskip("tensorboardX", reason="TensorBoard's writer is not installed")
    model = network()
    model.compile("sgd", "mse", metrics=["mae"])
    board = TensorBoard(tmp_path, histogram_freq=2, update_freq=4, write_steps_per_second=True)
    fit(model, board, epochs=4, validation_data=(X, Y))
    train, validation = events(tmp_path / "train"), events(tmp_path / "validation")
    loss = model.history.history["loss"]
    assert [step for step, _ in train["epoch_loss"]] == [0, 1, 2, 3]
    np.testing.assert_allclose([value for _, value in train["epoch_loss"]], loss, rtol=1e-6)
    np.testing.assert_allclose([value for _, value in validation["epoch_mae"]],
                               model.history.history["val_mae"], rtol=1e-6)  # fmt: skip
    assert [step for step, _ in train["batch_loss"]] == [3, 7, 11, 15, 19, 23]
    assert [value for _, value in train["epoch_learning_rate"]] == [pytest.approx(0.01)] * 4
    assert all(value > 0 for _, value in train["epoch_steps_per_second"])
    histograms = {tag for tag in train if tag.endswith("/histogram")}
    assert histograms == {f"{p.path}/histogram" for p in model.weights}
    assert [step for step, _ in train[min(histograms)]] == [1, 3]
