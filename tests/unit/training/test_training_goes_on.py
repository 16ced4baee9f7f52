"""Training that goes on: a second fit, other calls after it, callbacks that keep and restore."""

import asyncio

import numpy as np
import onnx
import pytest

import edgeml
from edgeml.callbacks import Callback, EarlyStopping, ModelCheckpoint
from edgeml.data import Dataset
from edgeml.errors import DataError, TrainingError
from edgeml.layers import Conv2D, Dense, GlobalAveragePooling2D
from edgeml.training import Trainer

SCCE = "sparse_categorical_crossentropy"
X = np.random.default_rng(0).normal(size=(64, 12, 12, 3)).astype(np.float32)
Y = (X.mean((1, 2, 3)) > 0).astype(np.int64)


@pytest.fixture
def model():
    edgeml.layers.set_random_seed(0)
    found = edgeml.Sequential([
        edgeml.Input((12, 12, 3)), Conv2D(8, 3, activation="relu"), GlobalAveragePooling2D(),
        Dense(2),
    ])  # fmt: skip
    loss = edgeml.losses.SparseCategoricalCrossentropy(from_logits=True)
    found.compile("adam", loss, metrics=["accuracy"])
    return found


@pytest.fixture
def path(model, tmp_path):
    model.save(tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_a_second_fit_within_a_memory_limit_goes_on(path, tmp_path):
    free = Trainer(path, loss=SCCE, optimizer="adam")
    limit = free.predicted_memory(X[:8], Y[:8]) + 1000
    once, twice = (Trainer(path, loss=SCCE, optimizer="adam", memory_limit=limit) for _ in "ab")
    expected = once.fit(X, Y, epochs=3, verbose=0).history["loss"]
    received = twice.fit(X, Y, epochs=1, verbose=0).history["loss"]
    twice.checkpoint(tmp_path / "c.npz")
    received += twice.fit(X, Y, epochs=2, verbose=0).history["loss"]
    resumed = Trainer.resume(tmp_path / "c.npz")
    steps = once.optimizer.gradient_accumulation_steps
    assert steps > 1
    assert resumed.fit(X, Y, epochs=2, verbose=0).history["loss"] == received[1:]
    received += twice.fit(X, Y, epochs=3, verbose=0).history["loss"]
    assert received == expected
    assert twice.optimizer.gradient_accumulation_steps == steps


def test_a_smaller_batch_within_the_limit_keeps_what_was_learned(path):
    free = Trainer(path, loss=SCCE)
    limit = free.predicted_memory(X[:8], Y[:8]) + 1000
    trainer = Trainer(path, loss=SCCE, optimizer="adam", memory_limit=limit)
    trainer.fit(X, Y, epochs=2, verbose=0)
    before, count = trainer.predict(X), trainer.optimizer.iterations
    trainer.fit(X, Y, epochs=2, batch_size=4, verbose=0)  # both epochs are done already
    assert (trainer.optimizer.gradient_accumulation_steps or 1) == 1
    assert trainer.optimizer.iterations == count == 4
    np.testing.assert_array_equal(trainer.predict(X), before)


def test_after_cached_features_everything_else_takes_inputs_again(path):
    trainer = Trainer(path, loss=SCCE, trainable="head", metrics=["accuracy"], cache_features=True)
    first = trainer.step(X, Y)
    assert trainer.fit(X, Y, epochs=2, verbose=0).history["loss"][-1] < first  # the step counts
    scores = trainer.evaluate(X, Y)
    assert trainer.step(X, Y) == pytest.approx(scores["loss"], rel=1e-5)
    assert list(trainer.gradients(X, Y)) == trainer.parameters


def test_callbacks_keep_and_restore_a_trainers_weights(path, tmp_path):
    trainer = Trainer(path, loss=SCCE, optimizer=edgeml.optimizers.SGD(0.5))
    with pytest.raises(TrainingError, match="no step"):
        trainer.get_weights()
    stop = EarlyStopping("loss", mode="max", patience=2, restore_best_weights=True)
    keep = ModelCheckpoint(tmp_path / "best.onnx", "loss", mode="max", save_best_only=True)
    weights = ModelCheckpoint(tmp_path / "w.npz", "loss", mode="max", save_best_only=True,
                              save_weights_only=True)  # fmt: skip
    history = trainer.fit(X, Y, epochs=9, verbose=0, callbacks=[stop, keep, weights])
    assert len(history.epoch) == 3
    assert stop.best_epoch == 0
    with edgeml.load(tmp_path / "best.onnx") as session:
        (best,) = session.run(X).values()
    np.testing.assert_allclose(trainer.predict(X), best, rtol=1e-6)
    with np.load(tmp_path / "w.npz") as file:
        for name, value in zip(trainer.parameters, trainer.get_weights(), strict=True):
            np.testing.assert_array_equal(file[name], value)


def test_a_resumed_trainer_does_not_count_an_epoch_without_steps(path):
    class Broken(Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise OSError("stopped between the last step and the epoch's end")

    trainer = Trainer(path, loss=SCCE)
    with pytest.raises(OSError, match="stopped"):
        trainer.fit(X, Y, verbose=0, callbacks=[Broken()])
    history = trainer.fit(X, Y, epochs=2, verbose=0)
    assert history.epoch == [1]
    assert history.history["loss"][0] > 0


def test_fit_async_awaits_async_callbacks_on_its_loop(model):
    seen = []

    class Reports(Callback):
        async def on_epoch_end(self, epoch, logs=None):
            await asyncio.sleep(0)
            seen.append((epoch, asyncio.get_running_loop()))

    async def main():
        await model.fit_async(X, Y, epochs=2, verbose=0, callbacks=[Reports()])
        return asyncio.get_running_loop()

    loop = asyncio.run(main())
    assert seen == [(0, loop), (1, loop)]


def test_one_callback_needs_no_list(model):
    seen = []
    model.fit(X, Y, verbose=0, callbacks={"onEpochEnd": lambda epoch, logs: seen.append(epoch)})
    model.fit(X, Y, verbose=0, callbacks=edgeml.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(epoch)))  # fmt: skip
    assert seen == [0, 0]


def test_the_first_argument_of_a_group_normalization_is_its_groups():
    assert edgeml.layers.GroupNormalization(2).groups == 2
    assert edgeml.layers.BatchNormalization(1).axis == 1


def test_compile_again_keeps_the_weights(model):
    model.fit(X, Y, verbose=0)
    before = model.get_weights()
    model.compile("sgd", SCCE)
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert model.fit(X, Y, verbose=0).history["loss"]


def test_two_models_train_the_layers_that_they_share():
    edgeml.layers.set_random_seed(0)
    shared = Dense(2, activation="softmax")
    models = []
    for _ in range(2):
        x = edgeml.Input((3,))
        models.append(edgeml.Model(x, shared(x)))
        models[-1].compile(edgeml.optimizers.SGD(0.1, momentum=0.5), SCCE)
    x, losses = X.mean((1, 2)) * 10, []
    for model in models * 3:
        losses += model.fit(x, Y, verbose=0).history["loss"]
        received = -np.log(model.predict(x)[np.arange(64), Y]).mean()
        assert model.evaluate(x, Y)["loss"] == pytest.approx(received, rel=1e-5)
    assert losses == sorted(losses, reverse=True)


def test_new_weights_of_a_frozen_layer_count_at_once():
    model = edgeml.Sequential([edgeml.Input((3,)), Dense(4, trainable=False), Dense(2)])
    loss = edgeml.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    x = X.mean((1, 2))
    model.fit(x, Y, verbose=0)
    before = model.evaluate(x, Y)["loss"]
    model.layers[0].set_weights([np.zeros((3, 4)), np.full(4, 9.0)])
    logits = model.predict(x)
    expected = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(64), Y])
    assert model.evaluate(x, Y)["loss"] == pytest.approx(expected, rel=1e-4)
    assert expected != pytest.approx(before)


def test_weights_are_the_losses_alone(model):
    weight = np.where(Y == 1, 3.0, 1.0)
    weighted = model.evaluate(X, Y, sample_weight=weight)
    plain = model.evaluate(X, Y)
    assert weighted["accuracy"] == plain["accuracy"] == np.mean(model.predict(X).argmax(1) == Y)
    assert weighted["loss"] != plain["loss"]


def test_new_layers_on_the_graph_of_a_file_are_saved_as_one(model, path, tmp_path):
    proto = onnx.load(path)
    del proto.metadata_props[:]  # another tool's
    onnx.save(proto, path)
    base = edgeml.load_model(path)
    base.layers[0].trainable = False
    head = edgeml.Model(base.inputs, Dense(3)(base.outputs[0]))
    head.compile("adam", edgeml.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert len(head.trainable_weights) == 2
    head.fit(X, np.arange(64) % 3, verbose=0)
    np.testing.assert_array_equal(base.predict(X), model.predict(X))
    head.save(tmp_path / "head.onnx")
    again = edgeml.load_model(tmp_path / "head.onnx")
    np.testing.assert_allclose(again.predict(X), head.predict(X), rtol=1e-6)


def test_the_bias_of_one_output_is_trained(tmp_path):
    file = tmp_path / "one.onnx"
    edgeml.Sequential([edgeml.Input((3,)), Dense(1, name="only")]).save(file)
    trainer = Trainer(file, loss="mse", trainable="bias", optimizer=edgeml.optimizers.SGD(0.5))
    assert trainer.parameters == ["only/bias"]
    target = trainer.predict(X[:, 0, 0])[:, 0] + 2.0
    trainer.step(X[:, 0, 0], target)
    assert trainer.get_weights()[0] == pytest.approx(2.0, rel=1e-5)


def test_a_shuffled_dataset_goes_on_where_it_was(path, tmp_path):
    def data():
        return Dataset.from_arrays(X, Y).shuffle(seed=3).batch(16)

    whole, part = Trainer(path, loss=SCCE), Trainer(path, loss=SCCE)
    whole.fit(data(), epochs=3, verbose=0)
    part.fit(data(), epochs=1, verbose=0, checkpoint=tmp_path / "c.npz")
    resumed, again = Trainer.resume(tmp_path / "c.npz"), data()
    again.set_epoch(resumed.epoch)
    resumed.fit(again, epochs=3, verbose=0)
    for weight, expected in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_tensorflow_js_cross_entropies_are_of_logits():
    for name, kind in (("softmaxCrossEntropy", "CategoricalCrossentropy"),
                       ("sigmoidCrossEntropy", "BinaryCrossentropy")):  # fmt: skip
        loss = edgeml.losses.get(name)
        assert (type(loss).__name__, loss.from_logits) == (kind, True)
    assert not edgeml.losses.get("binaryCrossentropy").from_logits


def test_whole_numbers_become_what_an_input_takes(model, path):
    pictures = np.random.default_rng(0).integers(0, 256, X.shape, dtype=np.uint8)
    floats = pictures.astype(np.float32)
    np.testing.assert_array_equal(model.predict(pictures), model.predict(floats))
    assert model.evaluate(pictures, Y) == model.evaluate(floats, Y)
    model.fit(Dataset.from_arrays(pictures, Y).batch(16), verbose=0)
    trainer = Trainer(path, loss=SCCE)
    assert trainer.step(pictures, Y) == pytest.approx(Trainer(path, loss=SCCE).step(floats, Y))

    tokens = edgeml.Input((5,), dtype="int32")
    embedded = edgeml.Model(tokens, edgeml.layers.Embedding(9, 2)(tokens))
    assert embedded.predict(np.ones((3, 5), np.int64)).shape == (3, 5, 2)
    with pytest.raises(DataError, match=r"takes int32.*from 4294967296 to 4294967296"):
        embedded.predict(np.full((3, 5), 2**32))


def test_targets_in_a_dict_go_by_the_outputs_names():
    x = edgeml.Input((3,))
    model = edgeml.Model(x, [Dense(1, name="one")(x), Dense(2, name="two")(x)])
    model.compile("sgd", ["mse", "mae"])
    data, one, two = X.mean((1, 2)), np.ones((64, 1)), np.zeros((64, 2))
    expected = model.evaluate(data, [one, two])
    assert model.evaluate(data, {"two": two, "one": one}) == expected
    targets = Dataset.from_arrays({"two": two, "one": one})
    pairs = Dataset.from_arrays(data).zip(targets).batch(32)
    assert model.evaluate(pairs) == pytest.approx(expected)
    with pytest.raises(DataError, match="expected targets for one, two, received one, tow"):
        model.evaluate(data, {"one": one, "tow": two})
