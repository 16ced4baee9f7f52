"""Steps on a loss of one's own: what they change, what they leave, and what they see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import edgeml
from edgeml import layers, losses, ops, optimizers
from edgeml.errors import DataError, InputError, NonFinite, ShapeError, TrainingError
from edgeml.training import Minimizer, minimize

X = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
Y = X @ np.array([[1.0], [-2.0], [0.5]], np.float32)


def _linear(units: int = 1, seed: int = 0, **kwargs: Any) -> edgeml.Sequential:
    layers.set_random_seed(seed)
    return edgeml.Sequential([edgeml.Input((3,)), layers.Dense(units, **kwargs)])


def _same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_it_does_what_train_on_batch_does(optimizer: str) -> None:
    one, other = _linear(), _linear()
    one.compile(optimizer, "mse")
    error = losses.MeanSquaredError()
    step = minimize(lambda x, y: error(y, other(x)), other, optimizer)
    for _ in range(3):
        assert step(X, Y) == one.train_on_batch(X, Y)["loss"]
    assert _same(one.get_weights(), other.get_weights())


def test_two_models_take_turns() -> None:
    drawer, critic = _linear(3), _linear(1, seed=1)
    before = drawer.get_weights(), critic.get_weights()

    def cost(x: Any) -> Any:
        return ops.mean(critic(drawer(x)) ** 2)

    steps = minimize(cost, critic, "sgd"), minimize(lambda x: -cost(x), drawer, "sgd")
    first = steps[0](X)
    assert _same(before[0], drawer.get_weights())
    assert not _same(before[1], critic.get_weights())
    after = critic.get_weights()
    assert -steps[1](X) < first  # it sees what the other has learned
    assert _same(after, critic.get_weights())
    assert not _same(before[0], drawer.get_weights())


def test_what_others_set_or_train_meanwhile_counts() -> None:
    model = _linear()
    step = minimize(lambda x, y: ops.mean((model(x) - y) ** 2), model, "sgd")
    step(X, Y)
    model.set_weights([np.array([[1.0], [-2.0], [0.5]]), np.zeros(1)])
    assert step(X, Y) < 1e-12
    model.compile("sgd", "mse")
    model.set_weights([np.zeros((3, 1)), np.zeros(1)])
    model.fit(X, Y, epochs=50, verbose=0)
    fitted = model.evaluate(X, Y)["loss"]
    assert step(X, Y) == pytest.approx(fitted, rel=1e-5)
    assert step(X, Y) < fitted
    assert model.evaluate(X, Y)["loss"] < fitted


def test_a_parameter_may_be_trained_alone() -> None:
    model = _linear()
    dense = model.layers[0]
    kernel = np.array(dense.kernel.value)  # type: ignore[attr-defined]
    step = minimize(
        lambda x, y: ops.mean((model(x) - y) ** 2), [dense.bias], "sgd"  # type: ignore[attr-defined]
    )  # fmt: skip
    step(X, Y + 1.0)
    assert np.array_equal(kernel, dense.kernel.value)  # type: ignore[attr-defined]
    assert dense.bias.value != 0  # type: ignore[attr-defined]


def test_frozen_layers_stay() -> None:
    model = edgeml.Sequential([edgeml.Input((3,)), layers.Dense(4), layers.Dense(1)])
    model.layers[0].trainable = False
    frozen, trained = model.layers[0].get_weights(), model.layers[1].get_weights()
    minimize(lambda x, y: ops.mean((model(x) - y) ** 2), model)(X, Y)
    assert _same(frozen, model.layers[0].get_weights())
    assert not _same(trained, model.layers[1].get_weights())


def test_layers_are_built_by_the_first_step() -> None:
    layer = layers.Dense(1)
    step = minimize(lambda x, y: ops.mean((layer(x) - y) ** 2), layer)
    assert step(X, Y) > 0.0
    assert layer.built


def test_running_statistics_move() -> None:
    norm, other = layers.BatchNormalization(), layers.BatchNormalization()
    head = layers.Dense(1)
    step = minimize(lambda x: ops.mean(head(norm(x)) * other(head(x))), [norm, head])
    step(X + 3.0)
    for layer in (norm, other):  # as in Keras: of what runs in training mode
        assert np.all(layer.moving_mean.value != 0.0)


def test_training_mode_and_random_numbers() -> None:
    dropout, dense = layers.Dropout(0.5), layers.Dense(1)

    def twin() -> Minimizer:
        return minimize(lambda x: ops.mean(dropout(x)) + 0.0 * ops.sum(dense(x)), dense, seed=3)

    one, other = twin(), twin()
    values = [one(X), one(X), one(X)]
    assert len(set(values)) == 3
    assert [other(X), other(X), other(X)] == values


def test_more_than_the_loss() -> None:
    model = _linear()

    def cost(batch: dict[str, Any]) -> Any:
        found = model(batch["x"])
        return ops.mean((found - batch["y"]) ** 2), {"found": found}, [ops.mean(found)]

    step = minimize(cost, model, has_aux=True)
    expected = model.predict(X)
    value, named, (mean,) = step({"x": X, "y": Y})
    kept = named["found"].copy()
    assert np.allclose(kept, expected, atol=1e-6)
    assert mean == pytest.approx(expected.mean(), rel=1e-4)
    assert step({"x": X, "y": Y})[0] < value
    assert np.array_equal(kept, named["found"])  # results are the caller's


def test_losses_that_layers_add_count() -> None:
    model = _linear(kernel_regularizer="l2")
    plain = _linear()
    found = [minimize(lambda x, y, m=m: ops.mean((m(x) - y) ** 2), m)(X, Y) for m in (model, plain)]
    penalty = 0.01 * float((plain.layers[0].kernel.value ** 2).sum())  # type: ignore[attr-defined]
    assert found[0] > found[1]
    assert found[0] - found[1] == pytest.approx(penalty, rel=0.05)


def test_each_shape_has_a_step_and_all_train_the_same() -> None:
    model = _linear()
    step = minimize(lambda x, y: ops.mean((model(x) - y) ** 2), model, optimizers.SGD(0.1))
    first = step(X, Y)
    for size in (8, 5, 8, 3, 2, 1, 7, 16):
        step(X[:size], Y[:size])
    assert step(X, Y) < first
    assert step.optimizer.iterations == 10


def test_arguments_may_be_integers_and_float64() -> None:
    table = layers.Embedding(4, 2)
    step = minimize(lambda i, w: ops.sum(table(i) ** 2) * w, table, "sgd")
    assert step(np.array([[1, 2]]), 2.0) > step(np.array([[1, 2]]), 2.0)


def test_nan_changes_nothing() -> None:
    model = _linear()
    step = minimize(lambda x: ops.mean(ops.log(model(x) * 0.0 - 1.0)), model)
    before = model.get_weights()
    with pytest.raises(NonFinite):
        step(X)
    assert _same(before, model.get_weights())


@pytest.mark.parametrize(
    ("make", "args", "error", "text"),
    [
        (lambda m: minimize(lambda x: m(x), m), (X,), ShapeError, "scalar"),
        (lambda m: minimize(lambda x: ops.mean(m(x)), ["w"]), (X,), InputError, "received str"),
        (lambda m: minimize(lambda x: ops.mean(m(x)), []), (X,), TrainingError, "no weights"),
        (lambda m: minimize(lambda x: ops.mean(m(x)), m), ("a",), DataError, "argument 0"),
        (
            lambda m: minimize(lambda x: ops.mean(x), m), (X,), TrainingError, "does not use",
        ),
        (
            lambda m: minimize(lambda x: ops.mean(ops.stop_gradient(m(x))), m), (X,),
            TrainingError, "depends on none",
        ),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong(make: Any, args: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        make(_linear())(*args)
