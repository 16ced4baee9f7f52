"""What happened in training, and its picture."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from edgeml._require import require
from edgeml.callbacks._base import Callback, Logs


class History(Callback):
    """Losses and metrics of each epoch; what `fit` returns.

    Attributes:
        epoch: Numbers of the epochs.
        history: A list of values for each name.
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[Any]] = {}

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write down an epoch."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)

    def plot(self, path: Any = None) -> Any:
        """Draw the curves, training and validation together; return matplotlib's figure.

        Args:
            path: File to write (``.png``, ``.svg``, ``.pdf``), or None.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        figures = require("matplotlib.figure", extra="plot", purpose="Drawing curves")
        names = [name for name in self.history if not name.startswith("val_")]
        figure = figures.Figure(figsize=(4.5 * len(names), 3.2), layout="constrained")
        for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            axis.plot(self.epoch, self.history[name], marker="o", markersize=3, label="training")
            if f"val_{name}" in self.history:
                values = self.history[f"val_{name}"]
                axis.plot(self.epoch[-len(values) :], values, marker="o", markersize=3,
                          label="validation")  # fmt: skip
                axis.legend()
            axis.set_xlabel("epoch")
            axis.set_title(name)
            axis.grid(alpha=0.3)
        if path is not None:
            figure.savefig(Path(path), dpi=120)
        return figure

    def to_csv(self, path: Any) -> None:
        """Write a table: one line an epoch."""
        names = list(self.history)
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", *names])
            for i, epoch in enumerate(self.epoch):
                row = [v[i] if i < len(v) else "" for v in self.history.values()]
                writer.writerow([epoch, *row])
