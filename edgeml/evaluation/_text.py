"""Recognised text against what was said."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgeml.errors import ConfigError, DataError
from edgeml.evaluation._stats import Array

Normalizer = str | Callable[[str], str] | None


def normalizer(given: Normalizer) -> Callable[[str], str]:
    """Return what a text is compared as.

    Args:
        given: "basic" (lower case, no punctuation but apostrophes within words, one blank
            between words), "none" (as it is), or a function.

    Raises:
        ConfigError: there is none of that name.
    """
    if callable(given):
        return given
    if given in ("none", None):
        return lambda text: text
    if given == "basic":
        return _basic
    raise ConfigError(f'normalize: expected "basic", "none" or a function, received {given!r}')


def _basic(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
    text = re.sub(r"(?<!\w)'|'(?!\w)|[^\w\s']|_", " ", text)
    return " ".join(text.split())


def distance(a: Sequence[Any], b: Sequence[Any]) -> int:
    """Return the fewest insertions, deletions and substitutions that make `b` of `a`.

    Example:
        >>> from edgeml.evaluation._text import distance
        >>> distance("kitten", "sitting")
        3
    """
    numbers: dict[Any, int] = {}
    x, y = (np.array([numbers.setdefault(v, len(numbers)) for v in s], np.int64) for s in (a, b))
    places = np.arange(len(y) + 1)
    row = places.copy()
    for i, item in enumerate(x, 1):
        changed = np.r_[i, np.minimum(row[1:] + 1, row[:-1] + (y != item))]
        # An insertion depends on its left neighbour: a running minimum along the row.
        row = np.minimum.accumulate(changed - places) + places
    return int(row[-1])


def edits(y: Sequence[str], p: Sequence[str], split: Callable[[str], Sequence[str]]) -> Array:
    """Return (examples, 2): edits, and the length of the reference."""
    pairs = [(split(a), split(b)) for a, b in zip(y, p, strict=True)]
    return np.array([[distance(a, b), len(a)] for a, b in pairs], np.float64)


def word_error_rate(y_true: Any, y_pred: Any, normalize: Normalizer = "basic") -> float:
    """Return the edits that make what was said of what was recognised, a word that was said.

    Args:
        y_true: What was said: a text or several.
        y_pred: What was recognised.
        normalize: "basic" (lower case, no punctuation), "none", or a function of a text.

    Raises:
        DataError: there are not as many, or nothing was said.

    Example:
        >>> from edgeml.evaluation import word_error_rate
        >>> word_error_rate("Turn the light on!", "turn the lights on")
        0.25
    """
    return _rate(y_true, y_pred, normalize, str.split)


def character_error_rate(y_true: Any, y_pred: Any, normalize: Normalizer = "basic") -> float:
    """Return the edits of characters, a character that was said; see `word_error_rate`.

    Example:
        >>> from edgeml.evaluation import character_error_rate
        >>> character_error_rate("four", "for")
        0.25
    """
    return _rate(y_true, y_pred, normalize, list)


def _rate(y: Any, p: Any, normalize: Normalizer, split: Callable[[str], Any]) -> float:
    said, heard = ([v] if isinstance(v, str) else list(v) for v in (y, p))
    if len(said) != len(heard):
        raise DataError(f"{len(said)} texts were said and {len(heard)} recognised")
    plain = normalizer(normalize)
    wrong, length = edits([plain(v) for v in said], [plain(v) for v in heard], split).sum(0)
    if not length:
        raise DataError("nothing was said: an error rate needs at least one word")
    return float(wrong / length)
