"""What the tasks return: frozen, typed, with units, and ready for JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DIGITS = 4  # of a score in JSON; models of this kind don't know more


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the frame that went in; x to the right, y down.

    Attributes:
        x: Left edge.
        y: Top edge.
        width: To the right of `x`.
        height: Below `y`.
    """

    x: float
    y: float
    width: float
    height: float

    @property
    def center(self) -> tuple[float, float]:
        """The point in the middle, (x, y)."""
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def area(self) -> float:
        """Square pixels."""
        return self.width * self.height

    def iou(self, other: Box) -> float:
        """Return the intersection over the union, 0 to 1."""
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        shared = max(0.0, width) * max(0.0, height)
        union = self.area + other.area - shared
        return shared / union if union > 0 else 0.0

    def to_dict(self) -> dict[str, float]:
        """Return it for JSON, to a tenth of a pixel."""
        return {
            "x": round(self.x, 1),
            "y": round(self.y, 1),
            "width": round(self.width, 1),
            "height": round(self.height, 1),
        }


@dataclass(frozen=True, slots=True)
class Classification:
    """What something is, by its class probabilities.

    Attributes:
        label: The best class, or ``"unknown"`` where its score is below `min_score`.
        score: Its probability, 0 to 1.
        index: Its number in the model's output; -1 where it is unknown.
        top: The best classes, best first: ((label, score), …).
        scores: Probabilities of all classes, float32 [classes]; not in JSON.
        labels: Their names; not in JSON.
        features: The model's embedding, float32, where it gives one; not in JSON.
        min_score: Below this the label is ``"unknown"``; not in JSON.
    """

    label: str
    score: float
    index: int
    top: tuple[tuple[str, float], ...]
    scores: NDArray[np.float32] = field(repr=False, compare=False)
    labels: tuple[str, ...] = field(repr=False, compare=False)
    features: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    min_score: float = field(default=0.0, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        scores: NDArray[np.float32],
        labels: tuple[str, ...],
        *,
        top: int = 5,
        min_score: float = 0.0,
        features: NDArray[np.float32] | None = None,
    ) -> Any:
        """Return the result for the probabilities of all classes, float32 [classes]."""
        count = min(top, len(scores))
        best = np.argpartition(scores, -count)[-count:]
        best = best[np.argsort(-scores[best], kind="stable")]
        named = tuple((labels[i], float(scores[i])) for i in best)
        label, score = named[0]
        known = score >= min_score
        return cls(
            label if known else "unknown",
            score,
            int(best[0]) if known else -1,
            named,
            scores,
            labels,
            features,
            min_score,
        )

    def with_scores(self, scores: NDArray[np.float32]) -> Any:
        """Return the result for other probabilities of the same classes."""
        return self.of(
            scores,
            self.labels,
            top=len(self.top),
            min_score=self.min_score,
            features=self.features,
        )

    @property
    def state(self) -> str:
        """What `Changed`, `Hold` and `Debounce` compare."""
        return self.label

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        top = [{"label": label, "score": round(score, _DIGITS)} for label, score in self.top]
        return {"label": self.label, "score": round(self.score, _DIGITS), "top": top}


@dataclass(frozen=True, slots=True)
class Activity(Classification):
    """What somebody does, by motion; fields as in `Classification`."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One thing in a frame.

    Attributes:
        box: Where, in pixels of the frame that went in.
        label: What.
        score: 0 to 1.
        track: Number that stays with the thing from frame to frame; None without tracking.
    """

    box: Box
    label: str
    score: float
    track: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        found = {
            "label": self.label,
            "score": round(self.score, _DIGITS),
            "box": self.box.to_dict(),
        }
        return found if self.track is None else {**found, "track": self.track}

    def with_track(self, track: int) -> Detection:
        """Return a copy with another track."""
        return replace(self, track=track)


class Detections(tuple[Detection, ...]):
    """The things in a frame, best first; a tuple of `Detection`.

    Example:
        >>> from edgeml.tasks import Box, Detection, Detections
        >>> found = Detections([Detection(Box(4, 8, 20, 50), "person", 0.9)])
        >>> found.counts(), len(found.labelled("person"))
        ({'person': 1}, 1)
    """

    __slots__ = ()

    def labelled(self, *labels: str) -> Detections:
        """Return those with one of these labels."""
        return Detections(found for found in self if found.label in labels)

    def counts(self) -> dict[str, int]:
        """Return how many there are of each label, sorted by label."""
        return dict(sorted(Counter(found.label for found in self).items()))

    @property
    def state(self) -> tuple[tuple[str, int], ...]:
        """What `Changed`, `Hold` and `Debounce` compare: the counts."""
        return tuple(self.counts().items())

    def to_dict(self) -> dict[str, Any]:
        """Return them for JSON."""
        return {
            "count": len(self),
            "counts": self.counts(),
            "detections": [found.to_dict() for found in self],
        }


@dataclass(frozen=True, slots=True)
class Face:
    """One face in a frame.

    Attributes:
        box: Where, in pixels of the frame that went in.
        score: 0 to 1.
        keypoints: {name: (x, y)} in pixels: right_eye, left_eye (the person's own), nose,
            mouth, right_ear, left_ear.
    """

    box: Box
    score: float
    keypoints: Mapping[str, tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        points = {name: [round(x, 1), round(y, 1)] for name, (x, y) in self.keypoints.items()}
        return {
            "score": round(self.score, _DIGITS),
            "box": self.box.to_dict(),
            "keypoints": points,
        }


class Faces(tuple[Face, ...]):
    """The faces in a frame, best first; a tuple of `Face`."""

    __slots__ = ()

    @property
    def state(self) -> int:
        """What `Changed`, `Hold` and `Debounce` compare: how many."""
        return len(self)

    def to_dict(self) -> dict[str, Any]:
        """Return them for JSON."""
        return {"count": len(self), "faces": [face.to_dict() for face in self]}


@dataclass(frozen=True, slots=True)
class Speech:
    """Whether somebody speaks.

    Attributes:
        active: Somebody does.
        probability: The model's, for the last window of sound, 0 to 1.
        changed: `active` is not what it was in the result before.
    """

    active: bool
    probability: float
    changed: bool = False

    @property
    def state(self) -> bool:
        """What `Changed`, `Hold` and `Debounce` compare."""
        return self.active

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "active": self.active,
            "probability": round(self.probability, _DIGITS),
            "changed": self.changed,
        }


@dataclass(frozen=True, slots=True)
class Wake:
    """A wake word was said.

    Attributes:
        word: Which.
        score: Mean probability over the last windows, 0 to 1.
    """

    word: str
    score: float

    @property
    def state(self) -> str:
        """What `Changed`, `Hold` and `Debounce` compare."""
        return self.word

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"word": self.word, "score": round(self.score, _DIGITS)}
