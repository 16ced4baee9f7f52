"""Evaluation of models on real data, by slice, against common sense; and of bad input."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits, load_wine
from sklearn.linear_model import LogisticRegression, Ridge

import edgeml
from edgeml.data import Dataset
from edgeml.errors import ConfigError, DataError, OutputError
from edgeml.evaluation import Measure, compare, paired_difference
from edgeml.layers import Dense


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(np.float32), y


@pytest.fixture(scope="module")
def classifier(digits):
    x, y = digits
    return LogisticRegression(C=0.01, max_iter=200).fit(x[:900], y[:900])


@pytest.fixture(scope="module")
def watch():
    """Mean and spread of each axis in windows of 2 s; the exercise; the person."""
    package = Path(find_spec("seglearn").origin).parent
    data = np.load(package / "data" / "watch_dataset.npy", allow_pickle=True).item()
    rows = [
        (np.r_[values[at : at + 100].mean(0), values[at : at + 100].std(0)], label, person)
        for values, label, person in zip(data["X"], data["y"], data["subject"], strict=True)
        for at in range(0, len(values) - 99, 100)
    ]
    x, y, person = zip(*rows, strict=True)
    return np.array(x), np.array(y), np.array(person)


def test_digits(digits, classifier):
    x, y = digits[0][900:], digits[1][900:]
    report = edgeml.evaluate(
        classifier.predict_proba, x, y,
        slices={"dark": lambda x, y: x.mean(1) > 0.32, "digit": y}, train_y=digits[1][:900],
    )  # fmt: skip
    assert report.kind == "multiclass"
    assert report.metrics["accuracy"].value == pytest.approx(classifier.score(x, y))
    assert report.beats_baseline is True
    assert report.best_baseline.name == "majority class"
    assert [s.name for s in report.slices] == ["dark", *(f"digit={i}" for i in range(10))]
    assert {s.name for s in report.slices if s.worse} >= {"digit=1", "digit=8"}
    assert not next(s for s in report.slices if s.name == "digit=0").worse
    assert report.confusion.sum() == report.count == len(y)
    assert len(report.classes) == len(report.curves) == 10
    text = report.summary()
    assert "the model beats the baseline (majority class)" in text
    assert "WORSE" in text
    assert json.loads(report.to_json())["metrics"]["accuracy"]["method"] == "wilson"


def test_groups_make_intervals_for_new_people(watch):
    x, y, person = watch
    known = person % 2 == 0
    scale = x[known].std(0)
    model = LogisticRegression(max_iter=300).fit(x[known] / scale, y[known])
    test = x[~known] / scale, y[~known]
    alone = edgeml.evaluate(model.predict_proba, *test)
    grouped = edgeml.evaluate(model.predict_proba, *test, groups=person[~known])
    assert grouped.groups == len(set(person[~known]))
    assert grouped.metrics["accuracy"].method == "clustered wilson"
    assert grouped.metrics["log_loss"].method == "clustered bootstrap"

    def width(report, name):
        return report.metrics[name].high - report.metrics[name].low

    for name in ("accuracy", "macro_f1", "log_loss"):
        assert width(grouped, name) > width(alone, name)
    data = Dataset.from_arrays(*test, sources=person[~known])
    own = edgeml.evaluate(model.predict_proba, data)
    assert own.metrics["accuracy"] == grouped.metrics["accuracy"]
    assert any("sources are taken as groups" in note for note in own.notes)
    assert edgeml.evaluate(model.predict_proba, data, groups=False).groups is None


def test_a_model_that_knows_nothing_is_told_so():
    _, y = load_wine(return_X_y=True)
    rng = np.random.default_rng(0)
    guesses = rng.dirichlet(np.ones(3) * 5, len(y))
    report = edgeml.evaluate(guesses, y=y)
    assert report.beats_baseline is False
    assert "THE MODEL DOES NOT BEAT THE BASELINE" in report.summary()
    worse = edgeml.evaluate(np.zeros(len(y), int) + 2, y=y)
    assert "THE MODEL IS WORSE THAN THE BASELINE" in worse.verdict


def test_regression_against_mean_and_median():
    x, y = load_diabetes(return_X_y=True)
    model = Ridge(0.1).fit(x[:300], y[:300])
    report = edgeml.evaluate(model.predict, x[300:], y[300:], metric="rmse", train_y=y[:300])
    assert {b.name for b in report.baselines} == {"mean", "median"}
    assert report.metric == "rmse"
    assert report.beats_baseline is True
    assert report.metrics["r2"].value == pytest.approx(model.score(x[300:], y[300:]))


def test_forecast_against_the_last_value():
    rng = np.random.default_rng(0)
    series = np.cumsum(rng.normal(size=600))  # a random walk: nothing beats its last value
    windows = np.lib.stride_tricks.sliding_window_view(series, 26)
    history, y = windows[:, :24], windows[:, 24:]
    drift = edgeml.evaluate(lambda h: 1.1 * h[:, [-1, -1]], history, y, kind="forecast")
    assert drift.beats_baseline is False
    assert drift.metrics["relative_mae"].value > 1
    wave = np.sin(np.arange(600) * np.pi / 12) + rng.normal(size=600) * 0.1
    windows = np.lib.stride_tricks.sliding_window_view(wave, 26)
    history, y = windows[:, :24], windows[:, 24:]
    report = edgeml.evaluate(history[:, :2], y=y, history=history, season=24)
    last, season = report.baselines
    assert (last.name, season.name) == ("last value", "value 24 steps before")
    assert last.difference.verdict == "better"
    assert season.difference.gain.value == 0
    with pytest.raises(ConfigError, match="season"):
        edgeml.evaluate(history[:, :2], y=y, history=history, season=25)
    with pytest.raises(DataError, match="history="):
        edgeml.evaluate(history[:, :2], y=y, history=history[:9])


def test_binary_and_several_labels():
    rng = np.random.default_rng(0)
    y = (rng.random(500) < 0.1).astype(int)
    logits = rng.normal(size=500) + 3 * y - 3
    report = edgeml.evaluate(logits, y=y, metric="auc")
    assert report.kind == "binary"
    assert any("taken as logits" in note for note in report.notes)
    assert report.beats_baseline
    assert report.best_baseline.metrics["auc"].value == 0.5
    as_two = np.stack([np.zeros(500), logits], 1)
    assert edgeml.evaluate(as_two, y=y).metrics["auc"].value == report.metrics["auc"].value
    labels = rng.integers(0, 2, (200, 3))
    several = edgeml.evaluate(np.clip(labels + rng.normal(size=(200, 3)) * 0.4, 0, 1), y=labels,
                              labels=["a", "b", "c"])  # fmt: skip
    assert several.kind == "multilabel"
    assert several.confusion.shape == (3, 2, 2)
    assert several.beats_baseline


def test_every_kind_of_model_gives_the_same(tmp_path, digits):
    x, y = digits
    model = edgeml.Sequential([edgeml.Input((64,)), Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x[:900], y[:900], epochs=3, verbose=0)
    x, y = x[900:1100], y[900:1100]
    expected = edgeml.evaluate(model, x, y).metrics
    model.save(tmp_path / "m.onnx")
    data = Dataset.from_arrays(x, y)
    with edgeml.load(tmp_path / "m.onnx") as session:
        for other in (
            edgeml.evaluate(session, (x, y)),
            edgeml.evaluate(tmp_path / "m.onnx", data),
            edgeml.evaluate(model, data.batch(32)),
            edgeml.evaluate(model.predict, x, y, batch_size=33),
            edgeml.evaluate(model.predict(x), y=y),
            edgeml.evaluate(model, x, np.eye(10)[y]),
        ):
            assert other.metrics["accuracy"] == expected["accuracy"]
            assert other.metrics["log_loss"].value == pytest.approx(
                expected["log_loss"].value, rel=1e-5
            )


def test_positions_of_an_example_are_drawn_together():
    rng = np.random.default_rng(0)
    y = np.repeat(rng.integers(0, 3, 40), 50).reshape(40, 50)
    p = np.eye(3)[np.where(rng.random((40, 1)) < 0.7, y, 0)]
    report = edgeml.evaluate(p, y=y)
    assert report.count == 40
    assert report.metrics["accuracy"].method == "clustered wilson"
    assert report.metrics["accuracy"].high - report.metrics["accuracy"].low > 0.1


def test_compare_of_two_models(digits, classifier):
    x, y = digits[0][900:], digits[1][900:]
    weaker = LogisticRegression(C=0.0005, max_iter=200).fit(digits[0][:900], digits[1][:900])
    found = compare(classifier.predict_proba, weaker.predict_proba, x, y)
    assert found.verdict == "better"
    assert not compare(weaker.predict, classifier.predict, x, y).not_worse_by(0.01)
    same = paired_difference(
        classifier.predict_proba(x), weaker.predict_proba(x), y, groups=np.arange(len(y)) // 9
    )
    assert same.gain.value == found.gain.value
    shuffled = Dataset.from_arrays(x, y).shuffle(seed=0)
    with pytest.raises(DataError, match="must not shuffle"):
        compare(classifier.predict_proba, weaker.predict_proba, shuffled)


def test_metrics_of_ones_own_and_of_keras(digits, classifier):
    x, y = digits[0][900:], digits[1][900:]
    top = edgeml.metrics.SparseTopKCategoricalAccuracy(3)
    report = edgeml.evaluate(classifier.predict_proba, x, y, metric=top, resamples=100)
    assert report.metrics["accuracy"].value < report.metrics[report.metric].value < 1
    with pytest.raises(ConfigError, match=r"no metric 'acuracy'.* there are accuracy"):
        edgeml.evaluate(classifier.predict_proba, x, y, metric="acuracy")
    with pytest.raises(ConfigError, match="which values are better"):
        edgeml.evaluate(classifier.predict_proba, x, y, metric=lambda y, p: 0.0)
    with pytest.raises(ConfigError, match="better"):
        Measure("m", lambda y, p: 0.0, "higher")
    with pytest.raises(DataError, match="log_loss needs scores"):
        edgeml.evaluate(classifier.predict, x, y, metric="log_loss")


Y = np.arange(30) % 3
P = np.eye(3)[Y]


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"model": P[:20], "y": Y}, DataError, "30 targets and 20 predictions"),
        ({"model": lambda x: P[:5], "data": np.zeros(30), "y": Y}, DataError, "5 predictions for"),
        ({"model": P + np.nan, "y": Y}, OutputError, "nan in 30 of 30 examples"),
        ({"model": P, "y": Y + 0.5, "kind": "multiclass"}, DataError, "0.5 is none"),
        ({"model": P, "y": np.where(Y == 2, 7, Y)}, DataError, "0 to 2; the targets hold 7"),
        ({"model": P, "y": -Y}, DataError, "the targets hold -2"),
        ({"model": P, "y": Y, "kind": "guess"}, ConfigError, "kind: expected one of binary"),
        ({"model": P, "y": Y, "labels": ["a", "b"]}, DataError, "3 classes and 2 labels"),
        ({"model": P, "y": Y, "groups": [1, 2]}, DataError, "one for each of the 30"),
        ({"model": P, "y": Y, "slices": {"no": np.zeros(30, bool)}}, DataError, "'no' is empty"),
        ({"model": P, "y": Y, "slices": {"short": [True]}}, DataError, "one value for each"),
        ({"model": P[:0], "y": Y[:0]}, DataError, "no examples"),
        ({"model": 3, "data": (Y, Y)}, ConfigError, "expected a Model"),
        ({"model": P, "y": np.zeros((30, 5))}, DataError, "no kind of problem"),
        ({"model": P, "data": np.zeros(30)}, DataError, "without targets"),
        ({"model": lambda x: [x, x], "data": (Y, Y)}, edgeml.errors.ModelError, "say which"),
        ({"model": lambda x: x, "data": (Y[:4], Y)}, DataError, "30 targets and 4 inputs"),
        ({"model": np.array(["a"] * 30), "y": Y}, DataError, "need labels="),
        ({"model": P, "y": Y, "validation": (Y, Y), "kind": "regression"}, DataError, "be equal"),
        ({"model": P, "y": Y, "batch_size": 0}, ConfigError, "batch_size"),
    ],
)  # fmt: skip
def test_bad_input(arguments, error, match):
    with pytest.raises(error, match=match):
        edgeml.evaluate(**arguments)


def test_names_of_classes_as_targets():
    names = ["cat", "dog", "cow"]
    y = np.array([names[i] for i in Y])
    report = edgeml.evaluate(y, y=y, labels=names, kind="multiclass")
    assert report.metrics["accuracy"].value == 1
    assert report.labels == ("cat", "dog", "cow")


def test_one_class_and_few_examples_are_told():
    report = edgeml.evaluate(np.full(4, 0.2), y=np.zeros(4, int))
    assert report.metrics["auc"].note == "not defined on these examples"
    assert str(report.metrics["auc"]) == "undefined"
    assert any("all examples are of class 0" in note for note in report.notes)
    assert report.beats_baseline is None
    assert "cannot be said" in report.summary()
    assert json.loads(report.to_json())["metrics"]["auc"]["value"] is None


def test_a_report_in_colours():
    rich = pytest.importorskip("rich", reason="what shows colours")
    from rich.console import Console

    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(edgeml.evaluate(P, y=Y))
    assert rich
    assert "balanced_accuracy" in console.export_text()
