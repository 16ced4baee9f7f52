"""Spoken digits: a network that takes the samples of a microphone, its log-mel bands inside.

    sudo apt install espeak-ng flite asterisk-core-sounds-en-wav
    python examples/spoken_digits.py

It learns from the voices of a formant synthesizer alone, and is tested on people: a telephone
exchange's announcer, and four voices that are built of recordings.
"""

import io
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
import soxr

import edgeml
from edgeml import layers, ops
from edgeml.data import Dataset

RATE, LENGTH = 8000, 8000  # what a telephone carries, 1 s
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-us-nyc")
VARIANTS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "f5", "Andy",
            "Annie", "linda", "steph", "klatt2", "klatt4", "edward", "belinda")  # fmt: skip
RECORDED = ("awb", "rms", "slt", "kal16")
ANNOUNCER = Path("/usr/share/asterisk/sounds/en/digits")


class LogMel(layers.Layer):
    """The logarithm of 32 mel bands, every 10 ms: (batch, samples) to (batch, frames, 32)."""

    def call(self, x):
        return ops.log_mel(x, RATE, n_mels=32, n_fft=256, hop=80, offset=1e-3)


def clip(sound):
    """Return 1 s of the word alone: no silence before it, as loud as all others."""
    data, rate = soundfile.read(sound, dtype="float32")
    data = soxr.resample(data, rate, RATE)
    loud = np.flatnonzero(np.abs(data) > 0.05 * np.abs(data).max())
    data = data[loud[0] : loud[-1] + 1][:LENGTH]
    data = np.pad(data, (0, LENGTH - len(data)))
    return (data * (0.1 / data.std())).astype(np.float32)


def speak(*argv):
    done = subprocess.run(argv, capture_output=True, check=True)
    return clip(io.BytesIO(done.stdout))


def synthesized(count, seed=0):
    """Return `count` clips of each word and the digits, in voices drawn by chance."""
    rng = np.random.default_rng(seed)
    orders = [
        ("espeak-ng", "-v", f"{rng.choice(ACCENTS)}+{rng.choice(VARIANTS)}",
         "-s", str(rng.integers(110, 220)), "-p", str(rng.integers(20, 80)), "--stdout", word)
        for _ in range(count) for word in WORDS
    ]  # fmt: skip
    with ThreadPoolExecutor(4) as pool:
        return np.stack(list(pool.map(lambda order: speak(*order), orders))), np.tile(
            np.arange(10), count
        )


def recorded():
    """Return clips of recorded speakers, and who says what."""
    clips = [clip(ANNOUNCER / f"{digit}.wav") for digit in range(10)]
    for voice in RECORDED:
        clips += [
            speak("flite", "-voice", voice, "-t", word, "-o", "/dev/stdout") for word in WORDS
        ]
    return np.stack(clips), np.tile(np.arange(10), 1 + len(RECORDED))


def augment(rng):
    """Return what makes a clip another speaker's: pitch and pace, timbre, time, loudness, noise."""

    def change(x, y):
        pace = rng.uniform(0.8, 1.25)
        x = np.interp(np.arange(LENGTH) * pace, np.arange(LENGTH), x, right=0)
        x = np.convolve(x, rng.normal(0, 0.3, 9) + np.eye(9)[4], "same")
        x = np.roll(x, rng.integers(0, 1600)) * rng.uniform(0.03, 0.2) / x.std()
        return (x + rng.normal(0, rng.uniform(0, 0.03), x.shape)).astype(np.float32), y

    return change


def build():
    return edgeml.Sequential([
        edgeml.Input((LENGTH,)), LogMel(), layers.BatchNormalization(),
        layers.Conv1D(64, 5, strides=2, activation="relu"), layers.BatchNormalization(),
        layers.Conv1D(64, 5, strides=2, activation="relu"), layers.BatchNormalization(),
        layers.Conv1D(64, 3, activation="relu"),
        layers.GlobalMaxPooling1D(), layers.Dropout(0.3), layers.Dense(10, activation="softmax"),
    ])  # fmt: skip


def main(count=100, epochs=20):
    layers.set_random_seed(0)
    x, y = synthesized(count)
    print(f"{len(x)} clips of synthesized speech")
    clips = Dataset.from_arrays(x, y).shuffle(len(x), seed=0)
    clips = clips.map(augment(np.random.default_rng(0))).batch(32)
    model = build()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(clips, epochs=epochs, verbose=2)

    x_test, y_test = recorded()
    accuracy = (model.predict(x_test).argmax(1) == y_test).mean()
    print(
        f"accuracy {accuracy:.2f} on {len(y_test)} words of five recorded speakers; by chance 0.1"
    )
    return accuracy


if __name__ == "__main__":
    main()
