"""Your own code in a pipeline: a sync stage, an async one, a branch, and the events.

python examples/own_stages.py
"""

import asyncio
import os
from pathlib import Path
from tempfile import mkdtemp

import cv2

import edgeml
from edgeml.streams import SKIP, stage, take


def sharpness(sample: edgeml.Sample) -> float:
    """Measure how sharp a frame is; a plain function runs in a worker thread."""
    return round(cv2.Laplacian(sample.data, cv2.CV_64F).var(), 1)


async def only_changes(sample: edgeml.Sample) -> object:
    """Pass on what differs from the last one passed on; an async function runs on the loop."""
    if abs(sample.data - only_changes.last) < 5:
        return SKIP
    only_changes.last = sample.data
    return sample


only_changes.last = -1000.0


@stage(on_error="skip")
def save(sample: edgeml.Sample) -> object:
    """Write every fiftieth frame to a file; one that cannot be written is counted, not fatal."""
    if sample.seq % 50:
        return SKIP
    path = FOLDER / f"{sample.seq:04d}.jpg"
    if not cv2.imwrite(str(path), sample.data):
        raise OSError(f"{path} cannot be written")
    return SKIP


FOLDER = Path(mkdtemp(prefix="edgeml-"))


async def main() -> None:
    camera = edgeml.Camera("edgeml:street.mp4") | take(200)
    pipeline = camera | edgeml.tee(save) | sharpness | only_changes
    pipeline.on("result", lambda sample: print(f"{sample.seq:5d}  {sample.data}"))
    await pipeline.run()
    print(pipeline.explain())
    print(f"{len(os.listdir(FOLDER))} pictures in {FOLDER}")


if __name__ == "__main__":
    asyncio.run(main())
