"""Models of scikit-learn as ONNX: they answer as scikit-learn does."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import edgeml

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")
skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")

from skl2onnx.common.data_types import FloatTensorType, StringTensorType  # noqa: E402
from sklearn.datasets import load_diabetes, load_iris  # noqa: E402
from sklearn.ensemble import (  # noqa: E402
    GradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.neighbors import KNeighborsClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: E402
from sklearn.svm import SVC, SVR  # noqa: E402
from sklearn.tree import DecisionTreeRegressor  # noqa: E402

X, Y = load_iris(return_X_y=True)
X = X.astype(np.float32)
NAMES = np.array(["setosa", "versicolor", "virginica"])

CLASSIFIERS = {
    "random forest": RandomForestClassifier(20, random_state=0),
    "gradient boosting": GradientBoostingClassifier(n_estimators=10, random_state=0),
    "logistic regression": make_pipeline(StandardScaler(), LogisticRegression()),
    "nearest neighbours": KNeighborsClassifier(3),
    "support vectors": make_pipeline(StandardScaler(), SVC(random_state=0)),
}


def convert(fitted, tmp_path, options=None):
    """Write a fitted estimator as ONNX."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the converter reads what will go
        made = skl2onnx.convert_sklearn(
            fitted,
            initial_types=[("x", FloatTensorType([None, fitted.n_features_in_]))],
            options={id(fitted): options} if options else None,
            target_opset={"": 17, "ai.onnx.ml": 3},
        )
    path = tmp_path / "classical.onnx"
    path.write_bytes(made.SerializeToString())
    return path


@pytest.mark.parametrize("labels", ["numbers", "names"])
@pytest.mark.parametrize("zipmap", [True, False], ids=["ZipMap", "tensor"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(name, zipmap, labels, tmp_path):
    fitted = sklearn.base.clone(CLASSIFIERS[name]).fit(X, Y if labels == "numbers" else NAMES[Y])
    with_scores = hasattr(fitted, "predict_proba")
    path = convert(fitted, tmp_path, {"zipmap": zipmap} if with_scores else None)
    with edgeml.load(path, threads=1) as session:
        label, scores = (spec.name for spec in session.outputs)
        outputs = session.run(X)
    assert outputs[label].tolist() == fitted.predict(X).tolist()
    if not with_scores:
        return
    expected = fitted.predict_proba(X)
    if zipmap:  # one dict a row
        rows = outputs[scores]
        assert set(rows[0]) == set(fitted.classes_.tolist())
        received = np.array([[row[c] for c in fitted.classes_.tolist()] for row in rows])
    else:
        received = outputs[scores]
    np.testing.assert_allclose(received, expected, atol=1e-5)


@pytest.mark.parametrize("zipmap", [True, False], ids=["ZipMap", "tensor"])
def test_support_vectors_with_probabilities(zipmap, tmp_path):
    with warnings.catch_warnings():
        # What replaces it is another model; files of this one are in use.
        warnings.filterwarnings("ignore", "The `probability` parameter", FutureWarning)
        fitted = SVC(probability=True, random_state=0).fit(X, Y)
        expected = fitted.predict_proba(X)
    with edgeml.load(convert(fitted, tmp_path, {"zipmap": zipmap}), threads=1) as session:
        label, scores = (spec.name for spec in session.outputs)
        outputs = session.run(X)
    assert outputs[label].tolist() == fitted.predict(X).tolist()
    received = outputs[scores]
    if zipmap:
        received = np.array([[row[c] for c in range(3)] for row in received])
    np.testing.assert_allclose(received, expected, atol=1e-4)


@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeRegressor(random_state=0),
        RandomForestRegressor(20, random_state=0),
        make_pipeline(StandardScaler(), SVR()),
    ],
    ids=["decision tree", "random forest", "support vectors"],
)
def test_regressors(estimator, tmp_path):
    x, y = load_diabetes(return_X_y=True)
    x = x.astype(np.float32)
    fitted = estimator.fit(x, y)
    with edgeml.load(convert(fitted, tmp_path)) as session:
        (predicted,) = session.run(x).values()
    np.testing.assert_allclose(predicted[:, 0], fitted.predict(x), rtol=1e-4)


def test_anomalies(tmp_path):
    fitted = IsolationForest(n_estimators=20, random_state=0).fit(X)
    with edgeml.load(convert(fitted, tmp_path)) as session:
        outputs = session.run(X)
    assert outputs["label"][:, 0].tolist() == fitted.predict(X).tolist()


def test_features_that_are_words(tmp_path):
    words = np.array([["red"], ["green"], ["blue"]] * 4)
    fitted = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(words, [0, 1, 2] * 4)
    made = skl2onnx.convert_sklearn(
        fitted, initial_types=[("word", StringTensorType([None, 1]))], target_opset=17
    )
    path = tmp_path / "words.onnx"
    path.write_bytes(made.SerializeToString())
    with edgeml.load(path) as session:
        outputs = session.run(words[:3])
    assert outputs["output_label"].tolist() == [0, 1, 2]


def test_buffers_for_some_outputs(tmp_path):
    """`out` takes tensors; what is no tensor is returned as without it."""
    fitted = LogisticRegression().fit(X, Y)
    with edgeml.load(convert(fitted, tmp_path)) as session:
        label, scores = (spec.name for spec in session.outputs)
        buffer = np.zeros(len(X), np.int64)
        outputs = session.run(X, out={label: buffer})
        assert outputs[label] is buffer
        assert buffer.tolist() == fitted.predict(X).tolist()
        assert outputs[scores] == session.run(X)[scores]
        with pytest.raises(edgeml.errors.InputError, match="not a tensor of numbers"):
            session.run(X, out={scores: np.zeros((len(X), 3), np.float32)})
