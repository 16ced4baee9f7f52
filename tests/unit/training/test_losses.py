"""Losses: names, configs, functions of one's own, and what they refuse."""

import numpy as np
import pytest

import edgeml
from edgeml import losses, ops, value_and_grad
from edgeml.errors import ConfigError, DataError, ShapeError
from edgeml.graph import function
from edgeml.layers import Dense, Input

X = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
LABELS = np.arange(8) % 3


def network(loss, units=3):
    edgeml.layers.set_random_seed(0)
    model = edgeml.Sequential([Input((4,)), Dense(units)])
    model.compile("sgd", loss)
    return model


@pytest.mark.parametrize(("name", "kind"), [
    ("binaryCrossentropy", losses.BinaryCrossentropy),
    ("categoricalCrossentropy", losses.CategoricalCrossentropy),
    ("sparseCategoricalCrossentropy", losses.SparseCategoricalCrossentropy),
    ("meanSquaredError", losses.MeanSquaredError), ("meanAbsoluteError", losses.MeanAbsoluteError),
    ("meanAbsolutePercentageError", losses.MeanAbsolutePercentageError),
    ("meanSquaredLogarithmicError", losses.MeanSquaredLogarithmicError),
    ("squaredHinge", losses.SquaredHinge), ("categoricalHinge", losses.CategoricalHinge),
    ("hinge", losses.Hinge), ("poisson", losses.Poisson), ("logcosh", losses.LogCosh),
    ("kullbackLeiblerDivergence", losses.KLDivergence),
    ("cosineProximity", losses.CosineSimilarity), ("huberLoss", losses.Huber),
    ("sigmoidCrossEntropy", losses.BinaryCrossentropy),
    ("softmaxCrossEntropy", losses.CategoricalCrossentropy),
    ("MeanSquaredError", losses.MeanSquaredError), ("KLDivergence", losses.KLDivergence),
    ("mse", losses.MeanSquaredError), ("mae", losses.MeanAbsoluteError),
    ("absoluteDifference", losses.MeanAbsoluteError), ("cosineDistance", losses.CosineDistance),
    ("hingeLoss", losses.Hinge), ("logLoss", losses.BinaryCrossentropy), ("ctc", losses.CTC),
    ("binaryFocalCrossentropy", losses.BinaryFocalCrossentropy), (losses.Dice, losses.Dice),
    ({"class_name": "Tversky", "config": {"alpha": 0.9}}, losses.Tversky),
    ({"class_name": "huber", "config": {"delta": 0.5}}, losses.Huber),
])  # fmt: skip
def test_tensorflow_js_and_class_names(name, kind):
    assert type(losses.get(name)) is kind


@pytest.mark.parametrize("name", [n for n in losses.__all__ if n[0].isupper() and n != "Loss"])
def test_a_config_makes_an_equal_loss(name):
    loss = getattr(losses, name)(reduction="sum")
    assert losses.get(name).name == loss.name
    assert type(loss)(**loss.get_config()) == loss


@pytest.mark.parametrize(("make", "message"), [
    (lambda: losses.get("meanSquaredEror"), "did you mean mean_squared_error"),
    (lambda: losses.MeanSquaredError(reduction="max"), "reduction: expected one of"),
    (lambda: losses.BinaryCrossentropy(label_smoothing=1.5), "label_smoothing: expected 0 to 1"),
    (lambda: losses.CategoricalCrossentropy(label_smoothing=-0.1), "label_smoothing"),
    (lambda: losses.BinaryFocalCrossentropy(label_smoothing=2.0), "label_smoothing"),
    (lambda: losses.CategoricalFocalCrossentropy(label_smoothing=2.0), "label_smoothing"),
    (lambda: losses.CategoricalGeneralizedCrossEntropy(q=1.0), "q: expected between 0 and 1"),
])  # fmt: skip
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_functions_of_two_and_three_arguments():
    def each(y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred), axis=-1)

    def whole(outputs, targets, weights):
        return ops.sum(each(targets, outputs) * weights) / 8.0

    y, weight = X[:, :3], np.linspace(0.0, 2.0, 8)
    made = [network(loss).evaluate(X, y, sample_weight=weight)["loss"]
            for loss in ("mse", each, whole, losses.Huber(delta=1e6))]  # fmt: skip
    np.testing.assert_allclose(made[:3], made[0], rtol=1e-6)
    assert made[3] == pytest.approx(made[0] / 2.0, rel=1e-5)


def test_a_loss_of_ones_own_is_a_subclass_with_call():
    class Quartic(losses.Loss):
        def call(self, y_true, y_pred):
            return ops.mean((y_true - y_pred) ** 4.0, axis=-1)

    y = X[:, :3]
    model = network(Quartic(reduction="sum"))
    expected = ((model.predict(X) - y) ** 4).mean(1).sum()
    assert model.evaluate(X, y)["loss"] == pytest.approx(expected, rel=1e-5)


ONE_HOT = np.eye(3)[LABELS]


@pytest.mark.parametrize(("loss", "y", "kind", "message"), [
    ("mse", np.zeros((8, 2)), ShapeError, r"targets have the shape \(8, 2\), and the output \(8, "),
    ("mse", np.zeros((8, 1)), ShapeError, r"targets have the shape \(8, 1\)"),  # no broadcasting
    ("mse", np.zeros(8), ShapeError, "must be equal"),
    ("binary_crossentropy", np.zeros((8, 2)), ShapeError, "must be equal"),
    ("kl_divergence", np.zeros((8, 3, 3)), ShapeError, "must be equal"),
    ("categorical_crossentropy", LABELS, DataError, "class numbers use sparse_categorical_cross"),
    ("categorical_crossentropy", np.eye(4)[LABELS], DataError, r"shape \(4,\), and the output"),
    ("categorical_crossentropy", -ONE_HOT, DataError, "probabilities of at least 0"),
    ("sparse_categorical_crossentropy", ONE_HOT, DataError, "rows use categorical_crossentropy"),
    ("sparse_categorical_crossentropy", LABELS + 1, DataError, "label 3 of example 2 .* 0 to 2"),
    ("sparse_categorical_crossentropy", LABELS - 1, DataError, "label -1 of example 0"),
    ("sparse_categorical_crossentropy", LABELS + 0.5, DataError, r"label 0.5 of example 0"),
    ("binary_crossentropy", ONE_HOT * 2, DataError, "0 or 1"),
])  # fmt: skip
def test_targets_that_do_not_fit(loss, y, kind, message):
    model = network(loss)
    before = model.get_weights()
    for call in (lambda: model.fit(X, y, verbose=0), lambda: model.train_on_batch(X, y)):
        with pytest.raises(kind, match=message):
            call()
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("weight", [np.ones((8, 2)), np.ones((8, 3)), np.ones((8, 1, 2))], ids=str)
def test_weights_that_do_not_fit(weight):
    with pytest.raises(ShapeError, match=r"sample_weight has the shape .*one weight for each"):
        network("mse").fit(X, X[:, :3], sample_weight=weight, verbose=0)


def test_the_ignored_class_may_be_no_class_number():
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    y = LABELS.copy()
    y[:3] = 255
    model = network(loss)
    kept = network(losses.SparseCategoricalCrossentropy(from_logits=True))
    kept.set_weights(model.get_weights())
    model.fit(X, y, verbose=0)
    kept.fit(X[3:], y[3:], verbose=0)
    for a, b in zip(model.get_weights(), kept.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_gradients_of_cross_entropies_from_logits_are_the_difference():
    logits = X[:, :3] * 5
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    _, gradient = value_and_grad(lambda z, y: loss(y, z))(logits, LABELS)
    np.testing.assert_allclose(gradient, (p - ONE_HOT) / 8, atol=1e-7)
    loss = losses.BinaryCrossentropy(from_logits=True)
    _, gradient = value_and_grad(lambda z, y: loss(y, z))(logits, ONE_HOT.astype(np.float32))
    np.testing.assert_allclose(gradient, (1 / (1 + np.exp(-logits)) - ONE_HOT) / 24, atol=1e-7)


def test_weights_of_any_number_type():
    given = losses.MeanSquaredError()
    run = function(lambda y, p, w: given(y, p, w))
    y, p = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)
    assert run(y, p, np.array([1, 0])) == run(y, p, np.array([[1.0], [0.0]])) == 0.5


def test_the_distance_is_one_minus_the_product():
    y, p = np.array([[0.6, 0.8], [1.0, 0.0]]), np.array([[0.8, 0.6], [0.0, 1.0]])
    np.testing.assert_allclose(function(losses.CosineDistance(reduction=None))(y, p), [0.04, 1.0],
                               atol=1e-6)  # fmt: skip


@pytest.mark.parametrize(("y", "message"), [
    ([[1, 0, 2]], "only 0 after the first 0"), ([[1, 5, 0]], "class numbers 0 to 3"),
    ([[-1, 0, 0]], "class numbers 0 to 3"),
])  # fmt: skip
def test_labels_of_sequences_are_checked(y, message):
    with pytest.raises(DataError, match=message):
        losses.check_targets(losses.CTC(), np.array(y), (1, 9, 4))


def test_ctc_takes_labels_and_logits():
    with pytest.raises(ShapeError, match="CTC takes labels"):
        function(losses.CTC())(np.zeros(3, np.int64), np.zeros((3, 5, 4)))


def test_a_network_learns_labels_without_their_times():
    draw = np.random.default_rng(0)
    words = draw.integers(1, 4, (64, 3))
    x = np.zeros((64, 12, 4), np.float32)
    for one, word in zip(x, words, strict=True):  # each label lasts two to four steps
        times = np.repeat(np.arange(3), draw.integers(2, 5, 3))[:12]
        one[np.arange(len(times)), word[times]] = 1.0
    y = np.where(np.diff(words, axis=1, prepend=0) == 0, 0, words)  # equal neighbours are one
    y = np.array([[*row[row > 0], 0, 0, 0][:3] for row in y])
    edgeml.layers.set_random_seed(0)
    model = edgeml.Sequential([Input((12, 4)), edgeml.layers.Conv1D(16, 3, padding="same"),
                               edgeml.layers.ReLU(), Dense(4)])  # fmt: skip
    model.compile(edgeml.optimizers.Adam(0.02), "ctc")
    model.fit(x, y, epochs=60, batch_size=16, verbose=0)
    best = model.predict(x).argmax(-1)
    found = [[k for i, k in enumerate(row) if k and (i == 0 or row[i - 1] != k)] for row in best]
    right = [list(row[row > 0]) == list(mine) for row, mine in zip(y, found, strict=True)]
    assert np.mean(right) > 0.9
