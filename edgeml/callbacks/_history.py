"""What happened in training, and its picture."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np

from edgeml._require import require
from edgeml.callbacks._base import Callback, Logs
from edgeml.errors import DataError


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

        Values that are arrays are left out.

        Args:
            path: File to write (``.png``, ``.svg``, ``.pdf``), or None.
            ax: matplotlib axes to draw all curves on; None: a new figure, one picture a metric.

        Raises:
            MissingExtra: matplotlib is not installed.
            DataError: there is nothing to draw.
        """
        names = [name for name in self.history if not name.startswith("val_")]
        names = [name for name in names if np.ndim(self.history[name][0]) == 0]
        if not names:
            raise DataError("the history is empty: train for at least one epoch before plotting")
        if ax is not None:
            figure = ax.get_figure()
            for name in names:
                self._draw(ax, name, f"{name} ", self._points(name))
            ax.legend()
        else:
            # A Figure of its own: pyplot would keep it, and change what the user draws.
            figures = require("matplotlib.figure", extra="plot", purpose="Drawing curves")
            figure = figures.Figure(figsize=(4.5 * len(names), 3.2), layout="constrained")
            for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names,
                                  strict=True):  # fmt: skip
                self._draw(axis, name, "", self._points(name))
                axis.set_title(name)
                axis.legend()
        if path is not None:
            figure.savefig(Path(path), dpi=120)
        return figure

    def _points(self, name: str) -> tuple[list[int], list[Any]]:
        """Return epochs, counted from 1, and values: validation may skip some epochs."""
        rows = zip(self.epoch, self._rows, strict=True)
        found = [(epoch + 1, row[name]) for epoch, row in rows if name in row]
        return [epoch for epoch, _ in found], [value for _, value in found]

    def _draw(self, axis: Any, name: str, prefix: str, points: Any) -> None:
        line = axis.plot(*points, marker="o", markersize=3, label=f"{prefix}training")[0]
        if f"val_{name}" in self.history:
            axis.plot(
                *self._points(f"val_{name}"), marker="o", markersize=3, linestyle="--",
                label=f"{prefix}validation", color=line.get_color() if prefix else None,
            )  # fmt: skip
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a table: one line an epoch, from 0; empty where an epoch has no such value."""
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", *self.history])
            for epoch, row in zip(self.epoch, self._rows, strict=True):
                values = (row.get(name, "") for name in self.history)
                writer.writerow([epoch, *(np.asarray(v).tolist() for v in values)])
