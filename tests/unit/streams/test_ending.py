"""How pipelines end when they are cancelled, whatever a step makes of it."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from edgeml.errors import DeviceLost
from edgeml.streams import Backoff, Sink, Source, Stage, stage
from edgeml.streams._ending import end

QUICK = Backoff(initial=0.001, maximum=0.002)


class Deaf(Source[int]):
    """Swallows a cancellation while it opens, as asyncio.wait_for may before Python 3.12."""

    def __init__(self):
        super().__init__(name="deaf")
        self.opening = asyncio.Event()

    async def _open(self):
        self.opening.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    async def _read(self):
        await asyncio.Event().wait()


@pytest.mark.parametrize("how", ["cancel", "drain"])
async def test_a_source_that_swallows_a_cancellation_ends(how):
    source = Deaf()
    pipeline = source | (lambda s: s)
    running = asyncio.create_task(pipeline.run())
    await source.opening.wait()
    if how == "drain":
        await asyncio.wait_for(pipeline.drain(), 4)
        await running
    else:
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 4)
    assert source.state == "closed"


async def test_a_stage_that_swallows_a_cancellation_ends(monkeypatch):
    monkeypatch.setattr("edgeml.streams._runner.PATIENCE", 0.01)
    called, closed = asyncio.Event(), []

    class Stubborn(Stage):
        async def __call__(self, item):
            called.set()
            for _ in range(3):
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
            await asyncio.Event().wait()

        async def aclose(self):
            await asyncio.sleep(0.05)  # longer than the runner waits before it asks again
            closed.append(True)

    pipeline = Source.of([1]) | Stubborn()
    running = asyncio.create_task(pipeline.run())
    await called.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 20)
    assert closed == [True]


async def test_a_source_that_swallows_a_cancellation_as_it_closes_ends():
    class Lost(Deaf):
        async def _open(self):
            raise DeviceLost("it is gone", device="lost")

        async def _close(self):
            if not self.opening.is_set():
                await super()._open()

    source = Lost()
    source.reconnect = QUICK
    pipeline = source | (lambda s: s)
    running = asyncio.create_task(pipeline.run())
    await source.opening.wait()
    await asyncio.wait_for(pipeline.drain(), 20)
    await running
    assert source.state == "closed"


async def test_a_step_that_does_not_close_is_given_up_and_the_others_close(monkeypatch, caplog):
    monkeypatch.setattr("edgeml.streams._runner.CLOSE_TIMEOUT", 0.05)
    sent, closed = asyncio.Event(), []

    class Hangs(Stage):
        async def __call__(self, item):
            return item

        async def aclose(self):
            await asyncio.Event().wait()

    class After(Stage):
        def __call__(self, item):
            sent.set()

        def aclose(self):
            closed.append(True)

    async def forever():
        yield 1
        await asyncio.Event().wait()

    running = asyncio.create_task(
        (Source.of(forever()) | Hangs(name="tap") | After(inline=True)).run()
    )
    await sent.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 20)
    assert closed == [True]
    assert "tap has not closed within 0.05 s and is given up" in caplog.text


@pytest.mark.parametrize("how", ["run", "iterate"])
async def test_a_listener_that_hangs_does_not_keep_a_cancelled_pipeline(monkeypatch, caplog, how):
    monkeypatch.setattr("edgeml.streams._pipeline.CLOSE_TIMEOUT", 0.05)
    told = asyncio.Event()

    async def hang(_):
        told.set()
        await asyncio.Event().wait()

    async def iterate():
        async for _ in pipeline:
            pass

    pipeline = Deaf() | (lambda s: s)
    pipeline.on("state", hang)
    running = asyncio.create_task(pipeline.run() if how == "run" else iterate())
    await told.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 20)
    assert "a listener has not returned within 0.05 s" in caplog.text


@pytest.mark.parametrize("how", ["run", "swap"])
async def test_a_stage_that_is_half_open_is_closed_by_the_thread_that_opens_it(
    until, monkeypatch, how
):
    """Not by the loop, which would wait for it: it may hang, as a download does."""
    monkeypatch.setattr("edgeml.streams._opening._PATIENCE", 0.01)
    opening, go, events = threading.Event(), threading.Event(), []

    class Slow(Stage):
        def open(self):
            opening.set()
            go.wait()
            events.append("opened")

        def aclose(self):
            events.append("closed")

    async def forever():
        yield 1
        await asyncio.Event().wait()

    first = Slow() if how == "run" else stage(name="first")(lambda item: item)
    pipeline = Source.of(forever()) | first
    running = asyncio.create_task(pipeline.run())
    if how == "swap":
        await pipeline.once("result")
        swapping = asyncio.create_task(pipeline.swap("first", Slow()))
        await until(opening.is_set)
        swapping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await swapping
    await until(opening.is_set)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 20)
    assert events == []
    go.set()
    await until(lambda: events == ["opened", "closed"])


async def test_async_calls_have_returned_before_their_stage_is_closed():
    events, both = [], asyncio.Event()

    class Client(Stage):
        async def __call__(self, item):
            events.append("call")
            if len(events) == 2:
                both.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.01)  # such as a farewell to a server
                events.append("returned")

        def aclose(self):
            events.append("closed")

    running = asyncio.create_task((Source.of(range(9)) | Client(concurrency=2)).run())
    await both.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert events == ["call", "call", "returned", "returned", "closed"]


async def test_a_task_that_swallows_cancellations_is_ended(monkeypatch):
    monkeypatch.setattr("edgeml.streams._ending.PATIENCE", 0.01)
    heard = []

    async def deaf():
        while len(heard) < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                heard.append(True)

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await asyncio.wait_for(end(task), 20)
    assert len(heard) == 3


async def test_a_sink_that_closes_when_the_run_is_cancelled_may_finish():
    delivered = []

    class Buffered(Sink):
        async def aclose(self):
            await asyncio.sleep(0.05)
            delivered.append("all")

    class Endless(Source[int]):
        async def _read(self):
            await asyncio.sleep(0)
            return 1

    pipeline = Endless() | Buffered()
    running = asyncio.create_task(pipeline.run())
    await pipeline.once("result")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert delivered == ["all"]
