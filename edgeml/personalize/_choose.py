"""Which head, by name or by how many examples there are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from edgeml.errors import ConfigError, DataError
from edgeml.personalize._adapt import LastBlocks
from edgeml.personalize._head import UNKNOWN, Head
from edgeml.personalize._simple import KNN, NearestMean
from edgeml.personalize._softmax import Softmax

METHODS: Mapping[str, Callable[[], Head]] = {
    "nearest-mean": NearestMean,
    "knn": KNN,
    "bias": lambda: Softmax(train="bias"),
    "linear": Softmax,
    "mlp": lambda: Softmax(hidden=64),
    "last-blocks": LastBlocks,
    "lora": lambda: LastBlocks(rank=8),
}
FEW, MANY = 5, 100
ENOUGH = 0.98  # right when held out: blocks need no training
BLOCKS = 10  # examples of each class, to train blocks on
QUICK = 1 << 20  # bytes of blocks that are trained without being asked to


def choose(method: Any, counts: Mapping[str, int]) -> tuple[Head, str]:
    """Return a head to fit, and why it is this one.

    Args:
        method: "auto", "nearest-mean", "knn", "bias", "linear", "mlp", "last-blocks", "lora", or
            a `Head`.
        counts: Examples of each class.

    Raises:
        ConfigError: there is no such method.
        DataError: there are no examples.

    Example:
        >>> from edgeml.personalize import choose
        >>> choose("auto", {"mug": 3, "plate": 8})
        (NearestMean(), 'nearest-mean: mug has 3 examples, and a mean needs the fewest')
    """
    if isinstance(method, Head):
        return copy.copy(method), f"{method.name}: as asked"
    if method in METHODS:
        return METHODS[method](), f"{method}: as asked"
    if method != "auto":
        raise ConfigError(
            f"method: expected auto, a Head or one of {', '.join(METHODS)}; received {method!r}"
        )
    known = {label: n for label, n in counts.items() if label != UNKNOWN}
    if not known:
        raise DataError("there are no examples yet: add some of at least two classes")
    label = min(known, key=lambda name: known[name])
    fewest = known[label]
    if fewest < FEW:
        has = f"{label} has {fewest} example{'s' if fewest > 1 else ''}"
        return NearestMean(), f"nearest-mean: {has}, and a mean needs the fewest"
    if fewest < MANY:
        why = f"each class has {FEW} examples or more ({label}: {fewest}), enough to train on"
        return METHODS["linear"](), f"linear: {why}"
    why = f"each class has {MANY} examples or more ({label}: {fewest}), enough for a hidden layer"
    return METHODS["mlp"](), f"mlp: {why}"


def deeper(head: Head, counts: Mapping[str, int], blocks: bytes) -> tuple[LastBlocks | None, str]:
    """Return a head that trains blocks, when a fitted one is not enough and examples are many.

    And what is to be said of it where it takes too long to be tried unasked.
    """
    fewest = min((n for label, n in counts.items() if label != UNKNOWN), default=0)
    if fewest < BLOCKS or not head.held_out.accuracy < ENOUGH:
        return None, ""
    if len(blocks) > QUICK:
        size = f"{len(blocks) / 1e6:.1f} MB"
        return None, f"; last-blocks might do better, but trains {size}: ask for it by name"
    return LastBlocks(), ""
