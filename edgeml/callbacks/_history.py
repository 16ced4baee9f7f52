"""What happened in training, and its picture."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np

from edgeml.callbacks._base import Callback, Logs


class History(Callback):
    """Losses and metrics of each epoch; what `fit` returns.

    Attributes:
        epoch: Numbers of the epochs, from 0.
        history: A list of values for each name.
        params: ``epochs``, ``steps`` and ``verbose``, as training was asked for.

    Example:
        >>> from edgeml.callbacks import History
        >>> history = History()
        >>> history.on_epoch_end(0, {"loss": 0.5, "val_loss": 0.6})
        >>> history.epoch, history.history["val_loss"]
        ([0], [0.6])
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[Any]] = {}
        self._rows: list[Logs] = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write down an epoch."""
        self.epoch.append(epoch)
        self._rows.append(dict(logs or {}))
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)

    def plot(self, path: str | os.PathLike[str] | None = None, ax: Any = None) -> Any:
        """Draw the curves, training and validation together; return matplotlib's figure.

        The best epoch of each metric is marked. Values that are arrays are left out.

        Args:
            path: File to write (``.png``, ``.svg``, ``.pdf``), or None.
            ax: matplotlib axes to draw all curves on; None: a new figure, one picture a metric.

        Raises:
            MissingExtra: matplotlib is not installed.
            DataError: there is nothing to draw.
        """
        from edgeml.plots import curves

        return curves(self).plot(path, ax)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a table: one line an epoch, from 0; empty where an epoch has no such value."""
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", *self.history])
            for epoch, row in zip(self.epoch, self._rows, strict=True):
                values = (row.get(name, "") for name in self.history)
                writer.writerow([epoch, *(np.asarray(v).tolist() for v in values)])
