"""Live sound on hardware that has only one rate, by a stand-in for sounddevice.

What a real PortAudio does is in tests/integration/devices/test_sound.py; its PulseAudio takes
any rate, and never stamps nonsense.
"""

import asyncio
import sys
import threading
import time
import types

import numpy as np
import pytest

from edgeml.devices import Microphone, Speaker
from edgeml.errors import DeviceLost, DeviceNotFound
from edgeml.streams import Backoff

pytest.importorskip("soxr", reason="soxr is not installed")


class PortAudioError(Exception):
    pass


class Status:
    input_overflow = False
    output_underflow = False


class Times:
    def __init__(self, age):
        self.currentTime = 1000.0
        self.inputBufferAdcTime = 0.0 if age is None else 1000.0 - age


class Stream:
    """A card that knows 48 kHz stereo only, and works in a thread like PortAudio's."""

    card: types.SimpleNamespace

    def __init__(self, *, samplerate, channels, blocksize, callback, finished_callback, **_):
        self.card.asked.append((samplerate, channels))
        if self.card.busy:
            raise PortAudioError("Device unavailable", -9985)
        if samplerate != 48000:
            raise PortAudioError("Invalid sample rate", -9997)
        if channels != 2:
            raise PortAudioError("Invalid number of channels", -9998)
        self.samplerate, self.channels = float(samplerate), channels
        self.blocksize, self.callback, self.finished = blocksize, callback, finished_callback
        self.running = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def start(self):
        self.running.set()
        self.thread.start()

    def work(self):
        n = 0
        while self.running.is_set() and n < self.card.blocks:
            self.exchange(n)
            n += 1
            time.sleep(0.001)
        self.finished()

    def abort(self, ignore_errors=True):
        self.running.clear()
        self.thread.join()

    stop = abort

    def close(self, ignore_errors=True):
        pass


class InputStream(Stream):
    def exchange(self, n):
        status = Status()
        status.input_overflow = n in self.card.overflows
        i = np.arange(n * self.blocksize, (n + 1) * self.blocksize)
        tone = 0.5 * np.sin(2 * np.pi * 1000 * i / 48000)
        data = np.stack([tone, tone], 1).astype(np.float32)
        self.callback(data, self.blocksize, Times(self.card.age), status)


class OutputStream(Stream):
    def exchange(self, n):
        out = np.full((self.blocksize, 2), np.nan, np.float32)
        self.callback(out, self.blocksize, Times(0), Status())
        self.card.played.append(out)


@pytest.fixture
def card(monkeypatch):
    card = types.SimpleNamespace(
        asked=[], busy=False, blocks=10**9, overflows=(), age=0.02, played=[], refreshed=0
    )

    def query_devices(device=None, kind=None):
        info = {
            "name": "Card", "index": 0, "default_samplerate": 48000.0,
            "max_input_channels": 2, "max_output_channels": 2,
        }  # fmt: skip
        if kind is None:
            return [info]
        if device not in (None, "Card"):
            raise ValueError(f"No {kind} device matching {device!r}")
        return info

    def refresh():
        card.refreshed += 1

    module = types.ModuleType("sounddevice")
    module.PortAudioError = PortAudioError
    module.InputStream = type("InputStream", (InputStream,), {"card": card})
    module.OutputStream = type("OutputStream", (OutputStream,), {"card": card})
    module.query_devices = query_devices
    module._terminate = lambda: None
    module._initialize = refresh
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return card


async def take(microphone, n):
    async with microphone:
        return [await anext(microphone) for _ in range(n)]


async def test_the_cards_own_rate_and_channels_are_used_and_converted(card, no_thread_left):
    samples = await take(Microphone(rate=16000, block=512), 30)
    assert card.asked == [(16000, 1), (48000, 1), (16000, 2), (48000, 2)]
    sound = np.concatenate([s.data for s in samples])
    assert sound.shape == (30 * 512,)
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(len(sound)) / 16000)
    assert np.abs(sound - expected)[200:].max() < 1e-3


@pytest.mark.parametrize(("age", "expected"), [(0.02, 0.02), (None, 0.032), (-1, 0.032)])
async def test_time_comes_from_the_drivers_stamp_else_from_the_arrival(card, age, expected):
    card.age = age
    (sample,) = await take(Microphone(rate=48000, channels=2, block=0.032), 1)
    assert sample.data.shape == (1536, 2)
    assert 0 <= (sample.arrived - sample.t) / 1e9 - expected < 0.5


async def test_a_gap_that_the_driver_reports_is_counted_and_marked(card):
    card.overflows = (5, 9)
    microphone = Microphone(rate=48000, channels=2, block=480)
    samples = await take(microphone, 15)
    assert [i for i, s in enumerate(samples) if s.meta.get("discontinuity")] == [5, 9]
    assert microphone.dropped == {"driver-overflow": 2}


async def test_a_card_that_ends_is_lost_and_opened_again(card, no_thread_left):
    card.blocks = 20
    microphone = Microphone(rate=48000, channels=2, block=480, reconnect=Backoff(initial=0.01))
    samples = await take(microphone, 30)
    assert microphone.reconnects == 1
    assert card.refreshed == 1
    assert [i for i, s in enumerate(samples) if s.meta.get("discontinuity")] == [20]


async def test_a_card_that_is_busy_says_so(card):
    card.busy = True
    with pytest.raises(DeviceLost, match=r"'Card' cannot be opened .*another program hold it"):
        await take(Microphone(reconnect=None), 1)


async def test_a_wrong_name_is_looked_for_twice(card):
    with pytest.raises(DeviceNotFound, match=r"no input device 'Kinect' .*one of: 0: 'Card'"):
        await take(Microphone("Kinect"), 1)
    assert card.refreshed == 1


async def test_the_speaker_converts_to_what_the_card_has(card, no_thread_left):
    speaker = Speaker(rate=16000)
    await speaker.open()
    tone = (0.5 * np.sin(2 * np.pi * 500 * np.arange(16000) / 16000)).astype(np.float32)
    for part in np.split(tone, 20):
        await speaker.send(part)
    await speaker.aclose()
    played = np.concatenate(card.played)
    assert not np.isnan(played).any()
    assert np.array_equal(played[:, 0], played[:, 1])
    sounding = np.flatnonzero(np.abs(played[:, 0]) > 0.01)
    heard = np.concatenate([b for b in card.played if np.abs(b).max() > 0])
    assert sounding[-1] - sounding[0] >= 47900
    assert len(heard) >= 48000


async def test_a_speaker_that_ends_is_lost_and_plays_again(card):
    card.blocks = 3
    speaker = Speaker(rate=48000, channels=2, buffer=0.1)

    async def play():
        for _ in range(1000):
            await speaker.send(np.zeros((480, 2), np.float32))

    with pytest.raises(DeviceLost, match=r"speaker 'speaker' \(default\) is gone"):
        await play()
    card.blocks = 10**9
    await speaker.send(np.zeros((480, 2), np.float32))
    await speaker.aclose()


async def test_closing_a_speaker_that_is_cancelled_releases_the_card(card, no_thread_left):
    card.blocks = 0  # takes nothing: closing would wait
    speaker = Speaker(rate=48000, channels=2)
    await speaker.open()
    speaker._lost = False
    speaker._put = 480
    closing = asyncio.ensure_future(speaker.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert speaker._stream is None


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (np.zeros((4, 2), np.float32), ValueError, r"shape \[n\]; received \[4, 2\]"),
        (np.zeros(4, np.uint8), TypeError, "received an array of uint8"),
        (np.float32(1), ValueError, r"received \[\]"),
    ],
)
async def test_wrong_sound_is_named(card, data, error, message):
    speaker = Speaker(rate=48000)
    with pytest.raises(error, match=message):
        await speaker.send(data)
    await speaker.aclose()
