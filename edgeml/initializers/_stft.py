"""The basis of the short-time Fourier transform, as a kernel."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgeml.errors import ConfigError
from edgeml.initializers._initializers import Array, Initializer, Rng

_WINDOWS: dict[str, Callable[[int], Array]] = {
    "hann": np.hanning, "hamming": np.hamming, "blackman": np.blackman, "bartlett": np.bartlett,
    "boxcar": np.ones,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class STFT(Initializer):
    """Real or imaginary part of a Fourier transform's basis, as the kernel of a Conv1D.

    The shape is (samples of a window, 1, frequencies): of ``2 * (frequencies - 1)`` values, from 0
    to half the sampling rate.

    Args:
        side: "real" or "imag".
        window: "hann", "hamming", "blackman", "bartlett", "boxcar", an array of the window's
            length, or None.
        scaling: What the window is divided by: "density" (the root of its power), "spectrum" (its
            sum), or None.
        periodic: Whether the window would go on without a step, as transforms like it.

    Raises:
        ConfigError: an argument is none of these, or the shape is not of that form.

    Example:
        >>> import numpy as np
        >>> from edgeml.initializers import STFT
        >>> STFT("imag")((400, 1, 257), np.random.default_rng(0)).shape
        (400, 1, 257)
    """

    side: str = "real"
    window: Any = "hann"
    scaling: str | None = "density"
    periodic: bool = False

    def __post_init__(self) -> None:
        if self.side not in ("real", "imag"):
            raise ConfigError(f"side: expected 'real' or 'imag', received {self.side!r}")
        if self.scaling not in ("density", "spectrum", None):
            raise ConfigError(
                f"scaling: expected 'density', 'spectrum' or None, received {self.scaling!r}"
            )
        if isinstance(self.window, str) and self.window not in _WINDOWS:
            raise ConfigError(
                f"window: expected one of {', '.join(_WINDOWS)}, received {self.window!r}"
            )

    def __call__(self, shape: Sequence[int], rng: Rng) -> Array:
        """Return the array."""
        if len(shape) != 3 or shape[1] != 1 or shape[2] < 2:
            raise ConfigError(
                "STFT makes kernels of the shape (samples, 1, frequencies), with at least two "
                f"frequencies; received {tuple(shape)}"
            )
        size, _, bands = shape
        angle = -np.pi / (bands - 1) * np.outer(np.arange(size), np.arange(bands))
        basis = np.cos(angle) if self.side == "real" else np.sin(angle)
        if self.window is not None:
            window = self._window(size)
            scale = {"density": np.sqrt(np.square(window).sum()), "spectrum": np.abs(window).sum()}
            basis = basis * window[:, None] / scale.get(str(self.scaling), 1.0)
        return np.asarray(basis[:, None], np.float32)

    def _window(self, size: int) -> Array:
        if isinstance(self.window, str):
            return np.asarray(_WINDOWS[self.window](size + self.periodic)[:size])
        window = np.asarray(self.window, np.float64)
        if window.shape != (size,):
            raise ConfigError(f"window: expected {size} values, received the shape {window.shape}")
        return window
