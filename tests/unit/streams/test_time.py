"""Windows, joins and the operators that go by time."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.errors import GraphError, StageFailed
from edgeml.streams import Clock, Sample, Source, debounce, join, throttle, window

MS = 1_000_000


def at(*times, name="s", duration=0):
    """A source of samples at these times, ms; data is the time."""
    return Source.of(
        [Sample(t, t * MS, 0, name, i, duration * MS) for i, t in enumerate(times)], name=name
    )


async def times(pipeline):
    return [[s.data for s in w.data] async for w in pipeline]


async def test_windows_by_seconds():
    out = await times(at(0, 10, 20, 30, 40, duration=10) | window(seconds=0.02))
    assert out == [[0, 10], [20, 30]]


async def test_windows_overlap_with_a_hop():
    out = await times(at(0, 10, 20, 30, duration=10) | window(seconds=0.02, hop=0.01))
    assert out == [[0, 10], [10, 20], [20, 30]]


async def test_windows_start_anew_after_a_gap():
    out = await times(at(0, 10, 1000, 1010, duration=10) | window(seconds=0.02))
    assert out == [[0, 10], [1000, 1010]]


async def test_a_window_spans_its_samples():
    [w] = [w async for w in at(5, 15, duration=10) | window(count=2)]
    assert (w.t, w.duration, w.source) == (5 * MS, 20 * MS, "s")


async def test_windows_by_count_with_a_hop_longer_than_the_window():
    out = [w async for w in Source.of(range(7)) | window(count=2, hop=3)]
    assert out == [[0, 1], [3, 4]]


@pytest.mark.parametrize("options", [{}, {"count": 1, "seconds": 1}, {"count": 0}, {"seconds": -1}])
def test_bad_windows_are_refused(options):
    with pytest.raises(GraphError, match="window"):
        window(**options)


@pytest.mark.parametrize(
    "make",
    [
        lambda: throttle(-1),
        lambda: debounce(float("nan")),
        lambda: join(a=at(1), b=at(2), within=-1),
        lambda: join(a=at(1), b=at(2), within=1, wait=-1),
    ],
)
def test_times_before_now_are_refused(make):
    with pytest.raises(GraphError, match="must not be negative; received"):
        make()


async def test_windows_by_seconds_need_samples():
    with pytest.raises(TypeError, match="needs samples"):
        await times(Source.of([1]) | window(seconds=1))


@given(
    gaps=st.lists(st.integers(1, 50), max_size=40),
    length=st.integers(10, 60),
    hop=st.integers(5, 60),
)
async def test_every_window_is_complete_and_in_order(gaps, length, hop):
    stamps = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    out = [w async for w in at(*stamps) | window(seconds=length / 1e3, hop=hop / 1e3)]
    for w in out:
        inside = [s.data for s in w.data]
        assert inside == sorted(inside)
        assert inside[-1] - inside[0] < length
        # all samples between the first and the last are there
        assert inside == [t for t in stamps if inside[0] <= t <= inside[-1]]
    starts = [w.t for w in out]
    assert starts == sorted(starts)


async def test_throttle_goes_by_the_samples_time():
    out = [s.data async for s in at(0, 10, 20, 35, 40, 70) | throttle(0.03)]
    assert out == [0, 35, 70]


async def test_debounce_passes_the_last_of_a_burst():
    go = asyncio.Event()

    async def bursts():
        yield 1
        yield 2
        await go.wait()
        yield 3

    out = []
    async for n in Source.of(bursts()) | debounce(0.01):
        out.append(n)
        go.set()
    assert out == [2, 3]


async def pairs(joined):
    return [(s.data["a"].data, s.data["b"].data if s.data["b"] else None) async for s in joined]


async def test_join_takes_the_nearest_within():
    joined = join(
        a=at(0, 100, 200, 300, name="a"), b=at(2, 90, 108, 250, 301, name="b"), within=0.02
    )
    assert await pairs(joined) == [(0, 2), (100, 108), (200, None), (300, 301)]


async def test_join_goes_on_when_the_other_has_ended():
    joined = join(a=at(0, 10, 20, name="a"), b=at(0, name="b"), within=0.005)
    assert await pairs(joined) == [(0, 0), (10, None), (20, None)]


async def test_a_silent_stream_cannot_stall_the_others():
    silent = asyncio.Event()

    async def never():
        await silent.wait()
        yield

    clock = Clock()
    base = [Sample(i, i * MS, clock.now(), "a", i) for i in range(3)]
    joined = join(a=Source.of(base, name="a"), b=Source.of(never(), name="b"), within=1, wait=0.02)
    out = []
    async for s in joined:
        out.append((s.data["a"].data, s.data["b"]))
        if len(out) == 3:
            break
    assert out == [(0, None), (1, None), (2, None)]


async def test_join_needs_samples():
    with pytest.raises((TypeError, StageFailed), match="join needs samples"):
        await pairs(join(a=at(0, name="a"), b=Source.of([1], name="b"), within=1))


@given(
    a=st.lists(st.integers(0, 500), max_size=25, unique=True).map(sorted),
    b=st.lists(st.integers(0, 500), max_size=25, unique=True).map(sorted),
    within=st.integers(0, 60),
)
async def test_join_is_the_nearest_neighbour_at_any_speed(a, b, within):
    got = await pairs(join(a=at(*a, name="a"), b=at(*b, name="b"), within=within / 1e3))
    assert [t for t, _ in got] == a
    for t, partner in got:
        distances = [abs(t - u) for u in b if abs(t - u) <= within]
        if partner is None:
            assert not distances
        else:
            assert abs(t - partner) == min(distances)
