"""How training goes, on a terminal, in a notebook or in a log file."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

from edgeml.callbacks._base import Callback, Logs

_WIDTH = 20
_SECONDS = 0.1  # between two updates: drawing costs nothing that could be measured


class ProgressBar(Callback):
    """A line for each epoch: progress, time left, loss and metrics.

    Args:
        verbose: 0: silent; 1: a bar that moves; 2: a line an epoch; "auto": 1 on a terminal or in
            a notebook, else 2.
    """

    def __init__(self, verbose: Any = "auto") -> None:
        live = sys.stdout.isatty() or "ipykernel" in sys.modules
        self._level = (1 if live else 2) if verbose in ("auto", True) else int(verbose)
        self.ignores_batches = self._level != 1
        self._drawn = 0.0
        self._longest = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Start the clock."""
        self._start = time.perf_counter()
        if self._level == 1:
            self._write(f"Epoch {epoch + 1}/{self.params['epochs']}\n")

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Draw the bar, not more often than it can be read."""
        now = time.perf_counter()
        if now - self._drawn < _SECONDS:
            return
        self._drawn = now
        done, steps = batch + 1, self.params.get("steps")
        passed = now - self._start
        if steps:
            full = round(_WIDTH * done / steps)
            left = passed / done * (steps - done)
            head = f"{done}/{steps} [{'=' * full}{' ' * (_WIDTH - full)}] {_clock(left)} left"
        else:
            head = f"{done} steps {_clock(passed)}"
        self._line(f"{head}  {_values(logs)}")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Draw the epoch's last line."""
        if not self._level:
            return
        passed = _clock(time.perf_counter() - self._start)
        if self._level == 1:
            self._line(f"{passed}  {_values(logs)}")
            self._write("\n")
            self._longest = 0
        else:
            self._write(f"epoch {epoch + 1}/{self.params['epochs']}  {passed}  {_values(logs)}\n")

    def _line(self, text: str) -> None:
        self._longest = max(self._longest, len(text))
        self._write("\r" + text.ljust(self._longest))

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _values(logs: Logs | None) -> str:
    return "  ".join(
        f"{name} {value:.4f}" if abs(value) >= 1e-3 or value == 0 else f"{name} {value:.3e}"
        for name, value in (logs or {}).items()
        if isinstance(value, float) and math.isfinite(value)
    )


def _clock(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return (
        f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
        if minutes >= 60
        else f"{minutes}:{rest:02d}"
    )
