"""Real photographs and a real street through the shipped models."""

from __future__ import annotations

import numpy as np
import pytest

from edgeml import FaceDetector, ImageClassifier, ObjectDetector, Sample
from edgeml.tasks import Box


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("cat.jpg", {"Egyptian Mau", "tabby cat"}),
        ("espresso.jpg", {"espresso"}),
        ("rocket.jpg", {"drilling rig", "missile", "projectile"}),
    ],
)
def test_the_classifier_knows_what_a_picture_shows(photo, name, labels):
    result = ImageClassifier()(photo(name))
    assert result.label in labels
    assert len(result.top) == 5
    assert result.scores.sum() == pytest.approx(1, abs=1e-4)
    assert result.features.shape == (1280,)


def test_the_classifier_smooths_over_seconds(photo):
    """A cut from a cat to a cup shows as soon as the cup outweighs, not with the first frame."""
    classify, labels = ImageClassifier(smooth=2.0), []
    for tenth in range(60):
        t = tenth * 100_000_000
        frame = photo("cat.jpg" if tenth < 20 else "espresso.jpg")
        labels.append(classify(Sample(frame, t, t)).data.label)
    assert set(labels[:21]) == {"Egyptian Mau"}
    assert labels[20] == "Egyptian Mau"
    assert labels[-1] == "espresso"
    assert 21 < labels.index("espresso") < 45


def test_the_detector_finds_the_people_on_the_street(street):
    detect = ObjectDetector(only=["person"])
    counts = []
    for frame in street:
        found = detect(frame)
        counts.append(len(found))
        height, width = frame.shape[:2]
        for detection in found:
            box = detection.box
            assert detection.label == "person"
            assert 0.4 <= detection.score <= 1
            assert box.x >= 0
            assert box.y >= 0
            assert box.x + box.width <= width + 1e-3
            assert box.y + box.height <= height + 1e-3
            assert box.height > box.width  # they walk
    assert 3 <= np.median(counts) <= 9
    assert min(counts) >= 1


def test_people_keep_their_numbers(street):
    """At one frame a second people move on, but the parked car stays what it is."""
    detect = ObjectDetector(only=["car"], hold=3.0)
    numbers = set()
    for i, frame in enumerate(street):
        t = i * 1_000_000_000
        numbers |= {d.track for d in detect(Sample(frame, t, t)).data}
    assert 1 in numbers
    assert None not in numbers
    assert len(numbers) <= 3


def test_the_detector_finds_the_same_in_a_letterbox(photo):
    """Two ways into the model, one place in the frame."""
    frame = photo("portrait.jpg")[:, 60:400]
    spec = {"size": [416, 416]}
    place = [
        ObjectDetector(preprocess=spec | {"resize": resize}, only=["person"])(frame)[0].box
        for resize in ("stretch", "letterbox")
    ]
    assert place[0].iou(place[1]) > 0.8


def test_there_is_one_face_in_the_portrait(photo):
    (face,) = FaceDetector()(photo("portrait.jpg"))
    assert face.box.iou(Box(180, 82, 93, 93)) > 0.9
    assert face.score > 0.8
    points = face.keypoints
    assert points["right_eye"][0] < points["nose"][0] < points["left_eye"][0]
    assert points["left_eye"][1] < points["nose"][1] < points["mouth"][1]
    for x, y in points.values():
        assert face.box.x - 5 <= x <= face.box.x + face.box.width + 5
        assert face.box.y - 5 <= y <= face.box.y + face.box.height + 5


def test_a_face_is_found_in_any_shape_of_frame(photo):
    """The letterbox maps back exactly: a wider frame moves the face by what was added."""
    frame = photo("portrait.jpg")
    wide = np.pad(frame, ((0, 0), (30, 60), (0, 0)))
    (face,) = FaceDetector()(wide)
    assert face.box.iou(Box(210, 82, 93, 93)) > 0.8


def test_there_is_no_face_in_a_cup(photo):
    assert FaceDetector()(photo("espresso.jpg")) == ()
