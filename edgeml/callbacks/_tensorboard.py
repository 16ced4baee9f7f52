"""Logs for TensorBoard."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgeml._require import require
from edgeml.callbacks._base import Callback, Logs
from edgeml.errors import ConfigError


class TensorBoard(Callback):
    """Writes losses, metrics and weights for TensorBoard, by Keras's names.

    Look at them with ``tensorboard --logdir logs``, here or where the folder was copied to. It
    needs ``pip install "edgeml-runtime[tensorboard]"``: a writer without TensorFlow.

    Args:
        log_dir: Folder to write to; training and validation have a folder each in it.
        histogram_freq: Epochs from one histogram of the weights to the next; 0 for none.
        write_steps_per_second: Whether to write how fast each epoch was.
        update_freq: "epoch"; or "batch" or a number of steps, after which the loss and metrics of
            the epoch so far are written, too.

    Raises:
        MissingExtra: in training: the writer is not installed.
        ConfigError: an argument is none of these.

    Example:
        >>> from edgeml.callbacks import TensorBoard
        >>> callbacks = [TensorBoard("logs/first", histogram_freq=1)]
    """

    def __init__(
        self, log_dir: str | os.PathLike[str] = "logs", histogram_freq: int = 0, *,
        write_steps_per_second: bool = False, update_freq: str | int = "epoch",
    ) -> None:  # fmt: skip
        if update_freq not in ("batch", "epoch") and (
            not isinstance(update_freq, int) or update_freq < 1
        ):
            raise ConfigError(
                f"update_freq: expected 'epoch', 'batch' or a number of steps, received "
                f"{update_freq!r}"
            )
        if histogram_freq < 0:
            raise ConfigError(f"histogram_freq: expected at least 0, received {histogram_freq}")
        self.log_dir, self.histogram_freq = Path(log_dir), histogram_freq
        self.write_steps_per_second = write_steps_per_second
        self.update_freq: Any = 1 if update_freq == "batch" else update_freq
        self._writers: dict[str, Any] = {}
        self._steps = self._before = 0
        self._start = 0.0

    @property
    def needs_batch_logs(self) -> bool:
        """Whether the next step is one to write."""
        return bool(self.update_freq != "epoch" and (self._steps + 1) % self.update_freq == 0)

    def _writer(self, name: str) -> Any:
        if name not in self._writers:
            found = require("tensorboardX", extra="tensorboard", purpose="TensorBoard")
            self._writers[name] = found.SummaryWriter(str(self.log_dir / name))
        return self._writers[name]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Open the file: that the writer is missing is known before training."""
        self._steps = 0
        self._writer("train")

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Start the clock."""
        self._start, self._before = time.perf_counter(), self._steps

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Write the epoch so far, when it is time."""
        self._steps += 1
        if logs and self.update_freq != "epoch" and self._steps % self.update_freq == 0:
            self._scalars("batch", logs, self._steps - 1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write the epoch."""
        rate = self.model.optimizer.rate(self.model.optimizer.iterations + 1)
        found = {"learning_rate": rate, **(logs or {})}
        if self.write_steps_per_second:
            seconds = time.perf_counter() - self._start
            found["steps_per_second"] = (self._steps - self._before) / max(seconds, 1e-9)
        self._scalars("epoch", found, epoch)
        if self.histogram_freq and (epoch + 1) % self.histogram_freq == 0:
            for name, values in self._weights():
                self._writer("train").add_histogram(f"{name}/histogram", values, epoch)

    def _weights(self) -> Any:
        weights = getattr(self.model, "weights", None)
        if weights is not None:
            return [(p.path, p.value) for p in weights]
        return zip(self.model.parameters, self.model.get_weights(), strict=False)

    def _scalars(self, prefix: str, logs: Logs, step: int) -> None:
        for name, value in logs.items():
            if np.ndim(value) == 0:
                part = "validation" if name.startswith("val_") else "train"
                tag = f"{prefix}_{name.removeprefix('val_')}"
                self._writer(part).add_scalar(tag, float(value), step)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}
