"""Sound as pictures, inside the model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError
from edgeml.graph import Tensor
from edgeml.layers._layer import Layer
from edgeml.layers._parameter import Array

_DECIBEL = 10.0 / math.log(10.0)


class MelSpectrogram(Layer):
    """The energy of sound in bands of the mel scale, in decibels.

    Args:
        fft_length: Samples of a frame's transform.
        sequence_stride: Samples from one frame to the next.
        sequence_length: Samples of the window; None: `fft_length`.
        window: "hann" or "hamming", or an array of `sequence_length`; None: no window.
        sampling_rate: Hz.
        num_mel_bins: Number of bands.
        min_freq: Lower end of the lowest band, Hz.
        max_freq: Upper end of the highest band, Hz; None: half of the sampling rate.
        power_to_db: Whether the output is in decibels.
        top_db: How far the output goes below the loudest value of the batch.
        mag_exp: Exponent of the magnitude: 2 is energy.
        min_power: Least energy.
        ref_power: Energy of 0 dB.

    Input shape: (batch, samples). Output shape: (batch, num_mel_bins, frames); to see it as a
    picture, or to take `edgeml.layers.SpecAugment`, turn it with ``Permute((2, 1))``.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import MelSpectrogram
        >>> MelSpectrogram(512, 256, num_mel_bins=40)(np.zeros((1, 16000))).shape
        (1, 40, 63)
    """

    fft_length: int = 2048
    sequence_stride: int = 512
    sequence_length: int | None = None
    window: Any = "hann"
    sampling_rate: int = 16000
    num_mel_bins: int = 128
    min_freq: float = 20.0
    max_freq: float | None = None
    power_to_db: bool = True
    top_db: float = 80.0
    mag_exp: float = 2.0
    min_power: float = 1e-10
    ref_power: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        top = self.sampling_rate / 2 if self.max_freq is None else self.max_freq
        if not 0 <= self.min_freq < top <= self.sampling_rate / 2:
            raise ConfigError(
                f"MelSpectrogram: min_freq {self.min_freq} and max_freq {top} must be in order, "
                f"up to half of the sampling rate, {self.sampling_rate / 2} Hz"
            )
        self._top = top

    def call(self, x: Tensor) -> Tensor:
        """Return the energies, or their decibels."""
        energy = ops.spectrogram(
            ops.cast(x, np.float32), self.fft_length, self.sequence_stride, power=2.0,
            window=self.window, win_length=self.sequence_length,
        )  # fmt: skip
        if self.mag_exp != 2.0:
            energy = ops.power(energy + 1e-30, self.mag_exp / 2.0)
        made = ops.swapaxes(ops.matmul(energy, self._bank()), 1, 2)
        if not self.power_to_db:
            return made
        reference = _DECIBEL * math.log(max(abs(self.ref_power), self.min_power))
        loud = ops.log(ops.maximum(made, self.min_power)) * _DECIBEL - reference
        return ops.maximum(loud, ops.max(loud) - self.top_db)

    def _bank(self) -> Array:
        """Return the bands' triangles, straight in mel as in HTK, without 0 Hz."""
        bins = np.linspace(0.0, self.sampling_rate / 2, self.fft_length // 2 + 1)
        ends = np.array([self.min_freq, self._top])
        places, (low, high) = (1127.0 * np.log1p(hertz / 700.0) for hertz in (bins, ends))
        edges = np.linspace(low, high, self.num_mel_bins + 2)
        rising = (places[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
        falling = (edges[2:] - places[:, None]) / (edges[2:] - edges[1:-1])
        found = np.maximum(0.0, np.minimum(rising, falling))
        found[0] = 0.0
        bank: Array = found.astype(np.float32)
        return bank
