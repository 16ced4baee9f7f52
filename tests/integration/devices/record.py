"""Records until killed, one JSON line a block; the tests run it in an environment of its own."""

import asyncio
import json
import logging
import sys
import time

import numpy as np

from edgeml.devices import Microphone
from edgeml.errors import EdgeMLError
from edgeml.streams import Backoff


def tell(**fields):
    print(json.dumps(fields), flush=True)


def describe(sample, rate):
    mono = sample.data if sample.data.ndim == 1 else sample.data[:, 0]
    spectrum = np.abs(np.fft.rfft(mono * np.hanning(len(mono))))
    return {
        "shape": list(sample.data.shape),
        "dtype": str(sample.data.dtype),
        "t": sample.t,
        "age": time.monotonic_ns() - sample.end,
        "duration": sample.duration,
        "level": float(np.abs(mono).max()),
        "hz": float(spectrum.argmax() * rate / len(mono)),
        "new": bool(sample.meta.get("discontinuity")),
    }


async def main(options):
    slow = options.pop("slow", 0)
    microphone = Microphone(
        **options, reconnect=Backoff(initial=0.05, maximum=0.1), read_timeout=5.0
    )
    microphone._listener = lambda old, new, reason: tell(state=new, reason=reason)
    try:
        async with microphone:
            n = 0
            async for sample in microphone:
                tell(block=describe(sample, microphone.rate), dropped=dict(microphone.dropped))
                n += 1
                if slow and n == 5:
                    await asyncio.sleep(slow)
    except EdgeMLError as error:
        tell(error=type(error).__name__, message=str(error))


logging.basicConfig(level=logging.ERROR)
asyncio.run(main(json.loads(sys.argv[1])))
