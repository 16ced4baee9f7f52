"""Confusion, accuracy by class, ROC, precision and recall, calibration."""

from __future__ import annotations

import numpy as np
import pytest

from edgeml import plots
from edgeml.errors import DataError

RNG = np.random.default_rng(0)
TRUE = RNG.integers(0, 4, 300)
SCORES = RNG.dirichlet(np.ones(4), 300) + 0.4 * np.eye(4)[TRUE]
SCORES /= SCORES.sum(axis=1, keepdims=True)
NAMES = ["ant", "bee", "cat", "dog"]


def sklearn_metrics():
    return pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")


def test_counts_and_shares_are_scikit_learns():
    judge = sklearn_metrics()
    found = plots.confusion_matrix(TRUE, SCORES, NAMES)
    predicted = SCORES.argmax(axis=1)
    assert np.array_equal(found.counts, judge.confusion_matrix(TRUE, predicted))
    expected = judge.confusion_matrix(TRUE, predicted, normalize="true")
    np.testing.assert_allclose(found.shares, expected)
    assert found.accuracy == pytest.approx(judge.accuracy_score(TRUE, predicted))
    recall = judge.recall_score(TRUE, predicted, average=None)
    np.testing.assert_allclose(list(found.per_class.values()), recall)
    np.testing.assert_allclose(plots.class_accuracy(TRUE, SCORES).accuracy, recall)


def test_classes_may_be_names_one_hot_and_probabilities():
    by_number = plots.confusion_matrix([0, 1, 1], [0, 1, 0])
    assert np.array_equal(
        by_number.counts, plots.confusion_matrix(np.eye(2)[[0, 1, 1]], [0.1, 0.9, 0.5]).counts
    )
    by_name = plots.confusion_matrix(["no", "yes", "yes"], ["no", "yes", "no"])
    assert by_name.labels == ["no", "yes"]
    assert np.array_equal(by_number.counts, by_name.counts)
    assert np.array_equal(
        by_number.counts, plots.confusion_matrix([0.0, 1, 1], [[0], [1], [0]]).counts
    )


def test_mistakes_are_in_the_order_of_their_number():
    found = plots.confusion_matrix([0, 0, 0, 1, 1, 2], [1, 1, 2, 0, 1, 2], ["a", "b", "c"])
    assert found.mistakes() == [("a", "b", 2), ("a", "c", 1), ("b", "a", 1)]


def test_a_class_without_examples_has_no_share():
    found = plots.confusion_matrix([0, 0, 2], [0, 1, 2])
    assert np.isnan(found.shares[1]).all()
    assert found.to_dict()["per_class"]["1"] is None
    assert plots.class_accuracy([0, 0, 2], [0, 1, 2]).examples.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("true", "predicted", "labels", "said"),
    [
        ([], [], None, "at least one; received 0 and 0"),
        ([0, 1], [0], None, "received 2 and 1"),
        ([0, 5], [0, 1], ["a", "b"], "class 5 has no label: there are 2"),
        (["a"], ["z"], ["a", "b"], "class z has no label"),
    ],
)
def test_what_does_not_fit_is_told(true, predicted, labels, said):
    with pytest.raises(DataError, match=said):
        plots.confusion_matrix(true, predicted, labels)


@pytest.mark.parametrize("normalize", [False, True])
def test_cells_show_what_was_asked_for(normalize):
    pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
    found = plots.confusion_matrix([0, 0, 0, 1], [0, 0, 1, 1], ["a", "b"], normalize=normalize)
    axis = found.plot().axes[0]
    cells = {text.get_position(): text.get_text() for text in axis.texts}
    expected = ("67%", "33%", "100%") if normalize else ("2", "1", "1")
    assert cells == dict(zip([(0, 0), (1, 0), (1, 1)], expected, strict=True))
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["a", "b"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("predicted", "true")
    assert axis.get_title() == "accuracy 75% of 4"


@pytest.mark.parametrize("count", [30, 200])
def test_many_classes_have_no_numbers_but_a_list_of_mistakes(count):
    pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
    true = np.arange(count)
    figure = plots.confusion_matrix(true, np.where(true == 3, 7, true)).plot()
    matrix, listed = figure.axes[:2]
    assert not matrix.texts
    assert [text.get_text() for text in listed.texts] == ["1", "3 → 7"]
    assert len(matrix.get_xticks()) <= 60


def test_the_worst_class_stands_first():
    pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
    (axis,) = plots.class_accuracy([0, 0, 1, 1], [0, 0, 1, 0], ["a", "b"]).plot().axes
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["b", "a"]
    assert [bar.get_width() for bar in axis.patches] == [0.5, 1.0]
    assert [text.get_text() for text in axis.texts] == ["50% of 2", "100% of 2"]


def test_roc_and_precision_recall_are_scikit_learns():
    judge = sklearn_metrics()
    roc, pr = plots.roc(TRUE, SCORES, NAMES), plots.precision_recall(TRUE, SCORES, NAMES)
    assert roc.labels == NAMES
    for i in range(4):
        own = np.equal(TRUE, i)
        fpr, tpr, _ = judge.roc_curve(own, SCORES[:, i], drop_intermediate=False)
        np.testing.assert_allclose(roc.x[i], fpr)
        np.testing.assert_allclose(roc.y[i], tpr)
        assert roc.area[i] == pytest.approx(judge.roc_auc_score(own, SCORES[:, i]))
        assert pr.area[i] == pytest.approx(judge.average_precision_score(own, SCORES[:, i]))
        assert pr.share[i] == pytest.approx(own.mean())


def test_one_column_of_scores_is_the_second_class():
    found = plots.roc(["bad", "good", "bad", "good"], [0.1, 0.9, 0.2, 0.8])
    assert (found.labels, found.area) == (["good"], [1.0])
    assert found.to_dict()["thresholds"][0][0] is None


@pytest.mark.parametrize(
    ("true", "score", "labels", "said"),
    [
        ([0, 1], [0.1], None, "received"),
        ([0, 0], [0.1, 0.2], None, "all examples are alike"),
        ([0, 1], [0.1, np.nan], None, "NaN"),
        ([0, 1], [0.1, 0.2], ["a"], "expected 2 labels"),
    ],
)
def test_scores_that_do_not_fit_are_told(true, score, labels, said):
    with pytest.raises(DataError, match=said):
        plots.roc(true, score, labels)


def test_pictures_of_scores_name_the_classes_and_their_areas():
    pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
    (axis,) = plots.roc(TRUE, SCORES, NAMES).plot().axes
    assert len(axis.lines) == 5  # and chance
    assert axis.get_xlabel() == "false positive rate"
    texts = [text.get_text() for text in axis.get_legend().get_texts()]
    assert [text.split()[0] for text in texts] == NAMES
    (axis,) = plots.precision_recall(TRUE == 1, SCORES[:, 1]).plot().axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("recall", "precision")


def test_more_curves_than_fit_are_the_worst_and_it_says_so():
    pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
    true = np.arange(60) % 30
    scores = np.eye(30)[true] + np.random.default_rng(0).random((60, 30))
    (axis,) = plots.roc(true, scores).plot().axes
    assert len(axis.lines) == 21
    assert "20 worst; 10 more" in axis.get_legend().get_title().get_text()


def test_calibration_error_and_bins():
    true, sure = np.array([1, 0, 1, 1, 0, 0]), np.array([0.9, 0.9, 0.9, 0.3, 0.3, 0.3])
    found = plots.reliability(true, sure, bins=5)
    assert [b.count for b in found.table.bins] == [3, 3]
    assert [b.accuracy.value for b in found.table.bins] == pytest.approx([1 / 3, 2 / 3])
    assert found.table.ece == pytest.approx(0.5 * (2 / 3 - 0.9) * -1 + 0.5 * (1 / 3 - 0.3))


def test_picture_of_calibration():
    pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
    upper, lower = plots.reliability(TRUE, SCORES).plot().axes
    assert "calibration error" in upper.get_title()
    heights = [bar.get_height() for bar in lower.patches]
    assert sum(heights) == 300
    assert lower.get_xlabel() == "predicted probability"
