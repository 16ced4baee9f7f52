"""Which examples belong together, and must not both teach and test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeml.personalize._store import Example

Array = np.ndarray[Any, Any]
_PAUSE = 600.0  # seconds; what is added after one is of another sitting


def recordings_of(examples: Sequence[Example]) -> Array:
    """Return the number of the recording that each example is of.

    A recording is what is of one subject and was added in one sitting. Nothing in it is a test of
    the rest of it: it has the same light, the same voice, the same way of wearing the watch.

    Args:
        examples: Oldest first.
    """
    last: dict[str, tuple[float, int]] = {}
    found = np.zeros(len(examples), np.int64)
    count = 0
    for place, example in enumerate(examples):
        before, number = last.get(example.subject, (-np.inf, -1))
        if abs(example.added - before) > _PAUSE:
            number, count = count, count + 1
        last[example.subject] = example.added, number
        found[place] = number
    return found


def held_together(examples: Sequence[Example], recordings: Array) -> Array:
    """Return a number for each example; those with the same one are to be held out together.

    Recordings are held out whole: their numbers are returned. But of each class and subject the
    first one is held out example by example, with numbers of their own: without it that subject's
    way would not be known. It is always the first, so that examples that a head before has
    learned from are held out as they were then, and both heads can be compared.

    Args:
        examples: Oldest first.
        recordings: Their recordings.
    """
    first: dict[tuple[str, str], int] = {}
    for example, recording in zip(examples, recordings, strict=True):
        first.setdefault((example.label, example.subject), int(recording))
    alone = np.array([first[e.label, e.subject] for e in examples]) == recordings
    found: Array = np.where(alone, len(examples) + np.arange(len(examples)), recordings)
    return found
