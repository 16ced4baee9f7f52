"""Three movements of somebody's own, learned from five seconds of each, known in a stream.

    python examples/gestures.py

A watch is worn by somebody whom the shipped backbone has not seen. Five windows of each movement
are shown; then the recording goes on, and the learner, a stage in the stream, says what it sees.
The fourth movement was never shown: it should be unknown. The recording is seglearn's, at 50 Hz,
and comes with edgeml; its movements are shoulder exercises.
"""

import asyncio
import csv
import tempfile
from importlib.resources import files

import numpy as np

from edgeml.personalize import Learner
from edgeml.streams import Sample, Source

RATE, WINDOW, HOP = 50, 100, 50  # a window of 2 s each second
SHOWN, COUNT = 3, 5  # movements that are shown, and windows of each


def recording():
    """Return the windows of each movement, in their order."""
    with (files("edgeml") / "media" / "watch.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = list(dict.fromkeys(row["label"] for row in rows))
    axes = ("ax", "ay", "az", "gx", "gy", "gz")
    found = {}
    for name in names:
        values = np.array([[row[a] for a in axes] for row in rows if row["label"] == name], float)
        starts = range(0, len(values) - WINDOW + 1, HOP)
        found[name] = [values[i : i + WINDOW].astype(np.float32) for i in starts]
    return found


async def main():
    movements = recording()
    shown = list(movements)[:SHOWN]
    with (
        tempfile.TemporaryDirectory() as folder,
        Learner("edgeml:activity_watch_int8.onnx", store=folder) as learner,
    ):
        for name in shown:
            windows = Source.of(movements[name][:COUNT])
            async with learner.collect(name, windows, count=COUNT, countdown=0) as collection:
                await collection.done()
        candidate = await learner.train_async()
        print(candidate.report)
        learner.accept(candidate)

        # What overlaps the last window that was shown is left out.
        later = [(w, name) for name in movements for w in movements[name][COUNT + 1 :]]
        stream = Source.of(Sample(w, t=i * 10**9, arrived=0) for i, (w, _) in enumerate(later))
        said = [sample.data.label async for sample in stream | learner]
    known = [s == name for s, (_, name) in zip(said, later, strict=True) if name in shown]
    other = [s == "unknown" for s, (_, name) in zip(said, later, strict=True) if name not in shown]
    print(f"accuracy {np.mean(known):.3f} on {len(known)} windows of {', '.join(shown)}; "
          f"unknown {np.mean(other):.3f} of {len(other)} of another movement")  # fmt: skip
    return np.mean(known), np.mean(other)


if __name__ == "__main__":
    asyncio.run(main())
