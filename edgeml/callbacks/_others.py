"""Callbacks that steer the learning rate or write down what happens."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeml.callbacks._base import Callback, Logs


class LearningRateScheduler(Callback):
    """Sets the learning rate of each epoch.

    Args:
        schedule: ``fn(epoch, learning_rate) -> learning rate``.
    """

    def __init__(self, schedule: Callable[[int, float], float]) -> None:
        self.schedule = schedule

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Set the epoch's learning rate."""
        optimizer = self.model.optimizer
        optimizer.learning_rate = float(self.schedule(epoch, float(optimizer.learning_rate)))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Log it."""
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


class CSVLogger(Callback):
    """Writes the logs of each epoch to a CSV file, line by line.

    Args:
        filename: File to write.
        separator: Between values.
        append: Whether to go on in a file that is there.
    """

    def __init__(self, filename: Any, separator: str = ",", append: bool = False) -> None:
        self.filename = Path(filename)
        self.separator, self.append = separator, append
        self._file: Any = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Open the file."""
        going_on = self.append and self.filename.is_file() and self.filename.stat().st_size > 0
        self._file = self.filename.open("a" if self.append else "w", newline="", encoding="utf-8")
        self._keys: list[str] | None = None
        self._head = not going_on

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write a line."""
        logs = logs or {}
        if self._keys is None:
            self._keys = list(logs)
            self._writer = csv.writer(self._file, delimiter=self.separator)
            if self._head:
                self._writer.writerow(["epoch", *self._keys])
        self._writer.writerow([epoch, *(logs.get(key, "NA") for key in self._keys)])
        self._file.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
