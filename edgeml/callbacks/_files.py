"""Callbacks that write files."""

from __future__ import annotations

import csv
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from edgeml.callbacks._base import Callback, Logs
from edgeml.callbacks._monitors import Monitor
from edgeml.errors import ConfigError

_log = logging.getLogger("edgeml.callbacks")


class ModelCheckpoint(Monitor):
    """Saves the model while it trains; a crash leaves the last whole file.

    Without the watched value in the logs it saves each time, so that nothing is lost.

    Args:
        filepath: File to write; may hold the epoch (from 1), the batch and logs:
            ``"best-{epoch:02d}-{loss:.2f}.onnx"``.
        monitor: Name in the logs.
        save_best_only: Whether to write only when the value is the best so far.
        save_weights_only: Whether to write weights (``.npz``) instead of the model.
        mode: "min", "max" or "auto".
        save_freq: "epoch", or a number of steps.
        initial_value_threshold: Value to be better than for the first file.

    Raises:
        ConfigError: `save_freq` is neither; in training: `filepath` names what is not logged.

    Example:
        >>> from edgeml.callbacks import ModelCheckpoint
        >>> keep = ModelCheckpoint("best.onnx", "val_accuracy", save_best_only=True)
    """

    def __init__(
        self, filepath: str | os.PathLike[str], monitor: str = "val_loss",
        save_best_only: bool = False, save_weights_only: bool = False, mode: str = "auto",
        save_freq: str | int = "epoch", initial_value_threshold: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(monitor, mode=mode)
        if save_freq != "epoch" and (not isinstance(save_freq, int) or save_freq < 1):
            raise ConfigError(
                f"save_freq: expected 'epoch' or a number of steps, received {save_freq!r}"
            )
        self.filepath = os.fspath(filepath)
        self.save_best_only, self.save_weights_only = save_best_only, save_weights_only
        self.save_freq = save_freq
        self.best = initial_value_threshold
        self._steps = self._epoch = 0

    @property
    def needs_batch_logs(self) -> bool:
        """Whether the next step is one to save at."""
        return isinstance(self.save_freq, int) and self._steps + 1 >= self.save_freq

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Know which values are better."""
        if self.save_best_only:
            self.direction()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Know the epoch, for the file's name."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Save, when it is time."""
        if isinstance(self.save_freq, int):
            self._steps += 1
            if self._steps >= self.save_freq:
                self._steps = 0
                self._save(logs or {}, epoch=self._epoch + 1, batch=batch + 1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save, when it is time."""
        if self.save_freq == "epoch":
            self._save(logs or {}, epoch=epoch + 1)

    def _save(self, logs: Logs, **place: int) -> None:
        if self.save_best_only and not self._is_best(logs):
            return
        known = {**logs, **place}
        try:
            path = Path(self.filepath.format(**known))
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise ConfigError(
                f"ModelCheckpoint: the file name {self.filepath!r} cannot be filled in "
                f"({error}); there are {', '.join(known)}"
            ) from error
        if self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)

    def _is_best(self, logs: Logs) -> bool:
        if np.size(logs.get(self.monitor, ())) != 1:
            if not self._warned:
                self._warned = True
                _log.warning(
                    "ModelCheckpoint: there is no number %r in the logs, so each time is saved; "
                    "there are %s", self.monitor, ", ".join(logs) or "none",
                )  # fmt: skip
            return True
        value = self.value(logs)
        if value is None or not self.better(value, self.best):
            return False
        self.best = value
        return True


class CSVLogger(Callback):
    """Writes the logs of each epoch to a CSV file, which is whole after each.

    Args:
        filename: File to write.
        separator: Between values.
        append: Whether to go on in a file that is there.

    Example:
        >>> from edgeml.callbacks import CSVLogger
        >>> logger = CSVLogger("training.csv", append=True)
    """

    def __init__(
        self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False
    ) -> None:
        self.filename = Path(filename)
        self.separator, self.append = separator, append
        self.keys: list[str] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start the file, or find the columns of the one that is there."""
        self.keys = None
        self.filename.parent.mkdir(parents=True, exist_ok=True)
        if not self.append or not self.filename.is_file():
            self.filename.write_text("", encoding="utf-8")
        elif self.filename.stat().st_size:
            with self.filename.open(newline="", encoding="utf-8") as file:
                self.keys = next(csv.reader(file, delimiter=self.separator))[1:]

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write a line."""
        logs = logs or {}
        # Opened for each line: nothing is left open when training fails.
        with self.filename.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=self.separator)
            if self.keys is None:
                self.keys = self._columns(logs)
                writer.writerow(["epoch", *self.keys])
            writer.writerow([epoch, *(_cell(logs.get(key, "NA")) for key in self.keys)])

    @staticmethod
    def _columns(logs: Logs) -> list[str]:
        """Return the columns: with places for validation, which may come in later epochs."""
        keys = list(logs)
        if not any(key.startswith("val_") for key in keys):
            keys += [f"val_{key}" for key in keys if key != "learning_rate"]
        return keys


def _cell(value: Any) -> Any:
    return value if np.ndim(value) == 0 else np.asarray(value).tolist()
