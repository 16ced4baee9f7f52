"""Live sources: intents, limits, reconnecting, and drivers that hang."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from edgeml.errors import (
    DeviceLost,
    DeviceNotFound,
    DeviceTimeout,
    GraphError,
    MediaError,
    PipelineError,
)
from edgeml.streams import (
    Backoff,
    BlockingSource,
    Pipeline,
    Sample,
    Sink,
    Source,
    batch,
    stage,
    tee,
)
from edgeml.streams._lag import LagGuard

QUICK = Backoff(initial=0.001, maximum=0.002)


class Ticks(Source[Sample[int]]):
    """A live source that delivers `n` samples as fast as it is let."""

    live = True

    def __init__(self, n: int, *, shape=None, **options):
        super().__init__(**options)
        self.n = n
        self.shape = shape
        self.wait_for: asyncio.Event | None = None

    async def _read(self):
        if self._seq >= self.n:
            raise StopAsyncIteration
        if self.wait_for is not None and self._seq == self.n - 1:
            await self.wait_for.wait()
        data = self._seq if self.shape is None else np.zeros(self.shape, np.uint8)
        return self._sample(data)


class Collect(Sink):
    def __init__(self, **options):
        super().__init__(**options)
        self.items = []

    async def send(self, item):
        self.items.append(item)


async def test_freshest_lets_the_newest_win_and_counts_the_others(caplog):
    drops = []
    go = threading.Event()

    def slow(s):
        go.wait(5)
        return s

    source = Ticks(50, keep="freshest", name="cam")
    sink = Collect()
    pipeline = source | slow | sink
    pipeline.on("drop", lambda drop: (drops.append(drop), go.set()))
    await pipeline.run()
    stats = pipeline.stats()
    cam, edge = stats.sources["cam"], stats.edges["cam", "slow"]
    assert cam.in_ == 50
    assert sink.items[-1].data == 49
    assert edge.dropped == cam.dropped == {"superseded": 50 - len(sink.items)}
    assert cam.in_ == cam.out + sum(cam.dropped.values())
    assert drops[0].cause == "superseded"
    assert caplog.text.count("superseded") == 1  # said once, counted often
    lost = 50 - len(sink.items)
    assert f"cam lost {lost} ({lost} superseded); 50 arrived." in pipeline.explain()


async def test_no_work_is_done_for_a_frame_that_is_dropped():
    worked = []

    async def first(s):
        worked.append(s.data)
        return s

    async def slow(s):
        await asyncio.sleep(0.002)
        return s

    sink = Collect()
    pipeline = Ticks(200, keep="freshest", name="cam") | first | slow | sink
    await pipeline.run()
    assert worked == [s.data for s in sink.items]
    assert len(worked) < 200


async def test_stale_items_are_dropped_at_the_entrance():
    gate = asyncio.Event()

    class Old(Ticks):
        async def _read(self):
            s = await super()._read()
            return s.replace(arrived=s.arrived - 10_000_000_000) if s.data == 1 else s

    pipeline = Old(3, keep="auto", max_age=1.0, name="mic") | (lambda s: s)
    gate.set()
    out = [s.data async for s in pipeline]
    assert out == [0, 2]
    assert pipeline.stats().sources["mic"].dropped == {"stale": 1}


async def test_auto_keeps_all_of_a_live_source_that_is_kept_up_with():
    out = [s.data async for s in Ticks(40) | (lambda s: s)]
    assert out == list(range(40))


async def test_every_never_drops_even_when_the_stage_is_slow():
    async def slow(s):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return s

    pipeline = Ticks(300, keep="every") | slow
    assert len([s async for s in pipeline]) == 300
    assert pipeline.stats().sources["ticks"].dropped == {}


async def test_queues_are_bounded_by_bytes(until):
    go = threading.Event()
    source = Ticks(50, keep="every", shape=(4096, 4096))  # 16 MiB each
    most = 0

    def look(s):
        go.wait(5)
        return 0

    pipeline = source | look
    running = asyncio.create_task(pipeline.run())
    await pipeline.once("state")
    await until(lambda: pipeline.stats().edges["ticks", "look"].queued == 4)
    for _ in range(50):
        await asyncio.sleep(0)
        most = max(most, pipeline.stats().edges["ticks", "look"].bytes)
    assert most <= 64 << 20
    go.set()
    await running


async def test_each_branch_of_a_lossy_tee_takes_what_it_can(until):
    fast, slow_sink = Collect(name="fast"), Collect(name="slow")
    gate = asyncio.Event()

    async def slow(s):
        await gate.wait()
        return s

    source = Ticks(100, keep="freshest", name="cam")
    source.wait_for = asyncio.Event()
    pipeline = source | tee([fast], [slow, slow_sink])
    running = asyncio.create_task(pipeline.run())
    await until(lambda: fast.items and fast.items[-1].data >= 98)
    gate.set()
    source.wait_for.set()
    await running
    # Whether the fast one misses some is up to the loop; the slow one misses most.
    assert len(slow_sink.items) <= 3 < len(fast.items)
    assert slow_sink.items[-1].data == 99


async def test_bad_intents_are_refused():
    with pytest.raises(ValueError, match='keep must be "every", "freshest" or "auto"'):
        Ticks(1, keep="newest")
    with pytest.raises(ValueError, match="max_age must be a positive number"):
        Ticks(1, max_age=0)
    with pytest.raises(ValueError, match="never drops"):
        Ticks(1, keep="every", max_age=1.0)


class Flaky(Source[Sample[int]]):
    """Dies by plan: each entry is how many items flow before the next failure."""

    live = True

    def __init__(self, plan, **options):
        super().__init__(**{"reconnect": QUICK, "name": "flaky", **options})
        self.plan = list(plan)
        self.opens = 0

    async def _open(self):
        self.opens += 1
        if not self.plan:
            raise DeviceLost("gone for good", device=self.name)
        self.left = self.plan.pop(0)
        if isinstance(self.left, Exception):
            raise self.left

    async def _read(self):
        if self.left == "end":
            raise StopAsyncIteration
        if self.left == 0:
            raise DeviceLost("the cable is out", device=self.name)
        self.left -= 1
        return self._sample(self._seq)


async def test_a_lost_source_reconnects_and_says_so():
    states = []
    pipeline = Flaky([2, DeviceLost("not yet"), 1, "end"]) | (lambda s: s)
    pipeline.on("state", lambda change: states.append(change.new))
    out = [(s.data, s.meta.get("discontinuity", False)) async for s in pipeline]
    assert out == [(0, False), (1, False), (2, True)]
    assert states == [
        "connecting", "flowing", "reconnecting", "connecting", "reconnecting", "connecting",
        "flowing", "reconnecting", "connecting", "ended",
    ]  # fmt: skip
    assert pipeline.stats().sources["flaky"].reconnects == 3


async def test_only_flowing_items_prove_health():
    """A source that opens and delivers nothing uses up its attempts."""
    source = Flaky([0, 0, 0, 0, 0], reconnect=Backoff(0.001, 0.002, attempts=3))
    with pytest.raises(DeviceLost, match="the cable is out"):
        await (source | (lambda s: s)).run()
    assert source.opens == 4
    assert source.state == "failed"


async def test_one_frame_a_connection_does_not_reset_the_backoff():
    source = Flaky([1] * 10, reconnect=Backoff(initial=0.001, maximum=10, factor=1.5, attempts=4))
    with pytest.raises(DeviceLost):
        [s async for s in source]
    assert source.opens <= 10


async def test_a_device_that_is_not_there_at_first_is_an_error_at_once():
    source = Flaky([DeviceNotFound("no /dev/video7")])
    with pytest.raises(DeviceNotFound):
        await (source | (lambda s: s)).run()
    assert source.opens == 1


async def test_a_device_that_goes_away_later_may_come_back():
    out = [s.data async for s in Flaky([1, DeviceNotFound("unplugged"), 1, "end"])]
    assert out == [0, 1]


async def test_media_that_cannot_be_decoded_is_an_error_at_once():
    with pytest.raises(MediaError):
        [s async for s in Flaky([MediaError("audio only")])]


async def test_without_reconnect_the_first_loss_is_the_end():
    with pytest.raises(DeviceLost):
        [s async for s in Flaky([1], reconnect=None)]


async def test_read_deadline_of_an_async_source():
    class Silent(Source[int]):
        async def _read(self):
            await asyncio.Event().wait()

    with pytest.raises(DeviceTimeout, match=r"silent did not deliver within 0\.01 s"):
        await anext(Silent(read_timeout=0.01))


class Driver(BlockingSource[Sample[int]]):
    """A driver whose reads hang until released, by plan."""

    live = True
    close_timeout = 0.02

    def __init__(self, **options):
        super().__init__(**{"read_timeout": 0.03, "reconnect": QUICK, **options})
        self.release = threading.Event()
        self.opened = 0
        self.closed = 0
        self.hang = True

    def _open_blocking(self):
        self.opened += 1
        return object()

    def _read_blocking(self, handle):
        if self._seq == 1 and self.hang:
            self.release.wait(20)
        if self._seq >= 3:
            raise EOFError
        return self._sample(self._seq)

    def _close_blocking(self, handle):
        self.closed += 1


async def test_a_hung_driver_is_abandoned_without_piling_up_threads(until):
    source = Driver(name="hung")
    before = threading.active_count()
    assert (await anext(source)).data == 0
    waiting = asyncio.ensure_future(anext(source))
    states = []
    source._listener = lambda old, new, reason: states.append(new)
    await until(lambda: states.count("reconnecting") >= 5)
    assert threading.active_count() - before <= 1
    assert source.opened == 1  # no second handle on a device that hangs
    source.hang = False
    source.release.set()
    assert (await waiting).meta["discontinuity"]
    await source.aclose()
    assert source.opened == source.closed == 2


async def test_a_blocking_source_ends_and_closes():
    source = Driver(name="calm")
    source.hang = False
    assert [s.data async for s in source | (lambda s: s)] == [0, 1, 2]
    assert source.opened == source.closed == 1


async def test_cancel_during_a_hung_read_returns_soon():
    source = Driver(name="stuck", read_timeout=None)
    pipeline = source | (lambda s: s)
    running = asyncio.create_task(pipeline.run())
    await pipeline.once("result")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 5)
    source.release.set()


async def test_a_stage_that_blocks_the_loop_is_named(caplog):
    async def rude(n):
        time.sleep(0.25)  # noqa: ASYNC251 - this is what the guard is there for
        return n

    pipeline = Source.of([1]) | rude
    assert [n async for n in pipeline] == [1]
    lag = pipeline.stats().loop_lag
    assert lag is not None
    assert list(lag.blockers) == ["rude"]
    assert "rude has blocked the event loop" in caplog.text
    assert "rude has blocked the event loop" in pipeline.explain()


async def test_a_loop_that_waits_for_its_turn_is_not_blocked(caplog):
    """As on a busy machine: late, and nothing runs on it."""
    guard = LagGuard(0.02)
    guard.start()
    assert guard._timer is not None
    guard._timer.cancel()  # it beats no more
    await asyncio.sleep(0.1)
    await guard.stop()
    assert guard.blockers == {}
    assert caplog.text == ""


async def test_explain_names_a_stage_that_finishes_nothing():
    began = asyncio.Event()

    async def hang(n):
        began.set()
        await asyncio.Event().wait()

    pipeline = Source.of(range(20)) | hang
    running = asyncio.create_task(pipeline.run())
    await began.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert pipeline.explain().startswith("hang took what came and finished none of it; ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"initial": -1}, "initial and maximum must be positive"),
        ({"maximum": float("inf")}, "initial and maximum must be positive"),
        ({"factor": 0.5}, "factor must be a number from 1"),
        ({"attempts": -1}, "attempts must not be negative"),
    ],
)
def test_a_backoff_that_makes_no_sense_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Backoff(**options)


async def test_explain_names_the_bottleneck():
    @stage(name="detect")
    async def detect(n):
        await asyncio.sleep(0.005)
        return n

    pipeline = Source.of(range(20)) | detect | (lambda n: n)
    await pipeline.run()
    text = pipeline.explain()
    assert text.startswith("detect is the bottleneck: ")
    assert "ms an item" in text
    assert "items delivers" in text


async def test_explain_before_anything_arrived():
    class Silent(Source[int]):
        async def _read(self):
            await asyncio.Event().wait()

    pipeline = Silent() | (lambda n: n)
    running = asyncio.create_task(pipeline.run())
    await pipeline.once("state")
    assert pipeline.explain() == "Nothing has arrived yet: silent is connecting."
    await pipeline.drain()
    await running


async def test_add_and_remove_a_source_while_running(until):
    sink = Collect(name="sink")
    source = Ticks(3, name="first")
    source.wait_for = asyncio.Event()
    pipeline = Pipeline(source | (lambda s: s), max_lag=None)
    running = asyncio.create_task(pipeline.run())
    await pipeline.once("result")
    name = await pipeline.add(Ticks(10**9, name="second") | sink)
    await until(lambda: len(sink.items) >= 5)
    await pipeline.remove(name)
    after = pipeline.stats().sources["second"]
    assert after.state in ("closed", "ended")
    assert after.in_ == after.out + sum(after.dropped.values())
    assert not running.done()
    source.wait_for.set()
    await running


async def test_add_and_remove_a_branch_while_running(until):
    sink = Collect(name="preview")
    pipeline = Ticks(10**9, keep="every", name="cam") | stage(name="double")(lambda s: s.data * 2)
    running = asyncio.create_task(pipeline.run())
    await pipeline.once("result")
    name = await pipeline.add(lambda s: s, sink, at="double")
    await until(lambda: len(sink.items) >= 3)
    await pipeline.remove(name)
    n = len(sink.items)
    await pipeline.once("result")
    await pipeline.once("result")
    assert len(sink.items) == n
    assert sink.items == sorted(sink.items, key=lambda s: s.data)
    await pipeline.drain()
    await running


async def test_swap_a_stage_between_two_items():
    closed = []

    class Model(type(stage(lambda s: s))):
        def __init__(self, tag):
            super().__init__(lambda s: (tag, s.data), name="model")
            self.tag = tag

        def aclose(self):
            closed.append(self.tag)

    pipeline = Ticks(10**9, keep="every") | Model("old")
    seen = []
    pipeline.on("result", lambda s: seen.append(s.data))
    running = asyncio.create_task(pipeline.run())
    await pipeline.once("result")
    await pipeline.swap("model", Model("new"))
    assert closed == ["old"]
    while seen[-1][0] != "new":
        await pipeline.once("result")
    await pipeline.drain()
    await running
    assert [n for _, n in seen] == list(range(len(seen)))  # none lost, none twice
    assert [tag for tag, _ in seen] == sorted((tag for tag, _ in seen), reverse=True)


async def test_losses_inside_a_driver_are_in_the_figures():
    class Lossy(Ticks):
        @property
        def dropped(self):
            return {"driver-overflow": 3}

    pipeline = Lossy(2, name="mic") | (lambda s: s)
    await pipeline.run()
    assert pipeline.stats().sources["mic"].dropped == {"driver-overflow": 3}


def test_a_program_that_ends_inside_native_code_ends_well():
    """Leaving the loop and the program at once must not tear a thread out of a library."""
    program = """
import asyncio, time
from edgeml.streams import Source

def work(n):
    time.sleep(0.2)
    return n

async def main():
    async for item in Source.of(range(100)) | work:
        break

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


async def test_samples_that_name_another_source_count_under_the_one_they_came_from():
    class Replay(Ticks):
        async def _read(self):
            return (await super()._read()).replace(source="of the recording")

    pipeline = Replay(50, keep="freshest", name="replay") | (lambda s: s) | batch(1)
    await pipeline.run()
    replay = pipeline.stats().sources["replay"]
    assert replay.in_ == 50 == replay.out + sum(replay.dropped.values())


async def test_a_limit_lets_items_pass_at_its_rate():
    """In turn means: as many as the rate allows, whatever the source's jitter."""
    pipeline = Ticks(10**9, keep="freshest", name="ticks") | (lambda s: s)
    running = asyncio.create_task(pipeline.run())
    await pipeline.once("result")
    with pytest.raises(GraphError, match="there is no source 'tick'; expected one of ticks"):
        pipeline.limit("tick", 5)
    with pytest.raises(ValueError, match="fps must be a positive number"):
        pipeline.limit("ticks", 0)
    pipeline.limit("ticks", 200.0)
    times = [time.monotonic()]
    for _ in range(10):
        await pipeline.once("result")
        times.append(time.monotonic())
    assert times[-1] - times[1] >= 5 / 200  # some were on their way already
    assert pipeline.stats().sources["ticks"].dropped["limited"] > 0
    pipeline.limit("ticks", None)
    limited = pipeline.stats().sources["ticks"].dropped["limited"]
    for _ in range(10):
        await pipeline.once("result")
    assert pipeline.stats().sources["ticks"].dropped["limited"] == limited
    await pipeline.drain()
    await running
    with pytest.raises(PipelineError, match="is not running"):
        pipeline.limit("ticks", 5)


async def test_a_limit_slows_a_source_that_keeps_every_item():
    pipeline = Ticks(10**9, keep="every", name="ticks") | (lambda s: s)
    seen = []
    pipeline.on("result", lambda s: seen.append(s.seq))
    running = asyncio.create_task(pipeline.run())
    await pipeline.once("result")
    pipeline.limit("ticks", 1.0)
    pipeline.limit("ticks", 500.0)
    for _ in range(10):
        await pipeline.once("result")
    pipeline.limit("ticks", 0.001)
    pipeline.limit("ticks", None)
    await pipeline.once("result")
    pipeline.limit("ticks", 0.001)  # it ends all the same
    await pipeline.drain()
    await running
    assert seen == list(range(len(seen)))
    assert pipeline.stats().sources["ticks"].dropped == {}
