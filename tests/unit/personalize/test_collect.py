"""Windows cut out of live signals: what is said, what moves, and why the rest is rejected."""

import asyncio

import numpy as np
import pytest

from edgeml.errors import ConfigError, DataError, InputError
from edgeml.personalize import UNKNOWN, Backbone, Gestures, Learner, Utterances
from edgeml.personalize._onset import Rejected
from edgeml.streams import Sample, Source

RATE, WINDOW = 16000, 26480
RNG = np.random.default_rng(0)


def sound(*parts, level=0.001, seed=0):
    """Return noise with bursts: each part is (seconds, peak), 0 for the noise alone."""
    rng = np.random.default_rng(seed)
    pieces = []
    for seconds, peak in parts:
        n = round(seconds * RATE)
        tone = peak * np.sin(2 * np.pi * rng.uniform(300, 400) * np.arange(n) / RATE)
        pieces.append(tone + rng.normal(0, level, n))
    return np.concatenate(pieces).astype(np.float32)


def chunks(signal, size=512, t=0, rate=RATE):
    return [
        Sample(signal[i : i + size], t=t + round(i * 1e9 / rate), arrived=0,
               duration=round(len(signal[i : i + size]) * 1e9 / rate))
        for i in range(0, len(signal), size)
    ]  # fmt: skip


def cut(cutter, pieces):
    found = [x for piece in pieces for x in cutter.push(piece)]
    return [x.reason if isinstance(x, Rejected) else x for x in [*found, *cutter.flush()]]


@pytest.mark.parametrize("size", [160, 512, 7000, 100_000])
@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_an_utterance_ends_shortly_before_its_window_does(size, dtype):
    signal = sound((2, 0), (0.6, 0.3), (2, 0), (0.9, 0.05), (1, 0))
    if dtype == np.int16:
        signal = (signal * 32767).astype(np.int16)
    found = cut(Utterances(), chunks(signal, size, t=5 * 10**9))
    assert [len(x.data) for x in found] == [WINDOW, WINDOW]
    for window, end in zip(found, (2.6, 5.5), strict=True):
        assert window.duration == round(WINDOW * 1e9 / RATE)
        assert window.end / 1e9 - 5 == pytest.approx(end + 0.2, abs=0.025)
        first = round((window.t / 1e9 - 5) * RATE)
        expected = signal[first : first + WINDOW].astype(np.float32)
        np.testing.assert_allclose(window.data, expected / (32768 if dtype == np.int16 else 1))


def test_plain_arrays_and_a_stream_that_ends_with_the_word():
    signal = sound((0.4, 0), (0.5, 0.3))
    (window,) = cut(Utterances(), [signal])
    end = WINDOW - round(0.2 * RATE)
    assert np.abs(window[end - 400 : end]).max() > 0.2
    assert not window[end + 400 :].any()  # what would come after the end is silence
    assert not window[: WINDOW - len(signal) - 4000].any()


@pytest.mark.parametrize(
    ("parts", "reasons"),
    [
        ([(1, 0), (0.04, 0.3), (1, 0)], ["shorter than 0.1 s: a knock"]),
        ([(1, 0), (2.0, 0.3), (1, 0)], ["longer than 1.4 s: pause before and after it"]),
        ([(1, 0), (2.0, 1.5), (1, 0)], ["longer than"]),
        ([(11, 0)], ["nothing was said in 5 s", "nothing was said in 5 s"]),
    ],
)
def test_what_is_no_utterance_is_rejected_with_the_reason(parts, reasons):
    found = cut(Utterances(), chunks(sound(*parts)))
    assert len(found) == len(reasons)
    for reason, expected in zip(found, reasons, strict=True):
        assert expected in reason


def test_clipped_and_silent_sound():
    loud = np.clip(sound((1, 0), (0.5, 3.0), (1, 0)), -1, 1)
    (reason,) = cut(Utterances(), chunks(loud))
    assert "clipped" in reason
    (reason,) = cut(Utterances(), chunks(np.zeros(6 * RATE, np.float32)))
    assert "silent: is the microphone muted" in reason


def test_a_fan_that_starts_becomes_the_background():
    signal = sound((2, 0), (5, 0))
    signal[2 * RATE :] += np.random.default_rng(1).normal(0, 0.05, 5 * RATE)
    signal = np.concatenate([signal, signal[-RATE:], signal[-2 * RATE :]])
    signal[8 * RATE : 8 * RATE + 8000] += sound((0.5, 0.8))
    reason, window = cut(Utterances(), chunks(signal))
    assert "longer than" in reason
    assert window.end / 1e9 == pytest.approx(8.7, abs=0.03)


def test_a_gap_starts_the_sound_anew():
    before, after = chunks(sound((1, 0), (0.3, 0.3))), chunks(sound((2, 0)), t=60 * 10**9)
    assert cut(Utterances(), [*before, *after]) == []


def test_as_a_stage_it_counts_what_it_rejects():
    stage = Utterances()

    async def main():
        signal = sound((1, 0), (0.04, 0.3), (1, 0), (0.5, 0.3), (1, 0))
        return [x async for x in Source.of(chunks(signal)) | stage]

    (window,) = asyncio.run(main())
    assert window.data.shape == (WINDOW,)
    assert list(stage.rejected.values()) == [1]


def test_other_rates_and_wrong_settings_are_refused():
    with pytest.raises(InputError, match=r"mono at 16000 Hz.*8000 Hz"):
        list(Utterances().push(Sample(np.zeros(512), t=0, arrived=0, duration=64_000_000)))
    with pytest.raises(InputError, match="mix the channels"):
        list(Utterances().push(np.zeros((512, 2))))
    for size in (1, 25):
        with pytest.raises(InputError, match="expected 50 Hz, received 100 Hz"):
            cut(Gestures(), chunks(motion((3, 0)), size, rate=100))
    with pytest.raises(ConfigError, match="after <= silence"):
        Utterances(after=0.5)
    with pytest.raises(ConfigError, match="rate above 0"):
        Gestures(0)


def motion(*parts, rate=50, seed=0):
    """Return motion of six channels: each part is (seconds, amplitude along x)."""
    rng = np.random.default_rng(seed)
    pieces = []
    for seconds, size in parts:
        rows = rng.normal(0, 0.05, (round(seconds * rate), 6))
        rows[:, 0] += size * np.sin(2 * np.pi * 1.5 * np.arange(len(rows)) / rate)
        rows[:, 2] += 9.8
        pieces.append(rows)
    return np.concatenate(pieces).astype(np.float32)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_gesture_is_in_the_middle_of_its_window(size):
    pieces = chunks(motion((3, 0), (1, 8), (3, 0), (1.6, 8), (3, 0)), size, rate=50)
    pieces = [p.with_data(p.data[0]) if size == 1 else p for p in pieces]
    found = cut(Gestures(), pieces)
    assert [x.data.shape for x in found] == [(100, 6), (100, 6)]
    middles = [(x.t + x.end) / 2e9 for x in found]
    assert middles == [pytest.approx(3.5, abs=0.2), pytest.approx(7.8, abs=0.2)]


def test_of_a_long_gesture_the_window_is_where_most_moves():
    signal = motion((3, 0), (2, 1), (2, 9), (1, 1), (3, 0))
    (window,) = cut(Gestures(), chunks(signal, 10, rate=50))
    assert window.t / 1e9 == pytest.approx(5, abs=0.2)


def test_what_is_no_gesture_is_rejected_with_the_reason():
    jerk, forever = motion((3, 0), (1, 0)), motion((3, 0), (8, 8), (2, 0))
    jerk[152:156, 1] += 5
    found = cut(Gestures(), chunks(forever, rate=50))
    assert "longer than 6 s" in found[0]
    (reason,) = cut(Gestures(), chunks(jerk, rate=50))
    assert "shorter than 0.4 s" in reason
    found = cut(Gestures(), chunks(np.ones((300, 6), np.float32), rate=50))
    assert "frozen" in found[0]
    assert "nothing moved" in cut(Gestures(), chunks(motion((6, 0)), rate=50))[0]
    with pytest.raises(InputError, match="readings of 6 channels"):
        cut(Gestures(), [np.zeros((2, 6)), np.zeros((2, 3))])
    with pytest.raises(InputError, match="NaN"):
        cut(Gestures(), [np.full((2, 6), np.nan)])


@pytest.fixture(scope="module")
def ears():
    backbone = Backbone("edgeml:speech_embedding.onnx")
    yield backbone
    backbone.close()


def collected(learner, label, source, **options):
    async def main():
        async with learner.collect(label, source, countdown=0, **options) as collection:
            return [step async for step in collection]

    return asyncio.run(main())


def test_words_are_collected_from_a_live_stream(ears, tmp_path):
    signal = sound((1, 0), (0.04, 0.3), (1, 0), (0.5, 0.3), (2, 0), (0.6, 0.2), (0.1, 0), seed=3)
    with Learner(ears, store=tmp_path) as learner:
        steps = collected(learner, "beep", Source.of(chunks(signal)), count=2, subject="me")
        assert [s.state for s in steps] == ["rejected", "kept", "kept"]
        assert [s.left for s in steps] == [2, 1, 0]
        assert {e.features.shape for e in learner.examples()} == {(1152,)}
        same = np.concatenate([signal[: 4 * RATE], signal[: 4 * RATE]])
        with pytest.raises(DataError, match="ended after 0 of 2"):
            collected(learner, "beep", Source.of(chunks(same[RATE:])), count=2)


def test_for_the_unknown_everything_counts(ears, tmp_path):
    signal = RNG.normal(0, 0.05, 4 * WINDOW + 300).astype(np.float32)
    with Learner(ears, store=tmp_path, duplicate=1.0) as learner:
        collected(learner, UNKNOWN, Source.of(chunks(signal)), count=4, every=0)
        assert learner.counts() == {UNKNOWN: 4}
        with pytest.raises(DataError, match="silent"):
            learner.add(UNKNOWN, np.zeros(WINDOW, np.float32))
        with pytest.raises(InputError, match=r"26480.*the rate and the length.*Spotter"):
            learner.add(UNKNOWN, signal[:16000])
        wrong = Sample(signal[:WINDOW], t=0, arrived=0, duration=round(WINDOW / 8000 * 1e9))
        with pytest.raises(InputError, match="8000 Hz"):
            learner.add(UNKNOWN, wrong)


def test_gestures_are_collected_reading_by_reading(tmp_path):
    signal = motion((2, 0), (1, 8), (2, 0), (1.2, 9), (2, 0))
    with Learner("edgeml:activity_watch_int8.onnx", store=tmp_path) as learner:
        steps = collected(learner, "wave", Source.of(chunks(signal, 1, rate=50)), count=2)
        assert [s.state for s in steps] == ["kept", "kept"]
