"""Callbacks that set the learning rate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeml.callbacks._base import Callback, Logs
from edgeml.errors import ConfigError


def learning_rate(callback: Callback) -> float:
    """Return the optimizer's learning rate.

    Raises:
        ConfigError: the optimizer follows a schedule, which a callback cannot set.
    """
    rate = callback.model.optimizer.learning_rate
    if callable(rate):
        raise ConfigError(
            f"{type(callback).__name__} cannot set the learning rate: the optimizer follows a "
            "schedule; give it a number, or leave the callback out"
        )
    return float(rate)


def set_learning_rate(callback: Callback, rate: float) -> None:
    """Set the optimizer's learning rate, from the next step on.

    Raises:
        ConfigError: it is not a number of at least 0.
    """
    if not isinstance(rate, (int, float, np.number)) or not np.isfinite(rate) or rate < 0:
        raise ConfigError(
            f"{type(callback).__name__}: expected a learning rate of at least 0, received {rate!r}"
        )
    callback.model.optimizer.learning_rate = float(rate)


class LearningRateScheduler(Callback):
    """Sets the learning rate of each epoch.

    Args:
        schedule: ``fn(epoch, learning_rate) -> learning rate``.

    Raises:
        ConfigError: the optimizer follows a schedule, or the function returns no learning rate.

    Example:
        >>> from edgeml.callbacks import LearningRateScheduler
        >>> halve = LearningRateScheduler(lambda epoch, rate: rate * 0.5 if epoch else rate)
        >>> halve.schedule(1, 0.1)
        0.05
    """

    def __init__(self, schedule: Callable[[int, float], float]) -> None:
        if not callable(schedule):
            raise ConfigError(
                f"schedule: expected a function of epoch and learning rate, received {schedule!r}"
            )
        self.schedule = schedule

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Set the epoch's learning rate."""
        set_learning_rate(self, self.schedule(epoch, learning_rate(self)))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Log it."""
        if logs is not None:
            logs["learning_rate"] = learning_rate(self)
