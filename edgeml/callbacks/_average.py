"""Evaluation with averaged weights."""

from __future__ import annotations

from typing import Any

from edgeml.callbacks._base import Callback, Logs
from edgeml.errors import ConfigError


class SwapEMAWeights(Callback):
    """Evaluates with the optimizer's averaged weights, and goes on training with its own.

    Args:
        swap_on_epoch: Whether what comes after it at the end of an epoch, such as a
            `ModelCheckpoint` that follows in the list, sees the averaged weights, too.

    Raises:
        ConfigError: in training: the optimizer has no ``use_ema=True``.

    Example:
        >>> from edgeml.callbacks import ModelCheckpoint, SwapEMAWeights
        >>> callbacks = [SwapEMAWeights(swap_on_epoch=True), ModelCheckpoint("average.onnx")]
    """

    def __init__(self, swap_on_epoch: bool = False) -> None:
        self.swap_on_epoch = swap_on_epoch
        self._own: Any = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Check that there is an average."""
        self._own = None
        if not self.model.optimizer.use_ema:
            raise ConfigError(
                "SwapEMAWeights needs averaged weights: give the optimizer use_ema=True"
            )

    def _take_average(self) -> None:
        state = self.model._engine.state
        if self._own is None and self.model.optimizer.iterations:
            self._own = state.vector("parameters").copy()
            self._set(state.vector("average"))

    def _take_own(self) -> None:
        if self._own is not None:
            self._set(self._own)
            self._own = None

    def _set(self, values: Any) -> None:
        state = self.model._engine.state
        state.vector("parameters")[...] = values
        state.version += 1

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Train with the own weights."""
        self._take_own()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Show the averaged weights, when asked to."""
        if self.swap_on_epoch:
            self._take_average()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Training has ended with the averaged weights."""
        self._own = None

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Evaluate with the averaged weights."""
        self._take_average()

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Go back to the own weights."""
        self._take_own()
