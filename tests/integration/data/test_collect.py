"""Datasets of streams: a recording, a sensor in real time, pipelines."""

from __future__ import annotations

import asyncio
import itertools
from importlib.resources import files

import numpy as np
import pytest

from edgeml.data import Dataset, check_leak
from edgeml.devices import CSVReplay, Sensor
from edgeml.errors import DataError, DeviceLost
from edgeml.streams import SKIP, Sample, Source, window

WATCH = str(files("edgeml") / "media" / "watch.csv")


def watch(**options):
    return CSVReplay(WATCH, name="watch", **options)


class Ticks(Source):
    """Samples with times of their own; lost after `lost_at`, silent after `silent_at`."""

    def __init__(self, *, live=False, lost_at=None, silent_at=None, name="ticks"):
        super().__init__(name=name)
        self.live = live
        self.numbers = itertools.count()
        self.lost_at, self.silent_at = lost_at, silent_at
        self.closed = False

    async def _read(self):
        i = next(self.numbers)
        if i == self.lost_at:
            raise DeviceLost("gone", device=self.name)
        if i == self.silent_at:
            await asyncio.Event().wait()
        return self._sample(np.float32(i), t=i * 100_000_000, duration=100_000_000)

    async def _close(self):
        self.closed = True


async def test_a_recording():
    data = await Dataset.collect(watch(), label=3, count=50)
    x, y = data.to_arrays()
    assert x.dtype == np.float32
    assert (len(x), set(y.tolist()), set(data.sources)) == (50, {3}, {"watch"})
    assert (np.diff(data.times) > 0).all()


async def test_windows_of_a_pipeline_keep_their_times():
    pipeline = watch() | window(count=50, hop=25)
    data = await Dataset.collect(pipeline, seconds=20.0)
    assert len(data) == 40
    assert data.batch(40).peek().shape == (40, 50, 6)
    assert np.ptp(data.times) / 1e9 == pytest.approx(19.5, abs=0.1)
    assert data.durations.min() > 0
    train, test = data.split_by_time(0.75)
    assert check_leak(train, test).ok
    with pytest.raises(DataError, match="overlap"):
        check_leak(*data.split(0.75))


async def test_seconds_are_those_of_the_samples():
    source = Ticks()
    data = await Dataset.collect(source, seconds=1.0)
    assert [int(x) for x in data] == list(range(10))
    assert source.closed


async def test_a_label_function():
    def label(sample: Sample):
        return SKIP if sample.data % 2 else int(sample.data > 4)

    data = await Dataset.collect(Ticks(), label=label, count=5)
    assert [(int(x), int(y)) for x, y in data] == [(0, 0), (2, 0), (4, 0), (6, 1), (8, 1)]


async def test_a_live_sensor():
    values = iter(range(10**6))
    data = await Dataset.collect(Sensor.poll(lambda: float(next(values)), hz=200), count=10)
    assert [int(x) for x in data] == list(range(10))


async def test_a_live_stream_that_falls_silent_ends_in_time():
    data = await Dataset.collect(Ticks(live=True, silent_at=3), seconds=0.9, label="walk")
    assert [int(x) for x, _ in data] == [0, 1, 2]


async def test_recordings_are_put_together_and_split():
    parts = [await Dataset.collect(Ticks(name=name), label=i, count=6)
             for i, name in enumerate(["walk", "run", "sit", "lie"])]  # fmt: skip
    both = Dataset.concatenate(*parts)
    train, test = both.split(0.5, by="source")
    assert (len(train), len(test)) == (12, 12)
    assert check_leak(train.map(lambda x, y: (x + y * 100, y)),
                      test.map(lambda x, y: (x + y * 100, y))).ok  # fmt: skip
    _, test = both.split(0.5, by="label")
    assert np.bincount(test.to_arrays()[1]).tolist() == [3, 3, 3, 3]


async def test_in_a_file(tmp_path):
    path = tmp_path / "walk.edgeml"
    data = await Dataset.collect(watch(), label=1, count=30, path=path)
    memory = await Dataset.collect(watch(), label=1, count=30)
    loaded = Dataset.load(path)
    for got in (data, loaded):
        np.testing.assert_array_equal(got.to_arrays()[0], memory.to_arrays()[0])
        np.testing.assert_array_equal(np.diff(got.times), np.diff(memory.times))
        assert got.sources.tolist() == ["watch"] * 30
    assert [file.name for file in tmp_path.iterdir()] == ["walk.edgeml"]


async def test_a_lost_device_leaves_what_came(tmp_path, caplog):
    path = tmp_path / "kept"
    with pytest.raises(DeviceLost):
        await Dataset.collect(Ticks(lost_at=4), path=path)
    assert "kept the 4 elements" in caplog.text
    assert [int(x) for x in Dataset.load(path)] == [0, 1, 2, 3]


async def test_cancelling_leaves_what_came(tmp_path, until):
    source = Ticks(live=True, silent_at=5)
    path = tmp_path / "kept"
    task = asyncio.create_task(Dataset.collect(source, count=99, path=path))
    await until(lambda: next(iter(repr(source.numbers)[6:-1])) == "6")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(Dataset.load(path)) == 5
    assert source.closed


async def test_bounds(tmp_path):
    with pytest.raises(DataError, match="collected 10 elements, and the next would be more than"):
        await Dataset.collect(Ticks(), max_bytes=40)
    with pytest.raises(ValueError, match="give count= or seconds="):
        await Dataset.collect(Ticks(live=True))
    with pytest.raises(ValueError, match="give count= or seconds="):
        await Dataset.collect(Ticks(live=True) | (lambda x: x))
    for options in ({"count": 0}, {"seconds": -1}):
        with pytest.raises(ValueError, match="must be positive"):
            await Dataset.collect(Ticks(), **options)
    assert list(tmp_path.iterdir()) == []


async def test_what_is_no_data():
    with pytest.raises(DataError, match=r"item 0 is object, not an array; add a stage"):
        await Dataset.collect(Source.of([object()]))
    with pytest.raises(DataError, match="before an item came"):
        await Dataset.collect(Source.of([]))
    with pytest.raises(DataError, match=r"use await Dataset\.collect"):
        Dataset.from_stream(Ticks(), count=1)


def test_from_stream_without_a_loop():
    assert [int(x) for x in Dataset.from_stream(Ticks(), count=3)] == [0, 1, 2]


async def test_plain_items_have_no_times():
    data = await Dataset.collect(Source.of([[1.0, 2.0], [3.0, 4.0]]))
    assert data.times is None
    assert data.batch(2).peek().tolist() == [[1, 2], [3, 4]]
