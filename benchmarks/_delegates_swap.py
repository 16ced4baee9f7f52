"""Hot swaps under load: is a frame lost or out of order, and how late are frames meanwhile?"""

from __future__ import annotations

import asyncio
import statistics
import time
from importlib import resources
from itertools import chain, pairwise
from typing import Any

import cv2
from _report import Report, Row

from edgeml import ImageClassifier
from edgeml.streams import Pipeline, Sample, Source

MODEL = "edgeml:efficientnet_lite0_int8.onnx"
LOAD = 0.5  # of what the cores can do
PAUSE = 0.05  # seconds after a swap that belong to neither side
LATER = 2.0  # times: how much later than else a frame may be during a swap, at p99
CHUNK = 10  # swaps, for the spread of the ratio


class Paced(Source[Sample[Any]]):
    """A picture at fixed times, whether the last ones are through or not."""

    def __init__(self, picture: Any, fps: float) -> None:
        super().__init__(name="paced", keep="every")
        self.picture = picture
        self.period = round(1e9 / fps)
        self.began = 0
        self.ending = False

    async def _read(self) -> Sample[Any]:
        if self.ending:
            raise StopAsyncIteration
        self.began = self.began or time.monotonic_ns()
        due = self.began + self._seq * self.period
        await asyncio.sleep(max(0, due - time.monotonic_ns()) / 1e9)
        sample = self._sample(self.picture, t=due - self.began)
        return sample.replace(arrived=due)  # a frame that had to wait to be read is late, too


def swaps(report: Report, n: int) -> None:
    """Add the rows of `n` swaps, each beside as long a time without one."""
    picture = cv2.imread(str(resources.files("edgeml") / "media" / "espresso.jpg"))
    fps = LOAD * capacity(picture)
    loss, disorder, quiet, busy, took = asyncio.run(run(picture, fps, n))
    case = f"hot swap of EfficientNet-Lite0 int8 at {fps:.0f} frames a second"
    for metric, value in (("frames lost", loss), ("frames out of order", disorder)):
        report.add(Row(case, metric, "frames", "lower", value, target=0, target_on="ours", n=n))
    late, else_ = p99(busy), p99(quiet)
    ratios = [p99(quiet[i : i + CHUNK]) / p99(busy[i : i + CHUNK]) for i in range(0, n, CHUNK)]
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    report.add(
        Row(
            case, "latency during a swap, p99", "ms", "lower", late, else_,
            "without a swap, in turns", else_ / late, target=1 / LATER, n=n,
            spread=(low, high), threads=1,
            note=f"a swap takes {statistics.median(took) * 1e3:.0f} ms",
        )
    )  # fmt: skip


def capacity(picture: Any) -> float:
    """Return how many frames a second go through when nothing paces them."""

    async def main() -> float:
        task = ImageClassifier(MODEL)
        n = 60 * task.concurrency
        pipeline = Source.of(Sample(picture, t, t) for t in range(n)) | task
        began, count = 0.0, 0
        async for _ in pipeline:
            began, count = began or time.perf_counter(), count + 1
        return (count - 1) / (time.perf_counter() - began)

    return asyncio.run(main())


async def run(picture: Any, fps: float, n: int) -> Any:
    """Swap `n` times; return frames lost and out of order, latencies by turn, and times."""
    source = Paced(picture, fps)
    pipeline: Pipeline = source | ImageClassifier(MODEL, name="see")
    seen: list[tuple[int, int, int]] = []  # number, when it arrived, how late it was
    pipeline.on(
        "result", lambda s: seen.append((s.seq, s.arrived, time.monotonic_ns() - s.arrived))
    )
    running = asyncio.create_task(pipeline.run())
    await pipeline.once("result")
    await asyncio.sleep(1.0)
    turns, took = [], []
    for k in range(n):
        duration = took[-1] if took else 0.2
        if k % 2:  # which comes first goes round
            turns.append(await quiet_turn(duration))
        turns.append(await swap_turn(pipeline, took))
        if not k % 2:
            turns.append(await quiet_turn(duration))
    source.ending = True
    await running
    numbers = [number for number, _, _ in seen]
    loss = source._seq - len(set(numbers))
    disorder = sum(b <= a for a, b in pairwise(numbers))
    sides: dict[str, list[list[float]]] = {"quiet": [], "swap": []}
    for side, since, until in turns:
        sides[side].append([late / 1e6 for _, at, late in seen if since <= at < until])
    return loss, disorder, sides["quiet"], sides["swap"], took


async def quiet_turn(duration: float) -> tuple[str, int, int]:
    """Let time pass; return its beginning and its end."""
    await asyncio.sleep(PAUSE)
    began = time.monotonic_ns()
    await asyncio.sleep(duration)
    return "quiet", began, time.monotonic_ns()


async def swap_turn(pipeline: Pipeline, took: list[float]) -> tuple[str, int, int]:
    """Swap the model for itself; return when that began and ended."""
    await asyncio.sleep(PAUSE)
    began = time.monotonic_ns()
    await pipeline.swap("see", MODEL)
    ended = time.monotonic_ns()
    took.append((ended - began) / 1e9)
    return "swap", began, ended


def p99(turns: list[list[float]]) -> float:
    """Return the 99th percentile of what was seen in several turns."""
    ordered = sorted(chain.from_iterable(turns))
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
