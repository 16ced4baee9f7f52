"""A wake word of your own, from ten utterances; then it is found in other people's speech.

    sudo apt install espeak-ng flite
    python examples/wake_word.py                  # synthesizers speak
    python examples/wake_word.py --microphone     # you do: say it ten times, with pauses

What else there is to hear comes from a recording that ships. On a device, collect "unknown" from
its own microphone for some minutes: the more it has heard of a home, the fewer its false alarms.
"""

import argparse
import asyncio
import io
import subprocess
import tempfile

import numpy as np
import soundfile
import soxr

from edgeml import Microphone, Sample, Source
from edgeml.personalize import Learner, Spotter

WORD = "hey computer"
RATE, BLOCK = 16000, 512
TEACHERS = ("en-us+m1", "en-us+f1", "en-gb+m3", "en-gb+f3", "en-us+m5", "en-gb+Annie", "en-us+f5",
            "en-gb-scotland+m7", "en-us+klatt2", "en-gb-x-rp+edward")  # fmt: skip
STRANGERS = ("slt", "rms", "awb", "kal", "kal16")  # built of recordings
SENTENCES = ("the light is on", WORD, "how are you today", f"{WORD} play some music")


def speak(*command):
    """Return what a synthesizer says, as a microphone hears it: with a pause, and some noise."""
    done = subprocess.run(command, capture_output=True, check=True)
    sound, rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
    sound = np.pad(0.4 * soxr.resample(sound, rate, RATE), RATE // 2)
    return sound + np.random.default_rng(0).normal(0, 5e-4, len(sound))


def stream(sounds):
    """Return a source that gives sound in pieces of 32 ms, as a microphone does."""
    sound = np.concatenate(sounds).astype(np.float32)
    return Source.of(
        Sample(sound[i : i + BLOCK], t=round(i * 1e9 / RATE), arrived=0, source="voices")
        for i in range(0, len(sound), BLOCK)
    )


async def teach(learner, source, countdown):
    async with learner.collect(WORD, source, count=10, countdown=countdown) as collection:
        async for step in collection:
            print(step.state, step.reason or f"{step.left:.0f} to go")
    home = Microphone("edgeml:voice.flac")
    async with learner.collect("unknown", home, count=20, countdown=0) as collection:
        await collection.done()
    candidate = await asyncio.to_thread(learner.train)
    print(candidate.report)
    learner.accept(candidate)


async def listen(learner, source):
    """Print what is heard, and when; return the times."""
    times = []
    async for sample in source | Spotter(learner):
        times.append(sample.t / 1e9)
        print(f"{times[-1]:6.1f} s  {sample.data.word}  {sample.data.score:.2f}")
    return times


async def synthesized(learner):
    """Learn from one synthesizer's voices, and listen to another's."""
    said = [
        speak("espeak-ng", "-v", voice, "-s", str(140 + 4 * i), "--stdout", WORD)
        for i, voice in enumerate(TEACHERS)
    ]
    await teach(learner, stream(said), countdown=0)
    sentences = [(voice, text) for voice in STRANGERS for text in SENTENCES]
    sounds = [speak("flite", "-voice", v, "-t", text, "-o", "/dev/stdout") for v, text in sentences]
    times = await listen(learner, stream(sounds))
    ends = np.cumsum([len(sound) for sound in sounds]) / RATE
    heard = np.bincount(np.searchsorted(ends, times), minlength=len(sounds))
    there = np.array([WORD in text for _, text in sentences])
    right, false = (heard[there] == 1).sum(), heard[~there].sum()
    print(f"heard {right} of {there.sum()}, and {false} times in {(~there).sum()} other sentences")


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--microphone", action="store_true", help="listen to you")
    live = parser.parse_args().microphone
    with (
        tempfile.TemporaryDirectory() as folder,
        Learner("edgeml:speech_embedding.onnx", store=folder) as learner,
    ):
        if live:
            print(f'say "{WORD}" ten times, with a pause after each')
            await teach(learner, Microphone(), countdown=3)
            print("listening; Ctrl+C ends it")
            await listen(learner, Microphone())
        else:
            await synthesized(learner)


if __name__ == "__main__":
    asyncio.run(main())
