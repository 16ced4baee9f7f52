"""Metrics against Keras 3's: equal numbers over several batches, with and without weights."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest

from edgeml import metrics

os.environ.setdefault("KERAS_BACKEND", "torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what Keras and torch warn of while loading is not ours
    keras = pytest.importorskip("keras", reason="Keras, the oracle, is not installed")

# Keras's way from torch to NumPy is what NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SIZES = (32, 7, 16)


def binary(rng, n):
    return rng.integers(0, 2, (n, 1)), rng.random((n, 1), np.float32)


def several(rng, n):
    return rng.integers(0, 2, (n, 5)), rng.random((n, 5), np.float32)


def softmaxed(rng, n):
    p = rng.random((n, 10), np.float32) ** 3
    return p / p.sum(-1, keepdims=True)


def one_hot(rng, n):
    return np.eye(10, dtype=np.float32)[rng.integers(0, 10, n)], softmaxed(rng, n)


def sparse(rng, n):
    return rng.integers(0, 10, n), softmaxed(rng, n)


def sparse_column(rng, n):
    return rng.integers(0, 10, (n, 1)), softmaxed(rng, n)


def sparse_steps(rng, n):
    p = rng.random((n, 4, 6), np.float32)
    return rng.integers(0, 6, (n, 4)), p / p.sum(-1, keepdims=True)


def saturated(rng, n):
    return rng.integers(0, 2, (n, 1)), rng.integers(0, 2, (n, 1)).astype(np.float32)


def on_thresholds(rng, n):
    return rng.integers(0, 2, (n, 1)), (rng.integers(0, 200, (n, 1)) / 199).astype(np.float32)


def logits(rng, n):
    return rng.integers(0, 2, (n, 1)), rng.normal(0, 20, (n, 1)).astype(np.float32)


def class_logits(rng, n):
    return rng.integers(0, 10, n), rng.normal(0, 20, (n, 10)).astype(np.float32)


def one_hot_logits(rng, n):
    y, p = class_logits(rng, n)
    return np.eye(10, dtype=np.float32)[y], p


def numbers(rng, n):
    y = rng.normal(3, 2, (n, 3)).astype(np.float32)
    return y, y + rng.normal(0, 0.5, (n, 3)).astype(np.float32)


def column(rng, n):
    y, p = numbers(rng, n)
    return y[:, 0], p[:, :1]


def steps(rng, n):
    """The number of steps differs from batch to batch: each example counts once."""
    y = rng.normal(3, 2, (n, n % 5 + 1, 2)).astype(np.float32)
    return y, y + rng.normal(0, 0.5, y.shape).astype(np.float32)


def sequences(rng, n):
    y = rng.normal(3, 2, (n, 6, 2)).astype(np.float32)
    return y, y + rng.normal(0, 2, y.shape).astype(np.float32)


def equal_numbers(rng, n):
    return rng.integers(0, 3, (n, 1)), rng.integers(0, 3, (n, 1)).astype(np.float32)


def ties(rng, n):
    return rng.integers(0, 10, n), rng.integers(0, 3, (n, 10)).astype(np.float32)


def signs(rng, n):
    return rng.integers(0, 2, (n, 3)) * 2 - 1, rng.normal(0, 1, (n, 3)).astype(np.float32)


def yes_or_no(rng, n):
    return rng.integers(0, 2, (n, 3)), rng.normal(0, 1, (n, 3)).astype(np.float32)


def positive(rng, n):
    y, p = numbers(rng, n)
    return np.abs(y), np.abs(p)


def classes(rng, n):
    return rng.integers(0, 4, (n, 5)), rng.integers(0, 4, (n, 5))


def with_void(rng, n):
    y, p = classes(rng, n)
    return np.where(rng.random(y.shape) < 0.3, 255, y), p


def pixels(rng, n):
    p = rng.random((n, 5, 4), np.float32)
    return np.eye(4, dtype=np.float32)[rng.integers(0, 4, (n, 5))], p


def sparse_pixels(rng, n):
    return rng.integers(0, 4, (n, 5)), rng.random((n, 5, 4), np.float32)


CASES = [
    ("Accuracy", {}, equal_numbers),
    ("BinaryAccuracy", {}, binary),
    ("BinaryAccuracy", {"threshold": 0.3}, several),
    ("CategoricalAccuracy", {}, one_hot),
    ("SparseCategoricalAccuracy", {}, sparse),
    ("SparseCategoricalAccuracy", {}, sparse_column),
    ("SparseCategoricalAccuracy", {}, sparse_steps),
    ("TopKCategoricalAccuracy", {}, one_hot),
    ("TopKCategoricalAccuracy", {"k": 2}, one_hot),
    ("SparseTopKCategoricalAccuracy", {"k": 3}, sparse),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, sparse_steps),
    ("SparseTopKCategoricalAccuracy", {"k": 4}, ties),
    ("Precision", {}, binary),
    ("Precision", {"thresholds": [0.8, 0.2, 0.5]}, several),
    ("Precision", {"thresholds": [0.0, 0.5, 1.0]}, on_thresholds),
    ("Precision", {"top_k": 3}, one_hot),
    ("Precision", {"top_k": 3, "class_id": 4}, one_hot),
    ("Precision", {"top_k": 4, "thresholds": 0.1}, one_hot),
    ("Recall", {}, several),
    ("Recall", {"class_id": 2, "thresholds": [0.2, 0.7]}, several),
    ("Recall", {"top_k": 2}, one_hot),
    ("AUC", {}, binary),
    ("AUC", {}, on_thresholds),
    ("AUC", {}, saturated),
    ("AUC", {"curve": "PR"}, binary),
    ("AUC", {"curve": "PR"}, several),
    ("AUC", {"num_thresholds": 20, "summation_method": "minoring"}, several),
    ("AUC", {"curve": "PR", "summation_method": "majoring"}, several),
    ("AUC", {"curve": "PR", "thresholds": [0.9, 0.1, 0.35]}, binary),
    ("AUC", {"multi_label": True}, several),
    ("AUC", {"multi_label": True, "label_weights": [1, 2, 3, 0, 1], "curve": "PR"}, several),
    ("AUC", {"label_weights": [1, 2, 3, 0, 1]}, several),
    ("AUC", {"from_logits": True}, logits),
    ("F1Score", {}, one_hot),
    ("F1Score", {"average": "micro"}, one_hot),
    ("F1Score", {"average": "macro"}, one_hot),
    ("F1Score", {"average": "weighted"}, one_hot),
    ("F1Score", {"average": "macro", "threshold": 0.4}, several),
    ("F1Score", {"threshold": 0.5}, binary),
    ("MeanSquaredError", {}, numbers),
    ("MeanSquaredError", {}, column),
    ("MeanSquaredError", {}, steps),
    ("RootMeanSquaredError", {}, numbers),
    ("MeanAbsoluteError", {}, steps),
    ("MeanAbsolutePercentageError", {}, numbers),
    ("R2Score", {}, numbers),
    ("R2Score", {"class_aggregation": None}, numbers),
    ("R2Score", {"class_aggregation": "variance_weighted_average"}, numbers),
    ("R2Score", {"num_regressors": 4}, numbers),
    ("CosineSimilarity", {}, numbers),
    ("CosineSimilarity", {"axis": 1}, steps),
    ("BinaryCrossentropy", {}, several),
    ("BinaryCrossentropy", {}, saturated),
    ("BinaryCrossentropy", {"label_smoothing": 0.2}, binary),
    ("BinaryCrossentropy", {"from_logits": True}, logits),
    ("CategoricalCrossentropy", {}, one_hot),
    ("CategoricalCrossentropy", {"label_smoothing": 0.1}, one_hot),
    ("CategoricalCrossentropy", {"from_logits": True}, one_hot_logits),
    ("SparseCategoricalCrossentropy", {}, sparse),
    ("SparseCategoricalCrossentropy", {}, sparse_steps),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, class_logits),
    *((name, {}, data) for name in ("Hinge", "SquaredHinge") for data in (signs, yes_or_no)),
    ("CategoricalHinge", {}, one_hot),
    ("KLDivergence", {}, one_hot),
    ("KLDivergence", {}, several),
    ("Poisson", {}, positive),
    ("LogCoshError", {}, numbers),
    ("LogCoshError", {}, steps),
    ("MeanSquaredLogarithmicError", {}, positive),
    ("PearsonCorrelation", {}, numbers),
    ("PearsonCorrelation", {"axis": 1}, sequences),
    ("ConcordanceCorrelation", {}, numbers),
    ("FBetaScore", {"beta": 2.0}, one_hot),
    *(("FBetaScore", {"beta": 0.5, "average": kind}, one_hot)
      for kind in ("micro", "macro", "weighted")),
    ("FBetaScore", {"average": "macro", "beta": 3.0, "threshold": 0.4}, several),
    *((f"{kind}{sign}s", options, data) for kind in ("True", "False")
      for sign in ("Positive", "Negative")
      for options, data in (({}, binary), ({"thresholds": [0.8, 0.2, 0.5]}, several))),
    *((name, {key: value, **more}, data) for name, key in (
        ("PrecisionAtRecall", "recall"), ("RecallAtPrecision", "precision"),
        ("SensitivityAtSpecificity", "specificity"), ("SpecificityAtSensitivity", "sensitivity"))
      for value, more, data in (
          (0.6, {}, binary), (0.3, {"num_thresholds": 20}, several),
          (0.7, {"class_id": 2}, several), (0.4, {"num_thresholds": 1}, binary))),
]  # fmt: skip


def case_name(case):
    name, options, data = case
    given = ",".join(f"{key}={value}" for key, value in options.items())
    return f"{name}({given})-{data.__name__}"


def weight(kind, rng, y):
    if kind == "examples":
        return rng.random(len(y), np.float32)
    if kind == "some zero":
        return rng.integers(0, 2, len(y)).astype(np.float32)
    return None


def number(x):
    return np.asarray(keras.ops.convert_to_numpy(x))


@pytest.mark.parametrize("weighted", ["none", "examples", "some zero"])
@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_streaming_equals_keras(case, weighted):
    name, options, data = case
    rng = np.random.default_rng(len(name) + len(options))
    ours, theirs = getattr(metrics, name)(**options), getattr(keras.metrics, name)(**options)
    assert theirs.name.startswith(ours.name)  # Keras numbers some
    for _ in range(2):
        for size in SIZES:
            y, p = data(rng, size)
            w = weight(weighted, rng, y)
            ours.update_state(y, p, w)
            theirs.update_state(y, p, w)
            got, expected = ours.result(), number(theirs.result())
            assert np.shape(got) == expected.shape
            np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6)
        ours.reset_state()
        theirs.reset_state()


REGIONS = [
    ("IoU", {"num_classes": 4, "target_class_ids": [0, 2]}, classes),
    ("IoU", {"num_classes": 4, "target_class_ids": [1], "ignore_class": 255}, with_void),
    ("IoU", {"num_classes": 4, "target_class_ids": [1, 3], "sparse_y_pred": False}, sparse_pixels),
    ("BinaryIoU", {}, several),
    ("BinaryIoU", {"target_class_ids": [1], "threshold": 0.3}, binary),
    ("MeanIoU", {"num_classes": 4}, classes),
    ("MeanIoU", {"num_classes": 6, "ignore_class": 0}, classes),
    ("OneHotIoU", {"num_classes": 4, "target_class_ids": [0, 3]}, pixels),
    ("OneHotMeanIoU", {"num_classes": 4}, pixels),
]  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", REGIONS, ids=case_name)
def test_regions_equal_keras(case, weighted):
    """Keras takes whole numbers as weights, one for each class number."""
    name, options, data = case
    rng = np.random.default_rng(len(name))
    ours, theirs = getattr(metrics, name)(**options), getattr(keras.metrics, name)(**options)
    for size in SIZES:
        y, p = data(rng, size)
        shape = (size, 5) if p.ndim == 3 else p.shape
        w = rng.integers(0, 4, shape) if weighted else None
        ours.update_state(y, p, w)
        theirs.update_state(y, p, w)
        assert ours.result() == pytest.approx(float(number(theirs.result())), rel=2e-6)


FUNCTIONS = [n for n in metrics.__all__ if n.islower() and n not in ("get", "resolve_accuracy")]


def test_functions_have_keras_names():
    public = {name for name in dir(keras.metrics) if name.islower() and name[0] != "_"}
    assert public - set(FUNCTIONS) == {"deserialize", "get", "serialize"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_keras_functions(name):
    rng = np.random.default_rng(4)
    y, p = (sparse if name.startswith("sparse") else one_hot)(rng, 9)
    args = {"binary_accuracy": (0.3,), "top_k_categorical_accuracy": (2,), "huber": (0.1,)}
    more = args.get(name, ())
    expected = getattr(keras.metrics, name)(y, p, *more)
    found = getattr(metrics, name)(y, p, *more)
    np.testing.assert_allclose(np.asarray(found, float), number(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["MeanAbsoluteError", "BinaryAccuracy", "Precision", "AUC"])
def test_weights_of_values_equal_keras(name):
    rng = np.random.default_rng(5)
    ours, theirs = getattr(metrics, name)(), getattr(keras.metrics, name)()
    for size in SIZES:
        y, p = several(rng, size)
        w = rng.random(y.shape, np.float32)
        if name in ("MeanAbsoluteError", "BinaryAccuracy"):
            # Keras takes the mean over the last axis before weights: one for each example.
            w = w[:, :1]
        ours.update_state(y, p, w)
        theirs.update_state(y, p, w)
    np.testing.assert_allclose(ours.result(), number(theirs.result()), rtol=1e-5)


@pytest.mark.parametrize("name", ["Mean", "Sum"])
def test_reductions_of_values_equal_keras(name):
    rng = np.random.default_rng(1)
    ours, theirs = getattr(metrics, name)("loss"), getattr(keras.metrics, name)("loss")
    for shape, weights in [
        ((), None),
        ((4,), None),
        ((3, 5), (3,)),
        ((3, 2), (3, 2)),
        ((2, 3), ()),
    ]:
        values = rng.random(shape).astype(np.float32)
        w = None if weights is None else rng.random(weights).astype(np.float32)
        ours.update_state(values, sample_weight=w)
        theirs.update_state(values, sample_weight=w)
        np.testing.assert_allclose(ours.result(), number(theirs.result()), rtol=1e-5)


def test_a_function_of_the_user_equals_keras():
    rng = np.random.default_rng(2)

    def ours(y_true, y_pred):
        return np.abs(y_true - y_pred) ** 3

    def theirs(y_true, y_pred):
        return keras.ops.abs(y_true - y_pred) ** 3

    mine, other = metrics.get(ours), keras.metrics.MeanMetricWrapper(theirs)
    for size in SIZES:
        y, p = numbers(rng, size)
        w = rng.random(size, np.float32)
        mine.update_state(y, p, w)
        other.update_state(y, p, w)
    np.testing.assert_allclose(mine.result(), number(other.result()), rtol=1e-5)


@pytest.mark.parametrize(
    ("y_shape", "p_shape"),
    [((8,), (8, 1)), ((8, 1), (8, 1)), ((8,), (8, 5)), ((8, 1), (8, 5)), ((8, 5), (8, 5)),
     ((8, 4), (8, 4, 5)), ((8, 4, 5), (8, 4, 5)), ((8, 4, 1), (8, 4, 1))],
)  # fmt: skip
def test_accuracy_is_resolved_as_keras_does(y_shape, p_shape):
    from keras.src.trainers.compile_utils import get_metric

    expected = get_metric("accuracy", np.zeros(y_shape), np.zeros(p_shape))
    found = metrics.resolve_accuracy("mean_squared_error", y_shape, p_shape)
    assert type(found).__name__ == type(expected).__name__
    assert found.name == "accuracy"


def test_directions_are_those_of_keras():
    for name in metrics.__all__:
        theirs = getattr(keras.metrics, name, None)
        if isinstance(theirs, type) and name not in ("Mean", "MeanMetricWrapper", "Metric", "Sum"):
            cases = [options for kind, options, _ in CASES + REGIONS if kind == name]
            expected = getattr(theirs(**cases[0]), "_direction", None)
            assert expected in (None, getattr(metrics, name).direction), name


def test_every_metric_has_a_case():
    known = {name for name in metrics.__all__ if isinstance(getattr(metrics, name), type)}
    others = {"ConfusionMatrix", "Mean", "MeanMetricWrapper", "Metric", "Sum"}
    assert {name for name, *_ in CASES + REGIONS} == known - others
