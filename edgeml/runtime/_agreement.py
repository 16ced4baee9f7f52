"""Whether a delegate's outputs are the CPU's, as near as its precision allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Root mean square of the difference, relative to that of the CPU's outputs; the largest single
# difference may be 4 times that. Kernels for int8 round differently at each layer: between
# right ones of different makers 0.04 to 0.13 was found on detectors and classifiers.
TOLERANCES = {"fp32": 1e-3, "tf32": 5e-3, "fp16": 1e-2, "bf16": 3e-2, "int8": 0.2}
_PEAK = 4.0

Outputs = Mapping[str, Any]


def disagreement(expected: Sequence[Outputs], received: Sequence[Outputs]) -> tuple[float, str]:
    """Return how far outputs are apart, and in which output.

    Floats and 8-bit numbers count by their difference, relative to the expected ones; other
    integers and booleans by the part that is another. NaN or infinity where the other has a
    number is infinitely far.

    Args:
        expected: Outputs of several runs on the CPU.
        received: Of the same runs elsewhere.
    """
    worst = (0.0, "")
    for name in expected[0]:
        if not all(isinstance(run[name], np.ndarray) for run in expected):
            continue  # maps and sequences, made of the other outputs
        error = _difference(_joined(expected, name), _joined(received, name))
        worst = max(worst, (error, name))
    return worst


def _joined(runs: Sequence[Outputs], name: str) -> Any:
    return np.concatenate([np.asarray(run[name]).reshape(-1) for run in runs])


def _difference(expected: Any, received: Any) -> float:
    if expected.shape != received.shape:
        return float("inf")
    if expected.dtype.kind not in "fiu" or (expected.dtype.kind != "f" and expected.itemsize > 1):
        return float(np.mean(expected != received)) if expected.size else 0.0
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(received)):
        return float("inf")
    right = expected[finite].astype(np.float64)
    apart = received[finite].astype(np.float64) - right
    if not apart.any():
        return 0.0
    if not right.any():
        return float("inf")
    rms = np.sqrt(np.mean(apart**2) / np.mean(right**2))
    return float(max(rms, np.abs(apart).max() / np.abs(right).max() / _PEAK))
