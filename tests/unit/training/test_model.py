"""Models of layers: building, training, saving."""

import asyncio

import numpy as np
import pytest
from sklearn.datasets import load_digits

import edgeml
from edgeml import layers, ops
from edgeml.callbacks import Callback, EarlyStopping, ModelCheckpoint
from edgeml.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    GraphError,
    ModelFormatError,
    NonFinite,
    ShapeError,
    TrainingError,
)  # fmt: skip
from edgeml.layers import Dense, Dropout, Input

X = (load_digits().data / 16).astype(np.float32)
Y = load_digits().target
LOGITS = edgeml.losses.SparseCategoricalCrossentropy(from_logits=True)


def _mlp(**kwargs):
    edgeml.layers.set_random_seed(1)
    model = edgeml.Sequential([Input((64,)), Dense(32, activation="relu"), Dense(10)])
    model.compile("adam", LOGITS, metrics=["accuracy"], **kwargs)
    return model


def test_fit_learns_and_keeps_a_history():
    model = _mlp()
    history = model.fit(X[:1500], Y[:1500], epochs=20, validation_split=0.1, verbose=0)
    assert list(history.history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert len(history.history["loss"]) == 20
    assert history.history["loss"][-1] < 0.3 * history.history["loss"][0]
    result = model.evaluate(X[1500:], Y[1500:])
    assert result["accuracy"] > 0.85
    assert (model.predict(X[1500:]).argmax(1) == Y[1500:]).mean() == pytest.approx(
        result["accuracy"]
    )


def test_equal_seeds_give_equal_weights():
    def train():
        edgeml.layers.set_random_seed(3)
        model = edgeml.Sequential([Input((64,)), Dropout(0.3), Dense(10)])
        model.compile("sgd", LOGITS)
        model.fit(X[:100], Y[:100], epochs=2, verbose=0, seed=5)
        return model.get_weights()

    for first, second in zip(train(), train(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_dataset_trains_like_arrays():
    data = edgeml.data.Dataset.from_arrays(X[:96], Y[:96]).batch(32)
    first, second = _mlp(), _mlp()
    second.set_weights(first.get_weights())
    first.fit(data, epochs=2, verbose=0)
    second.fit(X[:96], Y[:96], epochs=2, shuffle=False, verbose=0)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_sample_and_class_weights_choose_what_counts():
    weights = (Y[:64] < 5).astype(np.float32)
    first, second = _mlp(), _mlp()
    second.set_weights(first.get_weights())
    first.fit(X[:64], Y[:64], sample_weight=weights, verbose=0, shuffle=False)
    second.fit(X[:64], Y[:64], class_weight=dict.fromkeys(range(5, 10), 0.0), verbose=0,
               shuffle=False)  # fmt: skip
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_accumulated_steps_equal_one_large_one():
    def train(steps, batch):
        model = _mlp()
        model.compile(edgeml.optimizers.SGD(0.1, gradient_accumulation_steps=steps), LOGITS)
        model.fit(X[:64], Y[:64], batch_size=batch, shuffle=False, verbose=0)
        return model.get_weights()

    for a, b in zip(train(4, 16), train(None, 64), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_moving_average_of_the_weights():
    model = _mlp()
    model.compile(edgeml.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), LOGITS)
    seen = []

    class Watch(Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(self.model.get_weights()[0])

    model.fit(X[:64], Y[:64], shuffle=False, verbose=0, callbacks=[Watch()])
    average = seen[0]
    for weights in seen[1:]:
        average = 0.5 * average + 0.5 * weights
    np.testing.assert_allclose(model.get_weights()[0], average, rtol=1e-5)


def test_a_frozen_layer_stays():
    model = _mlp()
    model.layers[0].trainable = False
    before = model.get_weights()
    model.fit(X[:64], Y[:64], verbose=0)
    after = model.get_weights()
    np.testing.assert_array_equal(before[0], after[0])
    assert np.abs(before[2] - after[2]).max() > 0
    model.layers[0].trainable = True
    model.fit(X[:64], Y[:64], verbose=0)
    assert np.abs(before[0] - model.get_weights()[0]).max() > 0


def test_functional_model_with_two_inputs_and_a_shared_layer():
    shared = Dense(4, activation="relu")
    a, b = Input((8,), name="a"), Input((8,), name="b")
    y = Dense(1)(layers.Concatenate()([shared(a), shared(b)]) * 2.0 + 1.0)
    model = edgeml.Model([a, b], y)
    model.compile("adam", "mse")
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 64, 8)).astype(np.float32)
    target = (first.sum(1) - second.sum(1))[:, None]
    history = model.fit({"a": first, "b": second}, target, epochs=30, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    np.testing.assert_array_equal(
        model.predict([first, second]), model.predict({"b": second, "a": first})
    )
    assert len(model.weights) == 4


def test_two_outputs_with_losses_of_their_own():
    x = Input((64,))
    h = Dense(16, activation="relu")(x)
    model = edgeml.Model(x, [Dense(10, name="digit")(h), Dense(1, name="ink")(h)])
    model.compile("adam", {"digit": LOGITS, "ink": "mse"}, loss_weights={"digit": 1.0, "ink": 0.1},
                  metrics={"digit": ["accuracy"]})  # fmt: skip
    ink = X.mean(1, keepdims=True)
    history = model.fit(X[:300], [Y[:300], ink[:300]], epochs=5, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    digit, second = model.predict(X[:3])
    assert digit.shape == (3, 10)
    assert second.shape == (3, 1)


class Residual(edgeml.Model):
    """A subclass with a way around."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.inner = Dense(units, activation="relu")
        self.outer = Dense(units)

    def call(self, x, training=False):
        return x + self.outer(self.inner(x))


def test_subclass_trains_and_saves(tmp_path):
    layers.register(Residual)
    model = Residual(64)
    model.compile("adam", "mse")
    history = model.fit(X[:100], X[:100] * 2, epochs=5, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    model.save(tmp_path / "model.onnx")
    again = edgeml.load_model(tmp_path / "model.onnx")
    assert isinstance(again, Residual)
    np.testing.assert_array_equal(again.predict(X[:5]), model.predict(X[:5]))


def _everything():
    x = Input((12, 12, 2))
    y = layers.Conv2D(4, 3, padding="same")(x)
    y = layers.BatchNormalization()(y)
    y = layers.Activation("relu")(y)
    y = layers.Add()([y, layers.SeparableConv2D(4, 3, padding="same")(y)])
    y = layers.Dropout(0.2)(layers.MaxPooling2D()(y))
    y = layers.Reshape((6, -1))(y)
    y = layers.Bidirectional(layers.GRU(5, return_sequences=True))(y)
    y = layers.MultiHeadAttention(2, 3)(y, y)
    y = layers.LayerNormalization()(layers.GlobalAveragePooling1D()(y))
    return edgeml.Model(x, Dense(3, activation="softmax")(y))


def test_save_and_load_keep_layers_weights_and_outputs(tmp_path):
    model = _everything()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 12, 12, 2)).astype(np.float32)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, np.arange(8) % 3, epochs=1, verbose=0)
    path = tmp_path / "model.onnx"
    model.save(path)
    again = edgeml.load_model(path)
    assert [type(a) for a in again.layers] == [type(a) for a in model.layers]
    for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    with edgeml.load(path) as session:
        made = session.run({session.inputs[0].name: x})
        np.testing.assert_allclose(next(iter(made.values())), model.predict(x), atol=1e-6)
    again.compile("sgd", "sparse_categorical_crossentropy")
    again.fit(x, np.arange(8) % 3, verbose=0)
    assert [p for p in tmp_path.iterdir() if p != path] == []


def test_a_file_of_unknown_layers_becomes_a_model_of_its_graph(tmp_path):
    class Strange(layers.Layer):
        def build(self, input_shape):
            self.w = self.add_weight("w", (input_shape[-1],), "ones")

        def call(self, x):
            return x * self.w

    model = edgeml.Sequential([Input((64,)), Strange(), Dense(10)])
    model.save(tmp_path / "model.onnx")
    again = edgeml.load_model(tmp_path / "model.onnx")
    np.testing.assert_allclose(again.predict(X[:4]), model.predict(X[:4]), rtol=1e-6)
    again.compile("adam", LOGITS)
    history = again.fit(X[:200], Y[:200], epochs=4, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_weights_files(tmp_path):
    model, other = _mlp(), _mlp()
    other.set_weights([w * 0 for w in other.get_weights()])
    model.save_weights(tmp_path / "w.npz")
    other.name = "x"
    with pytest.raises(ShapeError, match="lacks the weights"):
        other.load_weights(tmp_path / "w.npz")
    values = model.get_weights()
    model.set_weights([w * 0 for w in values])
    model.load_weights(tmp_path / "w.npz")
    np.testing.assert_array_equal(model.get_weights()[0], values[0])


def test_callbacks_steer(tmp_path):
    model = _mlp()
    path = tmp_path / "best.onnx"
    stop = EarlyStopping("val_accuracy", patience=2, restore_best_weights=True)
    keep = ModelCheckpoint(path, "val_accuracy", save_best_only=True)
    lines = []
    history = model.fit(
        X[:600], Y[:600], epochs=60, validation_data=(X[600:900], Y[600:900]), verbose=0,
        callbacks=[stop, keep, {"onEpochEnd": lambda epoch, logs: lines.append(epoch)}],
    )  # fmt: skip
    best = max(history.history["val_accuracy"])
    assert len(history.epoch) < 60
    assert lines == history.epoch
    assert model.evaluate(X[600:900], Y[600:900])["accuracy"] == pytest.approx(best)
    saved = edgeml.load_model(path)
    assert (saved.predict(X[600:900]).argmax(1) == Y[600:900]).mean() == pytest.approx(best)


async def test_fit_refuses_a_running_loop_and_fit_async_lets_it_go_on():
    model = _mlp()
    with pytest.raises(TrainingError, match="fit_async"):
        model.fit(X[:64], Y[:64], verbose=0)
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    history = await model.fit_async(X[:1500], Y[:1500], epochs=2, verbose=0)
    ticking.cancel()
    assert len(history.epoch) == 2
    assert ticks > 10


async def test_cancelled_training_stops_and_keeps_the_weights(no_thread_left):
    model = _mlp()
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Started(Callback):
        def on_train_batch_end(self, batch, logs=None):
            loop.call_soon_threadsafe(started.set)

    task = asyncio.create_task(
        model.fit_async(X, Y, epochs=100_000, verbose=0, callbacks=[Started()])
    )
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert np.isfinite(model.predict(X[:5])).all()


def test_nan_in_data_names_the_batch_and_keeps_the_weights():
    model = _mlp()
    x = X[:96].copy()
    x[40, 3] = np.nan
    with pytest.raises(NonFinite, match=r"batch 1: input 'input.*' holds nan at \(8, 3\)") as error:
        model.fit(x, Y[:96], shuffle=False, verbose=0)
    assert error.value.batch == 1
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_a_loss_that_explodes_stops_with_the_last_good_weights():
    model = edgeml.Sequential([Input((64,)), Dense(16), Dense(1)])
    model.compile(edgeml.optimizers.SGD(1e6), "mse")
    with pytest.raises(NonFinite, match="not finite"):
        model.fit(X[:512], Y[:512].astype(np.float32), epochs=20, verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())


@pytest.mark.parametrize(("change", "kind", "message"), [
    (lambda m: m.fit(X[:8], Y[:8] + 5, verbose=0), DataError, "class numbers 0 to 9"),
    (lambda m: m.fit(X[:8], Y[:7], verbose=0), ShapeError, "7 examples"),
    (lambda m: m.fit(X[:0], Y[:0], verbose=0), DataError, "empty"),
    (lambda m: m.fit(X[:8], np.zeros(8, int), verbose=0), DataError, "at least two classes"),
    (lambda m: m.fit(X[:8, :5], Y[:8], verbose=0), ShapeError, "dense"),
    (lambda m: m.fit(np.array(["a"]), Y[:1], verbose=0), DataError, "expected numbers"),
    (lambda m: m.fit(X[:8], Y[:8], validation_split=0.99, verbose=0), DataError, "at least one"),
    (lambda m: m.compile("adaam", "mse"), ConfigError, "did you mean adam"),
    (lambda m: m.compile("adam", "meanSquaredEror"), ConfigError, "mean_squared_error"),
    (lambda m: m.get_layer("denes"), GraphError, "there are"),
    (lambda m: m.set_weights([]), ShapeError, "has 4 weights, received 0"),
    (lambda m: m.save("/proc/nothing/model.onnx"), CheckpointError, "cannot be written"),
])  # fmt: skip
def test_bad_input_is_named(change, kind, message):
    with pytest.raises(kind, match=message):
        change(_mlp())


def test_not_compiled():
    model = edgeml.Sequential([Input((4,)), Dense(1)])
    with pytest.raises(TrainingError, match="compile"):
        model.fit(np.ones((2, 4)), np.ones(2), verbose=0)


def test_no_onnx_file_and_a_newer_schema(tmp_path):
    path = tmp_path / "no.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(ModelFormatError, match="not an ONNX model"):
        edgeml.load_model(path)
    import onnx

    _mlp().save(path)
    proto = onnx.load(path)
    next(e for e in proto.metadata_props if e.key == "edgeml.schema").value = "99"
    onnx.save(proto, path)
    with pytest.raises(ModelFormatError, match="schema 99"):
        edgeml.load_model(path)


def test_summary_and_pictures(tmp_path, capsys):
    model = _mlp()
    model.summary()
    out = capsys.readouterr().out
    assert "dense" in out
    assert "2,410" in out
    history = model.fit(X[:64], Y[:64], epochs=2, validation_split=0.5, verbose=0)
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: extra plot")
    history.plot(tmp_path / "history.png")
    _everything().plot(tmp_path / "model.png")
    assert (tmp_path / "history.png").stat().st_size > 5000
    assert (tmp_path / "model.png").stat().st_size > 5000
    history.to_csv(tmp_path / "history.csv")
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 3


def test_a_stateful_layer_goes_on_where_it_was():
    model = edgeml.Sequential([
        Input((4, 3), batch_size=2), layers.LSTM(5, stateful=True, return_sequences=True),
    ])  # fmt: skip
    whole = edgeml.Sequential([Input((8, 3)), layers.LSTM(5, return_sequences=True)])
    whole.set_weights(model.get_weights()[:3])
    x = np.random.default_rng(0).standard_normal((2, 8, 3)).astype(np.float32)
    halves = np.concatenate([model.predict(x[:, :4]), model.predict(x[:, 4:])], axis=1)
    np.testing.assert_allclose(halves, whole.predict(x), atol=1e-6)
    model.layers[0].reset_state()
    np.testing.assert_allclose(model.predict(x[:, :4]), halves[:, :4], atol=1e-6)


def test_regularizers_and_added_losses_count():
    plain = edgeml.Sequential([Input((64,)), Dense(10, kernel_initializer="ones")])
    heavy = edgeml.Sequential([
        Input((64,)), Dense(10, kernel_initializer="ones", kernel_regularizer="l2"),
    ])  # fmt: skip
    for model in (plain, heavy):
        model.compile("sgd", LOGITS)
    gap = heavy.train_on_batch(X[:8], Y[:8])["loss"] - plain.train_on_batch(X[:8], Y[:8])["loss"]
    assert gap == pytest.approx(0.01 * 640, rel=1e-5)


def test_layers_are_functions_for_grad():
    layer = Dense(1)
    layer(np.ones((1, 3)))
    slope = edgeml.grad(lambda x: ops.sum(layer(x)))(np.ones((2, 3)))
    np.testing.assert_allclose(slope, np.tile(layer.get_weights()[0].T, (2, 1)))
