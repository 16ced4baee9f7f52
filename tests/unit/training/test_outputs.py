"""Models with several inputs and outputs, shared and nested layers."""

import numpy as np
import pytest

import edgeml
from edgeml import layers
from edgeml.errors import ConfigError, DataError, GraphError, NonFinite
from edgeml.layers import Dense, Input

rng = np.random.default_rng(0)
A, B = rng.standard_normal((48, 5), np.float32), rng.standard_normal((48, 3), np.float32)
NUMBER, KIND = A.sum(1, keepdims=True), (B[:, 0] > 0).astype(np.int64)


def _two(as_dict=False):
    layers.set_random_seed(1)
    a, b = Input((5,), name="a"), Input((3,), name="b")
    h = layers.Concatenate()([Dense(8, activation="relu")(a), Dense(8, activation="relu")(b)])
    number, kind = Dense(1, name="number")(h), Dense(2, activation="softmax", name="kind")(h)
    outputs = {"number": number, "kind": kind} if as_dict else [number, kind]
    return edgeml.Model([a, b], outputs)


LOSSES = {"number": "mse", "kind": "sparse_categorical_crossentropy"}


def test_losses_metrics_and_weights_by_output():
    model = _two()
    model.compile("adam", LOSSES, loss_weights={"number": 0.5, "kind": 2.0},
                  metrics={"number": ["mae"], "kind": "accuracy"},
                  weighted_metrics={"kind": ["accuracy"]})  # fmt: skip
    weight = np.linspace(0, 1, 48).astype(np.float32)
    found = model.evaluate({"a": A, "b": B}, {"kind": KIND, "number": NUMBER},
                           sample_weight={"kind": weight})  # fmt: skip
    p_number, p_kind = model.predict([A, B])
    mse = np.mean((p_number - NUMBER) ** 2)
    nll = -np.log(p_kind[np.arange(48), KIND])
    right = p_kind.argmax(1) == KIND
    assert found["number_loss"] == pytest.approx(mse, rel=1e-5)
    assert found["kind_loss"] == pytest.approx(np.mean(weight * nll), rel=1e-5)
    assert found["loss"] == pytest.approx(0.5 * mse + 2 * np.mean(weight * nll), rel=1e-5)
    assert found["number_mae"] == pytest.approx(np.abs(p_number - NUMBER).mean(), rel=1e-5)
    assert found["kind_accuracy"] == pytest.approx(right.mean())
    assert found["kind_accuracy_2"] == pytest.approx((right * weight).sum() / weight.sum())
    assert model.metrics_names == list(found)
    assert [m.name for m in model.metrics] == ["mae", "accuracy", "accuracy"]


def test_lists_say_the_same_as_dicts():
    def train(**options):
        model = _two()
        model.compile("sgd", **options)
        model.fit([A, B], [NUMBER, KIND], epochs=2, verbose=0)
        return model.get_weights()

    first = train(loss=LOSSES, loss_weights={"kind": 3.0})
    second = train(loss=list(LOSSES.values()), loss_weights=[1.0, 3.0])
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_dict_of_outputs_stays_one():
    model = _two(as_dict=True)
    model.compile("adam", LOSSES)
    model.fit([A, B], {"number": NUMBER, "kind": KIND}, epochs=1, verbose=0)
    found = model.predict({"a": A, "b": B})
    assert {name: p.shape for name, p in found.items()} == {"number": (48, 1), "kind": (48, 2)}


def test_an_output_without_a_loss_needs_no_targets():
    model = _two()
    model.compile("sgd", {"number": "mse"})
    before = model.get_layer("kind").get_weights()
    model.fit([A, B], {"number": NUMBER}, verbose=0)
    model.fit([A, B], [NUMBER, None], verbose=0)
    np.testing.assert_array_equal(before[0], model.get_layer("kind").get_weights()[0])
    assert set(model.history.history) == {"loss", "number_loss"}


def test_weights_of_each_output_take_it_out():
    def train(weights, losses):
        model = _two()
        model.compile("sgd", losses)
        model.fit([A, B], [NUMBER, KIND], sample_weight=weights, verbose=0)
        return model.get_weights()

    zero = np.zeros(48, np.float32)
    model = _two()
    model.compile("sgd", {"number": "mse"})
    model.fit([A, B], {"number": NUMBER}, verbose=0)
    for a, b in zip(train([None, zero], LOSSES), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)


def test_wrong_names_and_numbers_of_outputs_are_told():
    model = _two()
    with pytest.raises(GraphError, match="no output 'sort'; there are number, kind"):
        model.compile("sgd", {"sort": "mse"})
    with pytest.raises(ConfigError, match=r"loss: expected an entry for each of the 2 outputs"):
        model.compile("sgd", ["mse"])
    with pytest.raises(ConfigError, match="metrics: expected an entry"):
        model.compile("sgd", LOSSES, metrics=["mae"])
    with pytest.raises(ConfigError, match="run_eagerly"):
        model.compile("sgd", LOSSES, run_eagerly=True)
    with pytest.raises(ConfigError, match="steps_per_execution"):
        model.compile("sgd", LOSSES, steps_per_execution=0)
    model.compile("sgd", LOSSES)
    with pytest.raises(DataError, match="sample_weight: there is no output 'sort'"):
        model.fit([A, B], [NUMBER, KIND], sample_weight={"sort": KIND}, verbose=0)


class Both(edgeml.Model):
    def __init__(self):
        super().__init__()
        self.number, self.kind = Dense(1), Dense(2)

    def call(self, x):
        return {"number": self.number(x), "kind": self.kind(x)}


def test_a_subclass_with_several_outputs():
    model = Both()
    model.compile("adam", {"number": "mse", "kind": edgeml.losses.SparseCategoricalCrossentropy(
        from_logits=True)}, metrics={"kind": ["accuracy"]})  # fmt: skip
    found = model.fit(A, {"number": NUMBER, "kind": KIND}, epochs=1, verbose=0).history
    assert list(found) == ["loss", "kind_loss", "number_loss", "kind_accuracy"]
    assert model.predict(A)["number"].shape == (48, 1)


def _shared():
    layers.set_random_seed(2)
    a, b = Input((5,), name="left"), Input((5,), name="right")
    tower = Dense(4, activation="tanh", name="tower")
    y = layers.Dot(-1)([tower(a), tower(b)])
    return edgeml.Model([a, b], y)


def test_a_shared_layer_has_one_set_of_weights_and_summed_gradients(tmp_path):
    model = _shared()
    assert len(model.weights) == 2
    assert [layer.name for layer in model.layers].count("tower") == 1
    kernel, bias = model.get_layer("tower").get_weights()
    y = rng.standard_normal((48, 1)).astype(np.float32)

    def loss(k, ours):
        out = ours(k)
        return edgeml.ops.mean(edgeml.ops.square(out - y))

    def apart(k1, k2):
        left = edgeml.ops.tanh(edgeml.ops.matmul(A, k1) + bias)
        right = edgeml.ops.tanh(edgeml.ops.matmul(A[::-1].copy(), k2) + bias)
        out = edgeml.ops.sum(left * right, axis=-1, keepdims=True)
        return edgeml.ops.mean(edgeml.ops.square(out - y))

    g1, g2 = edgeml.grad(apart, (0, 1))(kernel, kernel)
    model.compile(edgeml.optimizers.SGD(1.0), "mse")
    model.train_on_batch([A, A[::-1].copy()], y)
    moved = kernel - model.get_layer("tower").get_weights()[0]
    np.testing.assert_allclose(moved, g1 + g2, rtol=1e-4, atol=1e-6)
    model.save(tmp_path / "shared.onnx")
    again = edgeml.load_model(tmp_path / "shared.onnx")
    assert len(again.weights) == 2
    np.testing.assert_array_equal(again.predict([A, A]), model.predict([A, A]))


def test_nested_models_train_and_load(tmp_path):
    layers.set_random_seed(3)
    base = edgeml.Sequential([Input((5,)), Dense(6, activation="relu"), Dense(4)], name="base")
    x = Input((5,))
    inner = edgeml.Model(x, Dense(3)(base(x)), name="inner")
    model = edgeml.Sequential([Input((5,)), inner, Dense(1)])
    assert len(model.weights) == 8
    model.compile("sgd", "mse")
    before = base.get_weights()
    model.fit(A, NUMBER, verbose=0)
    assert np.abs(base.get_weights()[0] - before[0]).max() > 0  # one set of weights
    model.save(tmp_path / "nested.onnx")
    again = edgeml.load_model(tmp_path / "nested.onnx")
    np.testing.assert_array_equal(again.predict(A), model.predict(A))
    assert again.get_layer("inner").get_layer("base").layers[1].units == 4


def test_models_as_json():
    model = _two()
    text = model.to_json()
    again = edgeml.training.model_from_json(text)
    again.set_weights(model.get_weights())
    for a, b in zip(model.predict([A, B]), again.predict([A, B]), strict=True):
        np.testing.assert_array_equal(a, b)
    small = edgeml.Sequential([Input((5,)), Dense(2)])
    copied = edgeml.Sequential.from_config(small.get_config())
    assert [w.shape for w in copied.get_weights()] == [(5, 2), (2,)]


def test_weights_before_data():
    model = edgeml.Sequential([Dense(3), Dense(1)])
    model.build((None, 5))
    assert [w.shape for w in model.weights] == [(5, 3), (3,), (3, 1), (1,)]
    assert model.output_shape == (None, 1)
    other = Both()
    other.build((None, 5))
    assert other.count_params() == 18


def test_nan_in_validation_and_evaluation_is_told():
    model = edgeml.Sequential([Input((5,)), Dense(1)])
    model.compile("sgd", "mse")
    bad = A.copy()
    bad[40, 2] = np.nan
    with pytest.raises(NonFinite, match=r"batch to evaluate 1: input 'input.*' holds nan"):
        model.fit(A, NUMBER, validation_data=(bad, NUMBER), verbose=0)
    with pytest.raises(NonFinite, match="batch to evaluate 1"):
        model.evaluate(bad, NUMBER)


def test_steps_of_evaluation_and_prediction():
    model = edgeml.Sequential([Input((5,)), Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    seen = []

    class Count(edgeml.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            seen.append(batch)

        def on_predict_batch_end(self, batch, logs=None):
            seen.append(batch)

    model.evaluate(A, NUMBER, 16, callbacks=[Count()])
    assert model.predict(A, 16, steps=2, callbacks=[Count()]).shape == (32, 1)
    assert seen == [0, 1, 2, 0, 1]
    first = model.evaluate(A[:16], NUMBER[:16])
    assert model.evaluate(A, NUMBER, 16, steps=1, return_dict=False) == list(first.values())
    history = model.fit(A, NUMBER, 16, validation_data=(A, NUMBER), validation_steps=1,
                        validation_batch_size=8, verbose=0).history  # fmt: skip
    assert history["val_loss"][0] == pytest.approx(model.evaluate(A[:8], NUMBER[:8])["loss"])


def test_one_batch_at_a_time():
    model = edgeml.Sequential([Input((3,)), Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    whole = model.test_on_batch(B, KIND)
    assert model.train_on_batch(B, KIND) == whole
    assert model.train_on_batch(B, KIND, return_dict=False)[0] < whole["loss"]
    weighted = model.train_on_batch(B, KIND, class_weight={0: 0.0, 1: 0.0})
    assert weighted["loss"] == 0.0
    model.reset_metrics()
    assert model.predict_on_batch(B).shape == (48, 2)


def test_parts_of_a_model_make_another():
    base = edgeml.Sequential([Input((5,)), Dense(4, activation="relu", name="features"), Dense(2)])
    part = edgeml.Model(base.inputs, base.get_layer("features").output)
    kernel, bias = base.get_layer("features").get_weights()
    np.testing.assert_allclose(part.predict(A), np.maximum(A @ kernel + bias, 0), atol=1e-5)
    both = edgeml.Model(base.input, [base.get_layer("features").output, base.output])
    assert [y.shape for y in both.predict(A)] == [(48, 4), (48, 2)]
    assert base.variables == base.weights
    with pytest.raises(AttributeError, match="was not called on an Input"):
        _ = Dense(2).output
    with pytest.raises(AttributeError, match="'Dense' object has no attribute 'outputs'"):
        _ = Dense(2).outputs


def test_a_loaded_model_is_compiled_as_it_was(tmp_path):
    model = _two()
    model.set_user_defined_metadata({"labels": ["no", "yes"]})
    model.compile(edgeml.optimizers.Adam(0.02), LOSSES, {"kind": 2.0}, {"kind": ["accuracy"]})
    model.fit([A, B], [NUMBER, KIND], verbose=0)
    model.save(tmp_path / "model.onnx")
    again = edgeml.load_model(tmp_path / "model.onnx")
    assert again.compiled
    assert again.optimizer.learning_rate == 0.02
    assert again.evaluate([A, B], [NUMBER, KIND]) == model.evaluate([A, B], [NUMBER, KIND])
    assert again.get_user_defined_metadata() == {"labels": ["no", "yes"]}
    assert not edgeml.load_model(tmp_path / "model.onnx", compile=False).compiled
    model.compile("sgd", [lambda y, p: edgeml.ops.mean((y - p) ** 2, axis=-1), None])
    model.save(tmp_path / "own.onnx")
    assert not edgeml.load_model(tmp_path / "own.onnx").compiled


def test_states_start_anew():
    model = edgeml.Sequential([Input((4, 3), batch_size=2), layers.LSTM(2, stateful=True)])
    x = rng.standard_normal((2, 4, 3)).astype(np.float32)
    first = model.predict(x)
    assert np.abs(model.predict(x) - first).max() > 1e-4
    model.reset_states()
    np.testing.assert_array_equal(model.predict(x), first)
