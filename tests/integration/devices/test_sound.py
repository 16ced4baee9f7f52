"""Microphone and Speaker on a real PortAudio and a real PulseAudio."""

import json
import subprocess
import sys
import time
from collections import deque

import numpy as np
import pytest


def write_tone(path, hz, seconds, rate=44100):
    import soundfile

    wave = 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, wave, rate)
    return path


class Recording:
    """The program record.py, and its lines so far."""

    def __init__(self, sound, **options):
        self.process = sound.python("record.py", json.dumps(options))
        self.lines = deque()

    def until(self, found, deadline=40.0):
        """Read lines until one fits; return it."""
        end = time.monotonic() + deadline
        for text in self.process.stdout:
            line = json.loads(text)
            self.lines.append(line)
            if found(line):
                return line
            assert time.monotonic() < end, f"not seen within {deadline} s; last: {line}"
        raise AssertionError(f"it ended: {self.process.stderr.read()[-2000:]}")

    def until_block(self, found, deadline=40.0):
        line = self.until(lambda line: "block" in line and found(line["block"]), deadline)
        return line["block"]

    def blocks(self):
        return [line["block"] for line in self.lines if "block" in line]

    def close(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def record(sound):
    recordings = []

    def start(**options):
        recordings.append(Recording(sound, **options))
        return recordings[-1]

    yield start
    for recording in recordings:
        recording.close()


def stop(player):
    player.kill()
    player.wait()


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 16000, "block": 512},
        {"device": "mic", "rate": 48000, "channels": 2, "block": 0.1},
        {"device": "default", "rate": 22050, "block": 1024},
    ],
    ids=str,
)
def test_it_records_what_is_played(sound, record, tmp_path, options):
    recording = record(**options)
    recording.until_block(lambda block: True)
    player = sound.play(write_tone(tmp_path / "a.wav", 1000, 30))
    rate, channels = options["rate"], options.get("channels", 1)
    n = options["block"] if isinstance(options["block"], int) else round(options["block"] * rate)
    block = recording.until_block(lambda block: block["level"] > 0.3)
    for _ in range(10):
        block = recording.until_block(lambda block: True)
    stop(player)
    assert block["hz"] == pytest.approx(1000, abs=1.5 * rate / n)
    assert block["shape"] == ([n] if channels == 1 else [n, channels])
    assert block["dtype"] == "float32"
    assert block["duration"] == round(n * 1e9 / rate)
    assert block["level"] == pytest.approx(0.5, abs=0.06)


def test_times_go_on_evenly_and_are_in_the_past(record):
    recording = record(device="mic", block=800)
    for _ in range(120):
        recording.until_block(lambda block: True)
    blocks = recording.blocks()
    assert all(block["age"] > 0 for block in blocks)
    steps = np.diff([block["t"] for block in blocks[60:]])
    assert abs(np.median(steps) - 50_000_000) < 2_000_000
    assert steps.min() > 0


def test_a_source_that_is_unloaded_comes_back(sound, record, tmp_path):
    recording = record(device="mic", block=512)
    recording.until_block(lambda block: True)
    sound.unload()
    lost = recording.until(lambda line: line.get("state") == "reconnecting")
    assert "is gone: the audio system ended its stream" in lost["reason"]
    refused = recording.until(
        lambda line: line.get("state") == "reconnecting" and "cannot be opened" in line["reason"]
    )
    assert "'mic' cannot be opened" in refused["reason"]
    sound.load()
    assert recording.until_block(lambda block: block["new"])
    player = sound.play(write_tone(tmp_path / "a.wav", 500, 30))
    assert recording.until_block(lambda block: block["level"] > 0.3)
    stop(player)


def test_a_reader_that_is_too_slow_is_a_counted_loss(record):
    recording = record(device="mic", block=512, buffer=0.2, slow=1.5)
    line = recording.until(lambda line: line.get("dropped", {}).get("overflow", 0) > 10)
    assert line["dropped"]["overflow"] < 100
    assert any(block["new"] for block in recording.blocks())


def test_a_wrong_name_lists_the_right_ones(record):
    line = record(device="Kinect").until(lambda line: "error" in line)
    assert line["error"] == "DeviceNotFound"
    assert "no input device 'Kinect'" in line["message"]
    assert "'mic'" in line["message"]


def test_the_server_dies_and_returns(sound, record):
    recording = record(device="mic")
    recording.until_block(lambda block: True)
    sound.server.kill()
    sound.server.wait()
    recording.until(lambda line: line.get("state") == "reconnecting")
    sound.__init__(type(sound.folder)(sound.folder))
    # A call that was under way to the server that died may hang before it is given up.
    assert recording.until_block(lambda block: block["new"], deadline=90)


def test_the_speaker_plays_everything_before_it_closes(sound, record):
    recording = record(device="mic", rate=16000, block=1600)
    recording.until_block(lambda block: True)
    speaker = sound.python("play.py", json.dumps({"device": "speaker", "rate": 16000}))
    out, err = speaker.communicate(timeout=60)
    assert speaker.returncode == 0, err
    assert json.loads(out) == {"played": 3.0}
    recording.until_block(lambda block: block["level"] > 0.3 and abs(block["hz"] - 1500) < 15)
    recording.until_block(lambda block: block["level"] < 0.01)
    heard = [block for block in recording.blocks() if block["level"] > 0.4]
    # Three tones of a second each, in order, the last to its end.
    for hz in (500, 1000, 1500):
        assert sum(abs(block["hz"] - hz) < 15 for block in heard) in range(8, 13), hz


def test_a_speaker_that_is_unplugged_fails_and_plays_again(sound):
    speaker = sound.python("play.py", json.dumps({"device": "speaker", "unplug": True}))
    assert speaker.stdout.readline() == "playing\n"
    sound.unload()
    assert "DeviceLost" in speaker.stdout.readline()
    sound.load()
    assert speaker.stdout.readline() == "playing again\n"
    _, err = speaker.communicate(timeout=60)
    assert (speaker.returncode, "Traceback" in err) == (0, False), err


def test_a_cancelled_pipeline_leaves_no_thread(sound):
    program = sound.python("through.py")
    out, err = program.communicate(timeout=60)
    assert (program.returncode, "Traceback" in err) == (0, False), err
    assert json.loads(out) == {"blocks": True, "threads": []}


def test_without_portaudio_the_apt_package_is_named(tmp_path):
    """A dynamic linker that does not find the library, as on a fresh system."""
    program = (
        "import ctypes.util; ctypes.util.find_library = lambda name: None\n"
        "import asyncio, edgeml.devices as d\n"
        "try: asyncio.run(anext(d.Microphone()))\n"
        "except ImportError as error: print(error, type(error).__name__)\n"
        "print([i.install for i in d.discover() if i.kind == 'microphone'])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert "sudo apt install libportaudio2 MissingExtra" in run.stdout, run.stderr
    assert "['sudo apt install libportaudio2']" in run.stdout
