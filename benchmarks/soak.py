"""Ten minutes of 16 simulated cameras into one small model: does memory grow?

    python benchmarks/soak.py [--quick] [--minutes 10] [--json FILE]

Not part of CI. The slope is that of the means of each minute after the first fifth of the
run, with the 95 % interval of an ordinary least-squares fit.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time

import numpy as np
from _report import Report, Row, main

import edgeml
from edgeml.streams import stage
from edgeml.testing import FakeCamera

MODEL = "edgeml:activity_watch_int8.onnx"
CAMERAS = 16
FPS = 25.0

# Two-sided 95 % quantiles of Student's t by degrees of freedom.
T95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 10: 2.23, 14: 2.14}


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def soak(seconds: float) -> tuple[list[float], list[float], int, int]:
    """Run the cameras; return times (s), resident memory (MB), frames in and out."""
    session = edgeml.load(MODEL, threads=1)
    spec = session.inputs[0]
    data = np.zeros([d if isinstance(d, int) else 1 for d in spec.shape], spec.dtype)
    pictures = [np.full((240, 320, 3), i, np.uint8) for i in range(8)]

    @stage(concurrency=len(os.sched_getaffinity(0)))
    def infer(sample):
        session.run({spec.name: data})
        return int(sample.data[0, 0, 0])

    def endless():
        while True:
            for picture in pictures:
                yield picture.copy()  # a new buffer a frame, as a driver gives

    cameras = [
        FakeCamera(endless(), fps=FPS, live=True, name=f"camera{i}", keep="freshest", max_age=0.3)
        for i in range(CAMERAS)
    ]
    pipeline = edgeml.merge(*cameras) | infer
    running = asyncio.create_task(pipeline.run())
    began = time.monotonic()
    times: list[float] = []
    memory: list[float] = []
    while time.monotonic() - began < seconds:
        await asyncio.sleep(1.0)
        times.append(time.monotonic() - began)
        memory.append(resident_bytes() / 1e6)
    await pipeline.drain()
    await running
    sources = pipeline.stats().sources.values()
    return times, memory, sum(s.in_ for s in sources), sum(s.out for s in sources)


def run(report: Report, args: argparse.Namespace) -> None:
    """Soak, and fit the slope."""
    seconds = 40.0 if args.quick else args.minutes * 60
    times, memory, arrived, out = asyncio.run(soak(seconds))
    late = np.array(times) > seconds / 5
    t, mb = np.array(times)[late], np.array(memory)[late]
    blocks = max(4, round(seconds * 0.8 / 60))
    x = np.array([part.mean() for part in np.array_split(t, blocks)]) / 3600
    y = np.array([part.mean() for part in np.array_split(mb, blocks)])
    (slope, intercept) = np.polyfit(x, y, 1)
    residual = y - (slope * x + intercept)
    free = blocks - 2
    error = np.sqrt((residual @ residual) / free / ((x - x.mean()) @ (x - x.mean())))
    half = T95.get(free, 2.0) * error
    report.add(
        Row(
            f"soak: {CAMERAS} cameras, {seconds / 60:.1f} minutes",
            "slope of resident memory", "MB/h", "lower", float(slope),
            target=float(half), target_on="ours", n=blocks,
            spread=(float(slope - half), float(slope + half)),
            note=f"target: zero lies in the 95% interval {slope:.2f} ± {half:.2f}; "
            f"{memory[-1]:.0f} MB, {arrived} frames in, {out} out",
        )
    )  # fmt: skip


if __name__ == "__main__":
    main(
        "soak", ["numpy", "onnxruntime"], run,
        lambda parser: parser.add_argument("--minutes", type=float, default=10.0),
    )  # fmt: skip
