"""Resample: streaming equals one-shot, and times stay true."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.devices import Resample
from edgeml.devices._audio_live import SampleClock
from edgeml.devices._resample import Resampler
from edgeml.streams import SKIP, Sample

soxr = pytest.importorskip("soxr", reason="soxr is not installed")

RATES = st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000])


@settings(max_examples=30, deadline=None)
@given(RATES, RATES, st.lists(st.integers(1, 3000), min_size=1, max_size=12))
def test_any_cut_gives_the_same_sound_and_the_exact_length(rate_in, rate_out, cuts):
    sound = np.random.default_rng(0).standard_normal(sum(cuts)).astype(np.float32)
    resampler = Resampler(rate_in, rate_out)
    parts = np.split(sound, np.cumsum(cuts)[:-1])
    out = [resampler.push(part) for part in parts]
    out.append(resampler.push(np.zeros(0, np.float32), last=True))
    joined = np.concatenate(out)
    assert len(joined) == round(len(sound) * rate_out / rate_in)
    whole = soxr.resample(sound, rate_in, rate_out)
    n = min(len(whole), len(joined))
    assert np.allclose(joined[:n], whole[:n], atol=1e-4)


def blocks(n, size=480, rate=48000, start=10**9):
    wave = np.sin(2 * np.pi * 1000 * np.arange(n * size) / rate).astype(np.float32)
    for i in range(n):
        t = start + i * size * 10**9 // rate
        yield Sample(wave[i * size : (i + 1) * size], t=t, arrived=t, duration=10**7)


def test_the_time_of_each_result_is_that_of_its_first_sample():
    resample = Resample(48000, 16000)
    start, given_so_far = 10**9, 0
    for block in blocks(50):
        out = resample(block)
        if out is SKIP:
            continue
        assert out.t == pytest.approx(start + given_so_far * 1e9 / 16000, abs=5)
        expected = np.sin(2 * np.pi * 1000 * (out.t - start) / 1e9)
        if given_so_far > 500:
            assert out.data[0] == pytest.approx(expected, abs=0.01)
        given_so_far += len(out.data)
    assert given_so_far > 7000


def test_a_discontinuity_starts_afresh():
    resample = Resample(48000, 16000)
    for block in blocks(20):
        resample(block)
    for block in blocks(5, start=90 * 10**9):
        first = block.t == 90 * 10**9
        out = resample(block.with_data(block.data, discontinuity=True) if first else block)
        if out is not SKIP:
            assert out.t == pytest.approx(90 * 10**9, abs=5)
            assert out.meta.get("discontinuity", False) in (True, False)
            break


def test_several_channels_keep_apart():
    resample = Resample(48000, 16000)
    data = np.stack([np.ones(4800), np.zeros(4800)], 1).astype(np.float32)
    out = resample(Sample(data, t=0, arrived=0, duration=10**8))
    assert out.data.shape[1] == 2
    assert np.abs(out.data[:, 1]).max() == 0


def test_wrong_rates_and_items_are_named():
    with pytest.raises(ValueError, match="rate_in must be a positive"):
        Resample(0, 16000)
    with pytest.raises(TypeError, match="takes Samples of audio; received ndarray"):
        Resample(48000, 16000)(np.zeros(3))


def test_the_sample_clock_smooths_jitter_and_follows_a_step():
    clock, rng = SampleClock(16000), np.random.default_rng(1)
    true = [i * 512 * 10**9 // 16000 for i in range(300)]
    errors = []
    for i, t in enumerate(true):
        clock.observe(i * 512, t + int(rng.normal(0, 3e6)))
        errors.append(clock.at(i * 512) - t)
    assert np.abs(errors[50:]).max() < 3e6  # of stamps that were up to 10 ms off
    clock.observe(300 * 512, true[-1] + 5 * 10**9)
    assert clock.at(300 * 512) == true[-1] + 5 * 10**9
