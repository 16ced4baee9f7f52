"""Callbacks that watch a metric."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from edgeml.callbacks._base import Callback, Logs
from edgeml.errors import ConfigError

_log = logging.getLogger("edgeml.callbacks")


class Monitor(Callback):
    """Watches one value of the logs and knows which is better.

    Args:
        monitor: Name in the logs.
        mode: "min", "max" or "auto": larger is better for accuracies, AUC, precision, recall, F1.
        min_delta: How much better is better at all.
    """

    def __init__(
        self, monitor: str = "val_loss", *, mode: str = "auto", min_delta: float = 0.0
    ) -> None:
        if mode not in ("auto", "min", "max"):
            raise ConfigError(f"mode: expected auto, min or max, received {mode!r}")
        rising = any(word in monitor for word in ("acc", "auc", "precision", "recall", "f1", "r2"))
        self.monitor = monitor
        self.min_delta = abs(min_delta)
        self._sign = -1.0 if mode == "max" or (mode == "auto" and rising) else 1.0
        self._warned = False

    def value(self, logs: Logs | None) -> float | None:
        """Return the watched value; None, with one warning, when it is not in the logs."""
        found = (logs or {}).get(self.monitor)
        if found is None and not self._warned:
            self._warned = True
            _log.warning(
                "%s: there is no %r in the logs; there are %s",
                type(self).__name__, self.monitor, ", ".join(logs or {}) or "none",
            )  # fmt: skip
        return None if found is None else float(found)

    def better(self, value: float, than: float | None) -> bool:
        """Return whether `value` is better than `than`, by more than `min_delta`."""
        return than is None or self._sign * (than - value) > self.min_delta


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

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start over."""
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best: float | None = None
        self._weights: Any = None

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
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Bring back the best weights, when asked to."""
        if self._weights is not None:
            self.model.set_weights(self._weights)


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
    """

    def __init__(
        self, monitor: str = "val_loss", factor: float = 0.1, patience: int = 10,
        mode: str = "auto", min_delta: float = 1e-4, cooldown: int = 0, min_lr: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(monitor, mode=mode, min_delta=min_delta)
        if factor >= 1.0:
            raise ConfigError(f"factor: expected a number below 1, received {factor}")
        self.factor, self.patience = factor, patience
        self.cooldown, self.min_lr = cooldown, min_lr

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start over."""
        self.wait = self.cooldown_counter = 0
        self.best: float | None = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look at the epoch's value."""
        value = self.value(logs)
        optimizer = self.model.optimizer
        if logs is not None:
            logs["learning_rate"] = optimizer.rate(optimizer.iterations + 1)
        if value is None:
            return
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.wait = 0
        if self.better(value, self.best):
            self.best, self.wait = value, 0
        elif self.cooldown_counter <= 0:
            self.wait += 1
            rate = float(optimizer.learning_rate)
            if self.wait >= self.patience and rate > self.min_lr:
                optimizer.learning_rate = max(rate * self.factor, self.min_lr)
                self.cooldown_counter, self.wait = self.cooldown, 0


class ModelCheckpoint(Monitor):
    """Saves the model while it trains; a crash leaves the last whole file.

    Args:
        filepath: File to write; may hold logs: ``"best-{epoch:02d}-{loss:.2f}.onnx"``.
        monitor: Name in the logs.
        save_best_only: Whether to write only when the value is the best so far.
        save_weights_only: Whether to write weights (``.npz``) instead of the model.
        mode: "min", "max" or "auto".
        save_freq: "epoch", or a number of steps.
    """

    def __init__(
        self, filepath: Any, monitor: str = "val_loss", save_best_only: bool = False,
        save_weights_only: bool = False, mode: str = "auto", save_freq: Any = "epoch",
    ) -> None:  # fmt: skip
        super().__init__(monitor, mode=mode)
        self.filepath = str(filepath)
        self.save_best_only, self.save_weights_only = save_best_only, save_weights_only
        self.save_freq = save_freq
        self.ignores_batches = save_freq == "epoch"
        self.best: float | None = None
        self._steps = self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Know the epoch, for the name."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Save, when it is time."""
        self._steps += 1
        if self._steps % int(self.save_freq) == 0:
            self._save(self._epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save, when the value is the best."""
        if self.save_freq == "epoch":
            self._save(epoch, logs)

    def _save(self, epoch: int, logs: Logs | None) -> None:
        if self.save_best_only:
            value = self.value(logs)
            if value is None or not self.better(value, self.best):
                return
            self.best = value
        path = Path(self.filepath.format(epoch=epoch + 1, **(logs or {})))
        if self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)


class TerminateOnNaN(Callback):
    """Stops at a loss that is not a number; training itself raises NonFinite before that."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look at the loss."""
        if not np.isfinite((logs or {}).get("loss", 0.0)):
            self.model.stop_training = True
