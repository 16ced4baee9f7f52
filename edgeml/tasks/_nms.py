"""Many boxes for one thing become one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require

Floats = NDArray[np.float32]


def nms(
    boxes: Floats, scores: Floats, classes: NDArray[Any], iou: float, limit: int
) -> NDArray[np.intp]:
    """Return the indices of the boxes to keep, best first: per class, the best of each heap.

    Args:
        boxes: Corners, float32 [n, 4].
        scores: float32 [n].
        classes: int [n]; boxes of different classes don't suppress each other.
        iou: Overlap above which the lower score goes.
        limit: At most so many.
    """
    if not len(boxes):
        return np.empty(0, np.intp)
    # Faster than the same in NumPy at any number of boxes.
    cv2 = require("cv2", extra="camera", purpose="edgeml.tasks")
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    found = cv2.dnn.NMSBoxesBatched(xywh, scores, classes.astype(np.int32), 0.0, iou)
    keep = np.asarray(found, np.intp).reshape(-1)
    best: NDArray[np.intp] = keep[np.argsort(-scores[keep], kind="stable")][:limit]
    return best


def weighted_nms(
    boxes: Floats, scores: Floats, values: Floats, iou: float
) -> tuple[Floats, Floats]:
    """Return the score of each heap's best box, and the heap's values averaged by score.

    Steadier from frame to frame than taking the best box as it is.

    Args:
        boxes: Corners, float32 [n, 4].
        scores: float32 [n].
        values: What to average, such as box and key points, float32 [n, k].
        iou: Overlap above which boxes belong together.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, scores, values = boxes[order], scores[order], values[order]
    overlaps = iou_matrix(boxes, boxes) > iou
    left = np.ones(len(order), bool)
    best, mean = [], []
    while left.any():
        first = int(left.argmax())
        heap = overlaps[first] & left
        heap[first] = True  # a box without area overlaps nothing, not even itself
        weights = scores[heap, None]
        mean.append((values[heap] * weights).sum(0) / weights.sum())
        best.append(scores[first])
        left &= ~heap
    return np.array(best, np.float32), np.array(mean, np.float32).reshape(-1, values.shape[1])


def iou_matrix(a: Floats, b: Floats) -> Floats:
    """Return the intersection over the union of corners [n, 4] and [m, 4] as [n, m]."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.clip(high - low, 0, None)
    shared = sides[..., 0] * sides[..., 1]
    area_a = np.prod(np.clip(a[:, 2:] - a[:, :2], 0, None), axis=1)
    area_b = np.prod(np.clip(b[:, 2:] - b[:, :2], 0, None), axis=1)
    union = area_a[:, None] + area_b - shared
    ratio: Floats = shared / np.maximum(union, np.float32(1e-9))
    return ratio
