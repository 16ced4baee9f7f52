"""Sensor.poll: a steady grid, its own thread, hung and failing drivers."""

import asyncio
import threading
import time

import pytest

from edgeml.devices import Reading, Sensor
from edgeml.errors import DeviceNotFound
from edgeml.streams import Backoff

QUICK = Backoff(initial=0.01, maximum=0.02)


async def take(sensor, n):
    samples = []
    async with sensor:
        async for sample in sensor:
            samples.append(sample)
            if len(samples) == n:
                break
    return samples


async def test_each_call_runs_in_one_thread_that_is_not_the_loops(no_thread_left):
    threads = set()

    def read():
        threads.add(threading.current_thread())
        return 21.5

    samples = await take(Sensor.poll(read, hz=500, name="room", unit="°C"), 10)
    assert [s.data for s in samples] == [21.5] * 10
    assert samples[0].meta["unit"] == "°C"
    assert samples[0].source == "room"
    assert len(threads) == 1
    assert threading.current_thread() not in threads


async def test_the_grid_does_not_drift():
    """A reading is never early, and slow readings don't add up."""
    after_slot = []
    async with Sensor.poll(lambda: time.sleep(0.003), hz=100) as sensor:
        await anext(sensor)
        for _ in range(40):
            slot = sensor._start + sensor._n * 10**7
            after_slot.append((await anext(sensor)).t - slot)
    assert min(after_slot) >= 0
    # With a drift of 3 ms a reading all of these would be 60 ms late; a busy machine delays some.
    assert min(after_slot[20:]) < 30_000_000


async def test_readings_that_were_missed_are_counted_not_taken_in_a_burst():
    calls = []

    def read():
        calls.append(time.monotonic_ns())
        if len(calls) == 2:
            time.sleep(0.1)
        return len(calls)

    sensor = Sensor.poll(read, hz=100)
    samples = await take(sensor, 5)
    assert [s.data for s in samples] == [1, 2, 3, 4, 5]
    assert sensor.dropped["late"] >= 8
    assert sensor._n == 5 + sensor.dropped["late"]  # each slot was taken once or counted


async def test_time_is_the_middle_of_the_call():
    around = []

    def read():
        before = time.monotonic_ns()
        time.sleep(0.02)
        around.append((before, time.monotonic_ns()))

    (sample,) = await take(Sensor.poll(read, hz=10), 1)
    ((before, after),) = around
    assert before < sample.t < after
    assert sample.arrived >= after


async def test_a_call_that_fails_at_once_is_an_error_at_once():
    def read():
        raise OSError(121, "Remote I/O error")

    with pytest.raises(DeviceNotFound, match=r"bme: the driver raised OSError: .*connected\?"):
        await take(Sensor.poll(read, hz=10, name="bme", reconnect=QUICK), 1)


async def test_a_call_that_fails_later_reconnects():
    values = iter([1, OSError("bus"), RuntimeError("again"), 2])

    def read():
        value = next(values)
        if isinstance(value, Exception):
            raise value
        return value

    sensor = Sensor.poll(read, hz=200, reconnect=QUICK)
    samples = await take(sensor, 2)
    assert [s.data for s in samples] == [1, 2]
    assert samples[1].meta["discontinuity"]
    assert sensor.reconnects == 2


async def test_a_call_that_hangs_is_abandoned_and_costs_one_thread(until):
    release, threads = threading.Event(), set()
    blocked = [False]

    def read():
        threads.add(threading.current_thread())
        if len(threads) == 1 and blocked[0]:
            release.wait(20)
        blocked[0] = True
        return 1

    sensor = Sensor.poll(read, hz=200, read_timeout=0.1, reconnect=QUICK)
    sensor.close_timeout = 0.05
    async with sensor:
        await anext(sensor)
        pending = asyncio.ensure_future(anext(sensor))
        await until(lambda: sensor.reconnects >= 3)
        assert len(threads) == 1
        release.set()
        sample = await pending
        assert sample.meta["discontinuity"]
    await until(lambda: not any(t.is_alive() for t in threads))


async def test_cancelling_leaves_no_thread(no_thread_left):
    sensor = Sensor.poll(lambda: 1, hz=1)
    await anext(sensor)
    task = asyncio.ensure_future(anext(sensor))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await sensor.aclose()


def test_poll_wants_a_callable():
    with pytest.raises(TypeError, match="takes a callable; received float"):
        Sensor.poll(21.5, hz=1)


def test_a_reading_does_not_change_and_names_its_channels():
    reading = Reading({"x": 1.0}, {"x": "m"})
    with pytest.raises(AttributeError, match="does not change"):
        reading.x = 2
    with pytest.raises(AttributeError, match="no channel 'y'; this reading has: x"):
        _ = reading.y
    assert dict(reading) == {"x": 1.0}
    assert repr(reading) == "Reading(x=1 m)"
