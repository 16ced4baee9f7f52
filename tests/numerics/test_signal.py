"""Spectra against NumPy's FFT, mel bands by their definition, gradients by differences."""

import numpy as np
import pytest

import edgeml
from edgeml import ops
from edgeml.errors import InputError, ShapeError
from edgeml.testing import check_gradient

rng = np.random.default_rng(0)
SOUND = rng.uniform(-1, 1, (2, 700)).astype(np.float32)


def run(fn, *args):
    return edgeml.function(fn)(*args)


def frames_of(x, size, hop):
    return np.lib.stride_tricks.sliding_window_view(x, size, -1)[..., ::hop, :]


def spectra(x, n_fft, hop, window, center, mode):
    if center:
        x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(n_fft // 2, n_fft // 2)], mode=mode)
    return np.fft.rfft(frames_of(x.astype(np.float64), n_fft, hop) * window)


def hann(n):
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)


@pytest.mark.parametrize(
    ("size", "hop"), [(64, 16), (60, 25), (64, 64), (10, 30), (101, 7), (700, 1)]
)
def test_frames(size, hop):
    made = run(lambda x: ops.frame(x, size, hop), SOUND)
    np.testing.assert_array_equal(made, frames_of(SOUND, size, hop))


@pytest.mark.parametrize("n_fft", [64, 75])
@pytest.mark.parametrize(("center", "mode"), [(False, "reflect"), (True, "reflect"),
                                              (True, "constant"), (True, "edge")])  # fmt: skip
def test_stft_is_the_fft_of_the_frames(n_fft, center, mode):
    real, imaginary = run(lambda x: ops.stft(x, n_fft, 20, center=center, pad_mode=mode), SOUND)
    expected = spectra(SOUND, n_fft, 20, hann(n_fft), center, mode)
    np.testing.assert_allclose(real, expected.real, atol=2e-5)
    np.testing.assert_allclose(imaginary, expected.imag, atol=2e-5)


@pytest.mark.parametrize("window", ["hann", "hamming", "blackman", None, "array"])
def test_windows(window):
    torch = pytest.importorskip("torch", reason="the oracles are not installed: make oracles")
    kinds = {"hann": torch.hann_window, "hamming": torch.hamming_window,
             "blackman": torch.blackman_window}  # fmt: skip
    values = rng.uniform(0.1, 1, 50) if window == "array" else np.ones(50)
    if window in kinds:
        values = kinds[window](50, dtype=torch.float64).numpy()
    given = values if window == "array" else window
    real, imaginary = run(lambda x: ops.stft(x, 64, window=given, win_length=50), SOUND)
    made = torch.stft(torch.tensor(SOUND), 64, 16, 50, torch.tensor(values, dtype=torch.float32),
                      return_complex=True).transpose(1, 2).numpy()  # fmt: skip
    np.testing.assert_allclose(real, made.real, atol=2e-5)
    np.testing.assert_allclose(imaginary, made.imag, atol=2e-5)


def test_leading_dimensions():
    one = run(lambda x: ops.stft(x, 64)[0], SOUND[0])
    many = run(lambda x: ops.stft(x, 64)[0], SOUND.reshape(2, 1, 700))
    assert one.shape == (44, 33)
    assert many.shape == (2, 1, 44, 33)
    np.testing.assert_allclose(many[0, 0], one, atol=1e-6)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_spectrogram(power):
    made = run(lambda x: ops.spectrogram(x, 64, power=power), SOUND)
    expected = np.abs(spectra(SOUND, 64, 16, hann(64), True, "reflect")) ** power
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-4)


def test_silence_has_a_gradient():
    slope = edgeml.grad(lambda x: ops.sum(ops.spectrogram(x, 64, power=1.0)))(SOUND * 0)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_mel_bands_peak_at_even_distances(scale):
    bank = ops.mel_filterbank(8, 4096, 16000, fmin=100, fmax=7000, scale=scale)
    peaks = bank.argmax(0) * 16000 / 4096
    if scale == "htk":
        mels = 2595 * np.log10(1 + peaks / 700)
    else:
        mels = np.where(peaks < 1000, peaks * 3 / 200,
                        15 + np.log(np.maximum(peaks, 1) / 1000) * 27 / np.log(6.4))  # fmt: skip
    np.testing.assert_allclose(np.diff(mels), np.diff(mels).mean(), rtol=2e-2)
    np.testing.assert_allclose(bank.max(0), 1.0, atol=0.05)
    assert bank.dtype == np.float32


def test_slaney_bands_have_equal_areas():
    bank = ops.mel_filterbank(10, 8192, 16000, scale="slaney", norm="slaney")
    np.testing.assert_allclose(bank.sum(0) * 16000 / 8192, 1.0, rtol=1e-2)


def test_log_mel_and_mfcc():
    from scipy.fft import dct

    power = np.abs(spectra(SOUND, 128, 32, hann(128), True, "reflect")) ** 2
    bands = np.log(power @ ops.mel_filterbank(12, 128, 8000) + 1e-6)
    made = run(lambda x: ops.log_mel(x, 8000, 128, 32, 12), SOUND)
    np.testing.assert_allclose(made, bands, rtol=1e-4, atol=1e-4)
    coefficients = run(lambda x: ops.mfcc(x, 8000, 5, 128, 32, 12), SOUND)
    np.testing.assert_allclose(coefficients, dct(bands, norm="ortho")[..., :5], atol=1e-3)


@pytest.mark.parametrize("fn", [
    lambda x: ops.frame(x, 12, 5), lambda x: ops.frame(x, 37, 3),
    lambda x: ops.stft(x, 16, center=False), lambda x: ops.stft(x, 16),
    lambda x: ops.spectrogram(x, 16, power=1.0), lambda x: ops.log_mel(x, 8000, 32, 8, 6),
    lambda x: ops.mfcc(x, 8000, 4, 32, 8, 6, center=False),
], ids=["frame", "gathered", "stft", "centred", "magnitude", "log-mel", "mfcc"])  # fmt: skip
def test_gradients(fn):
    check_gradient(fn, SOUND[:, :60], eps=3e-3)


@pytest.mark.parametrize(("fn", "error", "message"), [
    (lambda x: ops.frame(x, 900, 5), ShapeError, "shorter than a frame of 900"),
    (lambda x: ops.frame(x, 9, 0), InputError, "must be positive"),
    (lambda x: ops.stft(x, 2000), ShapeError, "cannot be reflected"),
    (lambda x: ops.stft(x, 64, window="square"), InputError, "hann, hamming, blackman"),
    (lambda x: ops.stft(x, 64, window=np.ones(3)), ShapeError, "win_length is 64"),
    (lambda x: ops.stft(x, 64, win_length=65), InputError, "from 1 to n_fft=64"),
    (lambda x: ops.spectrogram(x, 64, power=3), InputError, "power is 1 or 2"),
    (lambda x: ops.log_mel(x, 8000, fmax=5000), InputError, "half of the sample rate, 4000"),
    (lambda x: ops.log_mel(x, 8000, scale="bark"), InputError, "'htk' or 'slaney'"),
    (lambda x: ops.mfcc(x, 8000, 50), InputError, "from 1 to n_mels=40"),
])  # fmt: skip
def test_bad_input(fn, error, message):
    with pytest.raises(error, match=message):
        run(fn, SOUND)


def test_the_batch_may_be_unknown():
    x = edgeml.Input((700,))
    model = edgeml.Model(x, ops.log_mel(x, 8000, 64, 20, 8))
    assert model.outputs[0].shape == ("batch", 36, 8)
    expected = run(lambda x: ops.log_mel(x, 8000, 64, 20, 8), SOUND)
    np.testing.assert_allclose(model.predict(SOUND), expected, rtol=1e-5)
