from __future__ import annotations

import sys
from importlib.resources import files

import numpy as np
import pytest

import edgeml
from edgeml import layers, plots
from edgeml.errors import ConfigError, DataError, MissingExtra

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(40, 6), (5, 30), (7, 3, 4)])
def test_pca_is_scikit_learns(shape):
    sklearn = pytest.importorskip("sklearn.decomposition", reason="scikit-learn is not installed")
    x = RNG.normal(size=shape)
    found = plots.embedding(x)
    judge = sklearn.PCA(2, svd_solver="full")
    expected = judge.fit_transform(x.reshape(len(x), -1))
    np.testing.assert_allclose(found.points, expected, atol=1e-10)
    np.testing.assert_allclose(found.explained, judge.explained_variance_ratio_)


def test_one_feature_lies_on_a_line_and_no_variance_is_a_point():
    found = plots.embedding(np.arange(5.0)[:, None])
    np.testing.assert_allclose(found.points, [[x, 0.0] for x in (-2, -1, 0, 1, 2)], atol=1e-12)
    assert found.explained == pytest.approx([1, 0])
    assert not plots.embedding(np.ones((4, 3))).points.any()


def test_tsne_keeps_groups_together():
    pytest.importorskip("sklearn.manifold", reason="scikit-learn is not installed")
    groups = np.repeat([0, 1], 15)
    x = RNG.normal(size=(30, 5)) + 30 * groups[:, None]
    found = plots.embedding(x, groups, method="tsne")
    middles = [found.points[groups == g].mean(axis=0) for g in (0, 1)]
    spread = max(found.points[groups == g].std() for g in (0, 1))
    assert np.linalg.norm(middles[0] - middles[1]) > 2 * spread
    assert found.explained == []


def test_what_cannot_be_mapped_is_told(monkeypatch):
    with pytest.raises(DataError, match="at least three examples, received 2"):
        plots.embedding(np.ones((2, 4)))
    with pytest.raises(DataError, match="expected 4 labels"):
        plots.embedding(np.ones((4, 4)), [1])
    with pytest.raises(DataError, match="NaN"):
        plots.embedding(np.full((4, 4), np.nan))
    with pytest.raises(ConfigError, match="'pca' or 'tsne', received 'umap'"):
        plots.embedding(np.ones((4, 4)), method="umap")
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(MissingExtra, match="pip install scikit-learn"):
        plots.embedding(np.ones((4, 4)), method="tsne")


def test_features_are_what_goes_into_the_last_layer(pooled, picture):
    found = plots.features(pooled, np.repeat(picture, 19, axis=0))
    whole = [edgeml.Input((12, 12, 3)), *pooled.layers[:2]]
    expected = edgeml.Sequential(whole).predict(picture)
    np.testing.assert_allclose(found, np.repeat(expected, 19, axis=0), atol=1e-6)
    places = plots.features(pooled, picture, layer="map")  # the mean over the places
    np.testing.assert_allclose(places, expected, atol=1e-6)


def test_features_of_pictures_are_those_of_the_task():
    cv2 = pytest.importorskip("cv2", reason="cv2 is not installed: extra camera")
    path = str(files("edgeml") / "media" / "espresso.jpg")
    expected = edgeml.ImageClassifier()(cv2.imread(path)).features
    found = plots.features("edgeml:efficientnet_lite0_int8.onnx", [path, path])
    assert np.array_equal(found, [expected, expected])


def test_a_model_of_one_layer_has_no_features():
    model = edgeml.Sequential([edgeml.Input((4,)), layers.Dense(2)])
    with pytest.raises(ConfigError, match="choose one with layer"):
        plots.features(model, np.ones((3, 4)))


def test_picture_has_a_colour_and_a_mark_a_class():
    pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
    (axis,) = plots.embedding(RNG.normal(size=(22, 4)), np.arange(22) % 11).plot().axes
    texts = [text.get_text() for text in axis.get_legend().get_texts()]
    assert texts == [str(i) for i in range(11)]  # in the order of numbers
    looks = {(c.get_facecolor().tobytes(), c.get_paths()[0].vertices.tobytes())
             for c in axis.collections}  # fmt: skip
    assert len(looks) == 11
    assert "of variance" in axis.get_xlabel()
    (axis,) = plots.embedding(RNG.normal(size=(5, 4))).plot().axes
    assert axis.get_legend() is None
