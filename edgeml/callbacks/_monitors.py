"""Callbacks that watch a metric."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from edgeml.callbacks._base import Callback, Logs
from edgeml.callbacks._rate import learning_rate, set_learning_rate
from edgeml.errors import ConfigError

_log = logging.getLogger("edgeml.callbacks")

_RISING = ("acc", "auc", "precision", "recall", "f1", "r2", "cosine", "iou", "dice", "map")
_FALLING = ("loss", "error", "entropy", "mse", "mae", "rmse", "mape", "hinge", "divergence")


class Monitor(Callback):
    """Watches one value of the logs and knows which is better.

    Args:
        monitor: Name in the logs.
        mode: "min", "max" or "auto": what the model's metric of that name says, else its name.
        min_delta: How much better is better at all.

    Raises:
        ConfigError: the mode is unknown; when training starts: "auto" cannot tell.

    Example:
        >>> from edgeml.callbacks import Monitor
        >>> accuracy = Monitor("val_accuracy", min_delta=0.01)
        >>> accuracy.better(0.9, than=0.8), accuracy.better(0.805, than=0.8)
        (True, False)
    """

    def __init__(
        self, monitor: str = "val_loss", *, mode: str = "auto", min_delta: float = 0.0
    ) -> None:
        if mode not in ("auto", "min", "max"):
            raise ConfigError(f"mode: expected 'auto', 'min' or 'max', received {mode!r}")
        self.monitor, self.mode = monitor, mode
        self.min_delta = abs(min_delta)
        self._sign: float | None = None
        self._warned = False

    def direction(self) -> float:
        """Return -1 when larger is better, 1 when smaller is.

        Raises:
            ConfigError: the name does not tell.
        """
        if self._sign is None:
            self._sign = self._find_direction()
        return self._sign

    def _find_direction(self) -> float:
        if self.mode != "auto":
            return -1.0 if self.mode == "max" else 1.0
        name = self.monitor.removeprefix("val_")
        for metric in getattr(self.model, "metrics", None) or ():
            if getattr(metric, "name", None) == name and getattr(metric, "direction", ""):
                return -1.0 if metric.direction == "up" else 1.0
        if any(word in name.lower() for word in _FALLING):
            return 1.0
        if any(word in name.lower() for word in _RISING):
            return -1.0
        raise ConfigError(
            f"{type(self).__name__}: cannot tell whether {self.monitor!r} is better when larger or "
            "smaller: pass mode='max' or mode='min'"
        )

    def value(self, logs: Logs | None) -> float | None:
        """Return the watched value; None, with one warning, when it is not in the logs."""
        found = (logs or {}).get(self.monitor)
        if found is not None and np.size(found) == 1:
            return float(np.reshape(found, ()))
        if not self._warned:
            self._warned = True
            _log.warning(
                "%s: there is no number %r in the logs, so it does nothing; there are %s",
                type(self).__name__, self.monitor, ", ".join(logs or {}) or "none",
            )  # fmt: skip
        return None

    def better(self, value: float, than: float | None) -> bool:
        """Return whether `value` is better than `than`, by more than `min_delta`."""
        sign = self.direction()
        return than is None or sign * (value + sign * self.min_delta) < sign * than


class EarlyStopping(Monitor):
    """Stops when a value has not got better for `patience` epochs.

    Args:
        monitor: Name in the logs.
        min_delta: How much better is better at all.
        patience: Epochs to wait.
        mode: "min", "max" or "auto".
        baseline: Value to be better than, before which improvements do not count.
        restore_best_weights: Whether to end with the weights of the best epoch.
        start_from_epoch: Epochs before watching.

    Attributes:
        best: Best value.
        best_epoch: Its epoch, counted from 0.
        stopped_epoch: Epoch after which training was stopped; 0 when it was not.

    Example:
        >>> from edgeml.callbacks import EarlyStopping
        >>> EarlyStopping("val_accuracy", patience=3).patience
        3
    """

    def __init__(
        self, monitor: str = "val_loss", min_delta: float = 0.0, patience: int = 0,
        mode: str = "auto", baseline: float | None = None, restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(monitor, mode=mode, min_delta=min_delta)
        self.patience = patience
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self._start_over()

    def _start_over(self) -> None:
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best: float | None = None
        self._weights: Any = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start over."""
        self._start_over()
        self.direction()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look at the epoch's value."""
        value = self.value(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self._weights is None:
            self._weights, self.best_epoch = self.model.get_weights(), epoch
        self.wait += 1
        if self.better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self._weights = self.model.get_weights()
            if self.baseline is None or self.better(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True
            _log.info(
                "EarlyStopping: stopped after epoch %d; the best %s was %.6g in epoch %d",
                epoch + 1, self.monitor, self.best, self.best_epoch + 1,
            )  # fmt: skip

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Bring back the best weights, when asked to."""
        if self._weights is not None:
            self.model.set_weights(self._weights)
            self._weights = None  # a copy of the model is not kept for nothing


class ReduceLROnPlateau(Monitor):
    """Lowers the learning rate when a value has stopped getting better.

    Args:
        monitor: Name in the logs.
        factor: What the learning rate is multiplied by, below 1.
        patience: Epochs to wait.
        mode: "min", "max" or "auto".
        min_delta: How much better is better at all.
        cooldown: Epochs after a change before waiting starts.
        min_lr: Lowest learning rate.

    Raises:
        ConfigError: the factor is not below 1; when training starts: the optimizer follows a
            schedule.

    Example:
        >>> from edgeml.callbacks import ReduceLROnPlateau
        >>> ReduceLROnPlateau("loss", factor=0.5, patience=2).factor
        0.5
    """

    def __init__(
        self, monitor: str = "val_loss", factor: float = 0.1, patience: int = 10,
        mode: str = "auto", min_delta: float = 1e-4, cooldown: int = 0, min_lr: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(monitor, mode=mode, min_delta=min_delta)
        if not 0 < factor < 1:
            raise ConfigError(f"factor: expected a number between 0 and 1, received {factor}")
        self.factor, self.patience = factor, patience
        self.cooldown, self.min_lr = cooldown, min_lr
        self.wait = self.cooldown_counter = 0
        self.best: float | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start over."""
        self.wait = self.cooldown_counter = 0
        self.best = None
        self.direction()
        learning_rate(self)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look at the epoch's value."""
        rate = learning_rate(self)
        if logs is not None:
            logs["learning_rate"] = rate
        value = self.value(logs)
        if value is None:
            return
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.wait = 0
        if self.better(value, self.best):
            self.best, self.wait = value, 0
        elif self.cooldown_counter <= 0:
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                lower = max(rate * self.factor, self.min_lr)
                set_learning_rate(self, lower)
                self.cooldown_counter, self.wait = self.cooldown, 0
                _log.info(
                    "ReduceLROnPlateau: the learning rate is %.3g after epoch %d", lower, epoch + 1
                )


class TerminateOnNaN(Callback):
    """Stops at the step whose loss is not finite.

    `fit` itself raises NonFinite then, and keeps the last good weights; this ends training
    quietly where something else feeds the logs.

    Example:
        >>> from edgeml.callbacks import TerminateOnNaN
        >>> callbacks = [TerminateOnNaN()]
    """

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Look at the loss."""
        loss = (logs or {}).get("loss")
        if loss is not None and not np.isfinite(loss):
            _log.warning("TerminateOnNaN: the loss of batch %d is %s: training stops", batch, loss)
            self.model.stop_training = True
