"""Plays tones through Speaker. The tests run it in an environment of its own."""

import asyncio
import json
import sys

import numpy as np

from edgeml.devices import Speaker
from edgeml.errors import DeviceError, DeviceLost


def tone(hz, seconds, rate):
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


async def play(options):
    speaker = Speaker(**options)
    await speaker.open()
    seconds = 0.0
    for hz in (500, 1000, 1500):
        for part in np.split(tone(hz, 1.0, speaker.rate), 10):
            await speaker.send(part if hz != 1000 else (part * 32767).astype(np.int16))
            seconds += len(part) / speaker.rate
    await speaker.aclose()
    await speaker.aclose()
    print(json.dumps({"played": round(seconds, 3)}))


async def play_until_unplugged(options):
    speaker = Speaker(**options, buffer=0.2)
    await speaker.open()
    print("playing", flush=True)
    part = tone(500, 0.05, speaker.rate)
    try:
        while True:
            await speaker.send(part)
    except DeviceLost as error:
        print(type(error).__name__, error, flush=True)
    while True:
        try:
            await speaker.send(part)
            break
        except DeviceError:
            await asyncio.sleep(0.05)
    print("playing again", flush=True)
    await speaker.aclose()


options = json.loads(sys.argv[1])
asyncio.run((play_until_unplugged if options.pop("unplug", False) else play)(options))
