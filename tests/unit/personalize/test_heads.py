"""Heads: what they learn, what they turn away, and that their graph says the same."""

import json

import numpy as np
import onnx
import pytest

import edgeml
from edgeml.errors import ConfigError, DataError, ShapeError
from edgeml.graph._execute import open_session
from edgeml.personalize import KNN, UNKNOWN, NearestMean, Softmax, choose
from edgeml.personalize._held_out import folds_of, threshold_of
from edgeml.personalize._join import cut_at, find_features, joined

HEADS = [
    NearestMean(), KNN(), KNN(k=1), Softmax(), Softmax(train="bias"), Softmax(hidden=8, steps=60)
]  # fmt: skip
IDS = ["nearest-mean", "knn", "1nn", "linear", "bias", "mlp"]


def clouds(count, classes=3, size=16, spread=0.3, seed=0):
    """Return features around one axis a class, and labels."""
    rng = np.random.default_rng(seed)
    y = np.arange(count * classes) % classes
    x = np.eye(size)[y] * 3 + rng.normal(0, spread, (len(y), size))
    return x.astype(np.float32), [f"class {i}" for i in y]


@pytest.mark.parametrize("head", HEADS, ids=IDS)
def test_learns_classes_and_its_graph_says_the_same(head):
    x, labels = clouds(6)
    others, truth = clouds(20, seed=1)
    head.fit(x, labels)
    assert head.labels == ("class 0", "class 1", "class 2")
    assert np.mean([a == b for a, b in zip(head.predict(others), truth, strict=True)]) >= 0.85
    assert head.held_out.accuracy >= 0.8
    session = open_session(head.to_onnx(), threads=1)
    (made,) = session.run(None, {"features": others})
    np.testing.assert_allclose(made, head(others), atol=1e-5)
    np.testing.assert_allclose(made.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("head", HEADS, ids=IDS)
def test_turns_away_what_is_like_no_class(head):
    x, labels = clouds(8)
    noise = np.random.default_rng(5).normal(0, 1, (40, 16)).astype(np.float32)
    head.fit(np.concatenate([x, noise]), [*labels, *[UNKNOWN] * 40])
    elsewhere = np.random.default_rng(6).normal(0, 1, (60, 16))
    assert np.mean(np.array(head.predict(elsewhere)) == UNKNOWN) >= 0.8
    assert np.mean(np.array(head.predict(clouds(20, seed=2)[0])) == UNKNOWN) <= 0.3
    assert UNKNOWN not in head.labels


@pytest.mark.parametrize("head", [NearestMean(), Softmax()], ids=["nearest-mean", "linear"])
def test_one_class_and_anything_else(head):
    rng = np.random.default_rng(0)
    word = rng.normal(0, 0.3, (6, 8)) + np.eye(8)[0] * 3
    head.fit(np.concatenate([word, rng.normal(0, 1, (12, 8))]), ["hey"] * 6 + [UNKNOWN] * 12)
    assert head.labels == ("hey",)
    assert head.predict([np.eye(8)[0] * 3, -np.eye(8)[0]]) == ["hey", UNKNOWN]


def test_classes_weigh_the_same_however_many_examples_they_have():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, (90, 4)) + np.eye(4)[0] * 1.5,
                        rng.normal(0, 1, (10, 4)) - np.eye(4)[0] * 1.5])  # fmt: skip
    head = Softmax().fit(x, ["many"] * 90 + ["few"] * 10)
    head.threshold = -1.0  # turn nothing away
    far = rng.normal(0, 1, (200, 4)) - np.eye(4)[0] * 1.5
    assert np.mean(head(far)[:, 1] > head(far)[:, 0]) >= 0.8


def test_weights_decide_within_a_class():
    x = np.array([[1, 0], [0, 1], [-1, -1], [-1, -1]], np.float32)
    head = NearestMean().fit(x, ["a", "a", "b", "b"], weights=[1, 9, 1, 1])
    plain = NearestMean().fit(x, ["a", "a", "b", "b"])
    assert head._space.anchors[0, 1] > plain._space.anchors[0, 1]


def test_the_same_examples_make_the_same_file():
    x, labels = clouds(5)
    files = [Softmax(hidden=4, steps=5).fit(x, labels).to_onnx().SerializeToString()
             for _ in range(2)]  # fmt: skip
    assert files[0] == files[1]


def test_held_out_examples_are_not_learned_from():
    # Labels are noise: what is fitted to them must not seem to be right.
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(48, 32)), rng.permutation(["a", "b"] * 24)
    for head in (NearestMean(), KNN(), Softmax()):
        assert head.fit(x, labels).held_out.accuracy < 0.75


def test_a_single_example_cannot_be_held_out():
    head = NearestMean().fit(np.eye(4)[[0, 0, 1]] + 0.1, ["a", "a", "b"])
    assert head.held_out.predicted[2] is None
    assert np.isnan(head.held_out.similarity[2])
    alone = NearestMean().fit(np.eye(4)[:2], ["a", "b"])
    assert np.isnan(alone.held_out.accuracy)
    assert alone.predict(-np.ones((1, 4)))[0] in ("a", "b")  # nothing to calibrate with


def test_folds_hold_each_example_out_once_and_empty_no_class():
    classes = np.array([0] * 40 + [1] * 30 + [2] + [3] * 2)
    folds = folds_of(classes, 10)
    assert folds[70] == -1
    assert (np.delete(folds, 70) >= 0).all()
    for fold in range(10):
        assert set(classes[folds != fold]) == {0, 1, 2, 3}
    assert len(set(folds_of(np.array([0, 0, 1, 1]), 10))) == 4


def test_threshold_keeps_the_share_that_it_promises():
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        inside = rng.normal(size=60)
        bound = threshold_of(inside, np.ones(60, bool), keep=0.9)
        shares.append((rng.normal(size=200) >= bound).mean())
    assert np.mean(shares) == pytest.approx(0.9, abs=0.015)


def test_threshold_between_known_and_unknown():
    similarity = np.array([0.9, 0.8, 0.7, 0.2, 0.1, 0.0, -0.1, 0.3, np.nan])
    known = np.array([True] * 3 + [False] * 5 + [True])
    assert threshold_of(similarity, known, 0.95) == pytest.approx(0.5)


@pytest.mark.parametrize(("features", "labels", "error", "said"), [
    (np.ones((3, 2)), ["a"] * 3, DataError, "one class only"),
    (np.ones((3, 2)), [UNKNOWN] * 3, DataError, "one class only"),
    (np.ones((3, 2)), ["a", "b"], ShapeError, "3 rows of features and 2 labels"),
    (np.ones(3), ["a"] * 3, ShapeError, r"\(examples, size\)"),
    (np.full((2, 2), np.nan), ["a", "b"], DataError, "NaN"),
])  # fmt: skip
def test_refuses_bad_examples(features, labels, error, said):
    with pytest.raises(error, match=said):
        NearestMean().fit(features, labels)


def test_refuses_features_of_another_backbone_and_use_before_fit():
    head = NearestMean().fit(np.eye(4), list("aabb"))
    with pytest.raises(ShapeError, match="of another backbone"):
        head.predict(np.ones((1, 5)))
    with pytest.raises(DataError, match="call fit first"):
        KNN().predict(np.ones((1, 5)))
    with pytest.raises(DataError, match="call fit first"):
        Softmax().to_onnx()


@pytest.mark.parametrize("make", [
    lambda: KNN(k=0), lambda: Softmax(train="kernel"), lambda: Softmax(hidden=-1),
    lambda: Softmax(hidden=4, train="bias"), lambda: choose("svm", {"a": 1}),
    lambda: NearestMean().fit(np.eye(2), ["a", "b"], keep=0),
])  # fmt: skip
def test_refuses_bad_options(make):
    with pytest.raises(ConfigError):
        make()


def test_auto_chooses_by_the_smallest_class_and_says_why():
    head, why = choose("auto", {"mug": 1, "plate": 30, UNKNOWN: 0})
    assert isinstance(head, NearestMean)
    assert "mug has 1 example," in why
    head, why = choose("auto", {"mug": 5, "plate": 30})
    assert isinstance(head, Softmax)
    assert head.hidden == 0
    assert "mug: 5" in why
    head, _ = choose("auto", {"mug": 100, "plate": 100})
    assert head.hidden
    mine = KNN(k=7)
    chosen, why = choose(mine, {})
    assert chosen.k == 7
    assert chosen is not mine
    assert "as asked" in why
    with pytest.raises(DataError, match="no examples"):
        choose("auto", {UNKNOWN: 4})


@pytest.mark.parametrize("name", ["activity_watch_int8.onnx", "efficientnet_lite0_int8.onnx"])
def test_backbone_and_head_in_one_file(name, tmp_path):
    model = f"edgeml:{name}"
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(4, 100, 6)) * 5).astype(np.float32)
    if "lite0" in name:
        x = rng.integers(0, 255, (4, 3, 224, 224)).astype(np.uint8)
    features = find_features(model, None)
    made = open_session(cut_at(model, features), threads=1).run(None, {"input": x})[0]
    head = NearestMean().fit(made, ["a", "b", "a", "b"])
    file = tmp_path / "personal.onnx"
    onnx.save(joined(model, features, head.to_onnx(), {"edgeml.origin": "mine"}), file)
    with edgeml.load(file, threads=1) as session:
        outputs = session.run(x)
        assert session.metadata.labels == ("a", "b", UNKNOWN)
        assert session.metadata.origin == "mine"
        assert session.metadata.task in ("image-classification", "activity-recognition")
    np.testing.assert_allclose(outputs["probabilities"], head(made), atol=1e-5)
    if "lite0" in name:
        frame = rng.integers(0, 255, (50, 60, 3)).astype(np.uint8)
        assert edgeml.ImageClassifier(file)(frame).label in ("a", "b", UNKNOWN)


def test_features_by_name():
    model = "edgeml:efficientnet_lite0_int8.onnx"
    assert find_features(model, "logits") == "logits"
    assert find_features(model, None, "logits") == "logits"
    with pytest.raises(edgeml.errors.ModelError, match="no value 'feature'"):
        find_features(model, "feature")


def test_file_has_its_labels_and_method(tmp_path):
    NearestMean().fit(np.eye(4), list("aabb")).export(tmp_path / "head.onnx")
    assert (tmp_path / "head.onnx").stat().st_mode & 0o077 == 0  # somebody's data
    props = {p.key: p.value for p in onnx.load(tmp_path / "head.onnx").metadata_props}
    assert json.loads(props["edgeml.labels"]) == ["a", "b", UNKNOWN]
    assert json.loads(props["edgeml.personalize"])["method"] == "nearest-mean"
