"""Models that don't fit, and models that return nonsense."""

from __future__ import annotations

import numpy as np
import pytest

import edgeml
from edgeml import (
    ActivityRecognizer,
    FaceDetector,
    ImageClassifier,
    ObjectDetector,
    Sample,
    VoiceActivity,
    WakeWord,
)
from edgeml.errors import GraphError, InputError, ModelError, ModelNotFound, OutputError
from edgeml.tasks import AnomalyDetector, ImagePreprocess

FRAME = np.zeros((20, 30, 3), np.uint8)
IMAGE = {"type": "image", "size": [8, 8], "dtype": "float32"}
LOGITS = np.array([[0.0, 2.0, 1.0]])


def test_a_model_without_metadata_works_with_arguments(make_model):
    model = make_model({"y": LOGITS})
    classify = ImageClassifier(
        model, labels=["a", "b", "c"], preprocess=IMAGE, postprocess={"activation": "softmax"}
    )
    result = classify(FRAME)
    assert result.label == "b"
    assert result.scores.sum() == pytest.approx(1)
    assert classify(Sample(FRAME, 5, 5)).data.label == "b"


def test_a_model_without_metadata_says_what_to_pass(make_model):
    model = make_model({"y": LOGITS})
    with pytest.raises(ModelError, match=r"says nothing.*preprocess=ImagePreprocess"):
        ImageClassifier(model)(FRAME)
    with pytest.raises(ModelError, match=r"does not name its classes.*labels="):
        ImageClassifier(model, preprocess=ImagePreprocess(8, 8, dtype="float32"))(FRAME)
    with pytest.raises(ModelError, match=r"does not say how its outputs become boxes.*decoder="):
        ObjectDetector(model, preprocess=IMAGE, labels=["a"])(FRAME)
    with pytest.raises(ModelError, match="postprocess="):
        FaceDetector(model, preprocess=IMAGE)(FRAME)
    with pytest.raises(ModelError, match="preprocess="):
        VoiceActivity(model)(np.zeros(512, np.float32))
    with pytest.raises(ModelError, match="preprocess="):
        WakeWord(model)(np.zeros(512, np.float32))
    with pytest.raises(ModelError, match="preprocess="):
        ActivityRecognizer(model)(np.zeros((100, 6), np.float32))


@pytest.mark.parametrize(
    ("task", "model", "is_for"),
    [
        (ImageClassifier, "nanodet_g_416_int8.onnx", "object-detection"),
        (ObjectDetector, "efficientnet_lite0_int8.onnx", "image-classification"),
        (FaceDetector, "nanodet_g_416_int8.onnx", "object-detection"),
        (VoiceActivity, "activity_watch_int8.onnx", "activity-recognition"),
        (WakeWord, "silero_vad.onnx", "voice-activity"),
        (ActivityRecognizer, "silero_vad.onnx", "voice-activity"),
    ],
)
def test_a_model_for_something_else_is_refused(task, model, is_for):
    stage = task(f"edgeml:{model}")
    with pytest.raises(ModelError, match=rf"expected a model for {stage.task}.*is for {is_for}"):
        stage.open()


def test_the_number_of_labels_must_fit(make_model):
    model = make_model({"y": LOGITS}, metadata={"preprocess": IMAGE, "labels": ["a", "b"]})
    with pytest.raises(ModelError, match=r"3 classes, but there are 2 labels.*labels="):
        ImageClassifier(model)(FRAME)


def test_several_outputs_need_a_name(make_model):
    model = make_model({"y": LOGITS, "z": LOGITS}, metadata={"preprocess": IMAGE})
    with pytest.raises(ModelError, match="one of y, z"):
        ImageClassifier(model, labels=["a", "b", "c"])(FRAME)


def test_an_unknown_activation_is_refused(make_model):
    model = make_model({"y": LOGITS}, metadata={"preprocess": IMAGE, "labels": ["a", "b", "c"]})
    with pytest.raises(ModelError, match=r"softmax, sigmoid, none.*received 'tanh'"):
        ImageClassifier(model, postprocess={"activation": "tanh"})(FRAME)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nonsense_in_an_output_is_an_error(make_model, bad):
    logits = LOGITS.copy()
    logits[0, 2] = bad
    model = make_model({"y": logits}, metadata={"preprocess": IMAGE, "labels": ["a", "b", "c"]})
    with pytest.raises(OutputError, match=rf"{model.name}.*1 of 3 values of output 'y'") as error:
        ImageClassifier(model)(FRAME)
    assert error.value.output == "y"
    boxes = make_model({"y": np.full((1, 4, 7), bad)}, metadata={"preprocess": IMAGE})
    with pytest.raises(OutputError):
        ObjectDetector(boxes, labels=["a", "b"], decoder="yolo-v5")(FRAME)


def test_a_detector_of_ones_own(make_model):
    model = make_model({"y": LOGITS}, metadata={"preprocess": IMAGE, "labels": ["cat", "dog"]})

    def decode(outputs, size, min_score):
        assert outputs["y"].shape == (1, 3)
        assert size == (8, 8)
        assert min_score == 0.4
        boxes = np.array([[2, 2, 4, 4], [2, 2, 4, 4.1], [-5, 0, 4, 99]], np.float32)
        return boxes, np.array([0.5, 0.9, 0.7], np.float32), np.array([0, 0, 1])

    found = ObjectDetector(model, decoder=decode)(FRAME)
    assert found.counts() == {"cat": 1, "dog": 1}
    assert found[0].box.to_dict() == {"x": 7.5, "y": 5.0, "width": 7.5, "height": 5.2}
    assert found[1].box.to_dict() == {"x": 0.0, "y": 0.0, "width": 15.0, "height": 20.0}
    only = ObjectDetector(model, decoder=decode, only=["dog"])(FRAME)
    assert only.counts() == {"dog": 1}
    assert len(ObjectDetector(model, decoder=decode, max_detections=1)(FRAME)) == 1


def test_a_class_without_a_label_and_a_label_without_a_class_are_told(make_model):
    model = make_model({"y": LOGITS}, metadata={"preprocess": IMAGE, "labels": ["cat"]})

    def decode(outputs, size, min_score):
        return np.zeros((1, 4)), np.ones(1), np.array([7])

    with pytest.raises(ModelError, match=r"class 7.*1 labels"):
        ObjectDetector(model, decoder=decode)(FRAME)
    with pytest.raises(ModelError, match="no class 'fox'; it has cat"):
        ObjectDetector(model, decoder=decode, only=["fox"])(FRAME)


def test_a_missing_model_is_told_when_it_is_opened():
    with pytest.raises(ModelNotFound):
        ImageClassifier("no-such-model.onnx").open()


def test_a_session_of_the_caller_stays_open():
    with edgeml.load("edgeml:efficientnet_lite0_int8.onnx", threads=1) as session:
        first, second = ImageClassifier(session), ImageClassifier(session)
        first(FRAME)
        first.aclose()
        assert second(FRAME).label


def test_a_closed_task_loads_its_model_again():
    classify = ImageClassifier()
    label = classify(FRAME).label
    classify.aclose()
    classify.aclose()
    assert classify(FRAME).label == label


@pytest.mark.parametrize(
    ("task", "options"),
    [
        (ImageClassifier, {"top": 0}),
        (ImageClassifier, {"min_score": 1.1}),
        (ImageClassifier, {"smooth": -1}),
        (ObjectDetector, {"max_detections": 0}),
        (ObjectDetector, {"iou": 2}),
        (ObjectDetector, {"threads": 0}),
        (ObjectDetector, {"hold": float("nan")}),
        (FaceDetector, {"min_score": -0.1}),
        (VoiceActivity, {"onset": 0.4, "offset": 0.5}),
        (VoiceActivity, {"emit": "all"}),
        (WakeWord, {"mean_over": 0}),
        (WakeWord, {"refractory": -1}),
        (ActivityRecognizer, {"hop": 0}),
    ],
)
def test_options_out_of_range_are_refused(task, options):
    with pytest.raises(ValueError, match=f"{task.__name__.lower()}: .*received"):
        task(**options)


def test_no_calls_at_once_is_refused():
    with pytest.raises(GraphError, match="concurrency must be at least 1; received 0"):
        ObjectDetector(concurrency=0)


@pytest.mark.parametrize(
    ("motion", "match"),
    [
        (np.zeros((100, 3), np.float32), r"6 channels \(ax, ay.*received \[100, 3\]"),
        (np.full((100, 6), np.nan, np.float32), "NaN"),
        (np.zeros((50, 6), np.float32), r"window \[100, 6\].*\[50, 6\]"),
        ("running", "received str"),
    ],
)
def test_what_is_no_motion_is_refused(motion, match):
    with pytest.raises(InputError, match=match):
        ActivityRecognizer()(motion)


def test_every_task_declares_what_it_publishes():
    tasks = [
        ImageClassifier(), ObjectDetector(), ObjectDetector(only=["person", "dog"]), FaceDetector(),
        VoiceActivity(), WakeWord(), ActivityRecognizer(),
    ]  # fmt: skip
    for task in tasks:
        assert all(output.template.startswith("{{") for output in task.outputs())
    assert [output.name for output in tasks[2].outputs()] == ["Person", "Dog"]
    assert "get('person', 0)" in tasks[2].outputs()[0].template


MOTION = {"sample_rate": 50, "window": 4, "hop": 2, "channels": ["x", "y"]}
VOICE = {"sample_rate": 16000, "window": 512, "context": 64}
WAKE = {"sample_rate": 16000, "features": 40, "frames": 3, "step_ms": 10}
FACES = {"strides": [8, 16], "anchors": [2, 6]}
WRONG = [
    *((ActivityRecognizer, MOTION, {}, key, value) for key in ("sample_rate", "window", "hop")
      for value in (0, -1, 1e999, "x", True)),
    *((VoiceActivity, VOICE, {}, key, value) for key in VOICE for value in (-1, 0.5, 1e999, None)),
    *((WakeWord, WAKE, {"threshold": 0.5, "mean_over": 3}, key, value) for key in WAKE
      for value in (0, 1e999, [1])),
    *((WakeWord, WAKE, {"mean_over": 3, "threshold": value}, "", 0) for value in ("x", 2, 1e999)),
    (WakeWord, WAKE, {"mean_over": 0, "threshold": 0.5}, "", 0),
    (VoiceActivity, VOICE, {"threshold": "high"}, "", 0),
    (FaceDetector, IMAGE, FACES | {"threshold": "high"}, "", 0),
    (FaceDetector, IMAGE, FACES | {"strides": [0, 16]}, "", 0),
    (ObjectDetector, IMAGE, {"decoder": "nanodet", "threshold": float("nan")}, "", 0),
    (ObjectDetector, IMAGE, {"decoder": "nanodet", "strides": [0]}, "", 0),
    (ObjectDetector, IMAGE, {"decoder": "nanodet", "bins": 1 << 40}, "", 0),
    *((ImageClassifier, IMAGE, {}, key, value) for key, value in {
        "size": [1e999, 8], "pad": 300, "mean": ["x"]}.items()),
    (ImageClassifier, IMAGE, {}, "size", [1 << 30, 1 << 30]),
]  # fmt: skip


@pytest.mark.parametrize(("task", "pre", "post", "key", "value"), WRONG)
def test_what_a_model_says_of_itself_is_not_trusted(make_model, task, pre, post, key, value):
    """A window or hop of 0 would never end, a large one take all memory."""
    said = {"labels": ["a", "b", "c"], "task": task.task, "postprocess": post,
            "preprocess": pre | ({key: value} if key else {})}  # fmt: skip
    model = task(make_model({"y": LOGITS}, metadata=said))
    with pytest.raises(ModelError, match=r"wrong at|wrong:|preprocess|threshold|decoder nanodet"):
        model.open()


def test_an_anomaly_model_without_its_outputs(make_model):
    said = {"preprocess": MOTION, "postprocess": {"threshold": 1.0, "level": [0, 0]}}
    with pytest.raises(ModelError, match="there is no contributions"):
        AnomalyDetector(make_model({"score": LOGITS}, metadata=said)).open()
