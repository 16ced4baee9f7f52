"""Metrics against plain NumPy and scikit-learn, by name, and with bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from edgeml import metrics
from edgeml.errors import ConfigError, DataError, NonFinite, ShapeError


def stream(metric, y, p, w=None, parts=4):
    """Return the result after the data came in parts."""
    for part in np.array_split(np.arange(len(y)), parts):
        metric.update_state(y[part], p[part], None if w is None else w[part])
    return metric.result()


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture
def classes(rng):
    """Class numbers, probabilities and weights of 200 examples in 5 classes."""
    y = rng.integers(0, 5, 200)
    p = rng.random((200, 5)) + 0.8 * np.eye(5)[y] * rng.random((200, 1))
    return y, (p / p.sum(-1, keepdims=True)).astype(np.float32), rng.random(200)


def test_accuracies_are_scikit_learns(classes):
    y, p, w = classes
    expected = sk.accuracy_score(y, p.argmax(-1), sample_weight=w)
    assert stream(metrics.SparseCategoricalAccuracy(), y, p, w) == pytest.approx(expected)
    assert stream(metrics.CategoricalAccuracy(), np.eye(5)[y], p, w) == pytest.approx(expected)
    assert stream(metrics.Accuracy(), y, p.argmax(-1), w) == pytest.approx(expected)
    expected = sk.top_k_accuracy_score(y, p, k=2, sample_weight=w)
    found = stream(metrics.SparseTopKCategoricalAccuracy(2), y, p, w)
    assert found == pytest.approx(expected)
    assert stream(metrics.TopKCategoricalAccuracy(2), np.eye(5)[y], p, w) == pytest.approx(expected)


@pytest.mark.parametrize("average", [None, "micro", "macro", "weighted"])
def test_f1_is_scikit_learns(classes, average):
    y, p, w = classes
    expected = sk.f1_score(y, p.argmax(-1), average=average, sample_weight=w)
    for targets in (y, y[:, None], np.eye(5)[y]):
        found = stream(metrics.F1Score(average), targets, p, w)
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_f1_of_a_single_output(rng):
    y, p = rng.integers(0, 2, 100), rng.random(100, np.float32)
    expected = sk.f1_score(y, p > 0.3)
    for shape in ((100,), (100, 1)):
        metric = metrics.F1Score("macro", threshold=0.3)
        assert stream(metric, y, p.reshape(shape)) == pytest.approx(expected)


def test_confusion_matrix_is_scikit_learns(classes, rng):
    y, p, w = classes
    for weight in (None, w):
        expected = sk.confusion_matrix(y, p.argmax(-1), sample_weight=weight)
        for targets, outputs in ((y, p), (y[:, None], p), (np.eye(5)[y], p)):
            found = stream(metrics.ConfusionMatrix(), targets, outputs, weight)
            np.testing.assert_allclose(found, expected)
    found = stream(metrics.ConfusionMatrix(5), y, p.argmax(-1))
    assert (found == sk.confusion_matrix(y, p.argmax(-1))).all()
    q = rng.random(200)
    found = stream(metrics.ConfusionMatrix(threshold=0.7), y > 2, q)
    assert (found == sk.confusion_matrix(y > 2, q > 0.7)).all()


def test_precision_and_recall_are_scikit_learns(rng):
    y, p, w = rng.integers(0, 2, 300), rng.random(300, np.float32), rng.random(300)
    for limit in (0.2, 0.5, 0.9):
        chosen = p > limit
        expected = sk.precision_score(y, chosen, sample_weight=w)
        assert stream(metrics.Precision(limit), y, p[:, None], w) == pytest.approx(expected)
        expected = sk.recall_score(y, chosen, sample_weight=w)
        assert stream(metrics.Recall(limit), y, p, w) == pytest.approx(expected)
    limits = [0.9, 0.5, 0.1]  # in any order
    found = stream(metrics.Recall(limits), y, p)
    np.testing.assert_allclose(found, [sk.recall_score(y, p > limit) for limit in limits])


def test_area_under_the_curves_is_near_the_exact_one(rng):
    y = rng.integers(0, 2, 2000)
    p = np.clip(0.5 + 0.25 * (y - 0.5) + rng.normal(0, 0.2, 2000), 0, 1).astype(np.float32)
    w = rng.random(2000)
    exact = sk.roc_auc_score(y, p, sample_weight=w)
    assert stream(metrics.AUC(), y, p, w) == pytest.approx(exact, abs=1e-3)
    assert stream(metrics.AUC(5000), y, p, w) == pytest.approx(exact, abs=2e-5)
    exact = sk.average_precision_score(y, p, sample_weight=w)
    assert stream(metrics.AUC(5000, "PR"), y, p, w) == pytest.approx(exact, abs=2e-3)
    below = stream(metrics.AUC(20, summation_method="minoring"), y, p)
    above = stream(metrics.AUC(20, summation_method="majoring"), y, p)
    assert below < sk.roc_auc_score(y, p) < above


def test_area_of_logits_and_its_warning(rng, caplog):
    y, p = rng.integers(0, 2, 200), rng.normal(0, 2, 200).astype(np.float32)
    found = stream(metrics.AUC(from_logits=True), y, p)
    assert found == pytest.approx(sk.roc_auc_score(y, p), abs=2e-2)
    assert not caplog.messages
    stream(metrics.AUC(), y, p)
    assert [m for m in caplog.messages if "from_logits=True" in m] == caplog.messages[:1]
    assert len(caplog.messages) == 1


def test_numbers_are_scikit_learns(rng):
    y = rng.normal(2, 1, (150, 3))
    p, w = y + rng.normal(0, 0.3, y.shape), rng.random(150)
    for metric, exact in [
        (metrics.MeanSquaredError(), sk.mean_squared_error),
        (metrics.MeanAbsoluteError(), sk.mean_absolute_error),
        (metrics.R2Score(), sk.r2_score),
    ]:
        assert stream(metric, y, p, w) == pytest.approx(exact(y, p, sample_weight=w))
    expected = np.sqrt(sk.mean_squared_error(y, p))
    assert stream(metrics.RootMeanSquaredError(), y, p) == pytest.approx(expected)
    expected = 100 * sk.mean_absolute_percentage_error(y, p)
    assert stream(metrics.MeanAbsolutePercentageError(), y, p) == pytest.approx(expected)
    expected = sk.pairwise.cosine_similarity(y, p).diagonal().mean()
    assert stream(metrics.CosineSimilarity(), y, p) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("aggregation", "theirs"),
    [(None, "raw_values"), ("uniform_average",) * 2,
     ("variance_weighted_average", "variance_weighted")],
)  # fmt: skip
def test_r2_of_several_targets(rng, aggregation, theirs):
    y = rng.normal(0, [1, 10], (80, 2))
    p = y + rng.normal(0, 1, y.shape)
    found = stream(metrics.R2Score(aggregation), y, p)
    np.testing.assert_allclose(found, sk.r2_score(y, p, multioutput=theirs))


def test_r2_keeps_its_digits_far_from_zero(rng):
    y = 1e7 + rng.normal(0, 1, 400)
    p = y + rng.normal(0, 0.5, 400)
    assert stream(metrics.R2Score(), y, p) == pytest.approx(sk.r2_score(y, p), rel=1e-6)


def test_r2_of_targets_that_do_not_vary():
    assert metrics.R2Score()([2.0, 2.0], [2.0, 2.0]) == 1.0
    assert metrics.R2Score()([2.0, 2.0], [2.0, 3.0]) == 0.0


def test_cross_entropies_are_scikit_learns(classes, rng):
    y, p, w = classes
    expected = sk.log_loss(y, p, sample_weight=w)
    for metric, targets in (
        (metrics.SparseCategoricalCrossentropy(), y),
        (metrics.CategoricalCrossentropy(), np.eye(5)[y]),
    ):
        assert stream(metric, targets, p, w) == pytest.approx(expected, rel=1e-5)
    q = rng.random(200)
    found = stream(metrics.BinaryCrossentropy(), y > 2, q)
    assert found == pytest.approx(sk.log_loss(y > 2, q))


def test_logits_do_not_overflow():
    metric = metrics.BinaryCrossentropy(from_logits=True)
    assert metric([1.0, 0.0], np.array([1000.0, 1000.0], np.float32)) == pytest.approx(500.0)
    metric = metrics.SparseCategoricalCrossentropy(from_logits=True)
    assert metric([1], np.array([[0.0, 1e4]], np.float32)) == pytest.approx(0.0)


def test_integers_do_not_wrap_around():
    y, p = np.array([250, 3], np.uint8), np.array([3, 250], np.uint8)
    assert metrics.MeanAbsoluteError()(y, p) == 247


ALL = [name for name in metrics.__all__ if name[0].isupper()]
PLAIN = [name for name in ALL if name not in ("Metric", "MeanMetricWrapper")]
NEEDED = {
    "IoU": (2, [0, 1]), "MeanIoU": (2,), "OneHotIoU": (2, [1]), "OneHotMeanIoU": (2,),
    "PrecisionAtRecall": (0.5,), "RecallAtPrecision": (0.5,), "SensitivityAtSpecificity": (0.5,),
    "SpecificityAtSensitivity": (0.5,),
}  # fmt: skip
SPELLED = {"AUC": "auc", "KLDivergence": "klDivergence"}


def made(kind, **options):
    return getattr(metrics, kind)(*NEEDED.get(kind, ()), **options)


@pytest.mark.parametrize("name", PLAIN)
def test_each_has_a_name_and_is_made_again_from_its_config(name):
    one = made(name)
    again = type(one).from_config(one.get_config())
    assert again.get_config() == one.get_config()
    assert repr(again) == repr(one)
    assert metrics.get(one) is one
    config = {"class_name": name, "config": one.get_config()}
    assert repr(metrics.get(config)) == repr(one)
    if name in NEEDED:
        with pytest.raises(ConfigError, match=f"edgeml.metrics.{name}"):
            metrics.get(name)
    else:
        assert type(metrics.get(name)) is type(one)
        camel = SPELLED.get(name, name[0].lower() + name[1:])
        assert type(metrics.get(camel)) is type(one)
        assert type(metrics.get(type(one))) is type(one)
    again = made(name, name="mine")
    assert (again.name, again.get_config()["name"]) == ("mine", "mine")


@pytest.mark.parametrize("name", PLAIN)
def test_nothing_counted_is_zero_also_after_a_reset(name, rng):
    metric = made(name)
    empty = metric.result()
    assert not np.any(empty)
    if name in ("Mean", "Sum"):
        metric.update_state(rng.random(6))
    else:
        y = rng.integers(0, 2, (6, 2)) if "Sparse" not in name else rng.integers(0, 2, 6)
        p = rng.integers(0, 2, (6, 2)) if name in ("IoU", "MeanIoU") else rng.random((6, 2))
        metric.update_state(y, p)
    metric.reset_state()
    assert not np.any(metric.result())


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [("mse", "MeanSquaredError"), ("MSE", "MeanSquaredError"), ("mae", "MeanAbsoluteError"),
     ("MAE", "MeanAbsoluteError"), ("mape", "MeanAbsolutePercentageError"), ("acc", "Accuracy"),
     ("rmse", "RootMeanSquaredError"), ("bce", "BinaryCrossentropy"), ("auc", "AUC"),
     ("r2Score", "R2Score"), ("cosineProximity", "CosineSimilarity"), ("f1", "F1Score"),
     ("sparseCategoricalAccuracy", "SparseCategoricalAccuracy")],
)  # fmt: skip
def test_spellings(spelling, expected):
    assert type(metrics.get(spelling)).__name__ == expected


@pytest.mark.parametrize(
    ("loss", "y", "p", "expected"),
    [("binaryCrossentropy", (8, 5), (8, 5), "BinaryAccuracy"),
     ("", (8,), (8,), "BinaryAccuracy"),
     ("sparse_categorical_crossentropy", (8,), (8, 5), "SparseCategoricalAccuracy"),
     ("categoricalCrossentropy", (8, 5), (8, 5), "CategoricalAccuracy")],
)  # fmt: skip
def test_accuracy_by_loss_and_shapes(loss, y, p, expected):
    assert type(metrics.resolve_accuracy(loss, y, p)).__name__ == expected
    entropy = metrics.resolve_accuracy(loss, y, p, name="ce")
    assert type(entropy).__name__ == expected.replace("Accuracy", "Crossentropy")
    assert entropy.name == "ce"


def test_a_function_and_a_class_of_the_user():
    def far(y_true, y_pred):
        return np.abs(y_true - y_pred) > 1

    metric = metrics.get(far)
    assert metric.name == "far"
    assert metric([0.0, 0.0], [2.0, 0.0]) == 0.5
    assert metric([0.0], [2.0], sample_weight=[2.0]) == 0.75

    class Largest(metrics.Metric):
        def __init__(self, start, name="largest"):
            super().__init__(name=name)
            self.start = start
            self.reset_state()

        def reset_state(self):
            self.value = self.start

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.value = max(self.value, np.max(y_pred))

        def result(self):
            return self.value

    assert metrics.get(Largest(3.0))([0], [4.0]) == 4.0


def test_one_number_for_a_batch():
    metric = metrics.get(lambda y, p: np.mean(np.abs(y - p)))
    metric.update_state([0.0, 0.0], [1.0, 3.0])
    metric.update_state([0.0, 0.0], [4.0, 4.0])
    assert metric.result() == 3.0
    with pytest.raises(ShapeError, match="a value for each example"):
        metric.update_state([0.0, 0.0], [4.0, 4.0], sample_weight=[1.0, 2.0])


P = np.full((4, 3), 1 / 3, np.float32)


@pytest.mark.parametrize(
    ("metric", "y", "p", "w", "error", "message"),
    [
        (metrics.MeanSquaredError(), np.zeros((4, 2)), P, None, ShapeError, r"\(4, 2\).*\(4, 3\)"),
        (metrics.MeanSquaredError(), np.zeros(4), P, None, ShapeError, "mean_squared_error"),
        (metrics.CategoricalAccuracy(), [0, 1, 2, 0], P, None, ShapeError, "same shape"),
        (metrics.SparseCategoricalAccuracy(), P, P, None, ShapeError, "one-hot"),
        (metrics.SparseTopKCategoricalAccuracy(), [0, 1, 2, 3], P, None, DataError, "found 3"),
        (metrics.SparseCategoricalCrossentropy(), [0, 1, -1, 0], P, None, DataError, "found -1"),
        (metrics.ConfusionMatrix(2), [0, 1, 2, 0], P, None, DataError, "0 to 1; found 2"),
        (metrics.ConfusionMatrix(), [0, 1], [0, 1], None, DataError, "num_classes"),
        (metrics.F1Score(), [0, 1, 3, 0], P, None, DataError, "found 3"),
        (metrics.MeanIoU(3), [0, 1, 3, 0], [0, 1, 2, 0], None, DataError, "found 3"),
        (metrics.IoU(3, [0]), [0, 1, 2, 0], [0, 1, -1, 0], None, DataError, "found -1"),
        (metrics.BinaryIoU(), [0, 1], [0.5, np.nan], None, NonFinite, "NaN"),
        (metrics.PrecisionAtRecall(0.5), P, P * np.nan, None, NonFinite, "NaN"),
        (metrics.MeanAbsoluteError(), P, P, np.ones(3), ShapeError, "sample weights"),
        (metrics.AUC(), P, P, np.ones(5), ShapeError, "sample weights"),
        (metrics.AUC(), P, P * np.nan, None, NonFinite, "NaN"),
        (metrics.Precision(), P, P * np.nan, None, NonFinite, "precision: the outputs hold NaN"),
        (metrics.Recall(class_id=3), P, P, None, ConfigError, "class_id=3"),
        (metrics.TopKCategoricalAccuracy(0), P, P, None, ConfigError, "at least 1"),
    ],
)  # fmt: skip
def test_bad_data(metric, y, p, w, error, message):
    with pytest.raises(error, match=message):
        metric.update_state(y, p, w)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: metrics.get("accurracy"), "did you mean accuracy"),
        (lambda: metrics.get(3), "there is no metric 3"),
        (lambda: metrics.Precision(1.5), "from 0 to 1"),
        (lambda: metrics.Recall([0.5, -1]), "from 0 to 1"),
        (lambda: metrics.AUC(1), "at least 2"),
        (lambda: metrics.IoU(2, [2]), "target_class_ids: expected 0 to 1"),
        (lambda: metrics.PrecisionAtRecall(1.5), "recall: expected 0 to 1"),
        (lambda: metrics.RecallAtPrecision(0.5, 0), "num_thresholds: expected at least 1"),
        (lambda: metrics.FBetaScore(beta=0.0), "beta: expected above 0"),
        (lambda: metrics.AUC(curve="RUC"), "'ROC' or 'PR'"),
        (lambda: metrics.AUC(summation_method="mean"), "minoring"),
        (lambda: metrics.AUC(thresholds=[2.0]), "from 0 to 1"),
        (lambda: metrics.F1Score("mean"), "micro"),
        (lambda: metrics.F1Score(threshold=2.0), "at most 1"),
        (lambda: metrics.R2Score("mean"), "uniform_average"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make()
    assert isinstance(caught.value, ValueError)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_parts_do_not_matter(sizes, seed):
    """Whatever the batches, the result is that of all data at once."""
    rng = np.random.default_rng(seed)
    total = sum(sizes)
    y, p, w = rng.integers(0, 2, (total, 3)), rng.random((total, 3)), rng.random(total)
    for name in ("AUC", "Precision", "F1Score", "MeanSquaredError", "R2Score", "BinaryAccuracy"):
        parts, whole = getattr(metrics, name)(), getattr(metrics, name)()
        start = 0
        for size in sizes:
            here = slice(start, start + size)
            parts.update_state(y[here], p[here], w[here])
            start += size
        np.testing.assert_allclose(parts.result(), whole(y, p, w), rtol=1e-7, atol=1e-9)


def test_classes_of_regions_may_be_in_any_axis(rng):
    """Keras takes the axis for that of the classes' mean, too, which then fails."""
    y, p = np.eye(4)[rng.integers(0, 4, (3, 5))], rng.random((3, 5, 4))
    first = metrics.OneHotMeanIoU(4, axis=1)(y.swapaxes(1, 2), p.swapaxes(1, 2))
    assert first == metrics.OneHotMeanIoU(4)(y, p)
