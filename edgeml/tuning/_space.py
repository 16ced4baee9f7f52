"""What may be chosen, and from which values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeml.errors import ConfigError


@dataclass(frozen=True)
class Int:
    """A whole number.

    Args:
        low: Smallest.
        high: Largest.
        step: From one value to the next.
        log: Whether ratios matter, not differences; then `step` is 1.

    Example:
        >>> from edgeml.tuning import Int
        >>> Int(8, 128, log=True).high
        128
    """

    low: int
    high: int
    step: int = 1
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low <= self.high or self.step < 1 or (self.log and self.low < 1):
            raise ConfigError(f"{self}: expected low <= high, step >= 1 and, with log, low >= 1")

    def distribution(self) -> Any:
        """Return Optuna's form of it."""
        return _optuna().distributions.IntDistribution(self.low, self.high, self.log, self.step)


@dataclass(frozen=True)
class Float:
    """A number.

    Args:
        low: Smallest.
        high: Largest.
        log: Whether ratios matter, not differences, as for learning rates.
        step: From one value to the next; None is any.

    Example:
        >>> from edgeml.tuning import Float
        >>> Float(1e-4, 1e-1, log=True).log
        True
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        finite = math.isfinite(self.low) and math.isfinite(self.high)
        if not finite or self.low > self.high or (self.log and (self.low <= 0 or self.step)):
            raise ConfigError(
                f"{self}: expected finite low <= high and, with log, low > 0 and no step"
            )

    def distribution(self) -> Any:
        """Return Optuna's form of it."""
        return _optuna().distributions.FloatDistribution(
            float(self.low), float(self.high), self.log, self.step
        )


class Choice:
    """One of several values, which may be anything.

    Args:
        *options: The values.

    Example:
        >>> from edgeml.tuning import Choice
        >>> Choice("relu", "gelu")
        Choice('relu', 'gelu')
    """

    def __init__(self, *options: Any) -> None:
        if len(options) == 1 and isinstance(options[0], (list, tuple)):
            options = tuple(options[0])
        if not options:
            raise ConfigError("Choice: expected at least one option, received none")
        self.options = options

    def __repr__(self) -> str:
        return f"Choice({', '.join(map(repr, self.options))})"

    def distribution(self) -> Any:
        """Return Optuna's form of it: the numbers of the options, which may be anything."""
        return _optuna().distributions.CategoricalDistribution(range(len(self.options)))


Space = Mapping[str, Int | Float | Choice]


def checked(space: Any) -> dict[str, Int | Float | Choice]:
    """Return a space; a list stands for a choice.

    Raises:
        ConfigError: it is empty, or holds something else.
    """
    if not isinstance(space, Mapping) or not space:
        raise ConfigError(f"space: expected a dict of Int, Float and Choice, received {space!r}")
    found = {}
    for name, kind in space.items():
        kind = Choice(kind) if isinstance(kind, (list, tuple)) else kind
        if not isinstance(kind, (Int, Float, Choice)):
            raise ConfigError(f"space[{name!r}]: expected Int, Float or Choice, received {kind!r}")
        found[str(name)] = kind
    return found


def values(space: Space, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that Optuna's numbers stand for."""
    found = {}
    for name, value in raw.items():
        kind = space[name]
        found[name] = kind.options[int(value)] if isinstance(kind, Choice) else value
    return found


def _optuna() -> Any:
    from edgeml._require import require

    return require("optuna", extra="tune", purpose="a search for settings")
