"""The training loop: what it counts, how it stops, and what it does with bad input."""

import os

import numpy as np
import pytest

import edgeml
from edgeml import ops
from edgeml.callbacks import EarlyStopping, LambdaCallback
from edgeml.data import Dataset
from edgeml.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    NoGradient,
    NonFinite,
    ShapeError,
    TrainingError,
)
from edgeml.graph import _rules, emit
from edgeml.layers import Dense, Input
from edgeml.training import Trainer

rng = np.random.default_rng(0)
X = rng.standard_normal((48, 4)).astype(np.float32)
Y = (X @ rng.standard_normal((4, 3))).argmax(1)
SCCE = "sparse_categorical_crossentropy"


def network(optimizer="sgd", loss=SCCE, activation="softmax", **options):
    edgeml.layers.set_random_seed(0)
    model = edgeml.Sequential([
        Input((4,)), Dense(8, activation="tanh"), Dense(3, activation=activation),
    ])  # fmt: skip
    model.compile(optimizer, loss, **options)
    return model


@pytest.fixture
def path(tmp_path):
    network().save(tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


# --- numbers


def test_the_loss_of_an_epoch_is_the_mean_of_its_examples_as_they_were_met():
    model, losses = network(), []
    for at in range(0, 48, 10):  # the last batch is smaller
        batch = slice(at, at + 10)
        losses += [model.train_on_batch(X[batch], Y[batch])["loss"]] * len(X[batch])
    history = network().fit(X, Y, batch_size=10, shuffle=False, verbose=0)
    assert history.history["loss"][0] == pytest.approx(np.mean(losses), rel=1e-6)


def test_single_batches_give_the_numbers_before_the_step():
    model = network(metrics=["accuracy"])
    before = model.predict(X)
    expected = {"loss": -np.log(before[np.arange(48), Y]).mean(),
                "accuracy": (before.argmax(1) == Y).mean()}  # fmt: skip
    assert model.test_on_batch(X, Y) == pytest.approx(expected, rel=1e-5)
    assert_same([model.predict(X)], [before])
    assert model.train_on_batch(X, Y) == pytest.approx(expected, rel=1e-5)
    assert model.test_on_batch(X, Y)["loss"] < expected["loss"]


def test_a_weight_of_two_counts_as_two_examples():
    weight = np.where(np.arange(48) < 16, 2.0, 1.0)
    model, doubled = network(), network()
    model.fit(X, Y, sample_weight=weight / weight.mean(), batch_size=48, verbose=0)
    twice = np.concatenate([np.arange(48), np.arange(16)])
    doubled.fit(X[twice], Y[twice], batch_size=64, verbose=0)
    for a, b in zip(model.get_weights(), doubled.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_class_and_sample_weights_multiply():
    weight = rng.random(48)
    both, one = network(), network()
    both.fit(X, Y, sample_weight=weight, class_weight={1: 3.0}, shuffle=False, verbose=0)
    one.fit(X, Y, sample_weight=weight * np.where(Y == 1, 3.0, 1.0), shuffle=False, verbose=0)
    for a, b in zip(both.get_weights(), one.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_the_split_is_the_end_of_the_data_before_shuffling():
    model = network(metrics=["accuracy"])
    history = model.fit(X, Y, validation_split=0.25, epochs=3, verbose=0)
    assert list(history.history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert history.epoch == [0, 1, 2]
    last = {name: values[-1] for name, values in history.history.items()}
    found = model.evaluate(X[36:], Y[36:])
    assert found == pytest.approx({"loss": last["val_loss"], "accuracy": last["val_accuracy"]})


def test_shuffling_gives_each_epoch_an_order_that_a_seed_repeats():
    seen = []

    def orders(**options):
        model = network(loss=lambda y_true, y_pred: ops.sum(y_pred, axis=-1) + y_true[:, 0])
        seen.clear()
        note = {"onBatchEnd": lambda batch, logs: seen.append(logs["loss"])}
        model.fit(X, np.arange(48.0)[:, None], batch_size=1, epochs=2, verbose=0, callbacks=note,
                  **options)  # fmt: skip
        return list(seen)

    assert orders(seed=1) == orders(seed=1)
    assert orders(seed=1) != orders(seed=2)
    plain = orders(shuffle=False)
    assert plain[:48] == plain[48:]  # a running mean of the same order
    assert orders(seed=1)[:48] != orders(seed=1)[48:]


def test_a_later_start_and_steps_of_an_epoch():
    steps = []
    note = {"onBatchEnd": lambda batch, logs: steps.append(batch)}
    history = network().fit(X, Y, batch_size=8, epochs=5, initial_epoch=3, steps_per_epoch=2,
                            verbose=0, callbacks=note)  # fmt: skip
    assert history.epoch == [3, 4]
    assert steps == [0, 1, 0, 1]


def test_history_keeps_what_callbacks_add_to_the_logs():
    model = network()
    add = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(temperature=20.0 + epoch))
    history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[add])
    assert history.history["temperature"] == [20.0, 21.0]
    assert history is model.history


def test_each_output_has_losses_and_metrics_by_its_name():
    x = Input((4,))
    h = Dense(8, activation="tanh")(x)
    outputs = [Dense(3, activation="softmax", name="kind")(h), Dense(1, name="size")(h)]
    model = edgeml.Model(x, outputs)
    model.compile("sgd", {"kind": SCCE, "size": "mse"}, loss_weights={"kind": 2.0},
                  metrics={"kind": "accuracy", "size": "mae"})  # fmt: skip
    stop = EarlyStopping("val_size_loss", patience=100)
    size = X.sum(1, keepdims=True)
    history = model.fit(X, [Y, size], validation_split=0.5, verbose=0, callbacks=[stop])
    names = ["loss", "kind_loss", "size_loss", "kind_accuracy", "size_mean_absolute_error"]
    received = [name.replace("_mae", "_mean_absolute_error") for name in history.history]
    assert received == [*names, *(f"val_{name}" for name in names)]
    found = {name: values[0] for name, values in history.history.items()}
    assert found["loss"] == pytest.approx(found["kind_loss"] * 2.0 + found["size_loss"], rel=1e-5)
    assert stop.best == found["val_size_loss"]
    assert model.train_on_batch(X, [Y, size]).keys() == model.test_on_batch(X, [Y, size]).keys()


def test_penalties_are_part_of_every_loss():
    model = edgeml.Sequential([Input((4,)), Dense(3, kernel_regularizer="l2",
                                                  activity_regularizer="l1")])  # fmt: skip
    model.compile("sgd", "mse")
    target = model.predict(X)
    kernel = model.get_weights()[0]
    expected = 0.01 * (kernel**2).sum() + 0.01 * np.abs(target).sum() / 48
    assert model.evaluate(X, target, batch_size=48)["loss"] == pytest.approx(expected, rel=1e-5)
    assert model.train_on_batch(X, target)["loss"] == pytest.approx(expected, rel=1e-5)


# --- bad input: named, before anything is lost


def test_infinity_in_a_batch_stops_with_the_weights_of_the_batch_before():
    x = X.copy()
    x[20, 2] = np.inf  # in the third batch of 8
    model, expected = network("adam"), network("adam")
    with pytest.raises(NonFinite, match=r"batch 2: input .* holds inf at \(4, 2\)") as caught:
        model.fit(x, Y, batch_size=8, shuffle=False, verbose=0)
    assert caught.value.batch == 2
    expected.fit(X[:16], Y[:16], batch_size=8, shuffle=False, verbose=0)
    assert_same(model.get_weights(), expected.get_weights())
    model.fit(X[16:], Y[16:], batch_size=8, shuffle=False, verbose=0)  # and goes on from there
    expected.fit(X[16:], Y[16:], batch_size=8, shuffle=False, verbose=0)
    assert_same(model.get_weights(), expected.get_weights())


@pytest.mark.parametrize(("where", "message"), [("y", "y holds nan"), ("w", "sample_weight")])
def test_nan_in_targets_and_weights(where, message):
    y, weight = X[:, :3].copy(), np.ones(48)
    (y if where == "y" else weight)[30] = np.nan
    with pytest.raises(NonFinite, match=f"batch 3: {message}"):
        network(loss="mse").fit(X, y, sample_weight=weight, batch_size=8, shuffle=False,
                                verbose=0)  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"clipvalue": 0.1}, {"clipnorm": 0.1},
                                     {"global_clipnorm": 0.1}], ids=str)  # fmt: skip
def test_a_gradient_that_is_nan_stops_even_when_the_loss_is_finite(options):
    def root(y_true, y_pred):  # at zero its slope is infinite, times zero
        return ops.sum(ops.sqrt(ops.relu(y_pred - y_pred)), axis=-1) + y_true[:, 0]

    model = network(edgeml.optimizers.SGD(0.1, **options), root)
    before = model.get_weights()
    with pytest.raises(NonFinite, match="the gradient of batch 0 is not finite"):
        model.fit(X, X[:, :1], verbose=0)
    assert_same(model.get_weights(), before)


def test_callbacks_hear_of_the_end_when_training_fails():
    seen = []
    note = LambdaCallback(on_train_end=lambda logs: seen.append("end"))
    with pytest.raises(NonFinite):
        network().fit(X * np.nan, Y, verbose=0, callbacks=[note])
    assert seen == ["end"]


@pytest.mark.parametrize(("options", "kind", "message"), [
    ({"batch_size": 0}, ConfigError, "batch_size: expected at least 1, received 0"),
    ({"epochs": -1}, ConfigError, "epochs: expected at least 0"),
    ({"steps_per_epoch": 0}, ConfigError, "steps_per_epoch"),
    ({"validation_freq": 0}, ConfigError, "validation_freq"),
    ({"validation_split": 1.0}, DataError, "at least one"),
    ({"class_weight": [1.0, 2.0]}, ConfigError, "expected a dict such as {0: 1.0, 1: 5.0}"),
    ({"class_weight": {"cat": 2.0}}, ConfigError, "class numbers .* received 'cat': 2.0"),
    ({"class_weight": {0: -1.0}}, ConfigError, "weights of at least 0"),
    ({"class_weight": {0: np.nan}}, ConfigError, "weights of at least 0"),
    ({"sample_weight": np.ones(47)}, ShapeError, "sample_weight has 47 examples"),
    ({"validation_data": (X[:0], Y[:0])}, DataError, "is empty"),
    ({"validation_data": (X[:5, :2], Y[:5])}, ShapeError, "dense"),
])  # fmt: skip
def test_bad_arguments_are_named(options, kind, message):
    with pytest.raises(kind, match=message):
        network().fit(X, Y, verbose=0, **options)


def test_class_weights_need_one_class_for_each_example():
    model = network(loss="binary_crossentropy", activation="sigmoid")
    with pytest.raises(DataError, match="neither class numbers nor one-hot rows"):
        model.fit(X, rng.integers(0, 2, (48, 3)), class_weight={0: 2.0}, verbose=0)


def test_an_empty_dataset():
    with pytest.raises(DataError, match="no rows"):
        network().fit(Dataset.from_arrays(X[:0], Y[:0]).batch(8), verbose=0)
    with pytest.raises(DataError, match=r"input .* is empty: expected at least one example"):
        network().fit(X[:0], Y[:0], verbose=0)
    with pytest.raises(DataError, match="empty"):
        network().evaluate(X[:0], Y[:0])


def test_labels_of_a_dataset_are_checked_batch_by_batch():
    y = Y.copy()
    y[40] = 3
    with pytest.raises(DataError, match=r"label 3 of example 0 is out of range: .* 0 to 2"):
        network().fit(Dataset.from_arrays(X, y).batch(8), verbose=0)


@pytest.mark.parametrize(("loss", "y"), [
    (SCCE, np.ones(48, int)), ("categorical_crossentropy", np.eye(3)[np.ones(48, int)]),
    (edgeml.losses.SparseCategoricalCrossentropy(ignore_class=0), Y // 2),
])  # fmt: skip
def test_one_class_only(loss, y):
    with pytest.raises(DataError, match=r"class 1: a classifier needs .* two classes"):
        network(loss=loss).fit(X, y, verbose=0)


def test_one_class_only_for_a_trainer(path):
    trainer = Trainer(path, loss=SCCE)
    with pytest.raises(DataError, match="at least two classes"):
        trainer.fit(X, np.ones(48, int), verbose=0)
    assert trainer.step(X, np.ones(48, int)) > 0.0  # of a single batch it is no mistake


def test_several_labels_for_each_example_are_no_single_class():
    model = network(loss="binary_crossentropy", activation="sigmoid")
    y = np.zeros((48, 3))
    y[:, 0] = 1.0  # always; the others sometimes
    y[::2, 1] = 1.0
    assert model.fit(X, y, verbose=0).history["loss"]


def test_the_same_class_first_in_every_sequence_is_no_single_class():
    x = Input((5, 4))
    model = edgeml.Model(x, Dense(3, activation="softmax")(x))
    model.compile("sgd", SCCE)
    y = np.tile([2, 0, 1, 0, 1], (8, 1))
    assert model.fit(rng.standard_normal((8, 5, 4)), y, verbose=0).history["loss"]


class Regions(edgeml.layers.Layer):
    """A layer whose operator has no gradient rule."""

    def build(self, input_shape):
        self.scale = self.add_weight("scale", (1,), "ones")

    def call(self, x):
        return emit("MaxRoiPool", x * self.scale, np.zeros((2, 5), "f4"), pooled_shape=[1, 1])


@pytest.fixture
def no_rule(monkeypatch):
    """Take away the rule of MaxRoiPool, which is then like an operator that has none."""
    edgeml.graph.supported_ops()
    monkeypatch.delitem(_rules._rules, ("", "MaxRoiPool"))


def test_an_operator_without_a_rule_is_named_with_its_layer_before_training(no_rule):
    model = edgeml.Sequential([Input((1, 3, 3)), Regions(name="regions")])
    model.compile("sgd", "mse")
    started = []
    with pytest.raises(NoGradient, match=r"ai.onnx::MaxRoiPool, node '.*regions.*stop_gradient"):
        model.fit(np.ones((2, 1, 3, 3)), np.ones((2, 1, 1, 1)), verbose=0,
                  callbacks={"onTrainBegin": lambda logs: started.append(True)})  # fmt: skip
    assert not started


async def test_a_running_loop_is_not_blocked(path):
    model, trainer = network(), Trainer(path, loss=SCCE)
    with pytest.raises(TrainingError, match=r"await model.fit_async\(...\)"):
        model.fit(X, Y, verbose=0)
    with pytest.raises(TrainingError, match="fit_async"):
        trainer.fit(X, Y, verbose=0)
    with pytest.raises(TrainingError, match="fit_async"):
        model.train_on_batch(X, Y)
    expected = network()
    await expected.fit_async(X, Y, verbose=0)
    history = await model.fit_async(X, Y, verbose=0)
    assert history.epoch == [0]
    assert_same(model.get_weights(), expected.get_weights())


# --- checkpoints on a disk that is full


@pytest.fixture
def full_disk(monkeypatch):
    """Let files that are made anew be on a device that has no space."""
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full on this system")
    plain = os.open

    def opened(path, flags, *args, **kwargs):
        handle = plain(path, flags, *args, **kwargs)
        if not flags & os.O_EXCL:
            return handle
        os.close(handle)
        return plain("/dev/full", os.O_WRONLY)

    return lambda: monkeypatch.setattr(os, "open", opened)


@pytest.mark.parametrize("write", [
    lambda model, path: model.save(path), lambda model, path: model.save_weights(path),
], ids=["save", "save_weights"])  # fmt: skip
def test_a_full_disk_keeps_the_old_file_of_a_model(write, tmp_path, full_disk):
    model, file = network(), tmp_path / "file"
    write(model, file)
    before = file.read_bytes()
    model.train_on_batch(X, Y)
    full_disk()
    with pytest.raises(CheckpointError, match="No space left on device; what was there before"):
        write(model, file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_disk_that_fills_up_in_training_leaves_a_checkpoint_to_resume(path, full_disk):
    file = path.with_name("c.npz")
    trainer = Trainer(path, loss=SCCE, optimizer="adam")
    fill = LambdaCallback(on_epoch_begin=lambda epoch, logs: full_disk() if epoch == 2 else None)
    with pytest.raises(CheckpointError, match="No space left"):
        trainer.fit(X, Y, epochs=4, verbose=0, checkpoint=file, callbacks=[fill])
    resumed = Trainer.resume(file)
    assert resumed.epoch == 2
    resumed.fit(X, Y, epochs=4, verbose=0)
    whole = Trainer(path, loss=SCCE, optimizer="adam")
    whole.fit(X, Y, epochs=4, verbose=0)
    assert_same(resumed.get_weights(), whole.get_weights())
