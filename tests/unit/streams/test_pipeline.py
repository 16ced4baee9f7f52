from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.errors import GraphError, PipelineError, StageFailed, StageTimeout
from edgeml.streams import (
    SKIP,
    Backoff,
    Pipeline,
    Retry,
    Sample,
    Sink,
    Source,
    Stage,
    batch,
    filter,
    flat_map,
    map,
    merge,
    stage,
    take,
    tee,
)


class Collect(Sink):
    def __init__(self, **options):
        super().__init__(**options)
        self.items = []
        self.closed = 0

    async def send(self, item):
        self.items.append(item)

    async def aclose(self):
        self.closed += 1


async def collect(pipeline):
    return [item async for item in pipeline]


def sample(data, t=0):
    return Sample(data, t=t, arrived=t, source="s")


async def test_plain_functions_are_stages():
    assert await collect(Source.of(range(4)) | (lambda n: n + 1) | (lambda n: n * 2)) == [
        2,
        4,
        6,
        8,
    ]


async def test_async_functions_are_stages():
    async def double(n):
        await asyncio.sleep(0)
        return n * 2

    assert await collect(Source.of(range(3)) | double | double) == [0, 4, 8]


async def test_skip_and_generators():
    def odd_twice(n):
        if n % 2 == 0:
            return SKIP
        return (n for _ in range(2))

    assert await collect(Source.of(range(4)) | odd_twice) == [1, 1, 3, 3]


async def test_async_generators_give_many():
    async def twice(n):
        yield n
        yield n

    assert await collect(Source.of([1, 2]) | twice) == [1, 1, 2, 2]


async def test_a_list_is_one_item():
    assert await collect(Source.of([1]) | (lambda n: [n, n])) == [[1, 1]]


async def test_operators_as_functions_and_methods():
    chain = Source.of(range(10)).filter(lambda n: n % 2).map(lambda n: n * 10)
    assert await collect(chain.flat_map(lambda n: [n, n]).take(3)) == [10, 10, 30]
    chain = Source.of(range(10)) | filter(lambda n: n > 7) | map(str) | flat_map(list)
    assert await collect(chain) == ["8", "9"]


async def test_sample_stays_around_a_plain_result():
    [out] = await collect(Source.of([sample(3, t=7)]) | (lambda s: s.data + 1))
    assert (out.data, out.t, out.source) == (4, 7, "s")


async def test_run_delivers_to_the_sink_and_closes_it():
    sink = Collect()
    await (Source.of("abc") | sink).run()
    assert sink.items == ["a", "b", "c"]
    assert sink.closed == 1


async def test_parts_are_cut_into_chains_at_sources():
    one, two = Collect(name="one"), Collect(name="two")
    await Pipeline(Source.of([1]), lambda n: n, one, Source.of([2], name="other") | two).run()
    assert (one.items, two.items) == ([1], [2])


async def test_a_list_of_steps_makes_a_pipeline():
    sink = Collect()
    await Pipeline([Source.of([1, 2]), lambda n: -n, sink]).run()
    assert sink.items == [-1, -2]


async def test_one_sink_ends_several_chains():
    sink = Collect()
    await Pipeline(Source.of([1], name="a") | sink, Source.of([2], name="b") | sink).run()
    assert sorted(sink.items) == [1, 2]
    assert sink.closed == 1


async def test_tee_sends_to_every_chain_and_on():
    left, right = Collect(name="left"), Collect(name="right")
    chain = Source.of(range(3)) | tee([lambda n: n + 10, left], right) | (lambda n: -n)
    assert await collect(chain) == [0, -1, -2]
    assert left.items == [10, 11, 12]
    assert right.items == [0, 1, 2]


async def test_arrays_are_read_only_after_a_tee():
    array = np.zeros(3)

    def write(s):
        s.data[0] = 1

    sink = Collect()
    with pytest.raises(StageFailed, match="read-only"):
        await (Source.of([sample(array)]) | tee(sink, [write, Collect(name="c2")])).run()


async def test_merge_takes_all():
    out = await collect(
        merge(Source.of([1, 2], name="a"), Source.of([3], name="b") | (lambda n: n))
    )
    assert sorted(out) == [1, 2, 3]


async def test_batch_collects_and_keeps_the_rest():
    assert await collect(Source.of(range(5)) | batch(2)) == [[0, 1], [2, 3], [4]]


async def test_batch_gives_up_waiting_after_seconds():
    more = asyncio.Event()

    async def slow():
        yield 1
        await more.wait()
        yield 2

    pipeline = Source.of(slow()) | batch(2, seconds=0.02)
    out = []
    async for item in pipeline:
        out.append(item)
        more.set()
    assert out == [[1], [2]]


async def test_concurrent_stages_keep_order():
    release = [threading.Event() for _ in range(4)]

    @stage(concurrency=4)
    def wait(n):
        # The later the item, the earlier it is done.
        if n < 3:
            release[n + 1].wait(5)
        release[n].set()
        return n

    pipeline = Source.of(range(4)) | wait
    assert await collect(pipeline) == [0, 1, 2, 3]


async def test_concurrent_async_stages_keep_order():
    running = 0
    most = 0

    @stage(concurrency=3)
    async def work(n):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01 if n % 2 else 0)
        running -= 1
        return n

    assert await collect(Source.of(range(20)) | work) == list(range(20))
    assert most == 3


async def test_consecutive_sync_stages_run_in_one_call():
    threads = []

    def note(n):
        threads.append(threading.current_thread().name)
        return n

    await collect(Source.of([1]) | note | note | note)
    assert len(set(threads)) == 1
    pipeline = Source.of([1]) | note | note
    await collect(pipeline)
    assert list(pipeline.stats().edges) == [("items", "note")]


async def test_inline_stages_run_on_the_loop():
    here = threading.current_thread()
    seen = []

    @stage(inline=True)
    def look(n):
        seen.append(threading.current_thread())
        return n

    @stage(inline=True)
    def look_again(n):
        return look(n)

    await collect(Source.of([1]) | look | (lambda n: n) | look_again)
    assert seen == [here, here]


async def test_failing_stage_ends_the_pipeline_and_names_itself():
    def half(n):
        return 1 // n

    sink = Collect()
    with pytest.raises(StageFailed, match=r"'half' failed at item 2: ZeroDivisionError") as caught:
        await (Source.of([1, 0, 1]) | half | sink).run()
    assert caught.value.stage == "half"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert sink.closed == 1


async def test_error_listener_hears_once_and_run_returns():
    heard = []
    pipeline = Source.of([0]) | (lambda n: 1 // n)
    pipeline.on("error", heard.append)
    await pipeline.run()
    assert [type(e) for e in heard] == [StageFailed]


async def test_skip_policy_counts_and_goes_on(caplog):
    drops = []
    pipeline = Source.of([2, 0, 1]) | stage(on_error="skip", name="half")(lambda n: 2 // n)
    pipeline.on("drop", drops.append)
    assert await collect(pipeline) == [1, 2]
    stats = pipeline.stats().stages["half"]
    assert (stats.in_, stats.done, stats.failed) == (3, 2, 1)
    assert [type(d.error) for d in drops] == [ZeroDivisionError]
    assert "ZeroDivisionError" in caplog.text
    assert "failed with 1 of 3" in pipeline.explain()


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_retry_tries_the_same_item_again(kind):
    tries = []

    def flaky(n):
        tries.append(n)
        if len(tries) < 3:
            raise OSError("not yet")
        return n

    async def flaky_async(n):
        return flaky(n)

    policy = Retry(attempts=3, backoff=Backoff(initial=0.001))
    fn = stage(on_error=policy)(flaky if kind == "sync" else flaky_async)
    assert await collect(Source.of([7]) | fn) == [7]
    assert tries == [7, 7, 7]


async def test_retry_then_skip():
    policy = Retry(attempts=1, backoff=Backoff(initial=0.001), then="skip")
    pipeline = Source.of([0, 1]) | stage(on_error=policy, name="half")(lambda n: 1 // n)
    assert await collect(pipeline) == [1]
    assert pipeline.stats().stages["half"].failed == 1


async def test_timeout_of_a_hanging_sync_stage():
    release = threading.Event()

    @stage(timeout=0.05, on_error="skip")
    def hang(n):
        if n == 1:
            release.wait(10)
        return n

    pipeline = Source.of(range(3)) | hang
    assert await collect(pipeline) == [0, 2]
    assert pipeline.stats().stages["hang"].failed == 1
    release.set()


async def test_timeout_of_an_async_stage():
    @stage(timeout=0.01)
    async def hang(n):
        await asyncio.Event().wait()

    with pytest.raises(StageTimeout, match=r"did not finish an item within 0\.01 s"):
        await collect(Source.of([1]) | hang)


async def test_stages_are_opened_in_a_thread_and_closed():
    events = []

    class Model(Stage):
        def open(self):
            events.append(("open", threading.current_thread() is threading.main_thread()))

        def __call__(self, item):
            return item

        async def aclose(self):
            events.append(("close", None))

    await (Source.of([1]) | Model()).run()
    assert events == [("open", False), ("close", None)]


async def test_failing_open_is_raised_and_the_source_is_never_read():
    class Broken(Sink):
        async def open(self):
            raise ValueError("no such place")

    with pytest.raises(
        StageFailed, match="'broken' could not be opened: ValueError: no such place"
    ):
        await (Source.of([1]) | Broken()).run()


async def test_cancel_closes_everything_upstream_first():
    order = []

    class Endless(Source[int]):
        async def _read(self):
            await asyncio.sleep(0)
            return 1

        async def _close(self):
            order.append("source")

    class Last(Collect):
        async def aclose(self):
            order.append("sink")

    pipeline = Endless() | (lambda n: n) | Last()
    running = asyncio.create_task(pipeline.run())
    await pipeline.once("result")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert order == ["source", "sink"]


async def test_leaving_the_loop_stops_the_pipeline():
    closed = asyncio.Event()

    class Endless(Source[int]):
        async def _read(self):
            await asyncio.sleep(0)
            return 1

        async def _close(self):
            closed.set()

    async for item in Endless() | (lambda n: n):
        assert item == 1
        break
    await asyncio.wait_for(closed.wait(), 5)


async def test_drain_lets_everything_arrive():
    sink = Collect()

    class Endless(Source[int]):
        n = 0

        async def _read(self):
            await asyncio.sleep(0)
            self.n += 1
            return self.n

    pipeline = Endless() | (lambda n: n) | sink
    running = asyncio.create_task(pipeline.run())
    while len(sink.items) < 20:
        await pipeline.once("result")
    await pipeline.drain()
    await running
    arrived = pipeline.stats().sources["endless"].in_
    assert sink.items == list(range(1, arrived + 1))


async def test_take_stops_the_source():
    class Endless(Source[int]):
        async def _read(self):
            return 1

    pipeline = Endless() | (lambda n: n) | take(3)
    assert await collect(pipeline) == [1, 1, 1]
    assert pipeline.stats().sources["endless"].state in ("closed", "ended")


async def test_events_iterates_until_the_end():
    pipeline = Source.of(range(5)) | (lambda n: n)

    async def listen():
        return [item async for item in pipeline.events("result")]

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    await pipeline.run()
    assert await listening == [0, 1, 2, 3, 4]


async def test_a_listener_that_raises_becomes_an_error_event():
    errors = []

    def bad(item):
        raise KeyError(item)

    pipeline = Source.of([1]) | (lambda n: n)
    pipeline.on("result", bad)
    pipeline.on("error", errors.append)
    await pipeline.run()
    assert [type(e) for e in errors] == [KeyError]


async def test_async_listeners_hold_the_stream_back_in_order():
    seen = []

    async def slow(item):
        await asyncio.sleep(0)
        seen.append(item)

    pipeline = Source.of(range(4)) | (lambda n: n)
    pipeline.on("result", slow)
    await pipeline.run()
    assert seen == [0, 1, 2, 3]


async def test_unknown_event_is_refused():
    with pytest.raises(ValueError, match="no event 'data'; expected one of result"):
        Pipeline(Source.of([])).on("data", print)


def test_start_and_stop_run_in_the_background():
    class Endless(Source[int]):
        async def _read(self):
            await asyncio.sleep(0)
            return 1

    seen = threading.Event()
    pipeline = Endless() | (lambda n: n)
    pipeline.on("result", lambda item: seen.set())
    pipeline.start()
    assert seen.wait(5)
    pipeline.stop()
    assert pipeline.stats().sources["endless"].in_ > 0


def test_stop_raises_what_ended_the_pipeline():
    reached = threading.Event()

    def fail(n):
        reached.set()
        return 1 // n

    pipeline = Source.of([0]) | fail
    pipeline.start()
    assert reached.wait(5)
    with pytest.raises(StageFailed):
        pipeline.stop()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Pipeline((lambda n: n), Collect()), "starts with a source"),
        (lambda: Source.of([]) | Collect() | (lambda n: n), "is a sink and ends its chain"),
        (lambda: Pipeline(), "is empty"),
        (lambda: Source.of([]) | (s := Stage(name="s")) | s, "stands in the pipeline twice"),
        (lambda: merge(Source.of([]) | Collect()), "ends in a sink"),
    ],
)
async def test_impossible_graphs_are_refused(build, message):
    with pytest.raises(GraphError, match=message):
        await Pipeline(build()).run()


def test_what_is_no_step_is_refused():
    with pytest.raises(GraphError, match="3 cannot be a step of a pipeline"):
        Source.of([]) | 3
    with pytest.raises(GraphError, match=r"Collect is a class; .* such as Collect\(\)"):
        Source.of([]) | Collect


async def test_a_pipeline_runs_once():
    pipeline = Source.of([]) | (lambda n: n)
    await pipeline.run()
    with pytest.raises(PipelineError, match="has run already"):
        await pipeline.run()


async def test_iterating_needs_one_open_end():
    two = Pipeline(Source.of([1], name="a"), Source.of([2], name="b"))
    with pytest.raises(GraphError, match="2 open ends"):
        await collect(two)


async def test_same_names_are_told_apart():
    pipeline = Source.of([1]) | (lambda n: n) | (lambda n: n)
    await pipeline.run()
    assert list(pipeline.stats().stages) == ["lambda", "lambda-2"]


@given(
    items=st.lists(st.integers(), max_size=60),
    plan=st.lists(st.sampled_from(["sync", "async", "inline", "wide", "many", "skip"]), max_size=5),
)
async def test_any_chain_keeps_order_and_loses_nothing(items, plan):
    async def same_async(n):
        return n

    expected = list(items)
    pipeline = Source.of(items)
    for kind in plan:
        if kind == "sync":
            pipeline = pipeline | (lambda n: n)
        elif kind == "async":
            pipeline = pipeline | same_async
        elif kind == "inline":
            pipeline = pipeline | stage(inline=True)(lambda n: n)
        elif kind == "wide":
            pipeline = pipeline | stage(concurrency=3)(lambda n: n)
        elif kind == "many":
            pipeline = pipeline | flat_map(lambda n: (n, n))
            expected = [n for n in expected for _ in range(2)]
        else:
            pipeline = pipeline | filter(lambda n: n % 3)
            expected = [n for n in expected if n % 3]
    assert await collect(Pipeline(pipeline)) == expected


async def test_changing_a_pipeline_that_does_not_run_is_refused():
    pipeline = Source.of([1]) | (lambda n: n)
    with pytest.raises(PipelineError, match="is not running"):
        await pipeline.drain()
    with pytest.raises(PipelineError, match="has no figures"):
        pipeline.stats()
    await pipeline.run()
    with pytest.raises(PipelineError, match="is not running"):
        await pipeline.add(Source.of([2]))


async def test_items_that_share_a_call_keep_their_own_fate():
    def odd_one_out(n):
        if n % 7 == 3:
            raise ValueError(n)
        return n

    pipeline = Source.of(range(500)) | stage(on_error="skip", name="odd")(odd_one_out)
    assert await collect(pipeline) == [n for n in range(500) if n % 7 != 3]
    assert pipeline.stats().stages["odd"].failed == 71


async def test_a_fatal_error_in_a_shared_call_names_its_item_and_nothing_after_it_arrives():
    def stop_at(n):
        if n == 333:
            raise ValueError(n)
        return n

    sink = Collect()
    with pytest.raises(StageFailed, match="at item 334: ValueError: 333"):
        await (Source.of(range(500)) | stop_at | sink).run()
    assert sink.items == list(range(len(sink.items)))  # in order, none left out
    assert len(sink.items) <= 333
