"""A real recording through the shipped models; what is in it stands in media/README.md."""

from __future__ import annotations

import numpy as np
import pytest

from edgeml import Sample, VoiceActivity, WakeWord

SPOKEN = [(2.0, 12.0), (13.5, 14.7), (21.0, 22.4), (24.0, 31.5), (33.0, 34.4)]
WAKE_WORDS = [13.5, 21.0, 33.0]


def blocks(sound, length, start=0.0):
    """Yield samples of `length` each."""
    for i in range(0, len(sound), length):
        data = sound[i : i + length]
        t = round((start + i / 16000) * 1e9)
        yield Sample(data, t, t, source="mic", duration=round(len(data) * 1e9 / 16000))


def speech(sound, length=512, **options):
    detect = VoiceActivity(**options)
    return [result for block in blocks(sound, length) for result in detect(block)]


def intervals(results):
    """Pair begins and ends, in seconds."""
    times = [r.t / 1e9 for r in results]
    assert [r.data.active for r in results] == [i % 2 == 0 for i in range(len(results))]
    return list(zip(times[::2], times[1::2], strict=True))


def test_speech_is_where_it_is_spoken_and_nowhere_else(voice):
    found = intervals(speech(voice))
    for begin, end in found:
        assert any(a - 0.2 <= begin and end <= b + 0.5 for a, b in SPOKEN), (begin, end)
    for a, b in SPOKEN:
        assert any(begin < b and a < end for begin, end in found), (a, b)
    assert not any(begin < 20 and end > 17 for begin, end in found)  # noise
    reading = sum(end - begin for begin, end in found if 23 < begin < 32)
    assert reading > 5


@pytest.mark.parametrize("length", [100, 1600, 48000])
def test_the_length_of_blocks_does_not_matter(voice, length):
    sound = voice[: 12 * 16000]
    expected = [(r.t, r.data.active) for r in speech(sound)]
    got = [(r.t, r.data.active) for r in speech(sound, length)]
    assert [active for _, active in got] == [active for _, active in expected]
    np.testing.assert_allclose([t for t, _ in got], [t for t, _ in expected], atol=1e6)


def test_every_window_can_be_had(voice):
    results = speech(voice[:32000], emit="every")
    assert len(results) == 32000 // 512
    assert [r.t for r in results] == [i * 32_000_000 for i in range(len(results))]
    assert all(0 <= r.data.probability <= 1 for r in results)


def test_longer_silence_joins_words(voice):
    few = intervals(speech(voice, min_silence=2.0))
    assert len(few) < len(intervals(speech(voice)))


def test_sound_that_stops_ends_the_speech(voice):
    """A microphone that comes back after 5 s: what was spoken has ended when it went away."""
    detect, results = VoiceActivity(), []
    first, second = voice[24 * 16000 : 27 * 16000], voice[:16000]
    for block in [*blocks(first, 512), *blocks(second, 512, start=8.0)]:
        results += list(detect(block))
    (began, ended) = results
    assert (began.data.active, ended.data.active) == (True, False)
    assert ended.t == pytest.approx(3e9, abs=1e6)


def test_a_plain_array_gives_the_state_after_it(voice):
    detect = VoiceActivity()
    assert not detect(voice[:16000]).active
    after = detect(voice[24 * 16000 : 26 * 16000])
    assert after.active
    assert after.changed
    assert not detect(np.zeros(16000, np.float32)).active


def wakes(sound, length=512, **options):
    listen = WakeWord(**options)
    return [r for block in blocks(sound, length) for r in listen(block)]


def test_the_wake_word_is_heard_once_an_utterance_and_in_no_other_speech(voice):
    results = wakes(voice)
    assert [r.data.word for r in results] == ["okay nabu"] * len(WAKE_WORDS)
    for result, spoken in zip(results, WAKE_WORDS, strict=True):
        assert spoken < result.t / 1e9 < spoken + 1.5
        assert 0.85 <= result.data.score <= 1


def test_the_wake_word_does_not_depend_on_the_length_of_blocks(voice):
    sound = voice[12 * 16000 : 16 * 16000]
    times = [[r.t for r in wakes(sound, length)] for length in (160, 777, 64000)]
    assert [len(t) for t in times] == [1, 1, 1]
    assert max(times)[0] - min(times)[0] < 1e6


def test_the_refractory_time_is_kept(voice):
    assert len(wakes(voice, refractory=60.0)) == 1


def test_another_word_and_cutoff(voice):
    assert {r.data.word for r in wakes(voice, word="nabu")} == {"nabu"}
    assert wakes(voice, cutoff=1.0) == []


def test_a_plain_array_gives_its_wake_word(voice):
    listen = WakeWord()
    assert listen(voice[: 12 * 16000]) is None
    assert listen(voice[12 * 16000 : 16 * 16000]).word == "okay nabu"
