"""Learning curves."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgeml.errors import ConfigError, DataError
from edgeml.plots._picture import BLUE, ORANGE, Picture, grid_of, new_figure, save, shown, tidy

if TYPE_CHECKING:
    from edgeml.callbacks import History

_SEPARATORS = ",;\t"


class Best(NamedTuple):
    """The best value of a metric, and the epoch it was reached in, counted from 1."""

    epoch: int
    value: float


@dataclass
class Curves(Picture):
    """Losses and metrics over the epochs, training and validation together; see `curves`.

    Attributes:
        epochs: Numbers of the epochs, from 1, for each name.
        values: The values in these epochs, for each name.
        best: For each metric the best epoch: by validation, where there was one. Metrics of
            which it is not known whether larger is better are not in it.
    """

    epochs: dict[str, list[int]]
    values: dict[str, list[float]]
    best: dict[str, Best] = field(default_factory=dict)

    def plot(self, path: str | os.PathLike[str] | None = None, ax: Any = None) -> Any:
        """Draw the curves, one panel a metric; return matplotlib's figure.

        Args:
            path: File to write (``.png``, ``.svg``, ``.pdf``), or None.
            ax: matplotlib axes to draw all curves on; None: a new figure.

        Raises:
            MissingExtra: matplotlib is not installed.
            ConfigError: `path` ends in no format that matplotlib writes.
        """
        if ax is None:
            return super().plot(path)
        for name in self._names():
            self._panel(ax, name, f"{name} ", None)
        ax.legend(fontsize=8)
        figure = ax.get_figure()
        if path is not None:
            save(figure, path)
        return figure

    def _names(self) -> list[str]:
        """Return the metrics; of those that only validation had, the validation's name."""
        return [
            n for n in self.values if n.removeprefix("val_") not in self.values or n[:4] != "val_"
        ]

    def _draw(self) -> Any:
        names = self._names()
        rows, columns = grid_of(len(names), 4)
        figure = new_figure(4.2 * columns, 3.2 * rows)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, name in zip(panels, names, strict=False):
            self._panel(axis, name, "", self.best.get(name))
            axis.set_title(shown(name), fontsize=11)
            if len(axis.get_legend_handles_labels()[0]) > 1:
                axis.legend(fontsize=8)
        for axis in panels[len(names) :]:
            axis.remove()
        return figure

    def _panel(self, axis: Any, name: str, prefix: str, best: Best | None) -> None:
        style = {"marker": "o", "markersize": 3, "linewidth": 1.6}
        first = axis.plot(
            self.epochs[name], self.values[name], label=f"{prefix}training",
            color=None if prefix else BLUE, **style,
        )[0]  # fmt: skip
        other = f"val_{name}"
        if other in self.values:
            axis.plot(
                self.epochs[other], self.values[other], label=f"{prefix}validation",
                linestyle="--", color=first.get_color() if prefix else ORANGE, **style,
            )  # fmt: skip
        if best is not None:
            axis.scatter(
                [best.epoch], [best.value], s=90, facecolors="none", edgecolors="black",
                linewidths=1.2, zorder=3, label=f"best: {best.value:.4g}, epoch {best.epoch}",
            )  # fmt: skip
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        tidy(axis)


def curves(history: Any) -> Curves:
    """Return the learning curves of a training.

    Args:
        history: What `fit` returned (`edgeml.callbacks.History`); a dict of lists, as in its
            ``history``; or the path of a table that `edgeml.callbacks.CSVLogger` or
            ``History.to_csv`` wrote.

    Raises:
        DataError: there is nothing to draw, or the file is no such table.

    Example:
        >>> from edgeml import plots
        >>> from edgeml.callbacks import History
        >>> history = History()
        >>> for epoch, loss in enumerate([0.9, 0.4, 0.6]):
        ...     history.on_epoch_end(epoch, {"loss": loss})
        >>> plots.curves(history).best["loss"]
        Best(epoch=2, value=0.4)
    """
    model = None
    if isinstance(history, str | os.PathLike):
        rows = _read(Path(history))
    else:
        rows = _rows(history)
        model = getattr(history, "model", None)
    made = Curves({}, {})
    for epoch, row in rows:
        for name, value in row.items():
            if np.ndim(value) == 0:
                made.epochs.setdefault(name, []).append(epoch + 1)
                made.values.setdefault(name, []).append(float(value))
    if not made.values:
        raise DataError("the history is empty: train for at least one epoch before plotting")
    for name in made._names():
        best = _best(made, name, model)
        if best is not None:
            made.best[name] = best
    return made


def _rows(history: History | Mapping[str, Sequence[Any]]) -> list[tuple[int, dict[str, Any]]]:
    if isinstance(history, Mapping):
        last = max(map(len, history.values()), default=0)
        return [(i, {n: v[i] for n, v in history.items() if i < len(v)}) for i in range(last)]
    return list(zip(history.epoch, history._rows, strict=True))


def _read(path: Path) -> list[tuple[int, dict[str, Any]]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise DataError(f"{path} cannot be read: {reason}", path=str(path)) from error
    head = lines[0] if lines else ""
    separator = next((s for s in _SEPARATORS if head.startswith(f"epoch{s}")), "")
    if not separator:
        raise DataError(
            f"{path} is no table of a training: expected a first line such as "
            f"'epoch,loss,val_loss', as CSVLogger writes it; received {head[:60]!r}",
            path=str(path),
        )
    names, *table = csv.reader(lines, delimiter=separator)
    rows = []
    for number, cells in enumerate(table, 2):
        try:
            given = {
                n: c for n, c in zip(names[1:], cells[1:], strict=False) if c not in ("", "NA")
            }
            row = {n: float(c) for n, c in given.items() if not c.startswith("[")}
            rows.append((int(cells[0]), row))
        except (ValueError, IndexError) as error:
            raise DataError(
                f"{path}, line {number}: expected an epoch and numbers, received "
                f"{separator.join(cells)[:60]!r}",
                path=str(path), line=number,
            ) from error  # fmt: skip
    return rows


def _best(made: Curves, name: str, model: Any) -> Best | None:
    from edgeml.callbacks import Monitor

    watched = f"val_{name}" if f"val_{name}" in made.values else name
    monitor = Monitor(watched)
    monitor.model = model
    try:
        sign = monitor.direction()
    except ConfigError:
        return None
    values = np.asarray(made.values[watched])
    if not np.isfinite(values).any():
        return None
    i = int(np.nanargmin(np.where(np.isfinite(values), sign * values, np.nan)))
    return Best(made.epochs[watched][i], made.values[watched][i])
