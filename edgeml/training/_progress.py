"""How training goes, on a terminal, in a notebook or in a log file."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from edgeml.callbacks._base import Callback, Logs
from edgeml.errors import ConfigError

_WIDTH = 20
_SECONDS = 0.1  # between two updates: drawing costs nothing that could be measured


class ProgressBar(Callback):
    """Progress, time left, loss and metrics of each epoch.

    The bar is drawn in place, ten times a second at most; between two drawings a step costs one
    look at the clock, and its metrics are not asked for.

    Args:
        verbose: 0: silent; 1: a bar that moves; 2: a line an epoch; "auto": 1 on a terminal or in
            a notebook, else 2.
        stream: Where to write; None: the standard output.

    Raises:
        ConfigError: `verbose` is none of these.
    """

    def __init__(self, verbose: Any = "auto", stream: IO[str] | None = None) -> None:
        if isinstance(verbose, bool):
            verbose = "auto" if verbose else 0
        if verbose not in ("auto", 0, 1, 2):
            raise ConfigError(f"verbose: expected 'auto', 0, 1 or 2, received {verbose!r}")
        self._stream = stream if stream is not None else sys.stdout
        if self._stream is None:  # a program without a console
            verbose = 0
        self._level = (1 if _moves(self._stream) else 2) if verbose == "auto" else int(verbose)
        self._start = self._drawn = 0.0
        self._done = self._length = 0
        self._steps: int | None = None
        self._open = False

    @property
    def needs_batch_logs(self) -> bool:
        """Whether it is time to draw."""
        return self._level == 1 and time.perf_counter() - self._drawn >= _SECONDS

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Start the clock."""
        self._start, self._done = time.perf_counter(), 0
        self._steps = self.params.get("steps") or self._steps
        if self._level == 1:
            self._write(f"Epoch {epoch + 1}/{self.params.get('epochs', '?')}\n")

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Draw the bar, not more often than it can be read."""
        self._done += 1
        if logs is None or not self.needs_batch_logs:
            return
        self._drawn = time.perf_counter()
        self._line(f"{self._bar(batch + 1, self._drawn - self._start)}  {_values(logs)}")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Draw the epoch's last line."""
        passed = time.perf_counter() - self._start
        # How many steps an epoch has is known for the next, also when data comes from a stream.
        self._steps = self._steps or self._done
        if self._level == 1:
            each = f" {1e3 * passed / self._done:.3g} ms a step" if self._done else ""
            self._line(f"{self._done} steps {_clock(passed)}{each}  {_values(logs)}", cut=False)
            self._end_line()
        elif self._level == 2:
            head = f"epoch {epoch + 1}/{self.params.get('epochs', '?')}"
            self._write(f"{head}  {_clock(passed)}  {_values(logs)}\n")

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Leave no line open, also when training failed."""
        self._end_line()

    def _bar(self, batch: int, passed: float) -> str:
        if not self._steps or batch > self._steps:
            return f"{batch} steps {_clock(passed)}"
        full = round(_WIDTH * batch / self._steps)
        left = passed / self._done * (self._steps - batch)
        bar = "=" * full + " " * (_WIDTH - full)
        return f"{batch}/{self._steps} [{bar}] {_clock(left)} left"

    def _line(self, text: str, *, cut: bool = True) -> None:
        """Write over the line: a longer one than the terminal's would leave its parts behind."""
        if cut:
            text = text[: shutil.get_terminal_size().columns - 1]
        self._write("\r" + text.ljust(self._length))
        self._length, self._open = len(text), True

    def _end_line(self) -> None:
        if self._open:
            self._write("\n")
        self._length, self._open = 0, False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _moves(stream: Any) -> bool:
    """Return whether a line can be written over: on a terminal, and in a notebook."""
    if stream is None:
        return False
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return bool(stream.isatty()) or hasattr(shell, "kernel")


def _values(logs: Mapping[str, Any] | None) -> str:
    numbers = {name: float(v) for name, v in (logs or {}).items() if np.ndim(v) == 0}
    return "  ".join(
        f"{name} {value:.3e}" if 0 < abs(value) < 1e-3 else f"{name} {value:.4f}"
        for name, value in numbers.items()
    )


def _clock(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
