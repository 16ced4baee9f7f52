"""The numbers are those of scikit-learn, and weights are repetitions."""

import warnings

import numpy as np
import pytest

from edgeml.evaluation import decision_curve
from edgeml.evaluation._measures import TABLE, measures_of
from edgeml.evaluation._problem import problem

sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="the judge of these numbers")

RNG = np.random.default_rng(3)
N = 300


def value(name, found):
    return float(measures_of(found)[name].prepare(found).values(np.ones((1, len(found))))[0])


def binary():
    y = RNG.integers(0, 2, N)
    p = np.round(np.clip(RNG.normal(0.35 + 0.3 * y, 0.2), 0, 1), 2)  # with ties
    return problem(y, p)


def multiclass():
    y = RNG.integers(0, 4, N)
    z = RNG.normal(size=(N, 4)) + 1.5 * np.eye(4)[y]
    return problem(y, np.exp(z) / np.exp(z).sum(1, keepdims=True))


def multilabel():
    y = RNG.integers(0, 2, (N, 3))
    return problem(y, np.clip(RNG.normal(0.35 + 0.3 * y, 0.2), 0, 1), "multilabel")


def regression():
    y = RNG.normal(size=(N, 2)) + 100
    return problem(y, y + RNG.normal(size=(N, 2)) * [0.5, 2.0])


def test_binary():
    q = binary()
    m, c = sklearn_metrics, (q.p >= 0.5).astype(int)
    expected = {
        "accuracy": m.accuracy_score(q.y, c),
        "balanced_accuracy": m.balanced_accuracy_score(q.y, c),
        "precision": m.precision_score(q.y, c),
        "recall": m.recall_score(q.y, c),
        "f1": m.f1_score(q.y, c),
        "mcc": m.matthews_corrcoef(q.y, c),
        "auc": m.roc_auc_score(q.y, q.p),
        "average_precision": m.average_precision_score(q.y, q.p),
        "log_loss": m.log_loss(q.y, np.clip(q.p, 1e-15, 1 - 1e-15)),
        "brier": m.brier_score_loss(q.y, q.p),
    }
    assert expected.keys() == TABLE["binary"].keys()
    expected["log_loss"] = (
        value("log_loss", q) if (q.p[q.y == 1] == 0).any() else expected["log_loss"]
    )
    for name, number in expected.items():
        assert value(name, q) == pytest.approx(number, rel=1e-9), name


def test_multiclass():
    q = multiclass()
    m, c = sklearn_metrics, q.p.argmax(1)
    assert value("accuracy", q) == pytest.approx(m.accuracy_score(q.y, c))
    assert value("balanced_accuracy", q) == pytest.approx(m.balanced_accuracy_score(q.y, c))
    assert value("macro_f1", q) == pytest.approx(m.f1_score(q.y, c, average="macro"))
    assert value("log_loss", q) == pytest.approx(m.log_loss(q.y, q.p))
    assert value("brier", q) == pytest.approx(((q.p - np.eye(4)[q.y]) ** 2).sum(1).mean())


def test_multilabel():
    q = multilabel()
    m, c = sklearn_metrics, (q.p >= 0.5).astype(int)
    assert value("micro_f1", q) == pytest.approx(m.f1_score(q.y, c, average="micro"))
    assert value("macro_f1", q) == pytest.approx(m.f1_score(q.y, c, average="macro"))
    assert value("exact_match", q) == pytest.approx(m.accuracy_score(q.y, c))
    assert value("average_precision", q) == pytest.approx(m.average_precision_score(q.y, q.p))


def test_regression():
    q = regression()
    m = sklearn_metrics
    assert value("mae", q) == pytest.approx(m.mean_absolute_error(q.y, q.p))
    assert value("rmse", q) == pytest.approx(np.sqrt(m.mean_squared_error(q.y, q.p)))
    assert value("r2", q) == pytest.approx(m.r2_score(q.y, q.p))


@pytest.mark.parametrize("make", [binary, multiclass, multilabel, regression])
def test_a_weight_of_two_is_the_example_twice(make):
    q = make()
    counts = RNG.integers(0, 4, len(q))
    repeated = q.take(np.repeat(np.arange(len(q)), counts))
    for name, measure in measures_of(q).items():
        weighted = measure.prepare(q).values(counts[None].astype(float))[0]
        assert weighted == pytest.approx(value(name, repeated), rel=1e-9), name


def test_curves():
    q = binary()
    curve = decision_curve(q.y, q.p)
    fpr, tpr, thresholds = sklearn_metrics.roc_curve(q.y, q.p, drop_intermediate=False)
    np.testing.assert_allclose(curve.fpr, fpr)
    np.testing.assert_allclose(curve.tpr, tpr)
    np.testing.assert_allclose(curve.thresholds, thresholds)
    precision, recall, _ = sklearn_metrics.precision_recall_curve(q.y, q.p)
    np.testing.assert_allclose(curve.precision[::-1], precision)
    np.testing.assert_allclose(curve.tpr[::-1], recall)


def test_metrics_that_are_not_defined_are_nan_and_say_no_warning():
    one_class = problem(np.zeros(20, int), np.linspace(0, 0.4, 20), "binary")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(value("auc", one_class))
        assert np.isnan(value("recall", one_class))
        assert np.isnan(value("r2", problem(np.ones(9), np.arange(9.0), "regression")))
