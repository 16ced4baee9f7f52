"""What a head says of examples that it has not learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
ALONE = 50  # up to so many examples, each is held out alone


@dataclass(frozen=True)
class HeldOut:
    """What a head said of each of its examples when it had not learned from that one.

    Attributes:
        actual: The examples' labels.
        predicted: What was said, with ``"unknown"`` where it was turned away; None for an example
            that is the only one of its class.
        similarity: Likeness to the nearest class, cosine, float32; NaN for the same.
        folds: In how many parts the examples were held out; as many as examples: one by one.

    Example:
        >>> import numpy as np
        >>> from edgeml.personalize import NearestMean
        >>> x = np.array([[1, 0], [2, 0.1], [0, 1], [0.1, 2]])
        >>> NearestMean().fit(x, ["a", "a", "b", "b"]).held_out.accuracy
        1.0
    """

    actual: tuple[str, ...]
    predicted: tuple[str | None, ...]
    similarity: Array
    folds: int

    @property
    def accuracy(self) -> float:
        """Share of the held-out examples that were called what they are; NaN without any."""
        right = [p == a for p, a in zip(self.predicted, self.actual, strict=True) if p is not None]
        return float(np.mean(right)) if right else float("nan")


def folds_of(
    classes: Array, most: int, groups: Array | None = None, *, seed: int = 0, alone: int = ALONE
) -> Array:
    """Return the part in which each example is held out; -1 for the only one of a class.

    Each class is spread over all parts. Up to `alone` examples, each is a part of its own.
    Examples of one group are held out together, as long as others of their class are left.
    """
    groups = (
        np.arange(len(classes)) if groups is None else np.unique(groups, return_inverse=True)[1]
    )
    counts = np.bincount(classes)
    if len(classes) <= alone:
        parts, most = np.arange(len(classes)), len(classes)
    else:
        parts = _spread(classes, groups, most, np.random.default_rng(seed))
    found = np.where(counts[classes] > 1, parts[groups], -1)
    for number in np.flatnonzero(counts > 1):
        own = np.flatnonzero(classes == number)
        if len(set(found[own].tolist())) == 1:
            found[own] = (found[own[0]] + np.arange(len(own))) % most
    return found


def _spread(classes: Array, groups: Array, most: int, rng: np.random.Generator) -> Array:
    """Return a part for each group, so that those of each class are spread over all parts."""
    parts = np.full(len(classes), -1)
    start = 0
    for number in np.flatnonzero(np.bincount(classes) > 1):
        own = np.unique(groups[classes == number])
        own = rng.permutation(own[parts[own] < 0])
        parts[own] = (start + np.arange(len(own))) % most
        start += len(own)
    return parts


def threshold_of(similarity: Array, known: Array, keep: float) -> float:
    """Return the similarity below which something is unknown.

    With five held-out unknown examples or more it is in the middle of the gap where most of both
    are told right. Else it keeps the share `keep` of the known ones, as split conformal prediction
    does (Vovk et al., 2005); where they are too few for that, all of them. A share of 1 turns
    nothing away.
    """
    if keep == 1:
        return -1.0
    seen = np.isfinite(similarity)
    inside = np.sort(similarity[seen & known])
    outside = np.sort(similarity[seen & ~known])
    if not len(inside):
        return -1.0
    if len(outside) >= 5:
        steps = np.concatenate([inside, outside])
        kept = 1 - np.searchsorted(inside, steps, side="left") / len(inside)
        refused = np.searchsorted(outside, steps, side="left") / len(outside)
        best = steps[int((kept + refused).argmax())]
        # As far from the unknown below as from the known above: others' examples will differ.
        return float((best + steps[steps < best].max(initial=-1.0)) / 2)
    rank = max(1, int((1 - keep) * (len(inside) + 1)))
    return float(inside[rank - 1])


def weights_of(classes: Array, given: Sequence[float] | Array | None) -> Array:
    """Return one weight an example, so that all classes weigh the same."""
    weights = np.ones(len(classes)) if given is None else np.asarray(given, np.float64)
    of_class = np.bincount(classes, weights)
    balanced = weights / of_class[classes]
    found: Array = (balanced / balanced.sum()).astype(np.float32)
    return found
