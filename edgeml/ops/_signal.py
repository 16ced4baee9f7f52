"""Sound as pictures: frames, spectra, mel bands. All are differentiable."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeml.errors import InputError, ShapeError
from edgeml.graph import Tensor, as_tensor, emit
from edgeml.ops._math import Like, log, matmul, sqrt
from edgeml.ops._shape import concatenate, pad, reshape, slice_, swapaxes, take

Array = np.ndarray[Any, Any]
_SLICES = 16  # frames are joined from slices up to so many, and gathered above


def frame(x: Like, size: int, hop: int) -> Tensor:
    """Cut a signal into overlapping frames.

    Args:
        x: Tensor (..., samples).
        size: Samples of a frame.
        hop: Samples from the start of one frame to that of the next.

    Returns:
        A tensor (..., 1 + (samples - size) // hop, size).

    Raises:
        ShapeError: the signal is shorter than a frame.

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(lambda x: edgeml.ops.frame(x, 3, 2))(np.arange(6.0)).tolist()
        [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]]
    """
    value = as_tensor(x)
    lead, samples = _lead(value)
    count = _frames("frame", samples, size, hop)
    unit = math.gcd(size, hop)
    if size // unit > _SLICES:
        index = np.arange(count)[:, None] * hop + np.arange(size)
        return take(value, index, len(lead))
    step, parts = hop // unit, size // unit
    rows = samples // unit
    cut = slice_(value, [0], [rows * unit], [-1]) if rows * unit != samples else value
    table = _with_lead(cut, lead, [rows, unit])
    found = [
        slice_(table, [i], [i + (count - 1) * step + 1], [len(lead)], [step]) for i in range(parts)
    ]
    return concatenate(found, -1) if parts > 1 else found[0]


def _lead(value: Tensor) -> tuple[tuple[int | str, ...], int]:
    """Return all dimensions but the last, which may be symbols, and the last."""
    *lead, samples = value.known_shape
    if isinstance(samples, str):
        raise ShapeError(f"{value!r}: the number of samples must be known", received=samples)
    return tuple(lead), int(samples)


def _with_lead(value: Tensor, lead: tuple[int | str, ...], rest: Sequence[int]) -> Tensor:
    """Return `value` as (*lead, *rest)."""
    if len(lead) == 1:  # the batch keeps its name
        return emit("Reshape", value, np.array([0, *rest], np.int64))
    if sum(isinstance(dim, str) for dim in lead) > 1:
        raise ShapeError(f"at most one dimension may be unknown, of {lead}", received=lead)
    return reshape(value, [*(-1 if isinstance(dim, str) else dim for dim in lead), *rest])


def _frames(who: str, samples: int, size: int, hop: int) -> int:
    if size < 1 or hop < 1:
        raise InputError(f"{who}: size {size} and hop {hop} must be positive", name=who)
    if samples < size:
        raise ShapeError(
            f"{who}: a signal of {samples} samples is shorter than a frame of {size}: pad it",
            expected=f">= {size}", received=samples,
        )  # fmt: skip
    return 1 + (samples - size) // hop


def stft(
    x: Like, n_fft: int = 512, hop: int | None = None, *, window: str | Array | None = "hann",
    win_length: int | None = None, center: bool = True, pad_mode: str = "reflect",
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the short-time Fourier transform, as one convolution with a fixed basis.

    Args:
        x: Tensor (..., samples).
        n_fft: Samples of a frame.
        hop: Samples between frames; None is ``n_fft // 4``.
        window: "hann", "hamming" or "blackman" (periodic), an array of `win_length`, or None.
        win_length: Samples of the window, in the middle of the frame; None is `n_fft`.
        center: Whether frame i is centred at sample ``i * hop``, with padding at both ends.
        pad_mode: How to pad: "reflect", "constant" or "edge".

    Returns:
        Real and imaginary part (..., frames, n_fft // 2 + 1), of the scale of ``numpy.fft.rfft``.

    Raises:
        ShapeError: the signal is too short.

    Example:
        >>> import numpy as np, edgeml
        >>> real, _ = edgeml.function(lambda x: edgeml.ops.stft(x, 64))(np.ones(256))
        >>> real.shape
        (17, 33)
    """
    both, lead = _transform(x, n_fft, hop, window, win_length, center, pad_mode)
    bins = n_fft // 2 + 1
    parts = [slice_(both, [i * bins], [(i + 1) * bins], [1]) for i in (0, 1)]
    real, imaginary = (_unflatten(p, lead) for p in parts)
    return real, imaginary


def _unflatten(value: Tensor, lead: tuple[int | str, ...]) -> Tensor:
    """Return (batch, values, frames) as (*lead, frames, values)."""
    turned = swapaxes(value, 1, 2)
    if len(lead) == 1:
        return turned
    return _with_lead(turned, lead, [int(dim) for dim in turned.known_shape[1:]])


def _transform(
    x: Like, n_fft: int, hop: int | None, window: str | Array | None, win_length: int | None,
    center: bool, pad_mode: str,
) -> tuple[Tensor, tuple[int | str, ...]]:  # fmt: skip
    """Return real and imaginary parts (batch, 2 * bins, frames), and the leading dimensions."""
    value = as_tensor(x)
    lead, samples = _lead(value)
    flat = emit("Reshape", value, np.array([0 if len(lead) == 1 else -1, 1, samples], np.int64))
    if center:
        half = n_fft // 2
        if pad_mode == "reflect" and samples <= half:
            raise ShapeError(
                f"stft: {samples} samples cannot be reflected by {half}: give more, or "
                'pad_mode="constant"',
                expected=f"> {half}", received=samples,
            )  # fmt: skip
        flat = pad(flat, [(0, 0), (0, 0), (half, half)], mode=pad_mode)
    step = hop or n_fft // 4
    _frames("stft", _lead(flat)[1], n_fft, step)
    basis = _basis(n_fft, _window(window, win_length or n_fft, n_fft).tobytes())
    return emit("Conv", flat, basis, strides=[step]), lead


@functools.lru_cache(maxsize=8)
def _basis(n_fft: int, window: bytes) -> Array:
    """Return windowed cosines and negative sines, (2 * bins, 1, n_fft)."""
    k, n = np.arange(n_fft // 2 + 1)[:, None], np.arange(n_fft)
    angle = 2.0 * np.pi * ((k * n) % n_fft) / n_fft
    waves = np.concatenate([np.cos(angle), -np.sin(angle)]) * np.frombuffer(window)
    found: Array = waves[:, None].astype(np.float32)
    return found


_COSINES = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46), "blackman": (0.42, 0.5, 0.08)}


def _window(window: str | Array | None, length: int, n_fft: int) -> Array:
    """Return the window in float64, in the middle of a frame."""
    if not 0 < length <= n_fft:
        raise InputError(f"stft: win_length {length} must be from 1 to n_fft={n_fft}", name="stft")
    if isinstance(window, str):
        if window not in _COSINES:
            raise InputError(
                f"stft: there is no window {window!r}; there are {', '.join(_COSINES)}",
                name="window", received=window,
            )  # fmt: skip
        turn = 2.0 * np.pi * np.arange(length) / length
        terms = enumerate(_COSINES[window])
        values: Array = np.sum([(-1) ** i * a * np.cos(i * turn) for i, a in terms], axis=0)
    else:
        values = np.ones(length) if window is None else np.asarray(window, np.float64)
        if values.shape != (length,):
            raise ShapeError(
                f"stft: the window has shape {values.shape}, and win_length is {length}",
                expected=(length,), received=values.shape,
            )  # fmt: skip
    before = (n_fft - length) // 2
    return np.pad(values, (before, n_fft - length - before))


def spectrogram(
    x: Like, n_fft: int = 512, hop: int | None = None, *, power: float = 2.0,
    window: str | Array | None = "hann", win_length: int | None = None, center: bool = True,
    pad_mode: str = "reflect",
) -> Tensor:  # fmt: skip
    """Return the energy (`power` 2) or magnitude (`power` 1) of each frequency over time.

    The other arguments are those of `stft`.

    Returns:
        A tensor (..., frames, n_fft // 2 + 1).

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.spectrogram(x, 64))
        >>> run(np.zeros(256)).shape
        (17, 33)
    """
    energy, lead = _energy(x, n_fft, hop, power, window, win_length, center, pad_mode)
    return _unflatten(energy, lead)


def _energy(
    x: Like, n_fft: int, hop: int | None, power: float, window: str | Array | None,
    win_length: int | None, center: bool, pad_mode: str,
) -> tuple[Tensor, tuple[int | str, ...]]:  # fmt: skip
    if power not in (1.0, 2.0):
        raise InputError(f"spectrogram: power is 1 or 2, not {power}", name="power", received=power)
    both, lead = _transform(x, n_fft, hop, window, win_length, center, pad_mode)
    _, double, frames = both.known_shape
    squares = _with_lead(both * both, both.known_shape[:1], [2, int(double) // 2, int(frames)])
    energy = emit("ReduceSum", squares, np.array([1], np.int64), keepdims=0)
    # The root's slope at 0 must be finite.
    return (sqrt(energy + 1e-20) if power == 1.0 else energy), lead


def mel_filterbank(
    n_mels: int, n_fft: int, sample_rate: float, *, fmin: float = 0.0, fmax: float | None = None,
    scale: str = "htk", norm: str | None = None,
) -> Array:  # fmt: skip
    """Return triangular filters, evenly spaced in mel.

    Args:
        n_mels: Number of filters.
        n_fft: Samples of a frame of the spectrogram.
        sample_rate: Hz.
        fmin: Lower end of the lowest filter, Hz.
        fmax: Upper end of the highest filter, Hz; None is half of the sample rate.
        scale: "htk", the logarithmic formula, or "slaney", linear below 1 kHz.
        norm: None for a height of 1, or "slaney" for an equal area.

    Returns:
        float32 (n_fft // 2 + 1, n_mels).

    Raises:
        InputError: the range is empty, or a name is not known.

    Example:
        >>> import edgeml
        >>> edgeml.ops.mel_filterbank(40, 512, 16000).shape
        (257, 40)
    """
    top = sample_rate / 2 if fmax is None else fmax
    if not 0 <= fmin < top <= sample_rate / 2:
        raise InputError(
            f"mel_filterbank: fmin {fmin} and fmax {top} must be in order, from 0 to half of the "
            f"sample rate, {sample_rate / 2} Hz",
            name="fmax", received=top,
        )  # fmt: skip
    if scale not in ("htk", "slaney") or norm not in (None, "slaney"):
        raise InputError(
            f"mel_filterbank: scale is 'htk' or 'slaney', norm None or 'slaney'; received "
            f"{scale!r} and {norm!r}",
            name="scale",
        )
    low, high = (_to_mel(f, scale) for f in (fmin, top))
    edges = _to_hertz(np.linspace(low, high, n_mels + 2), scale)
    bins = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - left) / (middle - left)
    falling = (right - bins[:, None]) / (right - middle)
    weights = np.maximum(0.0, np.minimum(rising, falling))
    if norm == "slaney":
        weights *= 2.0 / (right - left)
    found: Array = weights.astype(np.float32)
    return found


_BREAK = 1000.0  # Hz; the Slaney scale is linear below, with 3 mel for 200 Hz
_STEP = math.log(6.4) / 27.0


def _to_mel(hertz: float, scale: str) -> float:
    if scale == "htk":
        return 2595.0 * math.log10(1.0 + hertz / 700.0)
    if hertz < _BREAK:
        return hertz * 3.0 / 200.0
    return 15.0 + math.log(hertz / _BREAK) / _STEP


def _to_hertz(mel: Array, scale: str) -> Array:
    if scale == "htk":
        return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))
    return np.where(mel < 15.0, mel * 200.0 / 3.0, _BREAK * np.exp((mel - 15.0) * _STEP))


def log_mel(
    x: Like, sample_rate: float, n_fft: int = 512, hop: int | None = None, n_mels: int = 40, *,
    fmin: float = 0.0, fmax: float | None = None, scale: str = "htk", norm: str | None = None,
    power: float = 2.0, offset: float = 1e-6, window: str | Array | None = "hann",
    win_length: int | None = None, center: bool = True, pad_mode: str = "reflect",
) -> Tensor:  # fmt: skip
    """Return the logarithm of the energy in mel bands over time.

    Args:
        x: Sound (..., samples).
        sample_rate: Hz.
        n_fft: Samples of a frame.
        hop: Samples between frames; None is ``n_fft // 4``.
        n_mels: Number of bands.
        fmin: Lower end of the lowest band, Hz; see `mel_filterbank`, also for `fmax`, `scale` and
            `norm`.
        fmax: Upper end of the highest band, Hz.
        scale: "htk" or "slaney".
        norm: None or "slaney".
        power: 2 for energy, 1 for magnitude.
        offset: Added before the logarithm.
        window: See `stft`, also for `win_length`, `center` and `pad_mode`.
        win_length: Samples of the window.
        center: Whether frames are centred.
        pad_mode: How to pad.

    Returns:
        A tensor (..., frames, n_mels).

    Example:
        >>> import numpy as np, edgeml
        >>> second = np.zeros((1, 16000))
        >>> edgeml.function(lambda x: edgeml.ops.log_mel(x, 16000, 512, 256))(second).shape
        (1, 63, 40)
    """
    energy, lead = _energy(x, n_fft, hop, power, window, win_length, center, pad_mode)
    bank = mel_filterbank(n_mels, n_fft, sample_rate, fmin=fmin, fmax=fmax, scale=scale, norm=norm)
    mel = matmul(np.ascontiguousarray(bank.T), energy)
    return _unflatten(log(mel + offset), lead)


def mfcc(
    x: Like, sample_rate: float, n_mfcc: int = 13, n_fft: int = 512, hop: int | None = None,
    n_mels: int = 40, **options: Any,
) -> Tensor:  # fmt: skip
    """Return mel-frequency cepstral coefficients: the cosine transform of `log_mel`.

    Args:
        x: Sound (..., samples).
        sample_rate: Hz.
        n_mfcc: Number of coefficients, from the lowest.
        n_fft: Samples of a frame.
        hop: Samples between frames; None is ``n_fft // 4``.
        n_mels: Number of bands.
        options: Further arguments of `log_mel`.

    Returns:
        A tensor (..., frames, n_mfcc), of the orthonormal transform (type II).

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.mfcc(x, 16000))
        >>> run(np.zeros((1, 16000))).shape
        (1, 126, 13)
    """
    if not 0 < n_mfcc <= n_mels:
        raise InputError(f"mfcc: n_mfcc {n_mfcc} must be from 1 to n_mels={n_mels}", name="n_mfcc")
    bands = log_mel(x, sample_rate, n_fft, hop, n_mels, **options)
    n, k = np.arange(n_mels)[:, None], np.arange(n_mfcc)
    basis = np.cos(np.pi * (n + 0.5) * k / n_mels) * math.sqrt(2.0 / n_mels)
    basis[:, 0] *= math.sqrt(0.5)
    return matmul(bands, basis.astype(np.float32))
