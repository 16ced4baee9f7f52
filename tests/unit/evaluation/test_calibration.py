"""Calibration of probabilities, and the temperature that improves it."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.datasets import load_digits
from sklearn.naive_bayes import GaussianNB

import edgeml
from edgeml.errors import ConfigError, DataError
from edgeml.evaluation import Temperature, calibration, fit_temperature


def drawn(n=4000, sharp=1.0, classes=4):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(n, classes)) * 2
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    y = np.array([rng.choice(classes, p=row) for row in p])
    return y, z * sharp


def test_the_table_is_scikit_learns():
    rng = np.random.default_rng(0)
    p = rng.uniform(size=1000)
    y = (rng.uniform(size=1000) < p**2).astype(int)
    share, mean = calibration_curve(y, p, n_bins=15)
    bins = calibration(y, p).bins
    np.testing.assert_allclose([b.accuracy.value for b in bins], share)
    np.testing.assert_allclose([b.confidence for b in bins], mean)
    expected = sum(b.count * abs(b.confidence - b.accuracy.value) for b in bins) / 1000
    assert calibration(y, p).ece == pytest.approx(expected)


def test_true_probabilities_are_calibrated_and_sharp_ones_are_not():
    y, z = drawn()
    assert calibration(y, z).calibrated
    assert not calibration(y, z * 3).calibrated


@pytest.mark.parametrize("sharp", [0.5, 1.0, 3.0])
def test_the_temperature_is_found(sharp):
    y, z = drawn(sharp=sharp)
    fitted = fit_temperature(y, z)
    assert fitted.value == pytest.approx(sharp, rel=0.06)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    assert calibration(y, fitted(p)).calibrated
    assert (fitted(p).argmax(1) == p.argmax(1)).all()


def test_binary_temperature():
    rng = np.random.default_rng(0)
    z = rng.normal(size=3000) * 2
    y = (rng.uniform(size=3000) < 1 / (1 + np.exp(-z))).astype(int)
    sharp = 1 / (1 + np.exp(-2 * z))
    assert fit_temperature(y, sharp).value == pytest.approx(2.0, rel=0.1)
    np.testing.assert_allclose(Temperature(2.0)(sharp), 1 / (1 + np.exp(-z)), rtol=1e-6)


def test_a_report_with_validation_data():
    x, y = load_digits(return_X_y=True)
    model = GaussianNB(var_smoothing=1e-2).fit(x[:800], y[:800])  # known to be too sure
    report = edgeml.evaluate(model.predict_proba, x[1300:], y[1300:], resamples=100,
                             validation=(x[800:1300], y[800:1300]))  # fmt: skip
    found = report.calibration
    assert not found.calibrated
    assert found.temperature > 1.5
    assert found.ece_scaled < found.ece / 2
    assert "NOT CALIBRATED" in report.summary()


def test_bad_input():
    with pytest.raises(DataError, match="probabilities"):
        calibration([0, 1, 1], [0, 1, 1])
    with pytest.raises(DataError, match="probabilities or logits"):
        fit_temperature([0, 1, 1], [0, 1, 1])
    with pytest.raises(ConfigError, match="bins"):
        calibration([0, 1], [0.5, 0.6], bins=0)
    with pytest.raises(ConfigError, match="needs probabilities"):
        edgeml.evaluate(lambda x: x, (np.arange(9.0), np.arange(9.0)),
                        validation=(np.arange(9.0), np.arange(9.0)))  # fmt: skip
