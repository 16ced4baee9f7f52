"""Microphone on files: length, time, channels, pace, and files that are broken."""

import itertools

import numpy as np
import pytest

from edgeml.devices import Microphone
from edgeml.errors import DeviceNotFound, MediaError

soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed")
pytest.importorskip("soxr", reason="soxr is not installed")


def tone(seconds, rate, hz=440.0):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


async def collect(microphone, n=None):
    samples = []
    async with microphone:
        async for sample in microphone:
            samples.append(sample)
            if len(samples) == n:
                break
    return samples


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
async def test_every_format_and_rate_gives_the_exact_length(tmp_path, suffix, rate):
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(1.2345, rate), rate)
    frames = soundfile.info(path).frames
    samples = await collect(Microphone(path, rate=16000, block=512))
    sound = np.concatenate([s.data for s in samples])
    assert len(sound) == round(frames * 16000 / rate)
    assert sound.dtype == np.float32
    assert {len(s.data) for s in samples[:-1]} == {512}
    middle = sound[2000:-2000]
    expected = tone(len(sound) / 16000, 16000)[2000:-2000]
    tolerance = 0.1 if suffix == "ogg" else 2e-3
    assert np.abs(middle - expected[: len(middle)]).max() < tolerance


async def test_time_is_counted_from_the_start_without_gaps(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(0.5, 48000), 48000)
    microphone = Microphone(tmp_path / "a.wav", block=0.02)
    samples = await collect(microphone)
    assert samples[0].t == microphone.clock.start
    assert [s.seq for s in samples] == list(range(25))
    for before, after in itertools.pairwise(samples):
        assert after.t == before.end


async def test_channels_are_mixed_kept_or_spread(tmp_path):
    left, right = tone(0.1, 16000), np.zeros(1600, np.float32)
    soundfile.write(tmp_path / "s.wav", np.stack([left, right], 1), 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "m.wav", left, 16000, subtype="FLOAT")
    (mono,) = await collect(Microphone(tmp_path / "s.wav", block=1600))
    assert np.allclose(mono.data, left / 2)
    (stereo,) = await collect(Microphone(tmp_path / "s.wav", block=1600, channels=2))
    assert stereo.data.shape == (1600, 2)
    assert np.array_equal(stereo.data[:, 1], right)
    (spread,) = await collect(Microphone(tmp_path / "m.wav", block=1600, channels=2))
    assert np.array_equal(spread.data[:, 0], spread.data[:, 1])
    with pytest.raises(MediaError, match=r"has 2 channels; expected 3"):
        await collect(Microphone(tmp_path / "s.wav", channels=3))


async def test_raw_files_have_the_rate_they_are_told(tmp_path):
    pcm = (tone(0.5, 8000) * 32767).astype("<i2")
    (tmp_path / "a.raw").write_bytes(pcm.tobytes())
    samples = await collect(Microphone(tmp_path / "a.raw", raw_rate=8000, rate=16000))
    assert sum(len(s.data) for s in samples) == 8000
    samples = await collect(Microphone(tmp_path / "a.raw", rate=8000, block=4000))
    assert np.allclose(samples[0].data, pcm / 32768, atol=1e-6)


async def test_loop_goes_on_without_a_gap(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.arange(100) / 200, 16000, subtype="FLOAT")
    samples = await collect(Microphone(tmp_path / "a.wav", block=70, loop=True), n=10)
    sound = np.concatenate([s.data for s in samples])
    assert np.allclose(sound, np.tile(np.arange(100) / 200, 7))
    assert samples[-1].end - samples[0].t == 700 * 10**9 // 16000


async def test_realtime_pace_delivers_a_block_after_it_was_spoken(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(0.2, 16000), 16000)
    for sample in await collect(Microphone(tmp_path / "a.wav", block=0.05, pace="realtime")):
        assert sample.arrived >= sample.end


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.wav", b"", r"empty\.wav is empty \(0 bytes\)"),
        ("text.wav", b"this is not audio at all", r"text\.wav cannot be decoded as audio"),
        ("head.wav", b"RIFF\x24\x00\x00\x00WAVEfmt ", r"head\.wav cannot be decoded as audio"),
    ],
)
async def test_a_broken_file_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MediaError, match=message):
        await collect(Microphone(tmp_path / name))


async def test_a_header_without_samples_is_an_error(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0, np.float32), 16000)
    with pytest.raises(MediaError, match="holds no audio samples"):
        await collect(Microphone(tmp_path / "a.wav", loop=True))


async def test_a_truncated_file_gives_what_is_there_and_says_so(tmp_path, caplog):
    soundfile.write(tmp_path / "a.wav", tone(1, 16000), 16000)
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[: len(whole) // 2])
    samples = await collect(Microphone(tmp_path / "a.wav"))
    assert sum(len(s.data) for s in samples) == (len(whole) // 2 - 44) // 2
    assert "a.wav is truncated" in caplog.text


async def test_a_missing_file_is_not_taken_for_a_device(tmp_path):
    with pytest.raises(DeviceNotFound, match=r"nothing\.wav does not exist"):
        await collect(Microphone(str(tmp_path / "nothing.wav")))
    with pytest.raises(DeviceNotFound, match="does not ship with edgeml"):
        await collect(Microphone("edgeml:nothing.wav"))
    with pytest.raises(DeviceNotFound, match="does not ship with edgeml"):
        await collect(Microphone("edgeml:../errors.py"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0}, "rate must be a positive integer"),
        ({"channels": -1}, "channels must be a positive integer"),
        ({"block": 0.0}, "block must be a positive integer"),
        ({"pace": "fast"}, 'pace must be "realtime" or None'),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Microphone("a.wav", **options)


def test_what_is_live():
    assert Microphone().live
    assert Microphone("USB Audio").live
    assert Microphone(3).live
    assert not Microphone("talk.flac").live
    assert not Microphone("edgeml:voice.flac").live
