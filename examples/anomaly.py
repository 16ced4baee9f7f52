"""Something is not as it was: learned from a few seconds in which all was well.

    python examples/anomaly.py

A watch records one exercise, again and again; that is normal. From its first 14 seconds a detector
learns what normal is, and its threshold. Then the recording is streamed: it goes on as it was for
6 seconds, after which the wearer does something else. Nobody has told the detector of anything
else. The recording is seglearn's, at 50 Hz, and comes with edgeml.
"""

import asyncio

import numpy as np

import edgeml
from edgeml.devices import CSVReplay
from edgeml.personalize import learn_normal
from edgeml.streams import take
from edgeml.tasks import AnomalyDetector, Changed

CHANNELS = ("ax", "ay", "az", "gx", "gy", "gz")
RATE, LEARN, NORMAL = 50, 14, 20  # readings a second; seconds to learn from, and of normal ones


def sensor():
    return CSVReplay("edgeml:watch.csv", columns=CHANNELS)


async def main():
    seen = [sample.data async for sample in sensor() | take(LEARN * RATE)]
    model = learn_normal(np.stack(seen), rate=RATE, window=2.0, hop=0.25, channels=CHANNELS,
                         alarms_per_day=100)  # fmt: skip
    print(model.report)

    false = missed = windows = 0
    detector = AnomalyDetector(model)
    changes = Changed()
    start = None
    async for sample in sensor() | detector:
        start = sample.t if start is None else start
        at, end = (sample.t - start) / 1e9, (sample.end - start) / 1e9
        if end > LEARN:  # it has not learned from all of this
            windows += 1
            false += end <= NORMAL and sample.data.is_anomaly
            missed += at >= NORMAL and not sample.data.is_anomaly
        if changes(sample) is not edgeml.SKIP:
            found = sample.data
            print(f"{end:5.1f} s  {found.state}, score {found.score:.1f}, most by {found.channel}")
    print(f"{windows} windows: {false} false alarms, {missed} missed")
    return false, missed, windows


if __name__ == "__main__":
    asyncio.run(main())
