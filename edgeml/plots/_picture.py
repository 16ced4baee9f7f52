"""What all pictures share: numbers, a matplotlib figure of them, and files."""

from __future__ import annotations

import dataclasses
import io
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeml._require import require
from edgeml.errors import ConfigError

DPI = 120

# Okabe and Ito's colours, which people who are colour-blind tell apart.
BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER, BLACK = COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000",
)  # fmt: skip
MARKERS = "osD^vPX*"
GREY = "#5b6573"


class Picture:
    """Numbers, and the picture that shows them; what the functions of this package return.

    A notebook shows it by itself.

    Example:
        >>> from edgeml import plots
        >>> matrix = plots.confusion_matrix([0, 1, 1], [0, 1, 0])
        >>> matrix.to_dict()["counts"], type(matrix.plot()).__name__
        ([[1, 0], [1, 1]], 'Figure')
    """

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw it; return a ``matplotlib.figure.Figure`` that pyplot knows nothing of.

        Args:
            path: File to write (``.png``, ``.svg``, ``.pdf``), or None.

        Raises:
            MissingExtra: matplotlib is not installed.
            ConfigError: `path` ends in no format that matplotlib writes.
        """
        drawn = self._draw()
        if path is not None:
            save(drawn, path)
        return drawn

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON values; what is not finite is None, pictures are left out."""
        found = dataclasses.fields(self)  # type: ignore[arg-type]
        return {f.name: plain(getattr(self, f.name)) for f in found if f.repr}

    def _draw(self) -> Any:
        raise NotImplementedError

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self._draw().savefig(file, format="png", dpi=DPI)
        return file.getvalue()


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure; sizes in inches."""
    # A Figure of its own: pyplot would keep it, and needs a screen or the main thread.
    figures = require("matplotlib.figure", extra="plot", purpose="Drawing")
    return figures.Figure(figsize=(width, height), layout="constrained", facecolor="white")


def save(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure; the file is the old or the new one, whatever happens.

    Raises:
        ConfigError: the name ends in no format that matplotlib writes.
    """
    from edgeml.training._files import writing

    path = Path(path)
    known = sorted(figure.canvas.get_supported_filetypes())
    kind = path.suffix.lower().removeprefix(".")
    if kind not in known:
        raise ConfigError(
            f"{path}: a picture's file ends in one of {', '.join(f'.{k}' for k in known)}; "
            f"received {path.suffix or 'no ending'!r}"
        )
    with writing(path) as file:
        figure.savefig(file, format=kind, dpi=DPI)


def tidy(axis: Any, *, grid: str = "both") -> None:
    """Take away the lines that say nothing."""
    axis.spines[["top", "right"]].set_visible(False)
    if grid:
        axis.grid(axis=grid, alpha=0.25, linewidth=0.6)
        axis.set_axisbelow(True)


def grid_of(count: int, columns: int) -> tuple[int, int]:
    """Return rows and columns for so many panels."""
    columns = min(columns, count)
    return math.ceil(count / columns), columns


def shown(text: Any, width: int = 0) -> str:
    """Return a name as matplotlib shows it: dollars are no formulas; too long, without its middle.

    Args:
        text: The name.
        width: Most characters; 0 for any.
    """
    name = str(text)
    if width and len(name) > width:
        tail = (width - 1) * 2 // 3
        name = f"{name[: width - 1 - tail]}…{name[-tail:]}"
    return name.replace("$", r"\$")


def percent(share: float) -> str:
    """Return a share in percent, with a digit more where it is small."""
    if 0 < share < 0.0005:
        return "<0.1%"
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"


def plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.repr}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
