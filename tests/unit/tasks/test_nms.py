from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.tasks._nms import iou_matrix, nms, weighted_nms


def plain_nms(boxes, scores, classes, iou):
    """The definition, one box at a time."""
    left = list(np.argsort(-scores, kind="stable"))
    keep = []
    while left:
        best = left.pop(0)
        keep.append(best)
        overlaps = iou_matrix(boxes[best : best + 1], boxes)[0]
        left = [i for i in left if classes[i] != classes[best] or overlaps[i] <= iou]
    return keep


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 40), st.sampled_from([0.3, 0.5, 0.7]))
def test_nms_is_what_the_definition_says(seed, n, iou):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 300, (n, 2))
    boxes = np.concatenate([low, low + rng.uniform(5, 200, (n, 2))], 1).astype(np.float32)
    scores = rng.permutation(np.linspace(0.3, 1, n)).astype(np.float32)
    classes = rng.integers(0, 3, n)
    keep = nms(boxes, scores, classes, iou, 100)
    assert keep.tolist() == plain_nms(boxes, scores, classes, iou)
    assert nms(boxes, scores, classes, iou, 3).tolist() == keep[:3].tolist()


def test_weighted_nms_averages_what_belongs_together():
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 60, 60]], np.float32)
    scores = np.array([0.9, 0.3, 0.6], np.float32)
    best, values = weighted_nms(boxes, scores, boxes, 0.3)
    np.testing.assert_allclose(best, [0.9, 0.6])
    np.testing.assert_allclose(values[0], [0.25, 0.25, 10.25, 10.25], atol=1e-5)
    np.testing.assert_allclose(values[1], boxes[2])


def test_no_box_and_boxes_without_area_are_no_trouble():
    none = np.zeros((0, 4), np.float32)
    assert nms(none, none[:, 0], np.zeros(0, int), 0.5, 10).size == 0
    best, values = weighted_nms(none, none[:, 0], none, 0.5)
    assert (len(best), values.shape) == (0, (0, 4))
    points = np.zeros((2, 4), np.float32)
    best, _ = weighted_nms(points, np.array([0.5, 0.6], np.float32), points, 0.5)
    assert len(best) == 2
