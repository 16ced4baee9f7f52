"""A wake word from ten utterances: voices that were not heard, and hours of other sound.

The words are spoken by synthesizers (espeak-ng and flite), as no recordings of one phrase by many
people are to be had; what must not wake it is recorded: announcers of telephone exchanges, people
who name pictures for children in many languages, and music. tools/make_benchmark_inputs.py fetches
it.
"""

from __future__ import annotations

import asyncio
import io
import math
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import soundfile
import soxr
from _report import Report, Row
from scipy import stats

from edgeml.personalize import UNKNOWN, Learner, Spotter
from edgeml.personalize._audio import _Word
from edgeml.runtime import resolve
from edgeml.streams import Sample, Source

Array = np.ndarray[Any, Any]
MODEL = "edgeml:speech_embedding.onnx"
RATE, WINDOW, HOP, STEPS, BLOCK = 16000, 26480, 1280, 12, 512
WORDS = ("hey computer", "okay robin", "hello marvin")
UTTERANCES, BACKGROUND = 10, 600
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-us-nyc")
LEARNED = ("m1", "m3", "m5", "m7", "f1", "f3", "f5", "Annie", "klatt2", "edward")
UNHEARD = ("m2", "m4", "m6", "f2", "f4", "Andy", "linda", "steph", "klatt4", "belinda")
RECORDED = ("kal", "awb", "rms", "slt", "kal16")  # flite's voices, built of recordings
SPEECH = ("asterisk-core-sounds-*", "asterisk-prompt-it-*", "tuxpaint-stamps-default")
BACKGROUNDS = ("asterisk-prompt-fr-armelle", "asterisk-prompt-es-co")
MUSIC = ("wesnoth-*-music",)
SOUNDS = {".wav", ".ogg", ".gsm"}


def wake_word(report: Report, sources: Path | None, *, quick: bool) -> None:
    """Add the rows of the wake word."""
    missing = [name for name in ("espeak-ng", "flite") if shutil.which(name) is None]
    if missing or sources is None or not found(sources, BACKGROUNDS):
        needs = " ".join(missing) or "--sources, with what tools/make_benchmark_inputs.py fetches"
        print(f"left out: the wake word needs {needs}", file=sys.stderr)
        return
    words = WORDS[:1] if quick else WORDS
    limit = 0.2 if quick else math.inf
    speech = Embedded.of(sources, SPEECH, limit)
    music = Embedded.of(sources, MUSIC, limit)
    background = recording(found(sources, BACKGROUNDS), 0.35)
    hits, alarms = [], {"speech": 0, "music": 0}
    for word in words:
        with tempfile.TemporaryDirectory() as folder, Learner(MODEL, store=folder) as learner:
            teach(learner, word, background)
            check_equal(learner, speech)
            if word == words[0]:
                add_cost(report, learner)
            hits.append(recalled(learner, word, 15 if quick else 60))
            alarms["speech"] += speech.alarms(learner)
            alarms["music"] += music.alarms(learner)
    add_rows(report, words, hits, alarms, {"speech": speech.hours, "music": music.hours})


def add_rows(
    report: Report, words: Sequence[str], hits: list[Array], alarms: dict[str, int],
    hours: dict[str, float],
) -> None:  # fmt: skip
    every = np.concatenate(hits)
    low = stats.binomtest(int(every.sum()), len(every)).proportion_ci().low
    each = ", ".join(f"{w!r} {h.mean():.2f}" for w, h in zip(words, hits, strict=True))
    report.add(Row(
        f"wake word from {UTTERANCES} utterances, unheard voices (TTS)", "recall", "share",
        "higher", ours=float(every.mean()), target=0.9, target_on="ours", n=len(every),
        note=f"{each}; 95% interval from {low:.3f}; half of them go on speaking, 0 to 20 dB",
    ))  # fmt: skip
    for kind, told in alarms.items():
        listened = hours[kind] * len(words)
        bound = float(stats.chi2.ppf(0.95, 2 * told + 2)) / 2 / listened if listened else math.inf
        enough = "" if hours[kind] >= 3 else "; below 3 h: not provable"
        report.add(Row(
            f"wake word, recorded {kind} without it", "alarms an hour, 95% Poisson bound",
            "alarms/h", "lower", ours=bound, n=told,
            note=f"{told} alarms of {len(words)} words in {hours[kind]:.2f} h each{enough}",
        ))  # fmt: skip


def add_cost(report: Report, learner: Learner) -> None:
    spotter, noise = Spotter(learner), np.random.default_rng(0)
    took = []
    for _ in range(200):
        step = noise.normal(0, 0.1, HOP).astype(np.float32)
        start = time.perf_counter()
        spotter(step)
        took.append(1e3 * (time.perf_counter() - start))
    quarters = statistics.quantiles(took, n=4)
    report.add(Row("spotting a word, one thread", "time for 80 ms of sound", "ms", "lower",
                   ours=statistics.median(took), target=80.0, target_on="ours", n=len(took),
                   spread=(quarters[0], quarters[2]), threads=1))  # fmt: skip


def found(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the sounds in packages, in an order that mixes long and short ones."""
    files = [f for pattern in patterns for package in sorted(folder.glob(pattern))
             for f in sorted(package.rglob("*")) if f.suffix in SOUNDS]  # fmt: skip
    spoken = [f for f in files if "tuxpaint" not in str(f) or "_desc" in f.name]
    random.Random(0).shuffle(spoken)
    return spoken


def read(file: Path) -> Array:
    sound, rate = soundfile.read(file, dtype="float32", always_2d=True)
    mono: Array = soxr.resample(sound.mean(1), rate, RATE).astype(np.float32)
    return mono


def recording(files: Sequence[Path], hours: float) -> Array:
    """Return sounds one after another, as much as is wanted."""
    parts: list[Array] = []
    length = 0
    for file in files:
        if length >= hours * 3600 * RATE:
            break
        parts.append(read(file))
        length += len(parts[-1])
    return np.concatenate(parts or [np.zeros(0, np.float32)])


@dataclass
class Embedded:
    """Hours of sound as embeddings, 12.5 a second, made of long pieces at once."""

    pieces: list[Array]
    first: Array
    hours: float

    @classmethod
    def of(cls, folder: Path, patterns: Sequence[str], limit: float) -> Embedded:
        """Embed what packages hold, some minutes at a time in each of two threads."""
        session = free_length()
        groups = list(grouped(found(folder, patterns), limit))

        def made(group: Sequence[Path]) -> tuple[Array, float]:
            sound = np.concatenate([read(file) for file in group])
            return embed(session, sound), len(sound) / RATE / 3600

        with ThreadPoolExecutor(2) as pool:
            pieces = list(pool.map(made, groups))
        first = np.concatenate([read(f) for f in groups[0]]) if groups else np.zeros(0, np.float32)
        return cls([p for p, _ in pieces if len(p) >= STEPS], first[: 20 * RATE],
                   sum(hours for _, hours in pieces))  # fmt: skip

    def scores(self, learner: Learner) -> Iterator[Array]:
        """Yield the probabilities of the word, piece by piece."""
        assert learner._head is not None
        for piece in self.pieces:
            windows = np.lib.stride_tricks.sliding_window_view(piece, STEPS, axis=0)
            rows = windows.transpose(0, 2, 1).reshape(len(windows), -1)
            yield learner._head[0].run(None, {"features": rows})[0][:, 0]

    def alarms(self, learner: Learner) -> int:
        """Count what a `Spotter` of the usual settings would tell."""
        word, told, t = _Word(Spotter(learner)), 0, 0
        for scores in self.scores(learner):
            for score in scores:
                t += round(HOP * 1e9 / RATE)
                told += word.hear(float(score), t) is not None
        return told


def grouped(files: Sequence[Path], hours: float) -> Iterator[list[Path]]:
    """Yield files of some minutes together, until there are enough hours."""
    seconds, group, long = 0.0, list[Path](), 0.0
    for file in files:
        try:
            length = soundfile.info(file).duration
        except soundfile.LibsndfileError:  # one of tuxpaint's is no sound
            continue
        group.append(file)
        long += length
        seconds += length
        if long >= 120:
            yield group
            group, long = [], 0.0
        if seconds >= hours * 3600:
            break
    if group:
        yield group


def free_length() -> ort.InferenceSession:
    """Return the shipped model for sound of any length: its convolutions take that, too."""
    model = onnx.load(resolve(MODEL))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "samples"
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "steps"
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options)


def embed(session: ort.InferenceSession, sound: Array) -> Array:
    """Return embeddings (steps, 96), a few seconds at a time: that stays in the cache."""
    context, at_once, made = WINDOW - (STEPS - 1) * HOP, 32, []
    steps = (len(sound) - context) // HOP + 1
    for start in range(0, steps, at_once):
        count = min(at_once, steps - start)
        cut = sound[start * HOP :][: context + (count - 1) * HOP]
        made.append(session.run(None, {"sound": cut[None]})[0][0])
    return np.concatenate(made or [np.zeros((0, 96), np.float32)])


def check_equal(learner: Learner, negatives: Embedded) -> None:
    """Make sure that long pieces at once give what a window after another does."""
    assert learner._head is not None
    sound = negatives.first
    fast = next(Embedded([embed(free_length(), sound)], sound, 0).scores(learner))
    windows = [sound[i : i + WINDOW] for i in range(0, len(sound) - WINDOW, HOP)]
    rows = np.stack([learner.backbone.embed(window) for window in windows])
    slow = learner._head[0].run(None, {"features": rows})[0][:, 0]
    np.testing.assert_allclose(fast[: len(slow)], slow, atol=2e-3)


def speak(orders: Sequence[Sequence[str]]) -> list[Array]:
    """Run synthesizers; return what they say, at 16 kHz, without the silence around it."""

    def one(order: Sequence[str]) -> Array:
        done = subprocess.run(order, capture_output=True, check=True)
        sound, rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
        sound = soxr.resample(sound, rate, RATE)
        loud = np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max())
        trimmed: Array = sound[loud[0] : loud[-1] + 1] / np.abs(sound).max()
        return trimmed

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, orders))


def espeak(word: str, voices: Sequence[str], count: int, rng: random.Random) -> list[list[str]]:
    return [
        ["espeak-ng", "-v", f"{rng.choice(ACCENTS)}+{voices[i % len(voices)]}",
         "-s", str(rng.randrange(130, 190)), "-p", str(rng.randrange(30, 70)), "--stdout", word]
        for i in range(count)
    ]  # fmt: skip


def flite(word: str, count: int, rng: random.Random) -> list[list[str]]:
    orders = []
    for i in range(count):
        voice = RECORDED[i % len(RECORDED)]
        pitch = (180 if voice == "slt" else 110) * rng.uniform(0.9, 1.15)
        orders.append(["flite", "-voice", voice, "--setf", f"int_f0_target_mean={pitch:.0f}",
                       "--setf", f"duration_stretch={rng.uniform(0.85, 1.2):.2f}",
                       "-t", word, "-o", "/dev/stdout"])  # fmt: skip
    return orders


def blocks(sound: Array) -> list[Sample[Array]]:
    return [
        Sample(sound[i : i + BLOCK], t=round(i * 1e9 / RATE), arrived=0, source="ear")
        for i in range(0, len(sound), BLOCK)
    ]


def teach(learner: Learner, word: str, background: Array) -> None:
    """Collect as a user does: the word said ten times, and then whatever else is heard."""
    rng, noise = random.Random(1), np.random.default_rng(1)
    said = [noise.normal(0, 5e-4, RATE)]
    for sound in speak(espeak(word, LEARNED, UTTERANCES, rng)):
        said += [sound * 10 ** (-rng.uniform(6, 18) / 20), noise.normal(0, 5e-4, RATE)]
    stream = np.concatenate(said).astype(np.float32)
    stream += noise.normal(0, 5e-4, len(stream)).astype(np.float32)

    async def collect() -> None:
        for label, sound, count in ((word, stream, UTTERANCES), (UNKNOWN, background, BACKGROUND)):
            source = Source.of(blocks(sound))
            async with learner.collect(label, source, count=count, countdown=0) as collection:
                await collection.done()

    asyncio.run(collect())
    learner.accept(learner.train())


def recalled(learner: Learner, word: str, count: int) -> Array:
    """Return which of the words said by unheard voices a `Spotter` tells, and only once."""
    rng, noise = random.Random(2), np.random.default_rng(2)
    sounds = speak([*espeak(word, UNHEARD, count // 2, rng), *flite(word, count // 2, rng)])
    after = speak(espeak("turn on the light in the kitchen please", UNHEARD, 10, rng))
    stream, ends = np.zeros(2 * RATE), []
    for i, sound in enumerate(sounds):
        loudness = 10 ** (-rng.uniform(0.5, 20) / 20)
        stream = np.concatenate([stream, sound * loudness])
        ends.append(len(stream))
        if i % 2:
            pause = np.zeros(round(rng.uniform(0.05, 0.3) * RATE))
            stream = np.concatenate([stream, pause, after[i % 10] * loudness])
        stream = np.concatenate([stream, np.zeros(2 * RATE)])
    stream = (stream + noise.normal(0, 5e-4, len(stream))).astype(np.float32)
    spotter = Spotter(learner)
    told = [s.t * RATE / 1e9 for block in blocks(stream) for s in spotter(block)]
    near = [sum(-0.5 * RATE < t - end < RATE for t in told) for end in ends]
    return np.array([n == 1 for n in near])
