"""The k-nearest-neighbours classifier."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

import edgeml
from edgeml.errors import ConfigError, DataError, ModelFormatError, ModelNotFound, ShapeError
from edgeml.training import KNNClassifier

X = load_digits().data.astype(np.float32)
Y = load_digits().target


def _taught(metric="cosine", count=600):
    knn = KNNClassifier(metric)
    for label in range(10):
        knn.add_example(X[:count][Y[:count] == label], label)
    return knn


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 3, 8])
def test_the_shares_are_those_of_scikit_learn(metric, k):
    judge = KNeighborsClassifier(k, metric=metric).fit(X[:600], Y[:600])
    knn = _taught(metric)
    found = knn.predict_proba(X[600:900], k)
    expected = judge.predict_proba(X[600:900])
    same = np.isclose(found, expected, atol=1e-6).all(1)  # but for neighbours equally far away
    assert same.mean() > 0.99
    assert (found.argmax(1) == expected.argmax(1)).mean() > 0.98
    one = knn.predict_class(X[700], k)
    assert one.confidences == dict(zip(knn.labels, map(float, found[100]), strict=True))
    assert one.label == knn.labels[one.class_index]
    assert sum(one.confidences.values()) == pytest.approx(1.0, abs=1e-6)


def test_classes_come_and_go():
    knn = KNNClassifier()
    knn.add_example([1.0, 0.0], "a")
    knn.add_example([[0.0, 1.0], [0.1, 1.0]], "b")
    assert (knn.num_classes, knn.class_example_count) == (2, {"a": 1, "b": 2})
    assert knn.predict_class([1.0, 0.0], k=9).confidences == pytest.approx({"a": 1 / 3, "b": 2 / 3})
    assert knn.predict_class([1.0, 0.0], k=2).label == "a"  # a tie goes to the first
    knn.clear_class("a")
    assert knn.predict_class([1.0, 0.0]).confidences == {"b": 1.0}
    knn.clear_all_classes()
    assert knn.num_classes == 0
    knn.add_example(np.ones(7), 5)  # another size: nothing is left of the first
    assert knn.labels == ["5"]


def test_files(tmp_path):
    knn = _taught(count=200)
    knn.save(tmp_path / "examples.npz")
    again = KNNClassifier.load(tmp_path / "examples.npz")
    assert again.class_example_count == knn.class_example_count
    np.testing.assert_array_equal(again.predict_proba(X[300:320]), knn.predict_proba(X[300:320]))
    other = KNNClassifier()
    other.set_classifier_dataset(knn.get_classifier_dataset())
    np.testing.assert_array_equal(other.predict_proba(X[300:320]), knn.predict_proba(X[300:320]))
    with pytest.raises(ModelNotFound):
        KNNClassifier.load(tmp_path / "nothing.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK")
    with pytest.raises(ModelFormatError, match="holds no examples"):
        KNNClassifier.load(tmp_path / "bad.npz")


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_as_a_model(metric, tmp_path):
    knn = _taught(metric, 200)
    knn.save(tmp_path / "knn.onnx")
    with edgeml.load(tmp_path / "knn.onnx") as session:
        found = session.run({"embedding": X[300:340]})["confidences"]
        assert session.metadata.labels == tuple(knn.labels)
    np.testing.assert_allclose(found, knn.predict_proba(X[300:340], 3), atol=1e-6)


def test_bad_input_is_told():
    knn = KNNClassifier()
    with pytest.raises(DataError, match="no examples yet"):
        knn.predict_class([1.0])
    knn.add_example([1.0, 2.0], "a")
    for call, error, says in [
        (lambda: knn.add_example([1.0], "a"), ShapeError, "have 2 values"),
        (lambda: knn.add_example([np.nan, 1.0], "a"), DataError, "NaN"),
        (lambda: knn.add_example([], "a"), ShapeError, "embedding is"),
        (lambda: knn.clear_class("b"), DataError, "no class 'b'; there are a"),
        (lambda: knn.predict_class([1.0, 2.0], k=0), ConfigError, "at least 1"),
        (lambda: KNNClassifier("hamming"), ConfigError, "cosine, euclidean"),
    ]:
        with pytest.raises(error, match=says):
            call()
