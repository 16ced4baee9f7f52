"""Objects in pictures: what is there, what was found, and which belong together.

Matching follows the definition of COCO's evaluation (Lin et al. 2014), for boxes by intersection
over union and for people by object keypoint similarity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeml.errors import DataError, OutputError
from edgeml.evaluation._stats import Array

THRESHOLDS = np.linspace(0.5, 0.95, 10)
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2),
         "large": (96.0**2, 1e10)}  # fmt: skip
"""Square pixels."""

COCO_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107,
    0.087, 0.087, 0.089, 0.089,
)  # fmt: skip
"""How far annotators are apart at each of COCO's 17 keypoints, in units of the person's size."""

_MOST = {"boxes": 100, "keypoints": 20}  # detections in a picture that count, by COCO


@dataclass(frozen=True)
class Objects:
    """The objects of one picture, there or found.

    Args:
        boxes: (objects, 4): left, top, width, height, pixels.
        labels: Class of each, a name or a number; one class for all when left out.
        scores: Of each, for what was found.
        crowd: Whether it is a crowd, which is ignored; for what is there.
        areas: Square pixels, of each; those of the boxes when left out.
        keypoints: (objects, points, 3): x, y, and whether the point is known (not 0); for what
            was found the third number is not read and may be missing.

    Example:
        >>> from edgeml.evaluation import Objects
        >>> len(Objects(boxes=[[10, 10, 50, 80]], labels=["person"]))
        1
    """

    boxes: Any = None
    labels: Any = None
    scores: Any = None
    crowd: Any = None
    areas: Any = None
    keypoints: Any = None

    def __post_init__(self) -> None:
        points = _floats(self.keypoints, "keypoints")
        if points is not None and (points.ndim != 3 or points.shape[2] not in (2, 3)):
            if points.size:
                raise DataError(
                    f"keypoints: expected (objects, points, 3), received {points.shape}"
                )
            points = np.zeros((0, 1, 3))
        boxes = _floats(self.boxes, "boxes")
        if boxes is None:
            boxes = np.zeros((0, 4)) if points is None else _around(points)
        boxes = boxes.reshape(-1, 4) if not boxes.size else boxes
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise DataError(f"boxes: expected (objects, 4), received {boxes.shape}")
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "keypoints", points)
        n = len(boxes)
        labels = ["object"] * n if self.labels is None else [str(v) for v in self.labels]
        object.__setattr__(self, "labels", tuple(labels))
        for name, default in (("crowd", False), ("areas", boxes[:, 2] * boxes[:, 3]),
                              ("scores", None)):  # fmt: skip
            given = getattr(self, name)
            value = default if given is None else given
            if value is not None:
                value = np.broadcast_to(np.asarray(value), (n,)) if np.ndim(value) == 0 else value
                object.__setattr__(self, name, np.asarray(value))
        for name in ("labels", "scores", "crowd", "areas", "keypoints"):
            value = getattr(self, name)
            if value is not None and len(value) != n:
                raise DataError(f"there are {n} boxes and {len(value)} {name}: give one for each")

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def of(cls, value: Any) -> Objects:
        """Return objects from such, a dict of the same keys, or the detections of a task.

        Raises:
            DataError: it is none of these.
        """
        if isinstance(value, Objects):
            return value
        if isinstance(value, Mapping):
            known = {"boxes", "labels", "scores", "crowd", "areas", "keypoints"}
            if unknown := [key for key in value if key not in known]:
                raise DataError(
                    f"objects: there is no {unknown[0]!r}; there are {', '.join(sorted(known))}"
                )
            return cls(**value)
        if isinstance(value, tuple) and all(hasattr(v, "box") for v in value):
            boxes = [[v.box.x, v.box.y, v.box.width, v.box.height] for v in value]
            return cls(boxes, [getattr(v, "label", "object") for v in value],
                       [v.score for v in value])  # fmt: skip
        raise DataError(
            "expected edgeml.evaluation.Objects, a dict of boxes, labels and scores, or a task's "
            f"detections for each picture; received {type(value).__name__}"
        )

    def only(self, label: str) -> Objects:
        """Return those of a class."""
        keep = np.array([own == label for own in self.labels], bool)
        return Objects(
            self.boxes[keep], [label] * int(keep.sum()),
            *(None if v is None else v[keep]
              for v in (self.scores, self.crowd, self.areas, self.keypoints)),
        )  # fmt: skip


@dataclass(frozen=True)
class Matched:
    """What was found of one class in one picture, by objects' size.

    Attributes:
        scores: Of the detections, highest first.
        hits: (thresholds, detections): whether it is an object's.
        ignored: (thresholds, detections): whether it does not count.
        cases: Number of objects that count.
    """

    scores: Array
    hits: Array
    ignored: Array
    cases: int


Picture = Mapping[tuple[str, str], Matched]


def match(truth: Objects, found: Objects, sigmas: Sequence[float] | None) -> Picture:
    """Return what belongs together in a picture, by class and size of the objects.

    Args:
        truth: What is there.
        found: What was found; has scores.
        sigmas: Of the keypoints; None compares boxes.

    Raises:
        DataError: detections have no scores.
        OutputError: they hold NaN or infinity.
    """
    for name in ("boxes", "scores", "keypoints"):
        values = getattr(found, name)
        if values is not None and not np.isfinite(values).all():
            raise OutputError(f"the detections hold NaN or infinity in {name}")
    if found.scores is None and len(found):
        raise DataError("detections need scores: which of them count first depends on these")
    result = {}
    for label in sorted({*truth.labels, *found.labels}):
        there, seen = truth.only(label), found.only(label)
        order = np.argsort(-_scores(seen), kind="stable")
        order = order[: _MOST["boxes" if sigmas is None else "keypoints"]]
        alike = _ious(there, seen) if sigmas is None else _oks(there, seen, np.asarray(sigmas))
        for size, limits in AREAS.items():
            if sigmas is None or size != "small":
                result[label, size] = _match(there, seen, alike[:, order], order, limits, sigmas)
    return result


def _match(
    there: Objects, seen: Objects, alike: Array, order: Array, limits: tuple[float, float],
    sigmas: Sequence[float] | None,
) -> Matched:  # fmt: skip
    ignore = there.crowd.astype(bool) | (there.areas < limits[0]) | (there.areas > limits[1])
    if sigmas is not None and there.keypoints is not None:
        ignore = ignore | ~(there.keypoints[:, :, -1] > 0).any(1)
    first = np.argsort(ignore, kind="stable")  # what counts is matched first
    alike, ignore, crowd = alike[first], ignore[first], there.crowd.astype(bool)[first]
    hits = np.zeros((len(THRESHOLDS), len(order)), bool)
    ignored = np.zeros_like(hits)
    for t, threshold in enumerate(THRESHOLDS):
        free = np.ones(len(first), bool)
        for d in range(len(order)):
            able = (free | crowd) & (alike[:, d] >= min(threshold, 1 - 1e-10))
            chosen = able & ~ignore
            if not (chosen.any() or (chosen := able & ignore).any()):
                continue
            places = np.flatnonzero(chosen)
            # Of equals the last, as COCO's loop has it.
            best = places[len(places) - 1 - int(np.argmax(alike[places, d][::-1]))]
            free[best], hits[t, d], ignored[t, d] = False, True, ignore[best]
    areas = _areas(seen, sigmas)[order]
    outside = (areas < limits[0]) | (areas > limits[1])
    return Matched(_scores(seen)[order], hits, ignored | (~hits & outside), int((~ignore).sum()))


def _scores(found: Objects) -> Array:
    return np.zeros(0) if found.scores is None else np.asarray(found.scores, np.float64)


def _areas(found: Objects, sigmas: Sequence[float] | None) -> Array:
    if sigmas is None or found.keypoints is None:
        return np.asarray(found.boxes[:, 2] * found.boxes[:, 3])
    around = _around(found.keypoints)
    return np.asarray(around[:, 2] * around[:, 3])


def _around(points: Array) -> Array:
    if not len(points):
        return np.zeros((0, 4))
    low, high = points[:, :, :2].min(1), points[:, :, :2].max(1)
    return np.concatenate([low, high - low], 1)


def _ious(there: Objects, seen: Objects) -> Array:
    """Return intersection over union (there, seen); over the detection's area for crowds."""
    a, b = there.boxes[:, None], seen.boxes[None]
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    both = np.clip(high - low, 0, None).prod(-1)
    own = b[..., 2:].prod(-1)
    whole = np.where(there.crowd.astype(bool)[:, None], own, a[..., 2:].prod(-1) + own - both)
    return np.asarray(np.divide(both, whole, out=np.zeros_like(both), where=whole > 0))


def _oks(there: Objects, seen: Objects, sigmas: Array) -> Array:
    """Return object keypoint similarity (there, seen)."""
    result = np.zeros((len(there), len(seen)))
    if there.keypoints is None or seen.keypoints is None or not result.size:
        return result
    if not there.keypoints.shape[1] == seen.keypoints.shape[1] == len(sigmas):
        raise DataError(
            f"keypoints: expected {len(sigmas)} a person, one for each sigma; received "
            f"{there.keypoints.shape[1]} that are there and {seen.keypoints.shape[1]} found"
        )
    for i, truth in enumerate(there.keypoints):
        known = truth[:, -1] > 0
        gap = seen.keypoints[:, :, :2] - truth[None, :, :2]
        if not known.any():
            # Of an unmarked person only the surroundings are known: twice the box.
            x, y, w, h = there.boxes[i]
            low, high = np.array([x - w, y - h]), np.array([x + 2 * w, y + 2 * h])
            points = seen.keypoints[:, :, :2]
            gap = np.maximum(0, low - points) + np.maximum(0, points - high)
            known = np.ones(len(sigmas), bool)
        scaled = (gap**2).sum(-1) / (2 * sigmas) ** 2 / (there.areas[i] + np.spacing(1)) / 2
        result[i] = np.exp(-scaled[:, known]).mean(1)
    return result


def _floats(value: Any, what: str) -> Array | None:
    if value is None:
        return None
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what}: expected numbers of one shape ({error})") from error


_RECALLS = np.linspace(0, 1, 101)


class MeanPrecision:
    """COCO's average precision: at 101 recalls, over thresholds and classes.

    Args:
        pictures: Of each example.
        thresholds: Numbers in `THRESHOLDS`.
        size: Of the objects.
        labels: Classes; None is all.
        recall: Whether it is the average recall instead.
    """

    def __init__(
        self, pictures: Sequence[Picture], thresholds: Sequence[int], size: str = "all",
        labels: Sequence[str] | None = None, recall: bool = False,
    ) -> None:  # fmt: skip
        self.recall = recall
        own = sorted({label for p in pictures for label, s in p if s == size})
        self.classes = []
        for label in own if labels is None else labels:
            held = [(i, p[label, size]) for i, p in enumerate(pictures) if (label, size) in p]
            cases = np.zeros(len(pictures))
            for i, matched in held:
                cases[i] = matched.cases
            if not held or not cases.any():
                continue
            scores = np.concatenate([m.scores for _, m in held])
            order = np.argsort(-scores, kind="stable")
            picture = np.concatenate([np.full(len(m.scores), i) for i, m in held])[order]
            chosen = list(thresholds)
            hits = np.concatenate([m.hits[chosen] for _, m in held], 1)[:, order]
            counts = ~np.concatenate([m.ignored[chosen] for _, m in held], 1)[:, order]
            self.classes.append((cases, picture, hits & counts, ~hits & counts))

    def values(self, weights: Array) -> Array:
        """Return the average for each row of weights; NaN without objects."""
        return np.array([self._value(row) for row in weights])

    def _value(self, weight: Array) -> float:
        found = []
        for cases, picture, hits, alarms in self.classes:
            if not (total := float(weight @ cases)):
                continue
            own = weight[picture]
            tp, fp = np.cumsum(hits * own, 1), np.cumsum(alarms * own, 1)
            if self.recall:
                found.append(float(tp[:, -1].mean() / total) if tp.size else 0.0)
            else:
                found.append(_precision(tp, fp, total))
        return float(np.mean(found)) if found else np.nan


def _precision(tp: Array, fp: Array, total: float) -> float:
    """Return the mean over thresholds of the mean precision at 101 recalls."""
    if not tp.size:
        return 0.0
    precision = tp / (tp + fp + np.spacing(1))
    # The best precision at this recall or a higher one.
    precision = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    precision = np.concatenate([precision, np.zeros((len(tp), 1))], 1)
    places = [np.searchsorted(row, _RECALLS, side="left") for row in tp / total]
    return float(np.take_along_axis(precision, np.stack(places), 1).mean())
