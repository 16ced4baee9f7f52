"""Checks of what the user passes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from edgeml.errors import ModelError


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
