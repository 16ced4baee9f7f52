"""Metrics: what fits a model, what each counts, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import edgeml
from edgeml.errors import DataError, InputError, OutputError
from edgeml.quantize import set_metadata
from edgeml.quantize._judge import Judge, Scores
from edgeml.quantize._quality import _matched as matched
from edgeml.quantize._quality import divergence, metric_of, outputs_of, relative_error
from edgeml.quantize._samples import Samples, samples_of
from edgeml.quantize._session import open_model

SOME = Samples(3, dict)
LABELLED = Samples(3, dict, labels=[0, 1, 2])
LOGITS = {"y": np.array([[1.0, 5.0, 2.0]], np.float32)}


@pytest.fixture(scope="module")
def plain(net):
    made = net(4)
    return made.model(made.gemm("x", 3, 4))


def named(metric, model, samples, reference):
    return metric_of(metric, model, samples, reference).name


def test_the_metric_that_fits(plain):
    two = {**LOGITS, "extra": np.zeros((1, 2), np.float32)}
    scikit = {"label": np.array([2]), "probabilities": np.eye(3, dtype=np.float32)[:1]}
    assert named(None, plain, LABELLED, LOGITS) == "accuracy"
    assert named(None, plain, SOME, LOGITS) == "agreement"
    assert named(None, plain, SOME, {"y": np.zeros((1, 1), np.float32)}) == "closeness"
    assert named(None, plain, SOME, {"y": np.zeros((1, 3, 8, 8), np.float32)}) == "closeness"
    assert named(None, plain, SOME, two) == "closeness"
    assert named(None, set_metadata(plain, {"task": "image-classification"}), SOME, two) == (
        "agreement"
    )
    assert named(None, plain, SOME, scikit) == "agreement"
    assert named(None, plain, LABELLED, scikit) == "accuracy"


def scored(metric, outputs, reference=None, label=None, samples=LABELLED):
    found = metric_of(metric, None, samples, reference or outputs)
    return found.score(outputs, reference or outputs, label)


def test_accuracy_takes_numbers_one_hot_batches_and_one_probability():
    assert scored("accuracy", LOGITS, label=1) == 1
    assert scored("accuracy", LOGITS, label=np.int64(2)) == 0
    assert scored("accuracy", LOGITS, label=[0, 1, 0]) == 1
    assert scored("accuracy", {"y": np.ones((1, 3, 1, 1), np.float32)}, label=0) == 1
    batch = {"y": np.eye(4, dtype=np.float32)}
    assert scored("accuracy", batch, label=[0, 1, 2, 0]) == 0.75
    one = {"y": np.array([[0.8]], np.float32)}
    assert [scored("accuracy", one, label=k) for k in (0, 1)] == [0, 1]


def test_accuracy_of_outputs_that_are_the_classes():
    words = {"label": np.array(["cat"], object), "p": np.eye(2, dtype=np.float32)[:1]}
    assert [scored("accuracy", words, label=w) for w in ("cat", "dog")] == [1, 0]
    numbers = {"label": np.array([7]), "p": np.eye(2, dtype=np.float32)[:1]}
    assert scored("accuracy", numbers, label=7) == 1


def test_accuracy_refuses_what_says_no_class():
    with pytest.raises(DataError, match="one number that is no probability"):
        scored("accuracy", {"y": np.array([[3.5]], np.float32)}, label=1)
    with pytest.raises(DataError, match="label is 'cat'"):
        scored("accuracy", LOGITS, label="cat")
    with pytest.raises(DataError, match="accuracy needs labels"):
        scored("accuracy", LOGITS, samples=SOME)


def test_agreement_is_by_row():
    theirs = {"y": np.eye(4, dtype=np.float32)}
    ours = {"y": np.eye(4, dtype=np.float32)[[0, 1, 2, 2]]}
    assert scored("agreement", ours, theirs) == 0.75


def test_functions_return_0_to_1():
    def margin(outputs, label):
        return outputs["y"].max() / 10 if label == 1 else np.nan

    found = metric_of(margin, None, SOME, LOGITS)
    assert (found.name, found.score(LOGITS, LOGITS, 1)) == ("margin", 0.5)
    with pytest.raises(DataError, match="margin returned nan; expected a number from 0 to 1"):
        found.score(LOGITS, LOGITS, 0)
    with pytest.raises(DataError, match=r"returned \[0\.5, 0\.5\]; expected a number"):
        scored(lambda outputs, label: [0.5, 0.5], LOGITS)
    with pytest.raises(DataError, match="returned 87"):
        scored(lambda outputs, label: 87, LOGITS)


def test_unknown_metrics_and_boxes_without_metadata(plain):
    with pytest.raises(DataError, match="no metric 'top1': accuracy, agreement, boxes, closeness"):
        metric_of("top1", plain, SOME, LOGITS)
    with pytest.raises(DataError, match="metadata do not say how"):
        metric_of("boxes", plain, SOME, LOGITS)


@pytest.fixture(scope="module")
def detector():
    path = Path(edgeml.__file__).parent / "models" / "nanodet_g_416_int8.onnx"
    return onnx.load(path)


def test_boxes_are_those_that_both_find(detector):
    picture = cv2.imread(str(next((Path(edgeml.__file__).parent / "media").glob("*.jpg"))))
    x = cv2.resize(picture, (416, 416)).transpose(2, 0, 1)[None]
    (outputs,) = outputs_of(open_model(detector), [{detector.graph.input[0].name: x}])
    metric = metric_of(None, detector, SOME, outputs)
    assert metric.name == "boxes"
    nothing = {name: np.full_like(array, -9) for name, array in outputs.items()}
    assert metric.score(outputs, outputs, None) == 1
    assert metric.score(nothing, outputs, None) == metric.score(outputs, nothing, None) == 0
    assert metric.score(nothing, nothing, None) == 1


@pytest.mark.parametrize(
    ("box", "label", "count"),
    [((0, 0, 10, 10), 1, 1), ((0, 0, 10, 10), 2, 0), ((2, 0, 12, 10), 1, 1),
     ((4, 0, 14, 10), 1, 0), ((10, 0, 20, 10), 1, 0)],
)  # fmt: skip
def test_boxes_match_by_class_and_by_an_overlap_of_one_half(box, label, count):
    there = [(np.array([0, 0, 10, 10]), 1)]
    assert matched([(np.array(box), label)], there) == count
    assert matched([(np.array(box), label)] * 2, there) == count  # one box matches one


def test_relative_error():
    right = {"a": np.full(4, 2.0, np.float32), "b": np.zeros(3, np.float32)}
    assert relative_error(right, right) == 0
    assert relative_error({**right, "a": right["a"] * 1.1}, right) == pytest.approx(0.05)
    assert relative_error({**right, "b": np.ones(3, np.float32)}, right) == 0.5
    assert relative_error({**right, "a": np.zeros(5, np.float32)}, right) == 0.5
    ids = {"i": np.array([1, 2])}
    assert relative_error(ids, ids) == 0
    assert relative_error({"i": np.array([1, 3])}, ids) == 1


def test_divergence_of_logits_and_probabilities_is_the_same():
    theirs, ours = np.array([[1.0, 2.0, 0.0]]), np.array([[1.5, 2.0, 0.0]])
    logits = divergence({"y": ours}, {"y": theirs})
    soft = [{"y": np.exp(v) / np.exp(v).sum()} for v in (ours, theirs)]
    assert logits == pytest.approx(divergence(*soft), rel=1e-3)
    assert 0 < logits < 0.1
    assert divergence({"y": theirs}, {"y": theirs}) == pytest.approx(0, abs=1e-12)


def test_nan_in_an_output_and_inputs_that_do_not_fit_are_named(net):
    made = net(4)
    session = open_model(made.model(made.add("Log", "x")))
    with pytest.raises(OutputError, match="output 'log0' holds NaN"):
        list(outputs_of(session, [{"x": -np.ones((1, 4), np.float32)}]))
    with pytest.raises(InputError, match="the model: "):
        list(outputs_of(session, [{"x": np.ones((1, 5), np.float32)}]))


def test_sequences_and_maps_become_arrays():
    make = helper.make_node
    nodes = [
        make("SplitToSequence", ["x"], ["parts"], axis=1),
        make("ZipMap", ["x"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[3, 4, 9, 1]),
    ]
    float_ = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    ends = [
        helper.make_value_info("parts", helper.make_sequence_type_proto(float_)),
        helper.make_value_info("maps", helper.make_sequence_type_proto(
            helper.make_map_type_proto(TensorProto.INT64, float_))),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, (None, 4))], ends
    )
    model = helper.make_model(graph, ir_version=9, opset_imports=[
        helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)])  # fmt: skip
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    (found,) = outputs_of(open_model(model), [{"x": x}])
    np.testing.assert_array_equal(found["maps"], x[:, [3, 0, 1, 2]])  # by key
    np.testing.assert_array_equal(found["parts"], x.T.reshape(-1))


def test_paired_scores_have_an_interval_and_a_sign(net):
    made = net(2)
    made.constant("w", np.eye(2, dtype=np.float32))
    original = made.model(made.add("Gemm", "x", "w"))
    other = net(2)
    other.constant("w", np.array([[1, 1.2], [0, 1]], np.float32))
    worse = other.model(other.add("Gemm", "x", "w"))
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (200, 2)).astype(np.float32)
    judge = Judge(original, samples_of((x, x.argmax(1)), original), "accuracy")
    scores = judge.scores(worse, range(200))
    assert scores.theirs.all()
    gain = scores.difference()
    assert gain.value == pytest.approx(-scores.drop)
    assert gain.low < gain.value < gain.high < 0
    same = judge.scores(original, range(200)).difference()
    assert same.value == 0
    assert same.low < 0 < same.high
    assert judge.scores(original, range(200)).divergence == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("examples", "least"), [(400, -0.69), (600, -0.46)])
def test_what_equal_scores_leave_possible(examples, least):
    """The guide says how many examples a promise needs."""
    scores = Scores(np.ones(examples), np.ones(examples), 0.0)
    assert scores.difference().low == pytest.approx(least, abs=0.005)
