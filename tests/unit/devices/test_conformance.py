"""One contract for real and simulated devices: the same tests run on both."""

import asyncio
import itertools

import numpy as np
import pytest

from edgeml.devices import GPIO, IIO, CSVReplay, Microphone, Sensor
from edgeml.errors import DeviceClosed, SinkClosed
from edgeml.streams import Backoff, Sample, Source
from edgeml.testing import FakeGPIO, FakeIIO, FakeMicrophone, FakeSensor, FakeSpeaker

QUICK = Backoff(initial=0.01, maximum=0.02)


def microphone_file(tmp_path):
    soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed")
    soundfile.write(tmp_path / "a.wav", np.linspace(-1, 1, 5120), 16000)
    return Microphone(tmp_path / "a.wav", block=512)


def fake_microphone(tmp_path):
    return FakeMicrophone(np.linspace(-1, 1, 5120), block=512)


def fake_live_microphone(tmp_path):
    return FakeMicrophone(np.linspace(-1, 1, 5120), block=512, realtime=True)


def iio(tmp_path):
    chip = FakeIIO(tmp_path)
    chip.set("in_accel_x_raw", 1)
    return IIO(hz=500, root=tmp_path)


def fake_sensor(tmp_path):
    return FakeSensor(range(10), hz=500)


def polled(tmp_path):
    return Sensor.poll(lambda: 1.0, hz=500)


def csv_replay(tmp_path):
    (tmp_path / "a.csv").write_text("t,x\n" + "".join(f"{i / 100},{i}\n" for i in range(10)))
    return CSVReplay(tmp_path / "a.csv")


SOUNDS = [microphone_file, fake_microphone, fake_live_microphone]
SOURCES = [*SOUNDS, iio, fake_sensor, polled, csv_replay]
PLUGGABLE = ["iio", "fake_sensor", "fake_microphone"]


@pytest.fixture(params=SOURCES, ids=lambda make: make.__name__)
def source(request, tmp_path):
    return request.param(tmp_path)


async def test_samples_are_numbered_named_and_in_time(source, no_thread_left):
    async with source:
        samples = [await anext(source) for _ in range(8)]
    assert [s.seq for s in samples] == list(range(8))
    assert {s.source for s in samples} == {source.name}
    for before, after in itertools.pairwise(samples):
        assert after.t > before.t
        assert after.arrived >= before.arrived
    if source.live:
        assert all(s.end <= s.arrived for s in samples)


async def test_closing_is_idempotent_and_final(source, no_thread_left):
    await anext(source)
    await source.aclose()
    await source.aclose()
    assert source.state == "closed"
    with pytest.raises(DeviceClosed):
        await anext(source)


async def test_closing_before_opening(source):
    await source.aclose()
    assert source.state == "closed"


async def test_cancelling_a_read_leaves_nothing(source, no_thread_left):
    await anext(source)
    task = asyncio.ensure_future(anext(source))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await source.aclose()


async def test_in_a_pipeline_it_gives_what_it_gives_alone(source, no_thread_left):
    async with asyncio.timeout(20):
        items = [item async for item in source.take(5)]
    assert [item.seq for item in items] == list(range(5))


async def test_losses_are_a_dict(source):
    assert source.dropped == {}


@pytest.mark.parametrize("make", SOUNDS, ids=lambda make: make.__name__)
async def test_sound_is_float32_in_blocks(make, tmp_path):
    async with make(tmp_path) as source:
        samples = [sample async for sample in source]
    assert len(samples) == 10
    assert source.state == "ended"
    for sample in samples:
        assert sample.data.dtype == np.float32
        assert sample.data.shape == (512,)
        assert sample.duration == 32_000_000
    assert np.concatenate([s.data for s in samples]) == pytest.approx(
        np.linspace(-1, 1, 5120), abs=1e-4
    )


@pytest.mark.parametrize("kind", PLUGGABLE)
async def test_unplugged_and_back(kind, tmp_path, until, no_thread_left):
    if kind == "iio":
        plug = FakeIIO(tmp_path)
        plug.set("in_accel_x_raw", 1)
        source = IIO(hz=500, root=tmp_path, reconnect=QUICK)
    elif kind == "fake_sensor":
        source = plug = FakeSensor(range(1000), hz=500, reconnect=QUICK)
    else:
        source = plug = FakeMicrophone(np.zeros(512 * 100), reconnect=QUICK)
    async with source:
        await anext(source)
        plug.unplug()
        pending = asyncio.ensure_future(anext(source))
        await until(lambda: source.state == "reconnecting" and source.reconnects >= 2)
        plug.plug_in()
        sample = await pending
        assert sample.meta["discontinuity"]
        assert source.state == "flowing"


@pytest.mark.parametrize("make", [FakeSpeaker, lambda: GPIO(1, request=FakeGPIO())])
async def test_sinks_close_once_and_refuse_afterwards(make):
    sink = make()
    data = np.zeros(4, np.float32)
    await sink.open()
    await sink.send(data.any())
    await sink.aclose()
    await sink.aclose()
    with pytest.raises(SinkClosed):
        await sink.send(data)


async def test_a_fake_speaker_keeps_what_a_pipeline_plays():
    speaker = FakeSpeaker()
    block = Sample(np.ones(3, np.float32), t=0, arrived=0)
    await (Source.of([block, block]) | speaker).run()
    assert speaker.audio.tolist() == [1] * 6
    assert speaker.closed
