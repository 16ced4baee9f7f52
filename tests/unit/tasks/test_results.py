from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.tasks import (
    Activity,
    Box,
    Classification,
    Detection,
    Detections,
    Face,
    Faces,
    Speech,
    Wake,
)

BOX = Box(10.04, 20.0, 30.0, 40.0)
SCORES = np.array([0.1, 0.6, 0.3], np.float32)
LABELS = ("ant", "bee", "cat")

RESULTS = [
    Classification.of(SCORES, LABELS),
    Activity.of(SCORES, LABELS, top=2),
    Detections([Detection(BOX, "bee", 0.87654321, track=3), Detection(BOX, "ant", 0.5)]),
    Faces([Face(BOX, 0.9, {"nose": (1.0, 2.0)})]),
    Speech(True, 0.99, changed=True),
    Wake("okay nabu", 0.93),
]


@pytest.mark.parametrize("result", RESULTS, ids=lambda r: type(r).__name__)
def test_every_result_is_json_and_has_a_state(result):
    assert json.loads(json.dumps(result.to_dict())) == result.to_dict()
    hash(result.state)


def test_a_classification_lists_the_best_first():
    result = Classification.of(SCORES, LABELS, top=2)
    assert (result.label, result.index) == ("bee", 1)
    assert [label for label, _ in result.top] == ["bee", "cat"]
    assert result.with_scores(np.array([1, 0, 0], np.float32)).label == "ant"


def test_an_unsure_classification_is_unknown_but_still_lists_what_it_may_be():
    result = Classification.of(SCORES, LABELS, min_score=0.7)
    assert (result.label, result.index) == ("unknown", -1)
    assert result.top[0][0] == "bee"
    assert result.with_scores(np.array([0.8, 0.1, 0.1], np.float32)).label == "ant"


def test_smoothing_keeps_the_kind_of_result():
    assert type(Activity.of(SCORES, LABELS).with_scores(SCORES)) is Activity


def test_results_do_not_change():
    with pytest.raises(AttributeError):
        RESULTS[-1].word = "other"  # type: ignore[misc]


def test_detections_are_counted_and_chosen_by_label():
    found = RESULTS[2]
    assert found.counts() == {"ant": 1, "bee": 1}
    assert [d.label for d in found.labelled("bee")] == ["bee"]
    assert found.to_dict()["detections"][0]["track"] == 3
    assert "track" not in found.to_dict()["detections"][1]


boxes = st.builds(Box, *[st.floats(0, 500, width=32)] * 2, *[st.floats(1, 500, width=32)] * 2)


@given(boxes, boxes)
def test_iou_is_symmetric_and_one_only_for_itself(a, b):
    assert a.iou(b) == pytest.approx(b.iou(a))
    assert 0 <= a.iou(b) <= 1 + 1e-9
    assert a.iou(a) == pytest.approx(1)
