from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml import Sample
from edgeml.errors import InputError
from edgeml.tasks._audio import Windows, check_audio

RATE = 16000


def block(data, t=0, rate=RATE, **meta):
    duration = round(len(data) * 1e9 / rate)
    return Sample(data, t, t, source="mic", duration=duration, meta=meta)


@given(st.lists(st.integers(0, 2000), max_size=20), st.integers(40, 700))
def test_any_cut_gives_the_same_windows_with_the_same_times(lengths, size):
    sound = np.arange(sum(lengths), dtype=np.float32)
    windows, position, got = Windows(size, RATE), 0, []
    for length in lengths:
        t = round(position * 1e9 / RATE)
        got += list(windows.push(sound[position : position + length], t))
        position += length
    assert len(got) == len(sound) // size
    for i, (window, t) in enumerate(got):
        np.testing.assert_array_equal(window, sound[i * size : (i + 1) * size])
        assert abs(t - i * size * 1e9 / RATE) <= 2 + len(lengths)


def test_a_gap_is_seen_and_jitter_is_not():
    windows = Windows(160, RATE)
    assert not windows.is_gap(block(np.zeros(10), 10**12))
    list(windows.push(np.zeros(1600, np.float32), 0))
    assert not windows.is_gap(block(np.zeros(10), 150_000_000))
    assert windows.is_gap(block(np.zeros(10), 400_000_000))
    assert windows.is_gap(block(np.zeros(10), 100_000_000, discontinuity=True))


def test_int16_and_one_column_are_sound():
    np.testing.assert_array_equal(
        check_audio(np.array([[16384], [-32768]], np.int16), RATE, "x"), [0.5, -1]
    )


@pytest.mark.parametrize(
    ("sound", "match"),
    [
        (np.zeros((10, 2), np.float32), r"float32 \[10, 2\].*channels=1"),
        (np.zeros(10, np.int32), "int32.*float32 in -1 to 1"),
        (np.array([0, np.nan], np.float32), "NaN"),
        ([0.0, 0.1], "list"),
        (block(np.zeros(4410, np.float32), rate=44100), r"44100 Hz.*Microphone\(rate=16000\)"),
    ],
)
def test_what_is_no_sound_for_the_model_is_refused(sound, match):
    with pytest.raises(InputError, match=f"mine: expected sound.*16000 Hz; received .*{match}"):
        check_audio(sound, RATE, "mine")
