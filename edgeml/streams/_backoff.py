"""Delays between attempts."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Exponential backoff with jitter.

    The n-th delay is drawn evenly from the upper half of ``initial * factor**n``, capped
    at `maximum`: many devices that lost the same server don't return in step, and no
    delay is near zero.

    Args:
        initial: First delay before jitter, seconds.
        maximum: Largest delay, seconds.
        factor: Growth from one delay to the next.
        attempts: How often to try again; None is forever.

    Raises:
        ValueError: a number makes no sense.

    Source: "Exponential Backoff And Jitter", M. Brooker, AWS Architecture Blog, 2015
    (equal jitter).

    Example:
        >>> from edgeml.streams import Backoff
        >>> len(list(Backoff(attempts=3).delays()))
        3
    """

    initial: float = 0.5
    maximum: float = 30.0
    factor: float = 2.0
    attempts: int | None = None

    def __post_init__(self) -> None:
        if not (0 < self.initial < math.inf and 0 < self.maximum < math.inf):
            raise ValueError(
                "backoff: initial and maximum must be positive seconds; received "
                f"{self.initial} and {self.maximum}"
            )
        if not 1 <= self.factor < math.inf:
            raise ValueError(f"backoff: factor must be a number from 1; received {self.factor}")
        if self.attempts is not None and self.attempts < 0:
            raise ValueError(f"backoff: attempts must not be negative; received {self.attempts}")

    def delays(self) -> Iterator[float]:
        """Yield the delays, seconds, one an attempt."""
        n = 0
        delay = self.initial
        while self.attempts is None or n < self.attempts:
            yield random.uniform(delay / 2, delay)
            delay = min(delay * self.factor, self.maximum)
            n += 1
