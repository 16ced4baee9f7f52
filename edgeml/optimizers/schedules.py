"""Learning rates that change with the step, by Keras's names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["CosineDecay", "ExponentialDecay", "InverseTimeDecay", "PiecewiseConstantDecay",
           "PolynomialDecay", "Schedule"]  # fmt: skip


class Schedule:
    """``schedule(step) -> learning rate``; steps count from 0.

    Example:
        >>> from edgeml.optimizers.schedules import Schedule
        >>> class Halving(Schedule):
        ...     def __call__(self, step):
        ...         return 0.1 * 0.5**step
        >>> Halving()(2)
        0.025
    """

    def __call__(self, step: int) -> float:
        """Return the learning rate of `step`."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal schedule."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


@dataclass
class ExponentialDecay(Schedule):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``.

    Example:
        >>> from edgeml.optimizers.schedules import ExponentialDecay
        >>> ExponentialDecay(0.1, decay_steps=10, decay_rate=0.5)(20)
        0.025
    """

    initial_learning_rate: float
    decay_steps: int
    decay_rate: float
    staircase: bool = False

    def __call__(self, step: int) -> float:
        """Return the learning rate of `step`."""
        power = step // self.decay_steps if self.staircase else step / self.decay_steps
        return float(self.initial_learning_rate * self.decay_rate**power)


@dataclass
class InverseTimeDecay(Schedule):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``.

    Example:
        >>> from edgeml.optimizers.schedules import InverseTimeDecay
        >>> InverseTimeDecay(0.1, decay_steps=10, decay_rate=1.0)(10)
        0.05
    """

    initial_learning_rate: float
    decay_steps: int
    decay_rate: float
    staircase: bool = False

    def __call__(self, step: int) -> float:
        """Return the learning rate of `step`."""
        time = step // self.decay_steps if self.staircase else step / self.decay_steps
        return self.initial_learning_rate / (1.0 + self.decay_rate * time)


@dataclass
class PolynomialDecay(Schedule):
    """From `initial_learning_rate` to `end_learning_rate` along a power of the steps left.

    Example:
        >>> from edgeml.optimizers.schedules import PolynomialDecay
        >>> PolynomialDecay(0.1, decay_steps=10, end_learning_rate=0.0)(5)
        0.05
    """

    initial_learning_rate: float
    decay_steps: int
    end_learning_rate: float = 0.0001
    power: float = 1.0

    def __call__(self, step: int) -> float:
        """Return the learning rate of `step`."""
        left = 1.0 - min(step, self.decay_steps) / self.decay_steps
        span = self.initial_learning_rate - self.end_learning_rate
        return float(span * left**self.power + self.end_learning_rate)


@dataclass
class CosineDecay(Schedule):
    """Down along half a cosine, after a linear warm-up when asked for (Loshchilov, 2016).

    Example:
        >>> from edgeml.optimizers.schedules import CosineDecay
        >>> CosineDecay(0.1, decay_steps=10)(10)
        0.0
    """

    initial_learning_rate: float
    decay_steps: int
    alpha: float = 0.0
    warmup_target: float | None = None
    warmup_steps: int = 0

    def __call__(self, step: int) -> float:
        """Return the learning rate of `step`."""
        top = self.initial_learning_rate
        if self.warmup_target is not None:
            if step < self.warmup_steps:
                return top + (self.warmup_target - top) * step / self.warmup_steps
            top, step = self.warmup_target, step - self.warmup_steps
        share = min(step, self.decay_steps) / self.decay_steps
        return top * ((1.0 - self.alpha) * 0.5 * (1.0 + math.cos(math.pi * share)) + self.alpha)


@dataclass
class PiecewiseConstantDecay(Schedule):
    """``values[i]`` up to and including ``boundaries[i]``, the last value after them.

    Example:
        >>> from edgeml.optimizers.schedules import PiecewiseConstantDecay
        >>> PiecewiseConstantDecay([10, 20], [0.1, 0.01, 0.001])(15)
        0.01
    """

    boundaries: Sequence[int]
    values: Sequence[float]

    def __call__(self, step: int) -> float:
        """Return the learning rate of `step`."""
        passed = sum(step > boundary for boundary in self.boundaries)
        return float(self.values[passed])
