"""seglearn's watch recordings, cut into windows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE = 50  # Hz
# From g and rad/s, which the data set has, to m/s² and rad/s.
SI = np.array([9.80665] * 3 + [1.0] * 3, np.float32)
WINDOW = 100  # samples, 2 s
HELD_OUT = 4  # the subject whose recordings the demo plays; never trained on
# The data set's own abbreviations (seven shoulder exercises of physiotherapy), spelled out.
LABELS = {
    "PEN": "pendulum",
    "ABD": "abduction",
    "FEL": "forward elevation",
    "IR": "internal rotation",
    "ER": "external rotation",
    "TRAP": "trapezius extension",
    "ROW": "upright row",
}


@dataclass(frozen=True, slots=True)
class Windows:
    """x float32 [N, 100, 6], y int64 [N], subject int [N]."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    subject: NDArray[np.int64]

    def of(self, mask: NDArray[np.bool_]) -> Windows:
        return Windows(self.x[mask], self.y[mask], self.subject[mask])


def load_recordings(path: str | Path) -> dict[str, Any]:
    """Read the data set; its X is a list of [samples, 6]: acceleration in g, rotation in rad/s."""
    # The file is a pickle from a package that the caller named and trusts.
    data: dict[str, Any] = np.load(path, allow_pickle=True).item()
    return data


def load_windows(path: str | Path, hop: int = RATE) -> Windows:
    """Cut all recordings into 2 s windows in SI units, one each second."""
    data = load_recordings(path)
    x, y, subject = [], [], []
    for values, label, who in zip(data["X"], data["y"], data["subject"], strict=True):
        for start in range(0, len(values) - WINDOW + 1, hop):
            x.append(values[start : start + WINDOW] * SI)
            y.append(label)
            subject.append(who)
    return Windows(np.array(x, np.float32), np.array(y, np.int64), np.array(subject, np.int64))


def subjects_in_folds() -> list[list[int]]:
    """Two subjects a fold, in a fixed order."""
    order = [int(s) for s in np.random.default_rng(0).permutation(np.arange(1, 11))]
    return [order[i : i + 2] for i in range(0, 10, 2)]
