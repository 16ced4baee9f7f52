"""Checks of what the user passes, and of what a model says of itself."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgeml.errors import ModelError

_MOST = 1 << 24  # of anything that metadata say: readings of a window, samples a second


def check_share(who: str, **values: float) -> None:
    """Check that arguments are in 0 to 1."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{who}: {name} must be in 0 to 1; received {value!r}")


def check_seconds(who: str, **values: float) -> None:
    """Check that arguments are finite seconds, not negative."""
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{who}: {name} must be 0 or more seconds; received {value!r}")


def number_in(
    spec: Mapping[str, Any], key: str, default: float | None = None, *, least: float = 0.0,
    most: float = _MOST,
) -> float:  # fmt: skip
    """Return a number of a description, such as a model's metadata.

    Raises:
        KeyError: it is not there, and there is no default.
        ValueError: it is no number of `least` to `most`.
    """
    value = spec[key] if default is None else spec.get(key, default)
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not least <= value <= most:
        raise ValueError(f"{key} {value!r}")
    return float(value)


def whole_in(
    spec: Mapping[str, Any], key: str, default: int | None = None, *, least: int = 1
) -> int:
    """Return a whole number of a description; otherwise as `number_in`."""
    value = number_in(spec, key, default, least=least)
    if value != int(value):
        raise ValueError(f"{key} {value!r}")
    return int(value)


def rate_in(spec: Mapping[str, Any]) -> float:
    """Return the samples a second of a description; otherwise as `number_in`."""
    return number_in(spec, "sample_rate", least=1e-6)


def check_names(who: str, wanted: Iterable[str], known: Sequence[str]) -> None:
    """Check that labels exist.

    Raises:
        ModelError: the model has no such class.
    """
    if missing := [name for name in wanted if name not in known]:
        raise ModelError(
            f"{who}: the model has no class {missing[0]!r}; it has {', '.join(known[:20])}"
            + (" …" if len(known) > 20 else "")
        )
