"""What the streams themselves cost: hops, calls, lag, overload, many cameras."""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from _report import Report, Row, compare

import edgeml
from edgeml.streams import Pipeline, Sink, Source, stage


class Discard(Sink):
    """A sink that only counts."""

    n = 0

    async def send(self, item: object) -> None:
        """Count the item."""
        self.n += 1


def hops(report: Report, *, quick: bool) -> None:
    """An async stage against a relay task between two queues, differences of chain lengths."""
    n, rounds = (5_000, 5) if quick else (30_000, 15)

    async def through_queues(length: int) -> float:
        queues: list[asyncio.Queue[int]] = [asyncio.Queue(8) for _ in range(length)]

        async def relay(a: asyncio.Queue[int], b: asyncio.Queue[int]) -> None:
            for _ in range(n):
                await b.put(await a.get())

        async def feed() -> None:
            for i in range(n):
                await queues[0].put(i)

        tasks = [asyncio.create_task(relay(a, b)) for a, b in zip(queues, queues[1:])]  # noqa: B905, RUF007
        tasks.append(asyncio.create_task(feed()))
        began = time.perf_counter()
        for _ in range(n):
            await queues[-1].get()
        took = time.perf_counter() - began
        await asyncio.gather(*tasks)
        return took / n

    async def through_stages(length: int) -> float:
        async def same(item: int) -> int:
            return item

        chain: object = Source.of(range(n))
        for _ in range(length):
            chain = chain | same  # type: ignore[operator]
        pipeline = Pipeline(chain, Discard(), max_lag=None)
        began = time.perf_counter()
        await pipeline.run()
        return (time.perf_counter() - began) / n

    ours, peer = [], []
    for _ in range(rounds):
        peer.append((asyncio.run(through_queues(6)) - asyncio.run(through_queues(1))) / 5 * 1e6)
        ours.append((asyncio.run(through_stages(6)) - asyncio.run(through_stages(1))) / 5 * 1e6)
    compare(
        report, "async hop", "time", "us", ours, peer, "asyncio.Queue relay",
        better="lower", target=0.5, note="target: at most 2x; ours calls a stage, too",
    )  # fmt: skip


def fused(report: Report, *, quick: bool) -> None:
    """Five fused sync stages against one bare run_in_executor of nothing."""
    n, rounds = (1_000, 5) if quick else (4_000, 15)

    def same(item: int) -> int:
        return item

    async def bare() -> float:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as executor:
            began = time.perf_counter()
            for i in range(n):
                await loop.run_in_executor(executor, same, i)
            return (time.perf_counter() - began) / n * 1e6

    async def stages() -> float:
        pipeline = Pipeline(Source.of(range(n)), *[stage(same) for _ in range(5)], max_lag=None)
        began = time.perf_counter()
        await pipeline.run()
        return (time.perf_counter() - began) / n * 1e6

    ours, peer = [], []
    for _ in range(rounds):
        peer.append(asyncio.run(bare()))
        ours.append(asyncio.run(stages()))
    compare(
        report, "five fused sync stages", "time an item", "us", ours, peer, "one run_in_executor",
        better="lower", target=1 / 1.2,
        note="target: at most 1.2x; ours has several items on their way, the peer one",
    )  # fmt: skip


def loop_lag(report: Report, model: str, *, quick: bool) -> None:
    """Lag of the loop while native work keeps all cores busy."""
    seconds = 4.0 if quick else 20.0
    cores = len(os.sched_getaffinity(0))
    session = edgeml.load(model, threads=1)
    spec = session.inputs[0]
    frame = np.zeros([d if isinstance(d, int) else 1 for d in spec.shape], spec.dtype)

    @stage(concurrency=cores)
    def infer(_: object) -> None:
        session.run({spec.name: frame})

    async def run() -> tuple[float, float]:
        async def ticks():
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                yield 0
                await asyncio.sleep(0)

        pipeline = Source.of(ticks()) | infer
        await pipeline.run()
        stats = pipeline.stats()
        assert stats.loop_lag is not None
        return stats.loop_lag.p99, stats.stages["infer"].busy

    p99, busy = asyncio.run(run())
    session.close()
    report.add(
        Row(
            "loop lag, native work on all cores", "p99", "ms", "lower", p99,
            target=5.0, target_on="ours", threads=cores,
            note=f"workers busy {busy:.0%} for {seconds:.0f} s",
        )
    )  # fmt: skip


def overload(report: Report, *, quick: bool) -> None:
    """`freshest, max_age=0.3` with twice as many frames as can be worked off."""
    seconds = 8.0 if quick else 60.0
    service = 0.05
    period = service / 2

    class Camera(Source[edgeml.Sample[np.ndarray]]):
        """Delivers at twice the rate of the stage, with bursts as network cameras have them."""

        live = True

        async def _open(self) -> None:
            self.began = time.monotonic()

        async def _read(self):
            burst = self._seq // 40 % 2  # every other second arrives at once, late
            n = (self._seq // 40 + 1) * 40 if burst else self._seq
            due = self.began + n * period
            if due - self.began > seconds:
                raise StopAsyncIteration
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            return self._sample(np.zeros((120, 160, 3), np.uint8))

    def detect(sample):
        time.sleep(service)
        return sample

    ages: list[float] = []

    class Measure(Sink):
        async def send(self, item) -> None:
            ages.append((time.monotonic_ns() - item.arrived) / 1e9)

    async def run():
        pipeline = Camera(name="camera", keep="freshest", max_age=0.3) | detect | Measure()
        await pipeline.run()
        return pipeline.stats()

    stats = asyncio.run(run())
    camera, edge = stats.sources["camera"], stats.edges["camera", "detect"]
    lost = sum(camera.dropped.values())
    balanced = camera.in_ == camera.out + lost and edge.put == edge.got + lost == camera.in_
    report.add(
        Row(
            "freshest, max_age=0.3, 2x overload", "oldest result, arrived to sink", "s", "lower",
            max(ages), target=0.3 + service, target_on="ours", n=len(ages),
            note=f"{seconds:.0f} s, {camera.in_} in, {camera.out} out, {lost} dropped "
            f"{dict(camera.dropped)}, ledger balances to the frame: {balanced}",
        )
    )  # fmt: skip
    if not balanced:
        raise SystemExit(f"the ledger does not balance: {camera} {edge}")


def many_cameras(report: Report, model: str, *, quick: bool) -> None:
    """CPU-seconds a frame of 16 simulated cameras into one small model, against one camera."""
    from edgeml.testing import FakeCamera

    frames = 60 if quick else 200
    session = edgeml.load(model, threads=1)
    spec = session.inputs[0]
    data = np.zeros([d if isinstance(d, int) else 1 for d in spec.shape], spec.dtype)
    picture = np.zeros((120, 160, 3), np.uint8)

    def cpu_per_frame(n_cameras: int, each: int) -> float:
        @stage(concurrency=len(os.sched_getaffinity(0)))
        def infer(sample):
            session.run({spec.name: data})
            return sample.source

        async def run() -> float:
            cameras = [
                FakeCamera([picture] * each, fps=1000, live=False, name=f"camera{i}", keep="every")
                for i in range(n_cameras)
            ]
            sink = Discard()
            pipeline = edgeml.merge(*cameras) | infer | sink
            began = time.process_time()
            await pipeline.run()
            assert sink.n == n_cameras * each
            return (time.process_time() - began) / sink.n

        return asyncio.run(run())

    ours, peer = [], []
    for _ in range(3 if quick else 7):
        peer.append(cpu_per_frame(1, frames * 4) * 1e3)
        ours.append(cpu_per_frame(16, frames // 4) * 1e3)
    session.close()
    compare(
        report, "16 cameras into one small model", "CPU a frame", "ms", ours, peer, "one camera",
        better="lower", target=1 / 1.15, note="target: at most 1.15x",
    )  # fmt: skip
