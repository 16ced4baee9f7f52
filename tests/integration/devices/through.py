"""Microphone through a pipeline to Speaker, stopped in the middle; the tests run it."""

import asyncio
import json
import threading

from edgeml.devices import Microphone, Speaker


async def main():
    blocks, enough = [], asyncio.Event()

    async def count(sample):
        blocks.append(sample)
        if len(blocks) == 20:
            enough.set()
        return sample

    pipeline = Microphone("mic", block=0.05) | count | Speaker("speaker")
    running = asyncio.ensure_future(pipeline.run())
    await enough.wait()
    running.cancel()
    await asyncio.wait([running])
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("edgeml")]
    print(json.dumps({"blocks": len(blocks) >= 20, "threads": left}))


asyncio.run(main())
