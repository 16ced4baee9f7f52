"""What every source of samples keeps to; the same checks for real and simulated ones."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from edgeml.errors import DeviceClosed
from edgeml.streams import Sample, Source

Make = Callable[[], Source[Any]]


async def check_source(make: Make, *, count: int = 5) -> list[Sample[Any]]:
    """Run all checks; return the first samples of one run."""
    await check_opens_lazily(make)
    samples = await check_samples(make, count)
    await check_close(make)
    await check_cancel(make)
    return samples


async def check_opens_lazily(make: Make) -> None:
    source = make()
    assert source.state == "idle"
    await source.aclose()
    await source.aclose()
    assert source.state == "closed"


async def check_samples(make: Make, count: int) -> list[Sample[Any]]:
    samples = []
    async with make() as source:
        async for sample in source:
            samples.append(sample)
            if len(samples) == count:
                break
        assert source.state == "flowing"
    assert len(samples) == count
    assert [s.seq for s in samples] == list(range(count))
    assert all(a.t <= b.t and a.arrived <= b.arrived for a, b in pairwise(samples))
    assert all(s.source == source.name and s.duration >= 0 for s in samples)
    if source.live:
        assert all(s.arrived >= s.t for s in samples)
    else:
        assert samples[0].t >= source.clock.start
    return samples


async def check_close(make: Make) -> None:
    source = make()
    await anext(source)
    await source.aclose()
    await source.aclose()
    with contextlib.suppress(DeviceClosed, StopAsyncIteration):
        await anext(source)
        raise AssertionError("a closed source delivered")
    again = make()  # the device is free
    await anext(again)
    await again.aclose()


async def check_cancel(make: Make) -> None:
    source = make()
    await anext(source)

    async def drain() -> None:
        async for _ in source:
            await asyncio.sleep(0)

    task = asyncio.create_task(drain())
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await source.aclose()
    assert source.state in ("closed", "ended")
