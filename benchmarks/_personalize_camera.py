"""A camera at 15 frames a second through a detector, with and without training beside it.

Both phases take turns within one run of one pipeline, pinned to one core, which a small board's
detector fills most of: training there has nowhere else to go.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import cv2
import numpy as np
from _report import Report, Row

import edgeml
from edgeml.personalize import Learner, Store
from edgeml.streams import Pipeline, Sample, Sink
from edgeml.testing import FakeCamera

FPS, SHARE = 15.0, 0.6
EXAMPLES, CLASSES = 500, 5


@dataclass
class Phase:
    """What was measured while training was on, or off."""

    latency: list[list[float]] = field(default_factory=list)  # ms, by round
    dropped: int = 0
    trained: int = 0

    def p99(self) -> float:
        """Return the 99th percentile over all rounds, ms."""
        return float(np.percentile(np.concatenate(self.latency), 99))


def camera(report: Report, *, quick: bool) -> None:
    """Add the rows: drops and latency of the stream, while training against without."""
    done = subprocess.run([sys.executable, __file__, "quick" if quick else "full"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    found = json.loads(done.stdout.splitlines()[-1])
    case = f"camera at {found['fps']:.3g} fps, one core, detector while training"
    off, on = found["off"], found["on"]
    note = (
        f"detector and decoding take {found['share']:.0%} of the core; {found['trained']} "
        f"trainings of a linear head on {EXAMPLES} examples, {on['frames']} frames"
    )
    report.add(Row(case, "frames dropped more than without", "frames", "lower",
                   ours=on["dropped"] - off["dropped"], target=0, target_on="ours",
                   n=found["rounds"], note=note))  # fmt: skip
    report.add(Row(case, "p99 latency, times that without", "x", "lower",
                   ours=on["p99"] / off["p99"], target=1.2, target_on="ours", n=found["rounds"],
                   spread=found["spread"],
                   note=f"{on['p99']:.1f} ms against {off['p99']:.1f} ms; medians "
                   f"{on['p50']:.1f} and {off['p50']:.1f} ms"))  # fmt: skip


def frames() -> Iterator[Any]:
    """Yield the recording's frames, decoded when they are due, again and again."""
    path = str(resources.files("edgeml") / "media" / "street.mp4")
    while True:
        capture = cv2.VideoCapture(path)
        while True:
            ok, frame = capture.read()
            if not ok:
                break
            yield frame


def taught(folder: str) -> Store:
    """Return a store of a learner with examples of several classes, around their centres."""
    rng = np.random.default_rng(0)
    store = Store(folder)
    with Learner("edgeml:efficientnet_lite0_int8.onnx", store=store) as learner:
        size = learner.backbone.size
    centres = rng.gamma(0.3, 1.0, (CLASSES, size))
    for number in range(EXAMPLES):
        row = centres[number % CLASSES] + rng.normal(0, 0.5, size)
        store.add(f"class {number % CLASSES}", row)
    return store


async def train_on(learner: Learner, phase: Phase) -> None:
    while True:
        await learner.train_async()
        phase.trained += 1


async def measure(learner: Learner, fps: float, rounds: int, seconds: float) -> dict[str, Any]:
    """Run the pipeline; training is off and on in turns."""
    detector = edgeml.ObjectDetector("edgeml:nanodet_g_416_int8.onnx", concurrency=1)
    seen: list[tuple[int, int, int]] = []  # seq, arrived, done

    class Keep(Sink):
        async def send(self, sample: Sample[Any]) -> None:
            seen.append((sample.seq, sample.arrived, time.monotonic_ns()))

    phases = {"off": Phase(), "on": Phase()}
    pipeline = Pipeline(FakeCamera(frames(), fps=fps, name="camera"), detector, Keep())
    running = asyncio.create_task(pipeline.run())
    await asyncio.sleep(2)
    cpu = 0.0
    for number in range(rounds):
        # Which comes first changes, so that what drifts does not favour one.
        for name in ("off", "on") if number % 2 else ("on", "off"):
            phase = phases[name]
            async with phase_of(learner, phase, training=name == "on"):
                start, before, used = len(seen), drops(pipeline), time.process_time()
                await asyncio.sleep(seconds)
                cpu += (time.process_time() - used) * (name == "off")
                phase.dropped += drops(pipeline) - before
                phase.latency.append(latency(seen[start:], fps))
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    both = zip(phases["off"].latency, phases["on"].latency, strict=True)
    ratios = [float(np.percentile(b, 99) / np.percentile(a, 99)) for a, b in both]
    quarters = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return {
        "fps": fps, "rounds": rounds, "share": cpu / rounds / seconds,
        "spread": (quarters[0], quarters[2]), "trained": phases["on"].trained,
        **{name: {"p99": p.p99(), "p50": float(np.median(np.concatenate(p.latency))),
                  "dropped": p.dropped, "frames": sum(map(len, p.latency))}
           for name, p in phases.items()},
    }  # fmt: skip


@contextlib.asynccontextmanager
async def phase_of(learner: Learner, phase: Phase, *, training: bool) -> AsyncIterator[None]:
    await asyncio.sleep(1)  # what the phase before has left behind is over
    task = asyncio.create_task(train_on(learner, phase)) if training else None
    yield
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def drops(pipeline: Pipeline) -> int:
    return sum(pipeline.stats().sources["camera"].dropped.values())


def latency(seen: list[tuple[int, int, int]], fps: float) -> list[float]:
    """Return ms from when a frame was due to its result: a reader that woke up late counts."""
    period = 1e9 / fps
    first = min(arrived - seq * period for seq, arrived, _ in seen)
    return [(done - first - seq * period) / 1e6 for seq, _, done in seen]


def slow_enough() -> float:
    """Return frames a second of which the detector takes no more than its share of a core."""
    detector = edgeml.ObjectDetector("edgeml:nanodet_g_416_int8.onnx", concurrency=1)
    pictures = frames()
    for _ in range(5):
        detector(next(pictures))
    used = time.process_time()
    for _ in range(30):
        detector(next(pictures))
    each = (time.process_time() - used) / 30
    detector.aclose()
    return min(FPS, SHARE * 0.95 / each)


def measured(quick: bool) -> dict[str, Any]:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # the training process inherits it
    cv2.setNumThreads(1)
    with (
        tempfile.TemporaryDirectory() as folder,
        taught(folder) as store,
        Learner("edgeml:efficientnet_lite0_int8.onnx", store=store) as learner,
    ):
        return asyncio.run(measure(learner, slow_enough(), *((1, 6) if quick else (8, 20))))


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[-1] == "quick")))
