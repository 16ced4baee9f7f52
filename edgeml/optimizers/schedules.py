"""Learning rates that change with the step, by Keras's names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgeml.errors import ConfigError

__all__ = ["CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay",
           "LearningRateSchedule", "PiecewiseConstantDecay", "PolynomialDecay",
           "Schedule"]  # fmt: skip


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

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Schedule:
        """Return the schedule that `get_config` described."""
        return cls(**config)


LearningRateSchedule = Schedule  # Keras's name


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

    With `cycle` it does not end: the steps in all are the next multiple of `decay_steps`.

    Example:
        >>> from edgeml.optimizers.schedules import PolynomialDecay
        >>> PolynomialDecay(0.1, decay_steps=10, end_learning_rate=0.0)(5)
        0.05
    """

    initial_learning_rate: float
    decay_steps: int
    end_learning_rate: float = 0.0001
    power: float = 1.0
    cycle: bool = False

    def __post_init__(self) -> None:
        _check_steps("decay_steps", self.decay_steps)

    def __call__(self, step: int) -> float:
        """Return the learning rate of `step`."""
        steps = self.decay_steps
        if self.cycle:
            steps *= max(1, math.ceil(step / steps))
        left = 1.0 - min(step, steps) / steps
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
class CosineDecayRestarts(Schedule):
    """Down along half a cosine, again and again (Loshchilov and Hutter, 2017).

    Args:
        initial_learning_rate: The learning rate of step 0.
        first_decay_steps: Steps down for the first time, above 0.
        t_mul: What the steps are multiplied by each time.
        m_mul: What the learning rate of the start is multiplied by each time.
        alpha: The lowest learning rate, as a fraction of the first.

    Example:
        >>> from edgeml.optimizers.schedules import CosineDecayRestarts
        >>> schedule = CosineDecayRestarts(0.1, first_decay_steps=10, m_mul=0.5)
        >>> [round(schedule(step), 3) for step in (0, 5, 9, 10, 20, 30)]
        [0.1, 0.05, 0.002, 0.05, 0.025, 0.025]
    """

    initial_learning_rate: float
    first_decay_steps: int
    t_mul: float = 2.0
    m_mul: float = 1.0
    alpha: float = 0.0

    def __post_init__(self) -> None:
        _check_steps("first_decay_steps", self.first_decay_steps)
        if not self.t_mul >= 1.0:
            raise ConfigError(f"t_mul: expected at least 1, received {self.t_mul!r}")

    def __call__(self, step: int) -> float:
        """Return the learning rate of `step`."""
        height, length, left = 1.0, float(self.first_decay_steps), float(step)
        if self.t_mul == 1.0:
            height, left = self.m_mul ** (left // length), left % length
        while left >= length:
            left -= length
            height, length = height * self.m_mul, length * self.t_mul
        wave = 0.5 * height * (1.0 + math.cos(math.pi * left / length))
        return self.initial_learning_rate * ((1.0 - self.alpha) * wave + self.alpha)


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


def _check_steps(name: str, steps: int) -> None:
    if not steps > 0:
        raise ConfigError(f"{name}: expected at least 1, received {steps!r}")
