"""A trained head that is not in use yet, and whether it should be."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeml.evaluation import Estimate, score_difference
from edgeml.personalize._head import unit
from edgeml.personalize._held_out import HeldOut
from edgeml.personalize._recordings import held_together, recordings_of
from edgeml.personalize._store import Example, matrix

_COMPARED = 4096  # examples, each with each
Predict = Callable[[Any], list[str]]


@dataclass(frozen=True)
class TrainReport:
    """What training found.

    Attributes:
        method: The head's name.
        why: Why this head.
        counts: Examples of each class.
        accuracy: Share of held-out examples that were called what they are; NaN when none could
            be held out.
        gain: How much better it is than the head in use, as a share of right answers for the
            classes which that one knows; None without such a head or examples.
        notes: What is worth knowing.

    Example:
        >>> from edgeml.personalize import TrainReport
        >>> print(TrainReport("knn", "knn: as asked", {"mug": 2, "cup": 2}, 0.75))
        knn: as asked
        4 examples of 2 classes; 0.75 right when held out
    """

    method: str
    why: str
    counts: Mapping[str, int]
    accuracy: float
    gain: Estimate | None = None
    notes: tuple[str, ...] = ()

    @property
    def worse(self) -> bool:
        """Whether it is significantly worse than the head in use."""
        return self.gain is not None and self.gain.high is not None and self.gain.high < 0

    def __str__(self) -> str:
        held = f"{self.accuracy:.3g} right when held out"
        count = sum(self.counts.values())
        lines = [self.why, f"{count} examples of {len(self.counts)} classes; {held}"]
        if self.gain is not None:
            said = "SIGNIFICANTLY WORSE" if self.worse else "not significantly worse"
            lines.append(f"{said} than the head in use on what that one knows: {self.gain}")
        return "\n".join([*lines, *self.notes])

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "method": self.method, "why": self.why, "counts": dict(self.counts),
            "accuracy": None if np.isnan(self.accuracy) else self.accuracy,
            "gain": None if self.gain is None else self.gain.to_dict(), "worse": self.worse,
            "notes": list(self.notes),
        }  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """A trained head that is not in use yet.

    Attributes:
        version: SHA-256 of its file, in hex.
        content: Its ONNX file, from features to probabilities.
        report: What training found.
        info: What the store keeps of it.

    Example:
        >>> from edgeml.personalize import Candidate, TrainReport
        >>> report = TrainReport("knn", "knn: as asked", {"mug": 2, "cup": 2}, 0.75)
        >>> Candidate.of(b"a model", report, {}).version[:8]
        '97ff8a35'
    """

    version: str
    content: bytes = field(repr=False)
    report: TrainReport
    info: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, content: bytes, report: TrainReport, held_out: Mapping[int, Any]) -> Candidate:
        """Return the candidate of a file."""
        info = {"schema": 1, **report.to_dict(),
                "held_out": {str(i): said for i, said in held_out.items()}}  # fmt: skip
        return cls(hashlib.sha256(content).hexdigest(), content, report, info)

    @classmethod
    def kept(cls, version: str, content: bytes, info: Mapping[str, Any]) -> Candidate:
        """Return the candidate that a store kept."""
        accuracy, gain = info["accuracy"], info["gain"]
        if gain is not None:
            gain = Estimate(**{**gain, "value": np.nan if gain["value"] is None else gain["value"]})
        report = TrainReport(
            info["method"], info["why"], info["counts"],
            float("nan") if accuracy is None else accuracy, gain, tuple(info["notes"]),
        )  # fmt: skip
        return cls(version, content, report, info)


def gain_over(
    examples: Sequence[Example], said: Mapping[int, str | None], info: Mapping[str, Any],
    labels: Sequence[str], predict: Predict,
) -> Estimate | None:  # fmt: skip
    """Return how much more often a candidate is right than the head in use.

    Both are asked about examples that they have not learned from. Those that the head in use has
    learned from were held out when it was trained. Of the others those count of whose recording
    neither has learned anything: a candidate that knows their neighbours would be right about
    them whatever their labels.

    Args:
        examples: All examples, oldest first.
        said: What the candidate said of each when it was held out.
        info: What the store keeps of the head in use.
        labels: The classes that it knows.
        predict: Its predictions for features.
    """
    before = info.get("held_out", {})
    recordings = recordings_of(examples)
    known = np.array([str(e.id) in before for e in examples])
    whole = held_together(examples, recordings) < len(examples)
    fair = whole & ~np.isin(recordings, recordings[known])
    places = [
        i for i, e in enumerate(examples)
        if e.label in labels and said.get(e.id) is not None
        and (before[str(e.id)] is not None if known[i] else fair[i])
    ]  # fmt: skip
    if not places:
        return None
    both = [examples[i] for i in places]
    fresh = [e for e in both if str(e.id) not in before]
    now = dict(zip([e.id for e in fresh], predict(matrix(fresh)), strict=True)) if fresh else {}
    ours = [float(said[e.id] == e.label) for e in both]
    theirs = [float((now.get(e.id) or before.get(str(e.id))) == e.label) for e in both]
    of = recordings[places]
    # An interval over fewer groups than this says nothing.
    return score_difference(ours, theirs, of if len(np.unique(of)) >= 5 else None)


def notes_on(examples: Sequence[Example], held_out: HeldOut, duplicate: float) -> tuple[str, ...]:
    """Return what is worth knowing of the examples."""
    found = []
    counts = Counter(e.label for e in examples)
    single = [label for label, n in counts.items() if n == 1]
    if single:
        found.append(f"only one example, so nothing to test with: {', '.join(single)}")
    groups = held_together(examples, recordings_of(examples))
    whole = len(np.unique(groups[groups < len(examples)]))
    if whole:
        found.append(
            f"recordings that came after the first of a class were held out whole: {whole}"
        )
    if len(examples) > _COMPARED:
        found.append(f"contradictions were looked for among the newest {_COMPARED} examples only")
    examples = examples[-_COMPARED:]
    rows, names = unit(matrix(examples)), np.array([e.label for e in examples])
    for start in range(0, len(rows), 512):
        part = slice(start, start + 512)
        near = (rows[part] @ rows.T > duplicate) & (names[part, None] != names)
        for i, j in zip(*np.nonzero(near), strict=True):
            a, b = examples[start + i], examples[j]
            if a.id < b.id:
                found.append(
                    f"examples {a.id} and {b.id} are nearly the same, and one is {a.label}, the "
                    f"other {b.label}: remove one"
                )
    wrong = Counter(
        (a, p) for a, p in zip(held_out.actual, held_out.predicted, strict=True)
        if p is not None and p != a
    )  # fmt: skip
    for (actual, predicted), n in wrong.most_common(3):
        found.append(f"{actual} was taken for {predicted} {n} time{'s' if n > 1 else ''}")
    return tuple(found[:20])
