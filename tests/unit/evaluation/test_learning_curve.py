"""Whether more data would help is said when it can be said."""

import itertools
import json

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from edgeml.data import Dataset
from edgeml.errors import ConfigError, DataError
from edgeml.evaluation import learning_curve
from edgeml.evaluation._learning_curve import power_law


def neighbours(x, y):
    model = KNeighborsClassifier(1).fit(x, y)
    return model.predict_proba if len(set(y)) == 10 else model.predict


def test_digits_would_gain_from_more():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))  # the file is sorted by writer
    x, y = x[order], y[order]
    curve = learning_curve(neighbours, (x[:300], y[:300]), (x[600:], y[600:]), repeats=5)
    assert curve.verdict == "more data would help"
    assert curve.sizes == (19, 38, 75, 150, 300)
    assert [s.value for s in curve.scores] == sorted(s.value for s in curve.scores)
    more = neighbours(x[:600], y[:600])(x[600:]).argmax(1)
    reached = (more == y[600:]).mean() - curve.scores[-1].value
    assert curve.gain.low - 0.01 <= reached <= curve.gain.high + 0.01
    assert "more data would help" in str(curve)
    json.dumps(curve.to_dict())


def test_what_is_learned_at_once_gains_nothing():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 2))
    y = np.where(rng.random(2000) < 0.2, x[:, 0] < 0, x[:, 0] > 0).astype(int)  # a fifth is noise
    curve = learning_curve(
        lambda x, y: lambda q: (q[:, 0] > 0).astype(int), (x[:400], y[:400]), (x[400:], y[400:])
    )
    assert curve.verdict in ("more data would hardly help", "cannot say")
    assert curve.gain.value == 0


def test_a_small_test_set_cannot_say():
    x, y = load_digits(return_X_y=True)
    curve = learning_curve(neighbours, (x[:300], y[:300]), (x[300:304], y[300:304]))
    assert curve.verdict == "cannot say"
    assert "too few" in curve.gain.note


def test_whole_groups_are_added():
    x, y = load_digits(return_X_y=True)
    seen = []

    def make_model(x, y):
        seen.append(len(y))
        return neighbours(x, y)

    data = Dataset.from_arrays(x[:400], y[:400], sources=np.arange(400) // 25)
    curve = learning_curve(make_model, data, (x[400:], y[400:]), sizes=(2, 4, 8, 16), repeats=2)
    assert curve.unit == "groups"
    assert curve.sizes == (2, 4, 8, 16)
    assert seen == [50, 100, 200, 400] * 2


def test_parts_are_nested_and_hold_all_classes():
    y = np.repeat(np.arange(4), [300, 60, 30, 10])
    x = np.arange(400)
    parts = []
    learning_curve(
        lambda x, y: parts.append((set(x), set(y))) or (lambda q: np.zeros(len(q), int)),
        (x, y), (x, y), sizes=(0.2, 0.4, 0.8, 1.0), repeats=2,
    )  # fmt: skip
    for (small, classes), (large, _) in itertools.pairwise(parts[:4]):
        assert small < large
        assert classes == {0, 1, 2, 3}


def test_the_fit_finds_a_power_law():
    sizes = np.array([10.0, 20, 50, 100, 400])
    a, b, c = power_law(sizes, (0.05 + 2 * sizes**-0.8)[:, None])
    assert (a[0], b[0], c[0]) == pytest.approx((0.05, 2.0, 0.8), rel=1e-6)
    a, b, _ = power_law(sizes, np.array([[0.1, 0.2, 0.3, 0.4, 0.5]]).T)  # it only gets worse
    assert b[0] == 0
    assert a[0] == pytest.approx(0.3)


def test_bad_input():
    x, y = np.zeros((40, 1)), np.arange(40) % 2
    with pytest.raises(ConfigError, match="4 sizes and 2 repeats"):
        learning_curve(neighbours, (x, y), (x, y), sizes=(0.5, 1.0))
    with pytest.raises(DataError, match="must grow"):
        learning_curve(neighbours, (x, y), (x, y), sizes=(0.5, 0.2, 0.3, 1.0))
    with pytest.raises(DataError, match="expected 1 to 40"):
        learning_curve(neighbours, (x, y), (x, y), sizes=(0.001, 0.2, 0.3, 1.0))
    with pytest.raises(DataError, match="expected a dataset"):
        learning_curve(neighbours, x, (x, y))
