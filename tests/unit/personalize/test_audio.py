"""A phrase learned from a few utterances, found in live sound: once, and nothing else."""

import asyncio

import numpy as np
import pytest
import soundfile
import soxr

import edgeml
from edgeml.errors import ConfigError, DataError, InputError, ModelError
from edgeml.personalize import UNKNOWN, Backbone, Learner, Spotter, Utterances
from edgeml.runtime import resolve
from edgeml.streams import Sample, Source

RATE, WINDOW = 16000, 26480
SPEECH = "edgeml:speech_embedding.onnx"


@pytest.fixture(scope="module")
def recording():
    file = resolve(SPEECH).parents[1] / "media" / "voice.flac"
    return soundfile.read(file, dtype="float32")[0]


@pytest.fixture(scope="module")
def learner(recording, tmp_path_factory):
    """Knows "okay nabu" from two of the recording's three voices, each at five paces."""
    with Learner(SPEECH, store=tmp_path_factory.mktemp("store")) as learner:
        for start in (13.2, 20.7):
            phrase = recording[round(start * RATE) : round((start + 1.9) * RATE)]
            for pace in (0.9, 0.95, 1, 1.05, 1.1):
                said = soxr.resample(phrase, RATE, RATE * pace)
                cut = Utterances()
                (window,) = [*cut.push(said), *cut.flush()]
                learner.add("okay nabu", window)
        for start in np.arange(2.0, 11, 0.25):
            learner.add(UNKNOWN, recording[round(start * RATE) :][:WINDOW])
        learner.accept(learner.train())
        yield learner


def blocks(sound, size=512, source="ear", t=0):
    return [
        Sample(sound[i : i + size], t=t + round(i * 1e9 / RATE), arrived=0, source=source,
               duration=round(size * 1e9 / RATE))
        for i in range(0, len(sound) - size + 1, size)
    ]  # fmt: skip


def heard(spotter, pieces):
    async def main():
        return [sample async for sample in Source.of(pieces) | spotter]

    return asyncio.run(main())


@pytest.mark.parametrize("size", [512, 5000])
def test_a_phrase_is_told_once_though_another_voice_says_it(learner, recording, size):
    found = heard(Spotter(learner), blocks(recording[24 * RATE :], size))
    assert [sample.data.word for sample in found] == ["okay nabu"]  # and not in the reading
    assert 9.0 < found[0].t / 1e9 < 11.0  # it begins at 33 s
    assert found[0].data.score >= 0.9


def test_the_refractory_time_is_in_seconds(learner, recording):
    phrase = recording[round(20.2 * RATE) : round(22.7 * RATE)]
    sound = np.concatenate([phrase, phrase, phrase])
    assert len(heard(Spotter(learner, hop=0.16), blocks(sound))) == 3
    assert len(heard(Spotter(learner, hop=0.16, refractory=4), blocks(sound))) == 2


def test_sources_are_followed_each_by_itself_and_gaps_forget(learner, recording):
    phrase = recording[round(20.2 * RATE) : round(22.7 * RATE)]
    mixed = [
        piece for pair in zip(blocks(phrase, source="left"), blocks(phrase[::-1], source="right"),
                              strict=True) for piece in pair
    ]  # fmt: skip
    assert [s.source for s in heard(Spotter(learner), mixed)] == ["left"]
    (told,) = heard(Spotter(learner), blocks(phrase))
    at = round(told.t * RATE / 1e9) - 512
    torn = [*blocks(phrase[:at]), *blocks(phrase[at:], t=60 * 10**9)]
    assert heard(Spotter(learner), torn) == []


def test_plain_arrays_silence_and_clipped_words(learner, recording):
    spotter = Spotter(learner)
    assert spotter(np.zeros(3 * RATE, np.float32)) is None
    phrase = recording[round(20.2 * RATE) : round(22.7 * RATE)]
    assert spotter(phrase).word == "okay nabu"
    spotter.aclose()
    clipped = np.clip(phrase * (3 / np.abs(phrase).max()), -1, 1)
    assert spotter((clipped * 32767).astype(np.int16)).word == "okay nabu"
    cut = Utterances()
    reasons = [r.reason for r in [*cut.push(clipped), *cut.flush()]]
    assert len(reasons) == 1
    assert "clipped" in reasons[0]
    with pytest.raises(DataError, match="clipped"):
        learner.add("okay nabu", clipped[-WINDOW:])


def test_what_is_accepted_later_is_used_at_once(recording, tmp_path):
    with Learner(SPEECH, store=tmp_path) as learner:
        spotter = Spotter(learner, threshold=0.5)
        phrase = recording[round(20.2 * RATE) : round(22.7 * RATE)]
        assert spotter(phrase) is None  # nothing is known yet
        (window,) = Utterances()(phrase)
        learner.add("nabu", window)
        for start in (3.0, 5.0, 7.0, 9.0):
            learner.add(UNKNOWN, recording[round(start * RATE) :][:WINDOW])
        learner.accept(learner.train())
        assert spotter(phrase).word == "nabu"


def test_one_file_from_sound_to_words(learner, recording, tmp_path):
    learner.export(tmp_path / "words.onnx")
    phrase = recording[round(33 * RATE) : round(33 * RATE) + WINDOW]
    with edgeml.load(tmp_path / "words.onnx") as session:
        outputs = session.run({"sound": phrase[None]})
        assert session.metadata.labels == ("okay nabu", UNKNOWN)
    expected = learner.predict(phrase)
    np.testing.assert_allclose(outputs["probabilities"][0], expected.scores, atol=1e-4)


def test_the_backbone_says_what_it_takes(learner):
    signal = learner.backbone.signal
    assert (signal.kind, signal.rate, signal.window) == ("audio", 16000, WINDOW)
    assert learner.backbone.size == 1152
    pictures = Backbone("edgeml:efficientnet_lite0_int8.onnx")
    assert pictures.signal is None
    pictures.close()
    with pytest.raises(InputError, match="mix the channels"):
        learner.predict(np.zeros((WINDOW, 2), np.float32))


def test_wrong_settings(learner, tmp_path):
    with pytest.raises(ConfigError, match="hop above 0"):
        Spotter(learner, hop=0)
    with pytest.raises(ValueError, match="threshold"):
        Spotter(learner, threshold=2)
    with (
        Learner("edgeml:activity_watch_int8.onnx", store=tmp_path) as other,
        pytest.raises(ConfigError, match="takes no windows of sound"),
    ):
        Spotter(other)
    with pytest.raises(ModelError, match="expected positive numbers"):
        Backbone("edgeml:activity_watch_int8.onnx",
                 preprocess={"type": "motion", "sample_rate": 0, "window": 100})  # fmt: skip
    with pytest.raises(InputError, match="48000 Hz"):
        Spotter(learner)(Sample(np.zeros(480), t=0, arrived=0, duration=10**7))
